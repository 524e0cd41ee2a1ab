"""Models by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mera._utils.checks import check_choice
from mera._utils.options import documented, with_options_checked
from mera._utils.registry import Registry, plain
from mera.flow import Flow, Recipe

__all__ = ["build", "builder", "names", "presets", "register"]

Builder = Callable[..., Flow]
Preset = Callable[[Mapping[str, Any]], dict[str, Any]]

_models: Registry[Builder] = Registry("a model")
_presets: dict[str, Mapping[str, Preset]] = {}


def register(name: str, presets: Mapping[str, Preset] | None = None) -> Callable[[Builder], Builder]:
    """Let `mera.build(name, **options)` call the decorated function, whose keyword arguments are the options.

    An option that is declared as `Annotated[type, mera.models.Option(help, check)]` is checked at each call; its help
    goes into the function's docstring and to the command line.

    Args:
        name: the model's name.
        presets: by name, what makes other defaults from all options as they would be without it.

    Raises:
        ValueError: if the name is taken.
    """

    def decorate(function: Builder) -> Builder:
        checked = documented(with_options_checked(function))
        _models.register(name)(checked)
        _presets[name] = presets or {}
        return checked

    return decorate


def names() -> list[str]:
    """Every name that `build` accepts."""
    return _models.names()


def builder(name: str) -> Builder:
    """The function behind a name.

    Raises:
        ValueError: if the name is unknown.
    """
    return _models.get(name)


def presets(name: str) -> list[str]:
    """The names of a model's presets."""
    return list(_presets[check_choice(name, names(), "a model")])


def build(name: str, *, preset: str | None = None, memory: str | Mapping[str, str] = "store", **options: Any) -> Flow:
    """Build a flow by name.

    The flow remembers all of its options, those left at their defaults too, so that a saved flow stays what it was
    when defaults change.

    Args:
        name: one of `names()`.
        preset: other defaults, "authors" of "rgflow" say.
        memory: see `Flow.memory`.
        options: as the model's own function documents them, `mera.models.rgflow` say.

    Raises:
        ValueError: if the name, the preset, an option or the value of one is unknown.

    Example:
        >>> import mera
        >>> flow = mera.build("rgflow", L=8, m=4, channels=1, layers=1, hidden=(8,))
        >>> [tuple(level.shape) for level in flow.sample_latents(2)]
        [(2, 3, 4, 4), (2, 1, 4, 4)]
    """
    function = builder(name)
    _models.check_options(name, options)
    options = {option: plain(value) for option, value in options.items()}
    settled = _models.defaults(name) | options
    if preset is not None:
        settled = settled | _presets[name][check_choice(preset, presets(name), "a preset")](settled) | options
    flow = function(**settled)
    flow.recipe = Recipe(name, settled)
    flow.memory = memory
    return flow
