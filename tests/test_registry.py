"""Bijectors by name: of this package, of the user, of other packages."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest

import mera
from mera._utils.registry import Registry
from mera.bijectors import LeakyReLU, named, names, register
from mera.bijectors import registry as module
from mera.cli.options import options_for
from mera.graph.toml import dumps, loads
from mera.models import registry as models_registry


def third_party(event_shape, slope=0.3):
    """What an entry point of another package names."""
    return LeakyReLU(event_shape, slope)


@pytest.fixture
def installed(monkeypatch):
    """As if a package with an entry point were installed."""
    entries = [
        EntryPoint("third-party", f"{__name__}:third_party", module.GROUP),
        EntryPoint("broken", "no_such_package:factory", module.GROUP),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: entries if group == module.GROUP else [])
    monkeypatch.setattr(module, "_factories", Registry("a bijector"))
    module._entry_points.cache_clear()
    yield
    module._entry_points.cache_clear()


def test_entry_points_are_names(installed):
    assert names() == ["broken", "third-party"]
    with pytest.raises(ValueError, match=r"Expected the entry point .no_such_package:factory. .* to load; got Module"):
        named("broken")
    layout = mera.Layout((4,), 1)
    layout.latent(layout.local(layout.input, {"name": "third-party", "slope": 0.2}, kernel=2))
    flow = mera.Flow(loads(dumps(layout)))
    assert flow.bijectors["local0"].slope == 0.2


def test_a_name_is_taken_once():
    register("test-once")(third_party)
    with pytest.raises(ValueError, match="Expected a name of a bijector that is not taken; got 'test-once'"):
        register("test-once")(third_party)
    assert named("test-once", {"slope": 0.1})((2, 2)).slope == 0.1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("splines", {}, "Expected a bijector among .*did you mean 'spline'"),
        ("spline", {"bin": 3}, "Expected an option of the bijector 'spline' among .*did you mean 'bins'"),
        ("spline", {"context_shape": (3,)}, "Expected an option of the bijector 'spline'"),
        ("spline", {"event_shape": (3,)}, "Expected an option of the bijector 'spline'"),
        (None, {}, "Expected a bijector among"),
    ],
)
def test_unknown_names_and_options(name, options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        named(name, options)


def test_nodes_can_be_hashed():
    assert len({mera.graph.Local("maf", 2), mera.graph.Local("maf", 2), mera.graph.Local("iaf", 2)}) == 2


def test_equal_options_are_equal_however_they_are_written():
    assert named("maf", {"hidden": [3, 4]}) == named("maf", {"hidden": (3, 4)})
    assert named("maf", {"hidden": [3, 4]}) != named("maf", {"hidden": (4, 3)})


def test_every_name_has_a_docstring():
    for name in names():
        made_by = module.factory(name)
        assert made_by.__doc__ or not made_by.__module__.startswith("mera.")  # what tests register has none


if TYPE_CHECKING:
    from collections.abc import Sequence


class Scaled:
    """A callable object, as good a factory as a function."""

    def __call__(self, event_shape, slope=0.3):
        return LeakyReLU(event_shape, slope)


def for_type_checkers(event_shape: Sequence[int], slope: float = 0.3):
    return LeakyReLU(event_shape, slope)


@pytest.mark.parametrize("factory", [for_type_checkers, Scaled(), functools.partial(LeakyReLU, slope=0.3)])
def test_any_callable_can_be_registered(installed, factory):
    register("mine")(factory)
    assert named("mine")((2, 4, 4)).slope == 0.3


@pytest.fixture
def own_models(monkeypatch):
    monkeypatch.setattr(models_registry, "_models", Registry("a model"))
    monkeypatch.setattr(models_registry, "_presets", {})


def test_models_with_options_of_any_kind(own_models, tmp_path):
    @mera.models.register("required")
    def required(width, L=4, **others: Any):
        return small(L, width + others.get("more", 0))

    with pytest.raises(ValueError, match="Expected the option 'width' of 'required'; got none"):
        mera.build("required")
    flow = mera.build("required", width=3, more=2)
    mera.save(flow, tmp_path / "flow")  # without an option `prior`
    assert mera.load(tmp_path / "flow").n_parameters == flow.n_parameters
    assert [option.name for option in options_for(mera.models.builder("required"))] == ["width", "L"]

    @mera.models.register("nothing")
    def nothing():
        pass

    with pytest.raises(ValueError, match="Expected a Flow from the function of the model 'nothing'; got NoneType"):
        mera.build("nothing")


def small(L, width):
    layout = mera.Layout((L, L), 1)
    layout.latent(layout.local(layout.input, {"name": "coupling", "hidden": (width,)}, L))
    return mera.Flow(layout)
