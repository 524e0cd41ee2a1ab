"""Models by name: their registry, `build`, and `fit_width` for a number of parameters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from mera._utils.checks import check_choice, check_count, check_type
from mera._utils.errors import InputError
from mera._utils.options import check_options, documented, options_of
from mera._utils.registry import Registry, plain
from mera.flow import Flow
from mera.flow.density import Recipe
from mera.graph.summary import count_parameters
from mera.models.options import Model

Builder = Callable[..., Any]
"""A subclass of `mera.models.Model`, or a function from options to a flow."""
B = TypeVar("B", bound=Builder)

_models: Registry[Builder] = Registry("a model", documented)
PRESETS: dict[str, dict[str, Any]] = {
    "photographs": {"details": 2, "boundary": "open"},
    "action": {"prior": "gaussian", "norm": False, "transform": "spline(bound=6)", "layers": 2, "hidden": (64,)},
}
"""Presets of all models, as far as a model has the options: "photographs", whose opposite borders differ, and "action"
for lattice actions, where splines work best on two minima. `mera train` uses them for folders and for --action."""


def register(name: str) -> Callable[[B], B]:
    """A decorator that registers a model under a name, for `mera.build(name, **options)` and the command line.

    A model is a frozen dataclass, a subclass of `mera.models.Model`, whose fields are the options; an option that is
    declared as `Annotated[type, mera.models.Option(help, check)]` has its value checked, and its help in the docstring
    and on the command line. A function from options to a flow is a model too.

    Args:
        name: name of the model.
    """
    return cast(Any, _models.register(name))


names, builder = _models.names, _models.get


def presets(name: str) -> list[str]:
    """The names of a model's presets; a `ValueError` for an unknown model."""
    common = [preset for preset, options in PRESETS.items() if any(_models.takes(name, o) for o in options)]
    return [*getattr(builder(name), "presets", ()), *common]


def build(name: str, *, preset: str | None = None, checkpoint: bool = False, **options: Any) -> Flow:
    """Build a flow by the name of a model.

    The flow keeps all options in `flow.recipe`, including defaults, so that a saved flow does not change when a later
    version has other defaults.

    Args:
        name: one of `mera.models.names()`.
        preset: name of a set of other defaults, such as "authors" of "rgflow".
        checkpoint: whether a forward pass keeps only the inputs of layers for the backward pass; see `Flow.checkpoint`.
        options: options of the model, which are documented at its class: `help(mera.models.RGFlow)`.

    Example:
        >>> import mera
        >>> flow = mera.build("rgflow", L=8, m=4, channels=1, layers=1, hidden=(8,))
        >>> [tuple(level.shape) for level in flow.sample_latents(2)]
        [(2, 3, 4, 4), (2, 1, 4, 4)]
    """
    model = builder(name)
    _models.check_options(name, options)
    options = {option: plain(value) for option, value in options.items()}
    all_options = _models.defaults(name) | options
    if preset is not None:
        own = getattr(model, "presets", {}).get(check_choice(preset, presets(name), "a preset"))
        common = {key: value for key, value in PRESETS.get(preset, {}).items() if _models.takes(name, key)}
        all_options = all_options | (common if own is None else own(all_options)) | options
    flow = made = model(**(all_options if isinstance(model, type) else check_options(model, all_options)))
    if isinstance(made, Model):
        all_options |= made.fitted()
        flow = Flow(made.layout(), made.prior, classes=made.classes)
    if not isinstance(flow, Flow):
        raise InputError(f"a Flow from the function of the model {name!r}", type(flow).__name__)
    flow.recipe = Recipe(name, all_options, build)
    flow.checkpoint = checkpoint
    return flow


def fit_width(model: str, parameters: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fit the width of a model's hidden layers to a number of parameters, and return its options.

    Widths of hidden layers keep their ratios, and are even. Their number is taken from the options or the model.

    Args:
        model: name of a model with the option `hidden`.
        parameters: number of parameters to come closest to.
        options: other options of the model.

    Raises:
        ValueError: if the model has no option `hidden`, has more parameters at a width of 2, or as many at any width.

    >>> import mera
    >>> options = fit_width("rgflow", 100_000, {"L": 16})
    >>> options["hidden"]
    (30,)
    """
    check_count(parameters, "parameters")
    check_type(options, Mapping, "a dict of options")
    if "hidden" not in options_of(builder(model)):
        raise InputError(f"a model with hidden layers, whose option is hidden, to fit {parameters:,} parameters", model)
    recipe = build(model, **options).recipe
    declared = recipe.options["hidden"] if recipe is not None else ()
    rows = declared if declared and not isinstance(declared[0], int) else [declared]
    largest = max(width for row in rows for width in row)

    def with_width(width: int) -> dict[str, Any]:
        scaled = [tuple(max(2, 2 * round(width * n / largest / 2)) for n in row) for row in rows]
        return {**options, "hidden": scaled[0] if all(row == scaled[0] for row in scaled) else scaled}

    def count(width: int) -> int:
        return count_parameters(build(model, **with_width(width)))

    if parameters < count(2):
        raise InputError(
            f"at least {count(2):,} parameters, those of {model} with hidden layers of width 2", str(parameters)
        )
    if count(4) == count(2):
        raise InputError("a model whose number of parameters grows with the width", f"{model} with {dict(options)}")
    high = 2  # half of a width
    while count(2 * high) <= parameters:
        high *= 2
    half = bisect_right(range(high), parameters, lo=1, key=lambda half: count(2 * half)) - 1
    return with_width(min((2 * half, 2 * half + 2), key=lambda width: abs(count(width) - parameters)))
