"""Messages for wrong arguments."""

import math

import pytest
import torch

import mera
from mera import LayoutError
from mera.bijectors import Chain, Invert, named
from mera.cli.picture_arguments import parse_region
from mera.cones import generation_cone, inference_cone
from mera.drawing import draw_layout
from mera.flow import symmetries
from mera.graph.toml import loads
from mera.models import fit_width
from tests.tables.models import MODELS


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: mera.build("rgflw"), ValueError, r"a model among \[.*'rgflow'.*\]; got 'rgflw' \(did you mean"),
        (lambda: mera.build("rgflow", layer=2), ValueError, r"an option of 'rgflow'.*got 'layer' \(did you mean"),
        (lambda: mera.build("rgflow", L=32.0), ValueError, "Expected L as a positive integer"),
        (lambda: mera.build("rgflow", order="newest"), ValueError, "Expected an order among .*; got 'newest'"),
        (lambda: mera.build("rgflow", conditioner="x"), ValueError, "Expected a conditioner among .*; got 'x'"),
        (lambda: mera.build("rgflow", layers=(1, 2)), ValueError, "each of 4 levels; got"),
        (lambda: mera.build("rgflow", hidden=8), ValueError, "hidden as a tuple of positive widths, .*; got 8"),
        (lambda: mera.build("rgflow", learnt_prior=8), ValueError, "learnt_prior as a tuple of positive widths"),
        (lambda: mera.build("rgflow", hidden=[(8,), (8,)]), ValueError, "a list of 4 such tuples"),
        (lambda: mera.build("rgflow", dim="2"), ValueError, "Expected dim 1, 2 or 3; got '2'"),
        (lambda: mera.build("realnvp", m=0), ValueError, "Expected m as an integer >= 2; got 0"),
        (lambda: mera.build("rgflow", bijector="glow-steps(layer=2)"), ValueError, "'layer' .did you mean 'layers'"),
        (lambda: mera.build("rgflow", conditioner="authors", context=3), LayoutError, "length, and no context"),
        (lambda: mera.build("rgflow", context=0), ValueError, "Expected a context of shape"),
        (lambda: mera.build("tree", m=1), ValueError, "Expected m as an integer >= 2; got 1"),
        (lambda: mera.build("glow", L=4, channels=1), LayoutError, "at least 2 channels"),
        (lambda: mera.build("rgflow", L=(8, 16), dim=3), ValueError, r"Expected dim=2.*got dim=3, L=\(8, 16\)"),
        (lambda: mera.build("rgflow", L=(8, 16), dim=1), ValueError, r"Expected dim=2.*got dim=1, L=\(8, 16\)"),
        (lambda: mera.build("rgflow", L=b"x"), ValueError, "Expected L as a positive integer or all edges.*got b'x'"),
        (lambda: mera.build("rgflow", L=range(10**9)), ValueError, r"all edges.*got range\(0, 1000000000\)"),
        (lambda: mera.build("rgflow", hidden=range(1, 10**9)), ValueError, r"hidden as a tuple.*got range\(1,"),
        (lambda: mera.build("rgflow", hidden=range(1, 10**4)), ValueError, "positive integers, at most 1,000; got"),
        (lambda: mera.build("rgflow", hidden=b"abc"), ValueError, "hidden as a tuple of.*got b'abc'"),
        (lambda: mera.build("rgflow", layers=range(10**9)), ValueError, r"layers as one integer.*got range\(0"),
        (lambda: mera.build("rgflow", learnt_noise=b"abc"), ValueError, "hidden as .*got b'abc'"),
        (lambda: mera.build("rgflow", context=b"abc"), ValueError, "a context of shape.*got b'abc'"),
        (lambda: mera.models.RGFlow(hidden=range(1, 10**9)).layout(), ValueError, "hidden as a tuple of.*got range"),
        (lambda: mera.Layout(range(10**9)), ValueError, "a lattice shape of 1 to 3 edge lengths; got range"),
        (lambda: mera.Layout(b"xy"), ValueError, "a lattice shape of 1 to 3 edge lengths; got b'xy'"),
        (lambda: mera.Layout((8,), boundary=["open"] * 2**21), ValueError, "boundary 'periodic' or 'open'"),
        (lambda: named("actnorm", {"per_channel": range(10**9)})((1, 4)), ValueError, "per_channel as .*got range"),
        (lambda: Chain(3), ValueError, "Expected several bijectors; got int"),
        (lambda: Chain([3]), ValueError, "Expected a Bijector as member of a chain; got int"),
        (lambda: Invert("x"), ValueError, "Expected a Bijector to invert; got str"),
        (lambda: fit_width("rgflow", 10_000, 3), ValueError, "Expected a dict of options; got int"),
        (lambda: parse_region(None), ValueError, "a region such as"),
        (lambda: loads(3), ValueError, "Expected TOML; got layout: Expected a text; got int"),
        (lambda: mera.save(3, "p"), ValueError, "Expected a Flow; got int"),
        (lambda: mera.load(3), ValueError, "Expected a path"),
    ],
)  # fmt: skip
def test_bad_options(make, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        make()


IMAGES = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f(torch.zeros(2, 1, 16, 16)), r"Expected data of shape \(B, 1, 8, 8\); got \(2, 1, 16, 16\)"),
        (lambda f: f(torch.zeros(2, 1, 8, 8).double()), "Expected data of dtype torch.float32.*got torch.float64"),
        (lambda f: mera.build("tebd", L=4, hidden=(2,)).resized((8, 8), 3), "of a model with levels; got"),
        (lambda f: f.inverse(torch.zeros(2, 1, 8, 8)), "a tuple of 2 tensors.*got Tensor"),
        (lambda f: f.initialize(torch.zeros(0, 1, 8, 8)), "Expected at least one example to start from; got none"),
        (lambda f: f.initialize(torch.full((8, 1, 8, 8), torch.nan)), "Expected finite data to start from; got 512"),
        (lambda f: mera.Symmetrized(f, "flip", 3), "Expected at most 2 elements of flip on 1 x 8 x 8"),
        (lambda f: f.initialize(torch.ones(8, 1, 8, 8)), "; got 16 constant.*node 'disentangler0'"),
        (lambda f: f.inverse(f.sample_latents(2)[:1]), "Expected latents as a tuple of 2 tensors.*got 1 tensors"),
        (lambda f: f.inverse(f.sample_latents(2)[::-1]), "Expected latents of level 0 of shape"),
        (lambda f: f.inverse((f.sample_latents(2)[0], f.sample_latents(3)[1])), r"one batch size.*got \[2, 3\]"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 1, 8, 8)), "Expected images of dtype uint8; got torch.float32"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 3, 8, 8).byte()), "Expected images of shape"),
        (lambda f: f.sample(-1), "Expected a number of samples as an integer >= 0; got -1"),
        (lambda f: f.sample(2, temperature=[0.5]), "one for each of 2 levels"),
        (lambda f: f.sample(2, temperature=0.0), "Expected a temperature as a number above 0, .*; got 0.0"),
        (lambda f: f.sample(2**31), r"Expected a number of samples as an integer below 2\^31; got 2147483648"),
        (lambda f: f.to_images(torch.full((1, 1, 8, 8), math.nan)), "Expected data without NaN; got 64 values"),
        (lambda f: f.bits_per_dim(IMAGES, noise=torch.ones(2, 1, 8, 8)), r"Expected noise in \[0, 1\); got 1 to 1"),
        (lambda f: f.inpaint(torch.zeros(1, 1, 8, 8), (2, 3), step=3), "an option of inpaint .*did you mean 'steps'"),
        (lambda f: f.to_images(torch.zeros(1, 2, 8, 8)), "Expected data of 1 channels in 2 dimensions"),
        (lambda f: f.from_lattice(torch.zeros(1, 1, 4, 4)), "Expected latents on the lattice of shape"),
        (lambda f: f(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3)), "Expected no context"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 1, 8, 8).byte(), noise=0.5), "Expected noise as a tensor; got float"),
        (lambda f: mera.Symmetrized(3), "Expected a Flow; got int"),
        (lambda f: mera.Symmetrized(f, 3), "Expected one or more names of groups, of flip, .*; got 3"),
        (lambda f: symmetries("flip", f), "Expected a Lattice, such as flow.plan.input; got Flow"),
        (lambda f: inference_cone(f, (2, 3)), "Expected a Plan, such as flow.plan; got Flow"),
        (lambda f: generation_cone(f, 0, (2, 3)), "Expected a Plan, such as flow.plan; got Flow"),
        (lambda f: f.sample(b"x"), "a number of samples as an integer"),
        (lambda f: f.sample(2, temperature=range(1, 10**9)), "Expected a temperature as a number.*got range"),
        (lambda f: f.inference_cone(b"xy"), "Expected a bool mask, or a span for each dimension; got bytes"),
        (lambda f: f.resized(b"xy"), "Expected the shape to be an integer >= 1 or 2 of them; got b'xy'"),
        (lambda f: draw_layout(f.layout, dimension=2), "Expected a dimension from -2 to 1; got 2"),
    ],
)  # fmt: skip
def test_bad_calls(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow = MODELS["rgflow"]()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call(flow)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.log_prob(torch.zeros(5, 8, 8)), r"got \(5, 8, 8\); x\[:, None\] has the axis of channels"),
        (lambda f: f.log_prob(torch.zeros(1, 8, 8)), r"got \(1, 8, 8\); x\[None\] is a batch of one"),
        (lambda f: f.log_prob(torch.zeros(5, 8, 8, 1)), r"x.movedim\(-1, 1\) has channels first"),
        (lambda f: f.restrict(IMAGES[:1], (slice(2), slice(2))), "flow.from_images maps images to the flow's space"),
    ],
)
def test_remedies_for_data(call, message):
    with pytest.raises(ValueError, match=message):
        call(mera.build("rgflow", L=8, m=4, channels=1, hidden=(2,)))


def test_remedies_for_one_hot_labels():
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(2,), classes=3)
    rows = torch.eye(3).repeat(3, 1)
    with pytest.raises(ValueError, match=r"got \(2, 3\); of one-hot rows they are context.argmax\(1\)"):
        flow.log_prob(torch.zeros(2, 1, 8, 8), rows[:2])
    for labels in (rows, rows.long()):
        with pytest.raises(ValueError, match=r"rows.* labels.argmax\(1\)"):
            mera.train.fit(flow, torch.zeros(9, 1, 8, 8, dtype=torch.uint8), labels=labels, steps=1)


def test_the_file_of_a_layout_with_an_unregistered_bijector(tmp_path):
    layout = mera.Layout((4, 4), 1)
    layout.latent(layout.local(layout.input, "coupling", 4))
    mera.save_layout(layout, tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text((tmp_path / "a.toml").read_text().replace('"coupling"', '"my-own"'))
    with pytest.raises(LayoutError) as caught:
        mera.load_layout(tmp_path / "b.toml")
    assert "import the module that registers it" in str(caught.value)
