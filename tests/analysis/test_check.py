"""`mera.check` finds each broken law, and passes everything of the package."""

import json
import math

import pytest
import torch
from torch import nn

import mera
from mera import data, physics
from mera.analysis.laws import LawError
from mera.bijectors import ActNorm, Bijector, Coupling, Gather, checkerboard, named
from mera.train import RunFolder, fit
from tests.helpers.command import plain, run
from tests.helpers.training import IMAGES, SHORT, small_flow
from tests.tables.bijectors import BIJECTORS

SHAPE = (2, 3, 2)


class Scale(Bijector):
    """y = x e^s, right in every respect; a subclass breaks one law."""

    def __init__(self, event_shape=SHAPE):
        super().__init__(event_shape)
        self.log_scale = torch.nn.Parameter(torch.tensor(0.3))

    def log_det(self, x):
        return self.log_scale * x[0].numel() + torch.zeros(len(x)).to(x)

    def forward(self, x):
        return x * self.log_scale.exp(), self.log_det(x)

    def inverse(self, y):
        return y * (-self.log_scale).exp(), -self.log_det(y)


class WrongLogDet(Scale):
    def log_det(self, x):
        return self.log_scale + torch.zeros(len(x)).to(x)


class WrongInverse(Scale):
    def inverse(self, y):
        return y * (-0.9 * self.log_scale).exp(), -self.log_det(y)


class WrongSign(Scale):
    def inverse(self, y):
        return y * (-self.log_scale).exp(), self.log_det(y)


class OfTheBatch(Scale):
    def forward(self, x):
        shift = x.mean() if len(x) > 1 else 0
        return x * self.log_scale.exp() + shift, self.log_det(x)


class Dead(Scale):
    def __init__(self, event_shape=SHAPE):
        super().__init__(event_shape)
        self.unused = torch.nn.Parameter(torch.zeros(2))


class WrongShape(Scale):
    def log_det(self, x):
        return super().log_det(x)[:, None]


class Passive(Scale):
    passive = 1


class Narrow(Scale):
    receptive_kernel = (1, 1)

    def forward(self, x):
        return x * self.log_scale.exp() + 0.1 * x.roll(1, 2), self.log_det(x)


class WrongBySite(Scale):
    """Says that it can be evaluated on boxes, with log-dets of sites that do not add up."""

    per_site = is_local = True

    def by_site(self, x, context=None, inverse=False):
        y, log_det = self.inverse(x) if inverse else self(x)
        return y, log_det.view(-1, *[1] * (x.ndim - 2)).expand(len(x), *x.shape[2:])


BROKEN = {
    WrongBySite: "log-dets of sites add up",
    WrongLogDet: "log-det is that of the Jacobian",
    WrongInverse: "inverse undoes forward",
    WrongSign: "log-dets of both directions cancel",
    OfTheBatch: "events do not depend on each other",
    Dead: "a gradient for every parameter",
    WrongShape: "forward and inverse run",
    Passive: "the first 1 channels stay as they are",
    Narrow: "nothing changes beyond the kernel (1, 1)",
}


@pytest.mark.parametrize("cls", BROKEN)
def test_broken_bijectors(cls):
    report = mera.check(cls())
    assert BROKEN[cls] in {law.name for law in report.failures}
    assert not report.ok
    with pytest.raises(LawError, match="laws fail"):
        report.raise_if_failed()


def test_a_right_bijector_of_your_own():
    report = mera.check(Scale())
    report.raise_if_failed()
    assert report.ok
    assert mera.check(Scale, shape=(1, 2)).ok
    assert str(report.table()).count("holds") == len(report.laws)
    assert "holds" in report._repr_html_()
    assert repr(report).endswith("all checked laws hold")


def test_a_density_of_two_variables_is_integrated():
    laws = {law.name: law.status for law in mera.check(Scale((1, 2))).laws}
    assert laws["a density integrates to 1"] == "holds"
    assert {law.name for law in mera.check(WrongLogDet((1, 2))).failures} >= {"a density integrates to 1"}


@pytest.mark.parametrize("name", BIJECTORS)
def test_bijectors_of_the_package(name):
    bijector = BIJECTORS[name]()
    if name == "dense":  # whose inverse is a sinh
        return
    mera.check(bijector).raise_if_failed()


@pytest.mark.parametrize("name", ["rgflow", "realnvp", "wavelet", "tebd"])
def test_models_of_the_package(name):
    channels = {} if name in ("glow", "realnvp", "wavelet") else {"channels": 1}
    mera.check(mera.build(name, L=9 if name == "ternary" else 8, hidden=(6,), **channels)).raise_if_failed()


@pytest.mark.parametrize("options", [{"classes": 4}, {"transform": "spline", "prior": "StudentT(df=5)"}])
def test_flows_with_options(options):
    mera.check(mera.build("rgflow", L=8, m=4, channels=1, hidden=(6,), **options)).raise_if_failed()


def test_other_densities():
    flow = mera.build("rgflow", L=8, m=4, channels=1, hidden=(6,), prior="gaussian")
    mera.check(mera.Symmetrized(flow)).raise_if_failed()
    mera.check(flow.layout).raise_if_failed()
    mera.check(mera.Prior("laplace")).raise_if_failed()
    angles = mera.build("rgflow", L=4, m=2, channels=1, hidden=(6,), norm=False, **physics.XY.flow_options)
    mera.check(angles).raise_if_failed()


