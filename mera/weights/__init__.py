"""The trained flows that come with the package, each with a card: what it learnt, how, and how well. Without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mera._utils.errors import InputError, closest

__all__ = ["FOLDER", "Card", "card", "pretrained"]

FOLDER = Path(__file__).parent
"""The folder of weights and cards."""


@dataclass(frozen=True)
class Card:
    """The card of a trained flow.

    Args:
        name: the name for `mera.load_pretrained`.
        model: the name of the model.
        parameters: the number of parameters.
        data: the arguments of `mera.data.load` that load what it learnt.
        command: the command that trained it.
        bits_per_dim: bits per dimension on the test images.
        test_images: the number of test images.
        steps: the steps of training.
        minutes: the time of training.
        machine: where it was trained.
        seed: the seed of weights, order and noise.
        licence: the licence of the weights, and where the data is from.
    """

    name: str
    model: str
    parameters: int
    data: dict[str, Any]
    command: str
    bits_per_dim: float
    test_images: int
    steps: int
    minutes: float
    machine: str
    seed: int
    licence: str

    @property
    def weights(self) -> Path:
        """The file of the flow."""
        return FOLDER / f"{self.name}.safetensors"


@cache
def pretrained() -> Mapping[str, Card]:
    """The trained flows that come with the package, by name; `mera.load_pretrained(name)` loads one.

    >>> from mera.models import pretrained
    >>> pretrained()["msds1"].data["name"]
    'msds1'
    """
    names = {field.name for field in fields(Card)}
    read = (json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json")))
    cards = {entry["name"]: Card(**{key: value for key, value in entry.items() if key in names}) for entry in read}
    return MappingProxyType(cards)


def card(name: str) -> Card:
    """The card of a trained flow.

    Args:
        name: one of the names in `pretrained()`.

    Raises:
        ValueError: if there is no such flow; the message offers the closest name.
    """
    if name not in pretrained():
        raise InputError(f"a pretrained flow among {list(pretrained())}", f"{name!r}{closest(name, pretrained())}")
    return pretrained()[name]
