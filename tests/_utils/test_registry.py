"""Bijectors by name: of this package, of the user, of other packages."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import pytest

import mera
from mera._utils.registry import parse_assignments
from mera.bijectors import by_name as module
from mera.bijectors import named, register
from mera.cli.options import options_for
from mera.graph.toml import dumps, loads
from mera.models import by_name as models_registry
from tests.helpers.laws import Bent

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """What a test registers is forgotten."""
    monkeypatch.setattr(module._factories, "_functions", dict(module._factories._functions))
    monkeypatch.setattr(models_registry._models, "_functions", dict(models_registry._models._functions))


def for_type_checkers(event_shape: Sequence[int], slope: float = 0.3):
    """A factory of another package, whose annotations cannot be evaluated."""
    return Bent(event_shape, slope)


class Scaled:
    """A callable object, as good a factory as a function."""

    def __call__(self, event_shape, slope=0.3):
        return Bent(event_shape, slope)


def small(L=8, width=4):
    """A model of another package."""
    layout = mera.Layout((L, L), 1)
    layout.latent(layout.local(layout.input, {"name": "coupling", "hidden": (width,)}, L))
    return mera.Flow(layout)


def test_a_name_is_taken_once():
    """A refused registration changes nothing; a cell of a notebook may run twice."""
    mera.models.register("mine")(small)
    with pytest.raises(ValueError, match="that is not taken; got 'mine'"):
        mera.models.register("mine")(for_type_checkers)

    def cell(slope):
        def factory(event_shape):
            return Bent(event_shape, slope)

        return factory

    register("mine")(cell(0.3))
    register("mine")(cell(0.2))
    with pytest.raises(ValueError, match="Expected a name of a bijector that is not taken; got 'mine'"):
        register("mine")(Scaled())
    assert named("mine")((2, 2)).slope == 0.2


def test_a_cell_that_registers_a_partial_can_run_again():
    for slope in (0.1, 0.2):
        register("partial")(functools.partial(Bent, slope=slope))
    assert named("partial")((2, 2)).slope == 0.2


def test_any_callable_can_be_registered():
    for number, factory in enumerate((for_type_checkers, Scaled(), functools.partial(Bent, slope=0.3))):
        register(f"mine{number}")(factory)
        assert named(f"mine{number}")((2, 4, 4)).slope == 0.3


@pytest.mark.parametrize("text", ["coupling(layers=5)", "coupling(layers = 5, )", " coupling( layers=5 ) "])
def test_options_in_a_text(text):
    assert named(text) == named({"name": "coupling", "layers": 5}) == named("coupling", {"layers": 5})
    layout = mera.Layout((4, 4), 1)
    layout.latent(layout.local(layout.input, text, kernel=2))
    written = dumps(layout)
    assert dumps(loads(written.replace('{name = "coupling", layers = 5}', f'"{text}"'))) == written
    flow = mera.build("rgflow", L=4, m=2, hidden=(4,), bijector=text)
    assert flow.layout.nodes["decimator0"].bijector.options["layers"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coupling(5)",), "Expected options by name, as in coupling.layers=3.; got 'coupling.5.'"),
        (("coupling(layers=5hidden=[4])",), "Expected a name, or a name with options such as coupling.layers=3.; got "),
        (("coupling(layer=5)",), "Expected an option of 'coupling' among .*did you mean 'layers'"),
        (("couplings(bins=5)",), "Expected a bijector among .*did you mean 'coupling'"),
        (("couplings", {}), "Expected a bijector among .*did you mean 'coupling'"),
        (("coupling", {"layer": 3}), "Expected an option of 'coupling' among .*did you mean 'layers'"),
        (("coupling", {"context_shape": (3,)}), "Expected an option of 'coupling'"),
        (("coupling", {"event_shape": (3,)}), "Expected an option of 'coupling'"),
        ((None, {}), "Expected a bijector as text"),
    ],
)
def test_what_is_no_bijector(arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        named(*arguments)


def test_models_with_options_of_any_kind(tmp_path):
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


def test_transforms_of_couplings_are_registered():
    bijectors = mera.bijectors
    bijectors.register_transform("gentle")(lambda scale=0.1: bijectors.Affine(scale))
    made = named("coupling(transform=gentle(scale=0.5), layers=1)")((1, 2, 2))
    (coupling,) = (part for part in made.bijectors if isinstance(part, bijectors.Coupling))
    assert coupling.transform.max_log_scale == 0.5
    assert mera.build("rgflow", L=4, channels=1, transform="gentle").n_parameters > 0


def test_options_of_a_function_are_checked():
    @mera.models.register("checked")
    def checked(width: Annotated[int, mera.models.Option("a width.", lambda value, name: int(value))] = 4):
        return small(4, width)

    assert mera.build("checked", width=3.7).recipe.options["width"] == 3.7
    assert mera.build("checked", width=3.7).n_parameters == mera.build("checked", width=3).n_parameters


def test_assignments():
    text = r'a=1,b=2 c=x betas=(0.9, 0.99) sizes=[[1, 2], [3]] on=true root="/data/a=b" number="3" path=C:\data\x'
    assert parse_assignments(text) == {
        "a": 1, "b": 2, "c": "x", "betas": (0.9, 0.99), "sizes": [[1, 2], [3]], "on": True, "root": "/data/a=b",
        "number": "3", "path": r"C:\data\x",
    }  # fmt: skip
