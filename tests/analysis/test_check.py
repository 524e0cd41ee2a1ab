"""`mera.check` finds each broken law, and passes everything of the package."""

import json
import math
import shutil
from functools import partial

import pytest
import torch

import mera
from mera import data, physics
from mera.bijectors import Bijector, Coupling, Gather, LocalBijector, ResidualMLP, checkerboard, named
from mera.bijectors.local import equal_log_dets
from mera.train import RunFolder, fit
from tests.helpers.command import plain, run, succeed
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


class Dead(Scale):
    def __init__(self, event_shape=SHAPE):
        super().__init__(event_shape)
        self.unused = torch.nn.Parameter(torch.zeros(2))


class WrongAtSites(LocalBijector):
    """y = 2 x, whose log-dets of sites do not add up."""

    per_site = True

    def __init__(self, event_shape=SHAPE):
        super().__init__(event_shape)

    def on_sites(self, x, context, inverse, sites):
        log_det = equal_log_dets(torch.tensor(math.log(2)).to(x), x, inverse, sites)
        return x / 2 if inverse else 2 * x, log_det if sites is None else 2 * log_det


def wrong(**members):
    return type("Wrong", (Scale,), members)


def scaled(self, x, more=0):
    return x * self.log_scale.exp() + more, self.log_det(x)


BROKEN = {
    "log-det is that of the Jacobian": wrong(log_det=lambda self, x: self.log_scale + torch.zeros(len(x)).to(x)),
    "inverse undoes forward": wrong(inverse=lambda self, y: (y * (-0.9 * self.log_scale).exp(), -self.log_det(y))),
    "log-dets of both directions cancel": wrong(inverse=lambda self, y: (y * (-self.log_scale).exp(), self.log_det(y))),
    "events do not depend on each other": wrong(forward=lambda self, x: scaled(self, x, x.mean() if len(x) > 1 else 0)),
    "a gradient for every parameter": Dead,
    "forward and inverse run": wrong(log_det=lambda self, x: Scale.log_det(self, x)[:, None]),
    "the first 1 channels stay as they are": wrong(passive=1),
    "nothing changes beyond the kernel (1, 1)": wrong(
        receptive_kernel=(1, 1), forward=lambda self, x: scaled(self, x, 0.1 * x.roll(1, 2))
    ),
    "log-dets of sites add up": WrongAtSites,
}
"""Laws, and a bijector that breaks each of them."""
WRONG_LOG_DET = BROKEN["log-det is that of the Jacobian"]


@pytest.mark.parametrize("law", BROKEN)
def test_broken_bijectors(law):
    report = mera.check(BROKEN[law]())
    assert law in {law.name for law in report.failures}
    assert not report.ok
    assert "laws fail" in str(report)


def test_a_right_bijector_of_your_own():
    report = mera.check(Scale())
    assert report.ok
    with pytest.raises(ValueError, match=r"Expected a bijector, not its class, .* to check; got ABCMeta"):
        mera.check(Scale)
    assert report.ok
    assert str(report.table()).count("holds") == len(report.laws)
    assert "holds" in report._repr_html_()
    assert repr(report).endswith("all checked laws hold")
    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=Scale)
    assert fit(flow, torch.randn(40, 1, 4, 4), steps=1).steps == 1


def small(name, **options):
    return mera.build(name, **{"L": 8, "hidden": (6,)} | options)


RIGHT = {
    **{name: BIJECTORS[name] for name in ("named-details", "named-frames", *list(BIJECTORS)[::9]) if name != "dense"},
    "classes": lambda: small("rgflow", m=4, channels=1, classes=4),
    "splines": lambda: small("rgflow", L=4, m=2, channels=1, transform="spline", prior="StudentT(df=5)"),
    "circular": lambda: named("convolution(hidden=(3,), residual_blocks=0, padding='circular')")((1, 6, 7)),
    "mixture": lambda: mera.Symmetrized(small("rgflow", m=4, channels=1, prior="gaussian")),
    "layout": lambda: small("rgflow", m=4, channels=1, prior="gaussian").layout,
    "angles": lambda: small("rgflow", L=4, m=2, channels=1, norm=False, **physics.XY.flow_options),
    **{action.__name__: action for action in (physics.Phi4, physics.Ising, physics.XY, physics.ON, physics.DoubleWell)},
    "images": lambda: IMAGES,
    "fields": lambda: torch.randn(20, 1, 4, 4),
    "list": lambda: [torch.randn(1, 4, 4) for _ in range(12)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name):
    assert mera.check(RIGHT[name]()).ok


def test_a_flow_with_a_wrong_bijector():
    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=WRONG_LOG_DET)
    assert "log-det is that of the Jacobian" in {law.name for law in mera.check(flow).failures}
    large = mera.build("rgflow", L=32, m=4, channels=1, bijector=WRONG_LOG_DET)
    assert "laws of node 'decimator0'" in {law.name for law in mera.check(large).failures}


def test_a_map_that_is_not_onto_the_latents_is_found_in_the_samples_of_its_flow():
    squash = wrong(
        forward=lambda self, x: (x.atan(), -(1 + x.square()).log().flatten(1).sum(1)),
        inverse=lambda self, y: (y.tan(), (1 + y.tan().square()).log().flatten(1).sum(1)),
    )
    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=squash)
    assert "samples have the density of log_prob, torch.float32" in {law.name for law in mera.check(flow).failures}


def test_wrong_actions():
    report = mera.check(lambda phi: phi.pow(3).sum((1, 2, 3)))
    assert [law.name for law in report.failures] == ["bounded from below, and Z is finite"]
    assert not mera.check(physics.Phi4(), shape=(2, 4, 4)).ok


