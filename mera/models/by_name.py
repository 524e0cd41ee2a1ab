"""The registry of models by name, and `build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from mera._utils.checks import check_choice
from mera._utils.errors import InputError
from mera.density import Recipe
from mera.flow import Flow
from mera.names.options import documented, with_options_checked
from mera.names.registry import Registry, plain

Builder = Callable[..., Flow]
B = TypeVar("B", bound=Builder)
Preset = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Maps all options of a model, with the values they have without the preset, to the options that the preset changes."""


def _prepare(function: Builder, defaults: Mapping[str, Any] | None = None) -> Builder:
    """A function whose options are checked at each call, and documented."""
    return documented(with_options_checked(function, defaults))


_models: Registry[Builder] = Registry("a model", _prepare)
_presets: dict[str, Mapping[str, Preset]] = {}


def register(name: str, presets: Mapping[str, Preset] | None = None, **defaults: Any) -> Callable[[B], B]:
    """A decorator that registers a function under a name, so that `mera.build(name, **options)` calls it.

    The parameters of the function are the options of the model. An option that is declared as
    `Annotated[type, mera.models.Option(help, check)]` is checked at each call; its help is added to the docstring of
    the function and shown by the command line. Options that a family of models shares are declared in a `TypedDict`,
    as in `**options: Unpack[PatchOptions]`.

    Args:
        name: name of the model.
        presets: by the name of a preset, a function that maps all options, with the values they have without the
            preset, to the options that the preset changes.
        defaults: defaults that differ, for this model, from the declared defaults of shared options.

    Raises:
        ValueError: if the name is taken.
    """

    def decorate(function: B) -> B:
        registered = _models.register(name, defaults=defaults)(function)
        _presets[name] = presets or {}
        return cast(B, registered)

    return decorate


def names() -> list[str]:
    """All names that `build` accepts, sorted."""
    return _models.names()


def builder(name: str) -> Builder:
    """The function that is registered under a name.

    Args:
        name: name of a model.

    Raises:
        ValueError: if the name is unknown.
    """
    return _models.get(name)


def presets(name: str) -> list[str]:
    """The names of a model's presets.

    Args:
        name: name of a model.

    Raises:
        ValueError: if the name is unknown.
    """
    builder(name)
    return list(_presets.get(name, {}))


def build(name: str, *, preset: str | None = None, checkpoint: bool = False, **options: Any) -> Flow:
    """Build a flow by the name of a model.

    The flow keeps all options in `flow.recipe`, including defaults, so that a saved flow does not change when a later
    version has other defaults.

    Args:
        name: one of `mera.models.names()`.
        preset: name of a set of other defaults, such as "authors" of "rgflow".
        checkpoint: whether a forward pass keeps only the inputs of layers for the backward pass; see `Flow.checkpoint`.
        options: options of the model, which are documented at its function: `help(mera.models.rgflow)`.

    Raises:
        ValueError: if the name, the preset or an option is unknown, or the value of an option is invalid.

    Example:
        >>> import mera
        >>> flow = mera.build("rgflow", L=8, m=4, channels=1, layers=1, hidden=(8,))
        >>> [tuple(level.shape) for level in flow.sample_latents(2)]
        [(2, 3, 4, 4), (2, 1, 4, 4)]
    """
    function = builder(name)
    _models.check_options(name, options)
    options = {option: plain(value) for option, value in options.items()}
    all_options = _models.defaults(name) | options
    if preset is not None:
        change = _presets.get(name, {})[check_choice(preset, presets(name), "a preset")]
        all_options = all_options | change(all_options) | options
    flow = function(**all_options)
    if not isinstance(flow, Flow):
        raise InputError(f"a Flow from the function of the model {name!r}", type(flow).__name__)
    flow.recipe = Recipe(name, all_options, build)
    flow.checkpoint = checkpoint
    return flow
