"""Saved flows come back whole, or not at all."""

import copy
import math
import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

import mera
from mera._utils import files
from mera.bijectors import ActNorm, Affine, Elementwise
from mera.models.archive import read_archive, write_archive
from mera.models.saving import describe_flow, rebuild_empty
from tests.tables.models import CONDITIONAL, MODELS


def small_flow(**options):
    return mera.build("rgflow", **{"L": 4, "channels": 1, "layers": 1, "hidden": (4,)} | options)


def by_hand(bijector, **options):
    layout = mera.Layout((4,), 1)
    layout.latent(layout.local(layout.input, bijector, 2))
    return mera.Flow(layout, **options)


def without(flow, node):
    del flow.bijectors[node]
    return flow


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: by_hand(ActNorm), r"a flow from mera\.build, .*; got one made by hand: node 'local0'"),
        (MODELS["rgflow-leaky"], r"a flow from mera\.build, .*; got one made by hand: node 'disent"),
        (lambda: CONDITIONAL["rgflow"]().given(torch.zeros(1, 3)), "a flow without a fixed context"),
        (lambda: mera.Symmetrized(CONDITIONAL["rgflow"]()).given(torch.zeros(1, 3)), "a flow without a fixed context"),
        (lambda: torch.nn.Linear(2, 2), "a Flow; got Linear"),
        (lambda: without(small_flow(L=8), "decimator1"), "a flow of the bijectors with .*; got others in decimator1"),
    ],
)
def test_what_a_file_does_not_hold_is_refused(tmp_path, make, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        mera.save(make(), tmp_path / "flow")
    assert not list(tmp_path.iterdir())


def test_replaced_bijectors_are_refused_for_they_would_not_be_loaded(tmp_path):
    flow, other = small_flow(L=8), small_flow(L=8, transform="affine(max_log_scale=1.5)")
    for change in (
        lambda flow: flow.bijectors.update({"decimator0": ActNorm((1, 4, 4))}),
        lambda flow: flow.bijectors.update({"decimator0": other.bijectors["decimator0"]}),  # with the same shapes
        lambda flow: setattr(
            next(m for m in flow.bijectors["decimator0"].modules() if isinstance(m, Affine)), "max_log_scale", 3.0
        ),
    ):
        changed = copy.deepcopy(flow)
        assert not changed.replaced
        change(changed)
        with pytest.raises(ValueError, match="others in decimator0: build it from a layout of them"):
            mera.save(changed, tmp_path / "flow")
        with pytest.raises(ValueError, match="others in decimator0"):
            mera.train.fit(changed, torch.randn(20, 1, 8, 8), steps=1, run=tmp_path / "run")
        assert not list(tmp_path.iterdir())


def test_a_replaced_preprocessing_is_refused_for_it_would_not_be_loaded(tmp_path):
    flow = small_flow(L=8)
    flow.preprocess = Elementwise((1, 8, 8), Affine())
    with pytest.raises(ValueError, match="others in the preprocessing: "):
        mera.save(flow, tmp_path / "flow")
    with pytest.raises(ValueError, match="or the usual preprocessing; got uint8, and Elementwise"):
        flow.stream(torch.zeros(1, 8, 8, dtype=torch.uint8))  # tile by tile, whatever it does


@pytest.mark.parametrize("load", [mera.load, lambda path: mera.load_pretrained("digits")])
def test_loading_draws_no_random_numbers(load, tmp_path):
    mera.save(small_flow(), tmp_path / "flow")
    before = torch.get_rng_state()
    load(tmp_path / "flow")
    assert torch.equal(torch.get_rng_state(), before)


def test_other_files(tmp_path):
    path, flow = tmp_path / "flow", small_flow()
    description = {"format": 3, "model": "rgflow", "options": {"L": 4}, "dtype": "float32"}
    for change in ({"options": {"y": 1}}, {"dtype": "int8"}, {"options": {"L": 8}}):
        write_archive(path, description | change, flow.state_dict())
        with pytest.raises(ValueError, match=r"flow: Expected a flow that mera\.save wrote"):
            mera.load(path)
    write_archive(path, description | {"model": "x"}, flow.state_dict())
    with pytest.raises(ValueError, match=r"flow: .* Expected a model among .*; got 'x'; import the module that"):
        mera.load(path)
    save_file(dict(flow.state_dict()), path)
    with pytest.raises(ValueError, match=r"flow: Expected a (flow|file) (as|that) mera"):
        mera.load(path)
    for format in (2, 4):
        write_archive(path, description | {"format": format}, flow.state_dict())
        with pytest.raises(ValueError, match=f"a flow of format 3; got format {format}: load it with the version"):
            mera.load(path)
    with pytest.raises(FileNotFoundError, match=r"Expected a file .*; got .*missing"):
        mera.load(tmp_path / "missing")


@pytest.mark.parametrize("name", ["rgflow", "tree", "neuralrg", "branching", "ternary"])
def test_a_single_site_is_saved(tmp_path, name):
    flow = mera.build(name, L=1, dim=1, channels=2, bijector="linear")
    mera.save(flow, tmp_path / "flow")
    assert mera.load(tmp_path / "flow").plan == flow.plan


@pytest.mark.slow
def test_a_flow_that_another_process_unpickles_can_be_resized(tmp_path):
    (tmp_path / "flow").write_bytes(pickle.dumps(mera.build("rgflow", L=8, m=4, channels=1, hidden=(4,), levels=2)))
    script = f"import pickle; print(pickle.load(open({str(tmp_path / 'flow')!r}, 'rb')).resized((16, 24)).plan.input)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "16 x 24" in done.stdout, done.stderr


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomically(path, b"old")

    def full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_was_read_does_not_need_the_file(tmp_path):
    """A file that is cut off later must not end the process."""
    tensors = {"a": torch.arange(10_000.0)}
    write_archive(tmp_path / "x", {}, tensors)
    read = read_archive(tmp_path / "x")[1]["a"]
    os.truncate(tmp_path / "x", 0)
    assert torch.equal(read, tensors["a"])


@pytest.mark.parametrize("change", ["nan", "half", "float8"])
def test_weights_that_are_not_as_the_file_says(tmp_path, change):
    flow = mera.build("rgflow", L=4, channels=1, layers=1, hidden=(2,))
    mera.save(flow, tmp_path / "flow")
    description, tensors = read_archive(tmp_path / "flow")
    name = next(iter(dict(flow.named_parameters())))
    dtypes = {"half": torch.float16, "float8": torch.float8_e4m3fn}
    tensors[name] = torch.full_like(tensors[name], math.nan) if change == "nan" else tensors[name].to(dtypes[change])
    write_archive(tmp_path / "flow", description, tensors)
    with pytest.raises(ValueError, match="finite weights" if change == "nan" else "of torch.float32, as the file says"):
        mera.load(tmp_path / "flow")


@pytest.mark.parametrize(("group", "elements"), [("flip", None), (("translations", "flip"), 5)])
def test_descriptions_of_mixtures(group, elements):
    mixture = mera.Symmetrized(MODELS["rgflow"](), group, elements)
    description = describe_flow(mixture)
    assert description == describe_flow(mixture.flow) | {"symmetrized": group} | (
        {} if elements is None else {"elements": elements}
    )
    again, x = rebuild_empty(description), torch.randn(2, 1, 8, 8, dtype=torch.float32)
    assert torch.equal(again.orbit(x)[0], mixture.orbit(x)[0])
    assert again.group == group


def test_a_file_comes_before_a_trained_flow_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()  # commands write pictures into folders of such names
    assert mera.load("digits").plan == mera.load_pretrained("digits").plan
    own = MODELS["rgflow"]()
    mera.save(own, "digits/flow.safetensors")
    assert mera.load("digits").plan == own.plan
