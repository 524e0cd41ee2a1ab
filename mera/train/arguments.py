"""Checks of the arguments of `fit`, before anything is trained or written."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from rich.console import Console

from mera._utils.errors import InputError
from mera._utils.random import restored_states
from mera.bijectors import BlockSpins
from mera.density import Density
from mera.io.flows import describe_flow
from mera.train.callbacks import Callback
from mera.train.likelihoods import Likelihood
from mera.train.objective import Objective
from mera.train.run import RunFolder
from mera.train.settings import Settings

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
"""Dtypes of weights that can be trained. Activations or gradients leave the range of float16 within some steps."""
MIN_IMAGES = 2
"""A normalisation layer divides by the standard deviation of the training images: one image has none."""


def check_trainable(flow: object) -> None:
    """Refuse any value that is not a flow that can be trained now.

    Raises:
        ValueError: if the value is not a flow, its dtype is not among `DTYPES`, no parameter requires a gradient, or
            gradients are switched off.
    """
    if not isinstance(flow, Density):
        raise InputError("a Flow to train", _type_name(flow))
    if not torch.is_grad_enabled():
        mode = "torch.inference_mode()" if torch.is_inference_mode_enabled() else "torch.no_grad()"
        raise InputError("fit to run with gradients", f"a call within {mode}")
    if any(parameter.is_inference() for parameter in flow.parameters()):
        raise InputError("a flow that can be trained", "one that was built within torch.inference_mode()")
    if not any(parameter.requires_grad for parameter in flow.parameters()):
        raise InputError("a flow with a parameter that requires a gradient", "one whose parameters are frozen")
    if flow.dtype not in DTYPES:
        raise InputError(
            "a flow of float32, float64 or bfloat16 to train",
            f"{flow.dtype}: train flow.float(), with "
            'Settings(precision="bfloat16") for networks in half precision, and convert it afterwards',
        )
    if flow.dtype == torch.bfloat16:
        warnings.warn(
            "Expected a flow of float32 or float64 to train; got torch.bfloat16, in which small steps of the optimiser "
            'are rounded away: train flow.float() with Settings(precision="bfloat16") instead',
            stacklevel=3,
        )


def check_run(flow: Density, settings: object, run: object, resume: object, console: object) -> None:
    """Refuse settings, folder, `resume` and console of the wrong type, and folders that do not fit `resume`.

    Raises:
        ValueError: if an argument is of the wrong type, there is no folder to resume, or no file can describe the flow.
        FileExistsError: if the folder holds checkpoints that are not to be resumed.
    """
    if settings is not None and not isinstance(settings, Settings):
        raise InputError("settings as a mera.train.Settings", _type_name(settings))
    if run is not None and not isinstance(run, RunFolder):
        raise InputError("the folder of a run as a path or a mera.train.RunFolder", _type_name(run))
    if console is not None and not isinstance(console, Console):
        raise InputError("a rich.console.Console to show progress", _type_name(console))
    if not isinstance(resume, bool) and not (isinstance(resume, str) and resume == "auto"):
        raise InputError('resume as True, False or "auto"', repr(resume))
    if run is None:
        if resume is True:
            raise InputError("the folder of a run to resume", "None")
        return
    if run.steps() and not resume:
        raise FileExistsError(run.taken_message())
    describe_flow(flow)  # in each process: only one process writes, and the others should not wait for it


def check_callbacks(callbacks: object) -> list[Callback]:
    """Return callbacks as a list, and refuse anything but an iterable of `Callback` objects."""
    if not isinstance(callbacks, Iterable) or isinstance(callbacks, torch.Tensor):
        raise InputError("a list of mera.train.Callback objects as callbacks", _type_name(callbacks))
    members = list(callbacks)
    for member in members:
        if not isinstance(member, Callback):
            raise InputError("mera.train.Callback objects as callbacks", _type_name(member))
    return members


def check_enough(flow: Density, objective: Objective) -> None:
    """Refuse fewer than `MIN_IMAGES` training examples if a normalisation layer still has to be initialised.

    Block spins start from a single example too, which has many cells.
    """
    starting = [module for module in flow.modules() if not getattr(module, "initialized", True)]
    if 0 < objective.size < MIN_IMAGES and not all(isinstance(module, BlockSpins) for module in starting):
        expected = f"at least {MIN_IMAGES} training examples, from which normalisation layers start"
        raise InputError(expected, str(objective.size))


def check_loss(flow: Density, objective: Objective) -> None:
    """Compute the user's own loss of two examples, so that a wrong one is refused before anything is written."""
    if isinstance(objective, Likelihood) and objective.own is not None and objective.size:
        with restored_states():
            batch = objective.batch(0, 1, range(min(2, objective.size)))
            objective.loss(flow, tuple(tensor.to(flow.device) for tensor in batch))


def _type_name(value: object) -> str:
    """The type of a value for messages; "the class X" if the value is itself a class."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
