"""Compilation of the loss of a batch and its gradient by torch.compile."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch
from torch import nn

from mera._utils.torch_private import uncompile


def compile_loss(loss: nn.Module, call: Callable[[], object], is_asked_for: bool) -> str:
    """Compile a module that computes the loss of a batch, with the whole flow in it.

    Random numbers are the same as without compilation. torch keeps what it compiled on disk, so that a second process
    only traces the code again. Where torch cannot compile, such as on a machine without a C++ compiler, the module
    stays as it is.

    Args:
        loss: the module.
        call: a function that calls the module as in training, with its backward pass; torch compiles during the call.
        is_asked_for: whether a failure is worth a warning.

    Returns:
        What came of it, in words.

    Warns:
        UserWarning: if torch cannot compile, and a user has asked for it.
    """
    start = time.monotonic()
    loss.compile(options={"fallback_random": True})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, as it generates code
            call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # among others, all errors of the compiler
        uncompile(loss)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        said = f"Expected a loss that torch can compile; got: {reason}. Training goes on without."
        if is_asked_for:
            warnings.warn(said, stacklevel=2)
        return said
    return f"compiled in {time.monotonic() - start:.0f} s"