def test_a_flow_with_a_wrong_bijector():
    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=WrongLogDet)
    assert "log-det is that of the Jacobian" in {law.name for law in mera.check(flow).failures}
    large = mera.build("rgflow", L=32, m=4, channels=1, bijector=WrongLogDet)
    assert "laws of node 'decimator0'" in {law.name for law in mera.check(large).failures}


@pytest.mark.parametrize("action", [physics.Phi4(), physics.Ising(), physics.XY(), physics.ON(), physics.DoubleWell()])
def test_actions(action):
    mera.check(action).raise_if_failed()


def test_wrong_actions():
    report = mera.check(lambda phi: phi.pow(3).sum((1, 2, 3)))
    assert [law.name for law in report.failures] == ["bounded from below"]
    assert not mera.check(physics.Phi4(), shape=(2, 4, 4)).ok


def test_data_sets():
    mera.check(IMAGES).raise_if_failed()
    mera.check(torch.randn(20, 1, 4, 4)).raise_if_failed()
    mera.check([torch.randn(1, 4, 4) for _ in range(12)]).raise_if_failed()
    leak = data.DataSplits("leak", 3, IMAGES.train, data.ArrayDataset(IMAGES.train.array[:5]))
    assert [law.found for law in mera.check(leak).failures] == ["5 in common"]
    x = torch.arange(80, dtype=torch.uint8).view(20, 1, 2, 2)
    classes = data.DataSplits(
        "classes", 1, data.ArrayDataset(x[:10], {"class": torch.zeros(10, dtype=torch.long)}),
        data.ArrayDataset(x[10:], {"class": torch.ones(10, dtype=torch.long)}),
    )  # fmt: skip
    assert [law.name for law in mera.check(classes).failures] == ["every class of the test is in the training"]


@pytest.mark.slow
def test_a_name_of_data_and_of_a_flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "msds1").mkdir()  # where commands have written pictures
    report = mera.check("msds1")
    report.raise_if_failed()
    names = [law.name for law in report.laws]
    assert "both splits have one shape and dtype" in names
    assert "cones of both directions agree" in names


def test_runs(tmp_path):
    folder = tmp_path / "run"
    fit(small_flow(), IMAGES, SHORT, folder)
    mera.check(folder).raise_if_failed()
    mera.check(RunFolder(folder)).raise_if_failed()
    mera.check(folder / "flow.safetensors").raise_if_failed()
    result = run("check", folder)
    assert result.exit_code == 0, result.output
    assert "all checked laws hold" in plain(result)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write("nothing\n")
    result = run("check", folder, "--json")
    assert result.exit_code == 1
    assert [law["name"] for law in json.loads(result.output)["laws"] if law["status"] == "fails"] == [
        "metrics can be read"
    ]
    (folder / "flow.safetensors").write_bytes(b"nothing")
    assert "the flow can be loaded, with finite weights" in {law.name for law in mera.check(folder).failures}


def test_the_same_numbers_at_each_call():
    bijector = named("coupling", {"hidden": (5,)})(SHAPE)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = repr(mera.check(bijector))
    assert torch.equal(torch.rand(1), expected)
    assert repr(mera.check(bijector)) == first


@pytest.mark.parametrize("cls", [WrongLogDet, WrongInverse, WrongSign, OfTheBatch])
def test_fit_checks_a_bijector_of_your_own(cls):
    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=cls)
    with pytest.raises(ValueError, match=r"node '\w+0': Expected .*; got an error of .* in .*mera\.check"):
        fit(flow, torch.randn(40, 1, 4, 4), steps=1)


def test_fit_checks_a_conditioner_of_your_own():
    """Batch normalisation makes an event depend on the others."""

    class OfTheBatchMean(nn.Module):
        def __init__(self, in_shape, out_shape, n_params):
            super().__init__()
            self.layer, self.shape = (
                nn.Linear(math.prod(in_shape), n_params * math.prod(out_shape)),
                (n_params, *out_shape),
            )

        def forward(self, x):
            return (self.layer(x.flatten(1)) + x.mean()).unflatten(1, self.shape)

    def make(event_shape):
        return Coupling(Gather(checkerboard(event_shape)), OfTheBatchMean)

    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=make)
    with pytest.raises(ValueError, match="node 'disentangler0': Expected the law"):
        fit(flow, torch.randn(40, 1, 4, 4), steps=1)


def test_fit_accepts_a_right_bijector_of_your_own():
    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=Scale)
    assert fit(flow, torch.randn(40, 1, 4, 4), steps=1).steps == 1
    assert mera.check(ActNorm(SHAPE)).ok


class WrongAwayFromTheStart(Scale):
    """The log-det is right where the scale is 1 alone."""

    def __init__(self, event_shape=SHAPE):
        super().__init__(event_shape)
        self.log_scale.data.zero_()

    def log_det(self, x):
        return super().log_det(x) + self.log_scale


def test_a_law_that_is_broken_away_from_the_start():
    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=WrongAwayFromTheStart)
    with pytest.raises(ValueError, match="Expected the law 'log-det is that of the Jacobian'; got an error of"):
        fit(flow, torch.randn(40, 1, 4, 4), steps=1)


@pytest.mark.parametrize(
    "prior",
    [
        "Normal(100.0, 1e-3)",
        "Normal(0.0, 1e-6)",
        "Gamma(0.1, 1.0)",
        "Beta(0.5, 0.5)",
        "laplace",
        "Cauchy(3.0, 0.1)",
        "HalfNormal(1e5)",
        "LogNormal(0.0, 5.0)",
    ],
)
def test_priors_of_any_scale_integrate_to_one(prior):
    assert mera.check(mera.Prior(prior)).ok
