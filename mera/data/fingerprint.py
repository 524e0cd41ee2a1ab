"""Fingerprints of data sets, which tell data sets apart at a cost that does not depend on their size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mera._utils.random import restored_states, seed_cpu
from mera.data.dataset import Examples

SAMPLE = 16
"""The number of examples, or of files, whose content is read."""
EDGE = 2**12
"""The bytes at the beginning and at the end of a file that are read."""


def fingerprint(examples: Examples) -> dict[str, Any]:
    """The number, shape and dtype of examples, and a digest of a fixed sample of them, in values of JSON.

    A data set whose items are at random places, or that reads files, has an attribute `identity` that stands for the
    sample. A data set that draws from other random numbers than those of torch, numpy and Python has no digest.
    """
    n = len(examples)
    with restored_states():
        seed_cpu(0)
        example = examples[0]
    facts = {"number": n, "shape": list(example.shape), "dtype": str(example.dtype)[6:]}
    identity = getattr(examples, "identity", None)
    if identity is None:
        digests = set()
        for _ in range(2):
            parts = []
            with restored_states():
                for index in spread(n):
                    seed_cpu(0, index)
                    parts.append(bytes_of(examples[index]))
            digests.add(digest(parts))
        identity = digests.pop() if len(digests) == 1 else None
    return facts | {"content": identity} | ({"files": names} if (names := getattr(examples, "names", None)) else {})


def digest(parts: Iterable[bytes]) -> str:
    """A short text that changes with any of some bytes."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:32]


def digest_of_files(files: Iterable[Path]) -> str:
    """A digest of the sizes of files, and of the beginnings and ends of a fixed sample of them."""
    listed = list(files)
    parts = [str(file.stat().st_size).encode() for file in listed]
    for index in spread(len(listed)):
        with listed[index].open("rb") as opened:
            parts.append(opened.read(EDGE))
            opened.seek(max(0, listed[index].stat().st_size - EDGE))
            parts.append(opened.read(EDGE))
    return digest(parts)


def spread(n: int) -> list[int]:
    """Up to `SAMPLE` numbers below n, evenly spread."""
    return sorted({i * n // min(SAMPLE, n) for i in range(min(SAMPLE, n))})


def bytes_of(values: Tensor) -> bytes:
    """The bytes of a tensor on any device and of any dtype."""
    return values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