def test_wrong_data_sets():
    leak = data.DataSplits("leak", 3, IMAGES.train, data.ArrayDataset(IMAGES.train.array[:5]))
    assert [law.found for law in mera.check(leak).failures] == ["5 in common"]
    x = torch.arange(80, dtype=torch.uint8).view(20, 1, 2, 2)
    classes = data.DataSplits(
        "classes", 1, data.ArrayDataset(x[:10], {"class": torch.zeros(10, dtype=torch.long)}),
        data.ArrayDataset(x[10:], {"class": torch.ones(10, dtype=torch.long)}),
    )  # fmt: skip
    report = mera.check(classes)
    assert [law.name for law in report.failures] == ["every class of the test is in the training"]
    assert "10 of 10, values 0 to 39" in [law.found for law in report.laws]
    other = data.DataSplits("other", 1, classes.train, data.ArrayDataset(x[10:].view(10, 1, 4, 1)))
    assert [law.name for law in mera.check(other).failures] == ["both splits have one shape and dtype"]


@pytest.mark.slow
def test_a_name_of_data_and_of_a_flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "msds1").mkdir()  # where commands have written pictures
    report = mera.check("msds1")
    assert report.ok
    names = [law.name for law in report.laws]
    assert "both splits have one shape and dtype" in names
    assert "cones of both directions agree" in names


def test_a_path_that_is_no_file_is_refused():
    with pytest.raises(ValueError, match="Expected a folder of a run, a file, or the name of a trained flow"):
        mera.check("/dev/null")


def learnt(folder):
    """A run of a tiny flow, whose laws take little time."""
    flow = mera.build("rgflow", L=4, m=2, channels=1, layers=1, hidden=(4,))
    fit(flow, torch.randn(40, 1, 4, 4), SHORT, folder, eval_every=2)


def test_runs(tmp_path):
    folder = tmp_path / "run"
    learnt(folder)
    assert mera.check(RunFolder(folder)).ok
    assert mera.check(folder / "flow.safetensors").ok
    assert "all checked laws hold" in plain(succeed("check", folder))
    with open(folder / "metrics.jsonl", "a") as file:
        file.write("nothing\n")
    result = run("check", folder, "--json")
    assert result.exit_code == 1
    assert [law["name"] for law in json.loads(result.output)["laws"] if law["status"] == "fails"] == [
        "metrics can be read, and end at the last checkpoint"
    ]
    (folder / "flow.safetensors").write_bytes(b"nothing")
    assert "the flow can be loaded, with finite weights" in {law.name for law in mera.check(folder).failures}


def test_a_deleted_checkpoint_is_noticed(tmp_path):
    learnt(tmp_path)
    *_, before, last = RunFolder(tmp_path).steps()
    (tmp_path / "checkpoints" / f"step_{last:08}.pt").unlink()
    (law,) = mera.check(tmp_path).failures
    assert f"Expected a checkpoint of step {last}; got step {before}: a checkpoint was deleted" in law.found
    shutil.rmtree(tmp_path / "checkpoints")
    (law,) = mera.check(tmp_path).failures
    assert f"Expected a checkpoint of step {last}; got none" in law.found


def test_the_same_numbers_at_each_call():
    bijector = named("coupling", {"hidden": (5,)})(SHAPE)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = repr(mera.check(bijector))
    assert torch.equal(torch.rand(1), expected)
    assert repr(mera.check(bijector)) == first


class OfTheBatchMean(ResidualMLP):
    """A conditioner that, as batch normalisation does, makes an event depend on the others."""

    def forward(self, x):
        return super().forward(x) + x.mean()


OF_YOUR_OWN = [
    *list(BROKEN.items())[:3],
    (".*", BROKEN["events do not depend on each other"]),
    (".*", lambda shape: Coupling(Gather(checkerboard(shape)), partial(OfTheBatchMean, hidden=(4,)))),
    ("log-det is that of the Jacobian", wrong(log_det=lambda self, x: Scale.log_det(self, x) + self.log_scale - 0.3)),
]
"""Laws, and what breaks them; the last one is right at its start alone."""


@pytest.mark.parametrize(("law", "bijector"), OF_YOUR_OWN)
def test_fit_checks_what_is_of_your_own(law, bijector):
    flow = mera.build("rgflow", L=4, m=2, channels=1, bijector=bijector)
    with pytest.raises(
        ValueError, match=rf"node '\w+0': Expected the law '{law}'; got an error of .* in .*mera\.check"
    ):
        fit(flow, torch.randn(40, 1, 4, 4), steps=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mera.analysis.receptive_fields(3, [(0, 0, 0, 0)]),
        lambda: mera.analysis.strengths(None),
        lambda: mera.analysis.leading("flow", 0),
        lambda: mera.analysis.traverse(mera.Flow, (0, 0, 0, 0), [1.0], ()),
        lambda: mera.analysis.decompose([], torch.zeros(1)),
        lambda: mera.analysis.map_picture(None, torch.zeros(3, 8, 8, dtype=torch.uint8)),
        lambda: mera.analysis.mix_pictures(1, torch.zeros(3, 8, 8, dtype=torch.uint8), "b.png", [1]),
    ],
)
def test_what_is_no_flow_is_refused(call):
    with pytest.raises(ValueError, match=r"Expected a (mera\.)?Flow.*; got (int|NoneType|str|ABCMeta|list)"):
        call()


@pytest.mark.parametrize("call", [lambda: fit(small_flow(), IMAGES, run=3), lambda: mera.data.load(3)])
def test_what_is_no_path_is_refused(call):
    with pytest.raises(ValueError, match=r"Expected (a path|a file, a folder or a data set).*; got '?3"):
        call()
