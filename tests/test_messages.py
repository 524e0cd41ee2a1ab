"""Messages for wrong arguments."""

import math

import numpy as np
import pytest
import torch

import mera
from mera import LayoutError
from mera.analysis.drawing import draw_layout
from mera.analysis.drawing.images import png_path
from tests.tables.models import CONDITIONAL, MODELS, batch


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: mera.build("rgflw"), ValueError, r"a model among \[.*'rgflow'.*\]; got 'rgflw' \(did you mean"),
        (lambda: mera.build("rgflow", layer=2), ValueError, r"an option of 'rgflow'.*got 'layer' \(did you mean"),
        (lambda: mera.build("rgflow", L=24, m=4), ValueError, r"L = 4 \* 2\^h; got 24x24"),
        (lambda: mera.build("rgflow", L=2, m=4), ValueError, r"got 2x2"),
        (lambda: mera.build("rgflow", L=32.0), ValueError, "Expected L as a positive integer"),
        (lambda: mera.build("rgflow", m=3), ValueError, "Expected an even kernel size m >= 2; got 3"),
        (lambda: mera.build("rgflow", channels=0), LayoutError, "Expected a positive number of channels; got 0"),
        (lambda: mera.build("rgflow", order="newest"), ValueError, "Expected an order among .*; got 'newest'"),
        (lambda: mera.build("rgflow", conditioner="x"), ValueError, "Expected a conditioner among .*; got 'x'"),
        (lambda: mera.build("rgflow", preset="x"), ValueError, "Expected a preset among .*; got 'x'"),
        (lambda: mera.build("realnvp", preset="authors"), ValueError, r"Expected a preset among \[\]; got 'authors'"),
        (lambda: mera.build("rgflow", layers=(1, 2)), ValueError, "each of 4 RG steps; got"),
        (lambda: mera.build("rgflow", layers=0), ValueError, "Expected layers as one positive integer"),
        (lambda: mera.build("rgflow", hidden=8), ValueError, "Expected hidden as a tuple of widths; got 8"),
        (lambda: mera.build("rgflow", hidden=()), ValueError, "Expected hidden as a tuple of positive widths"),
        (lambda: mera.build("rgflow", hidden=[(8,), (8,)]), ValueError, "a list of 4 such tuples"),
        (lambda: mera.build("rgflow", layers=(1, 1, 1, 2), share_levels=True), ValueError, "which share them; got"),
        (lambda: mera.build("rgflow", norm="no"), ValueError, "Expected norm as True or False; got 'no'"),
        (lambda: mera.build("rgflow", share_levels=1), ValueError, "Expected share_levels as True or False; got 1"),
        (lambda: mera.build("realnvp", norm=[]), ValueError, r"Expected norm as True or False; got \(\)"),
        (lambda: mera.build("rgflow", dim="2"), ValueError, "Expected dim 1, 2 or 3; got '2'"),
        (lambda: mera.build("rgflow", boundary=None), LayoutError, "got None"),
        (lambda: mera.build("rgflow", boundary=5), LayoutError, "got 5"),
        (lambda: mera.build("rgflow", prior="cauchy"), ValueError, "Expected 'gaussian', 'laplace' or a torch"),
        (lambda: mera.build("rgflow", boundary="x"), LayoutError, "Expected boundary 'periodic' or 'open'"),
        (lambda: mera.build("realnvp", boundary="x"), ValueError, "Expected a boundary among"),
        (lambda: mera.build("realnvp", m=0), ValueError, "Expected the width m as an integer >= 2; got 0"),
        (lambda: mera.build("rgflow", bijector="couplin"), ValueError, "a bijector among .*did you mean 'coupling'"),
        (lambda: mera.build("rgflow", bijector="maf(layer=2)"), ValueError, "'layer' .did you mean 'layers'"),
        (lambda: mera.build("rgflow", bijector={"layers": 2}), ValueError, "Expected a bijector among"),
        (lambda: mera.build("rgflow", bijector=3), ValueError, "Expected a bijector's name.*got 3"),
        (lambda: mera.build("rgflow", order=np.array([4])), ValueError, "Expected an order among"),
        (lambda: mera.build("rgflow", bijector="linear", context=3), LayoutError, "takes the context .3,.; got none"),
        (lambda: mera.build("rgflow", conditioner="authors", context=3), LayoutError, "length, and no context"),
        (lambda: mera.build("rgflow", context=(3, 4)), ValueError, r"or \(K, 32, 32\) for each pixel; got \(3, 4\)"),
        (lambda: mera.build("rgflow", context=0), ValueError, "Expected a context of shape"),
        (lambda: mera.build("rgflow", classes=0), ValueError, "Expected a positive number of classes; got 0"),
        (lambda: mera.build("rgflow", classes=3, context=(2, 32, 32)), ValueError, "to learn for each class"),
        (lambda: mera.build("neuralrg", L=12), ValueError, r"L = 2 \* 2\^h; got 12x12"),
        (lambda: mera.build("neuralrg", repeats=0), ValueError, "Expected repeats as an integer >= 1; got 0"),
        (lambda: mera.build("ternary", L=32), ValueError, r"divide by 3 .* L = 3 \* 3\^h; got 32x32"),
        (lambda: mera.build("tree", m=1), ValueError, "Expected m as an integer >= 2; got 1"),
        (lambda: mera.build("tebd", m=3), ValueError, "Expected an even kernel size"),
        (lambda: mera.build("tebd", L=10, m=4), LayoutError, "Expected a kernel that divides.*node 'even0'"),
        (lambda: mera.build("tebd", depth=2.0), ValueError, "Expected depth as an integer"),
        (lambda: mera.build("glow", L=4, channels=1), LayoutError, "at least 2 channels"),
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
        (lambda f: f(torch.zeros(1, 8, 8)), r"Expected data of shape \(B, 1, 8, 8\); got \(1, 8, 8\)"),
        (lambda f: f(torch.zeros(2, 1, 8, 8).double()), "Expected data of dtype torch.float32.*got torch.float64"),
        (lambda f: f.log_prob(torch.zeros(2, 1, 8, 8).int()), "got torch.int32"),
        (lambda f: f([1.0]), "Expected data as a tensor; got list"),
        (lambda f: f.inverse(torch.zeros(2, 1, 8, 8)), "a tuple of 2 tensors.*got Tensor"),
        (lambda f: f.inverse(None), "a tuple of 2 tensors.*got NoneType"),
        (lambda f: f.initialize(torch.zeros(0, 1, 8, 8)), "Expected at least one example to start from; got none"),
        (lambda f: f.initialize(torch.full((2, 1, 8, 8), math.nan)), "finite data to start from; got 128 infinite"),
        (lambda f: f.initialize(torch.ones(8, 1, 8, 8)), "; got 16 constant.*node 'disentangler0'"),
        (lambda f: f.initialize(torch.randn(1, 1, 8, 8)), "at least 2 values of each.*'disentangler1'"),
        (lambda f: f.inverse(f.sample_latents(2)[:1]), "Expected latents as a tuple of 2 tensors.*got 1 tensors"),
        (lambda f: f.inverse(f.sample_latents(2)[::-1]), "Expected latents of level 0 of shape"),
        (lambda f: f.inverse((f.sample_latents(2)[0], f.sample_latents(3)[1])), r"one batch size.*got \[2, 3\]"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 1, 8, 8)), "Expected images of dtype uint8; got torch.float32"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 3, 8, 8).byte()), "Expected images of shape"),
        (lambda f: f.sample(-1), "Expected a number of samples as an integer >= 0; got -1"),
        (lambda f: f.sample(2, temperature=[0.5]), "one for each of 2 levels"),
        (lambda f: f.sample(2, temperature=0.0), "Expected a positive temperature; got 0.0"),
        (lambda f: f.sample(2, temperature=torch.ones(3)), "one for each of 2 levels; got tensor"),
        (lambda f: f.sample(2, temperature="1"), "Expected a positive temperature; got '1'"),
        (lambda f: f.sample(2, temperature=True), "Expected a positive temperature; got True"),
        (lambda f: f.sample(2, temperature=None), "Expected a positive temperature; got None"),
        (lambda f: f.sample(2**31), r"Expected a number of samples as an integer below 2\^31; got 2147483648"),
        (lambda f: f(torch.zeros(2, 1, 8, 8).to_sparse()), "Expected data as a dense tensor; got one of layout"),
        (lambda f: f.inference_cone(torch.ones(8, 8, dtype=torch.bool, device="meta")), "Expected a dense mask with"),
        (lambda f: f.to_images(torch.full((1, 1, 8, 8), math.nan)), "Expected data without NaN; got 64 values"),
        (lambda f: f.bits_per_dim(IMAGES, noise=torch.ones(2, 1, 8, 8)), r"Expected noise in \[0, 1\); got 1 to 1"),
        (lambda f: f.bits_per_dim(IMAGES, noise=-torch.rand(2, 1, 8, 8)), r"Expected noise in \[0, 1\); got -"),
        (lambda f: f.bits_per_dim(IMAGES, noise=torch.full((2, 1, 8, 8), math.nan)), "Expected noise in"),
        (lambda f: f.inpaint(torch.zeros(1, 1, 8, 8), (2, 3), console="x"), "Expected a rich.*Console .*; got 'x'"),
        (lambda f: f.inpaint(torch.zeros(1, 1, 8, 8), (2, 3), step=3), "an option of inpaint .*did you mean 'steps'"),
        (lambda f: f.rsample_and_log_prob(-1), "Expected a number of samples as an integer >= 0; got -1"),
        (lambda f: f.to_images(torch.zeros(1, 2, 8, 8)), "Expected data of 1 channels in 2 dimensions"),
        (lambda f: f.to_images(torch.zeros(1, 8, 8)), "Expected data of 1 channels in 2 dimensions"),
        (lambda f: f.from_images(torch.zeros(1, 1, 8, 8)), "Expected images of dtype uint8"),
        (lambda f: f(torch.zeros(2, 1, 8, 8, device="meta")), "Expected data on cpu, where the flow is; got meta"),
        (lambda f: f.to_lattice(torch.zeros(1)), "Expected latents as a tuple"),
        (lambda f: f.from_lattice(torch.zeros(1, 1, 4, 4)), "Expected latents on the lattice of shape"),
        (lambda f: f.initialize(torch.zeros(1, 1, 4, 4)), "Expected data of shape"),
        (lambda f: f(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3)), "Expected no context"),
        (lambda f: f.sample(2, 0.5), "Expected no context"),
        (lambda f: f.distribution(3), "Expected no context"),
        (lambda f: f.distribution().log_prob(None), "Expected values .*; got NoneType"),
        (lambda f: f.bits_per_dim(torch.zeros(2, 1, 8, 8).byte(), noise=0.5), "Expected noise as a tensor; got float"),
        (lambda f: f.to_images(torch.zeros(1, 1, 8, 8).int()), "Expected data as floats"),
        (lambda f: mera.Flow(f.layout, preprocess="x"), "Expected a bijector to preprocess images; got str"),
        (lambda f: mera.save(None, "x"), "Expected a Flow; got NoneType"),
        (lambda f: mera.load(None), "Expected a path; got None"),
        (lambda f: draw_layout(f.layout, dimension=2), "Expected a dimension from -2 to 1; got 2"),
        (lambda f: draw_layout(f.layout, dimension=None), "Expected a dimension"),
        (lambda f: draw_layout(f), "Expected a Layout; got Flow"),
        (lambda f: mera.load_rgflow_checkpoint(None), "Expected a path; got None"),
        (lambda f: f.inpaint(torch.zeros(1, 1, 8, 8), (2, 3), draws=None), "Expected draws as an integer >= 1; got"),
        (lambda f: mera.build("glow", m=None), "Expected the width m as an integer >= 2; got None"),
        (lambda f: mera.train.Settings(steps=0), "Expected steps as an integer >= 1; got 0"),
        (lambda f: mera.train.Settings(precision=None), "Expected a precision among"),
        (lambda f: mera.bijectors.register(None), "Expected a name of a bijector as text; got None"),
        (lambda f: png_path("script.py"), r"Expected the path of a PNG; got script\.py"),
    ],
)  # fmt: skip
def test_bad_calls(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow = MODELS["rgflow"]()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call(flow)


@pytest.mark.parametrize(
    ("name", "context", "message"),
    [
        ("rgflow", None, r"Expected a context, \(B, 3\), as the flow is conditional; got none"),
        ("rgflow", torch.zeros(2, 4), r"Expected a context, \(B, 3\), for B = 2 or 1; got \(2, 4\)"),
        ("rgflow", torch.zeros(3, 3), r"for B = 2 or 1; got \(3, 3\)"),
        ("rgflow", torch.zeros(2, 3).int(), "Expected a context of floats; got torch.int32"),
        ("rgflow", [0.0], "got list"),
        ("rgflow-classes", torch.zeros(2, dtype=torch.cfloat), "Expected class numbers, integers; got torch.complex"),
        ("rgflow-classes", torch.zeros(2), "Expected class numbers, integers; got torch.float32"),
        ("rgflow-classes", torch.tensor([0, 5]), "Expected class numbers from 0 to 4; got 0 to 5"),
        ("rgflow-classes", torch.tensor([[0], [1]]), r"B class numbers, for B = 2 or 1; got \(2, 1\)"),
    ],
)  # fmt: skip
def test_bad_contexts(name, context, message):
    flow = CONDITIONAL[name]()
    for call in (lambda: flow.log_prob(batch(flow).float(), context), lambda: flow.sample(2, context)):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            call()
