"""Measurements that are kept: interrupted, killed, resumed, and analysed afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from filelock import FileLock

import mera
from mera import physics
from mera.cli.measure import SAMPLERS
from mera.physics import FreeField, Phi4, sampler
from mera.physics.record import Folder
from tests.helpers.laws import randomize

SHAPE = (1, 4, 6)


def small_flow(seed=0, **options):
    torch.manual_seed(seed)
    options = {"channels": 1, "hidden": (6,), "layers": 1, "norm": False, "prior": "gaussian"} | options
    return mera.build("rgflow", L=(4, 8), m=2, **options).double()


def seeded(function, *arguments, **options):
    """The result of a sampler after one seed."""
    torch.manual_seed(5)
    return function(*arguments, **options)


def interrupted(monkeypatch, after):
    """Let the sampler be interrupted after some draws, as Ctrl-C would."""

    class Stopping(sampler.ProgressBar):
        count = 0

        def update(self, *arguments):
            self.count += 1
            if self.count == after:
                os.kill(os.getpid(), signal.SIGINT)
            super().update(*arguments)

    monkeypatch.setattr(sampler, "ProgressBar", Stopping)


def assert_same(chain, other):
    assert chain.history.keys() == other.history.keys()
    for name, values in chain.history.items():
        assert torch.equal(values, other.history[name]), name
    assert torch.equal(chain.fields, other.fields)
    assert (chain.log_weights is None) == (other.log_weights is None)
    assert chain.log_weights is None or torch.equal(chain.log_weights, other.log_weights)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SAMPLERS)
def test_an_interrupted_measurement_goes_on_bit_by_bit(tmp_path, monkeypatch, name):
    measure, flow, action = SAMPLERS[name], small_flow(), Phi4(1.0, 0.5)
    options = {"every": 2, "chains": 5, "draws": 900 if name == "metropolis" else 12, "warmup": 7}
    options = {"reweighting": {"n": 5000, "every": 2}, "annealing": {"particles": 16}}.get(name, options)
    whole = seeded(measure, flow, action, out=tmp_path / "whole", **options)
    assert_same(whole, seeded(measure, flow, action, **options))
    for after in (3, 4) if name != "annealing" else (1, 3):
        with monkeypatch.context() as patch:
            interrupted(patch, after)
            with pytest.raises(KeyboardInterrupt):
                seeded(measure, flow, action, out=tmp_path / "parts", resume=True, **options)
    assert_same(measure(flow, action, out=tmp_path / "parts", resume=True, **options), whole)
    assert_same(physics.load_chain(tmp_path / "parts"), whole)


@pytest.mark.parametrize(
    ("name", "options", "draws"),
    [
        ("hmc", {"chains": 19, "warmup": 5, "every": 5}, (10, 20)),
        ("metropolis", {"chains": 3, "warmup": 4}, (166, 332)),  # whole batches of 500 // 3 proposals
    ],
)
def test_a_measurement_that_is_prolonged_is_the_longer_one(tmp_path, name, options, draws):
    measure, flow = SAMPLERS[name], small_flow()
    long = seeded(measure, flow, FreeField(1.0), draws=draws[-1], **options)
    for n in draws:
        found = seeded(measure, flow, FreeField(1.0), draws=n, out=tmp_path, resume=True, **options)
        assert found.history["m2"].shape == (n, options["chains"])
    assert_same(found, long)


def test_kept_fields_are_those_that_were_measured():
    chain = physics.hmc(SHAPE, FreeField(1.0), draws=10, chains=12, every=3)
    torch.testing.assert_close(chain.fields.square().mean((1, 2, 3)).view(-1, 12), chain.history["phi2"][2::3])
    last = physics.hmc(SHAPE, FreeField(1.0), draws=10, chains=12)
    torch.testing.assert_close(last.fields.square().mean((1, 2, 3)), last.history["phi2"][-1])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("n", "every"), [(1001, 2), (15, 10)])
def test_kept_samples_of_a_flow(tmp_path, n, every):
    """Every k-th sample over all batches, of one folder and of two."""
    flow, action = randomize(small_flow()), FreeField(1.0)
    kept = [physics.estimate(flow, action, n, every=every, batch_size=333, out=tmp_path / name) for name in ("a", "b")]
    both = physics.load_chain([tmp_path / "a", tmp_path / "b"])
    for report, fields in ((kept[0], n // every), (both, 2 * (n // every))):
        assert report.fields.shape == (fields, 1, 4, 8)
        torch.testing.assert_close(report.field_actions, action(report.fields).detach())
    phi2 = kept[0].history["phi2"][every - 1 :: every]
    torch.testing.assert_close(kept[0].fields.square().mean((1, 2, 3)), phi2)


KILLED = """
import sys, torch
from mera import physics
from mera.physics import sampler
torch.set_num_threads(1)
torch.manual_seed(5)
assert sampler.WRITE_SECONDS > 0
sampler.WRITE_SECONDS = 0  # each draw is written
physics.hmc((1, 4, 6), physics.FreeField(), draws=150, chains=12, every=100, out=sys.argv[1], resume=True)
"""


@pytest.mark.slow
def test_a_killed_measurement_goes_on(tmp_path):
    """Kill with SIGKILL, twice, once something is written; the measurement is then that which ran through."""
    for files in (3, 9):
        process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "killed"])
        while len(list((tmp_path / "killed").glob("[0-9]*.npz"))) < files:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    for name in ("killed", "whole"):
        subprocess.run([sys.executable, "-c", KILLED, tmp_path / name], check=True)
    assert_same(physics.load_chain(tmp_path / "killed"), physics.load_chain(tmp_path / "whole"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_several_folders_are_one_measurement(tmp_path):
    """Chains of other seeds stand side by side, as far as all of them go; samples follow one another.

    Equal chains do not count twice: of a folder that is given twice, of a copy, and those that began with one seed.
    """
    for name, seed, draws in (("1", 1, 20), ("2", 2, 30), ("equal", 1, 30)):
        torch.manual_seed(seed)
        physics.hmc(SHAPE, FreeField(), chains=3, draws=draws, warmup=20, out=tmp_path / name)
    shutil.copytree(tmp_path / "1", tmp_path / "copy")
    for folders in (("1", "1"), ("1", "2", "copy"), ("1", "equal")):
        with pytest.raises(ValueError, match="Expected measurements with different seeds; got one start, of seed 1"):
            physics.load_chain([tmp_path / name for name in folders])
    one, two = (physics.load_chain(tmp_path / name) for name in ("1", "2"))
    both = physics.load_chain([tmp_path / "1", tmp_path / "2"])
    assert torch.equal(both.history["m2"], torch.cat([one.history["m2"], two.history["m2"][:20]], 1))
    assert torch.equal(both.fields, torch.cat([one.fields, two.fields]))
    assert both.seconds == pytest.approx(one.seconds + two.seconds)
    own = {"mine": lambda phi: phi[:, 0, 0, 0]}
    for action, observables, message in (
        (FreeField(2.0), None, "action"), (FreeField(), own, "observable mine"),
    ):  # fmt: skip
        physics.hmc(SHAPE, action, chains=3, draws=20, warmup=20, out=tmp_path / message, observables=observables)
        for folders in (("1", message), (message, "1")):
            with pytest.raises(ValueError, match=f"Expected the {message} of the measurement in"):
                physics.load_chain([tmp_path / name for name in folders])
    flow = small_flow()
    for name in ("a", "b"):
        physics.estimate(flow, FreeField(4.0), 600, out=tmp_path / name)
    parts = [physics.load_chain(tmp_path / name).log_weights for name in ("a", "b")]
    assert torch.equal(physics.load_chain([tmp_path / "a", tmp_path / "b"]).log_weights, torch.cat(parts))


def test_a_measurement_without_draws_takes_the_seed_of_the_next_call(tmp_path, monkeypatch):
    """One that ended before it wrote draws has no state to go on from: the next draws are of another seed."""
    options = {"chains": 3, "draws": 20, "warmup": 20}
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "append_piece", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seeded(physics.hmc, SHAPE, FreeField(), out=tmp_path / "a", **options)
    for name in ("a", "b"):
        torch.manual_seed(6)
        physics.hmc(SHAPE, FreeField(), out=tmp_path / name, resume=name == "a", **options)
    with pytest.raises(ValueError, match="got one start, of seed 6"):
        physics.load_chain([tmp_path / "a", tmp_path / "b"])


def test_derived_quantities():
    """A ratio whose exact value is known for a Gaussian, and errors that are those of the table."""
    chain = physics.hmc(SHAPE, FreeField(2.0), draws=200, warmup=60)
    found = chain.derive(lambda mean: mean["m4"] / mean["m2"] ** 2)
    assert abs(found.value - 3) < 5 * found.error
    binder = chain.derive(lambda mean: 1 - mean["m4"] / (3 * mean["m2"] ** 2))
    assert binder == pytest.approx(chain.observables["binder"])
    with pytest.raises(KeyError, match="wrong"):
        chain.derive(lambda mean: mean["wrong"])
    for function in (
        lambda mean: torch.stack([mean["m2"]] * 2), lambda mean: mean["m2"].detach(),
        lambda mean: torch.fft.rfft(mean["correlator"])[1],
    ):  # fmt: skip
        with pytest.raises(RuntimeError):
            chain.derive(function)


def test_what_is_refused(tmp_path):
    action, options = FreeField(1.0), {"draws": 10, "out": tmp_path}
    physics.hmc(SHAPE, action, **options)
    with pytest.raises(FileExistsError, match="Expected a folder without a measurement"):
        physics.hmc(SHAPE, action, **options)
    for change, name in (({"chains": 8}, "chains"), ({"warmup": 3}, "warmup"), ({"every": 2}, "every")):
        with pytest.raises(ValueError, match=f"Expected the {name} of the measurement"):
            physics.hmc(SHAPE, action, resume=True, **options, **change)
    with pytest.raises(ValueError, match="Expected the action of the measurement"):
        physics.hmc(SHAPE, FreeField(2.0), resume=True, **options)
    with pytest.raises(FileNotFoundError, match="Expected the folder of a measurement"):
        physics.load_chain(tmp_path / "c")
    with pytest.raises(ValueError, match="Expected one folder of a measurement or several"):
        physics.load_chain([])


def test_a_flow_of_bounded_support_moves_chains():
    physics.hmc(small_flow(prior="Uniform(low=-1, high=1)"), FreeField(1.0), draws=8, chains=8, warmup=2)


def test_another_flow_is_refused(tmp_path):
    """Also another fixed context, and another bound of a spline."""
    bounded = small_flow(transform="spline(bound=6)"), small_flow(transform="spline(bound=0.1)")
    conditional = randomize(small_flow(context=1))
    given = [conditional.given(torch.tensor([[c]], dtype=torch.float64)) for c in (0.5, -1.0)]
    for i, (one, other) in enumerate(((randomize(small_flow()), small_flow()), map(randomize, bounded), given)):
        options = {"draws": 10, "warmup": 0, "out": tmp_path / str(i)}
        physics.metropolis(one, FreeField(1.0), **options)
        with pytest.raises(ValueError, match="Expected the flow of the measurement"):
            physics.metropolis(other, FreeField(1.0), resume=True, **options)


def test_other_functions_of_the_same_name_are_refused(tmp_path):
    """Own actions and observables; a function in another place of the memory is the same if its values are."""

    def action(k):
        return lambda phi: (k * phi.square()).flatten(1).sum(1)

    def own(k):
        return {"mine": lambda phi: phi[:, 0, 0, 0] + k}

    options = {"draws": 10, "warmup": 5, "out": tmp_path}
    physics.hmc(SHAPE, action(1), observables=own(0), **options)
    physics.hmc(SHAPE, action(1), observables=own(0), resume=True, **options)
    for k, c, message in ((2, 0, "action"), (1, 1, "observable mine")):
        with pytest.raises(ValueError, match=f"Expected the {message} of the measurement"):
            physics.hmc(SHAPE, action(k), observables=own(c), resume=True, **options)


def test_a_run_is_not_resumed_with_another_action_of_its_name(tmp_path):
    def action(k):
        return lambda phi: (k * phi.square()).flatten(1).sum(1)

    options = {"run": tmp_path / "run", "batch_size": 16, "quiet": True}
    mera.train.fit(small_flow(), action(1.0), steps=2, **options)
    with pytest.raises(ValueError, match="values of the action"):
        mera.train.fit(small_flow(), action(1.2), steps=4, resume=True, **options)


def test_two_writers_and_a_missing_file(tmp_path):
    options = {"warmup": 5, "out": tmp_path, "resume": True}
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(FileExistsError, match="to which no other process writes"),
    ):
        physics.hmc(SHAPE, FreeField(), draws=10, **options)
    physics.hmc(SHAPE, FreeField(), draws=10, **options)
    physics.hmc(SHAPE, FreeField(), draws=20, **options)
    (tmp_path / "000000.npz").unlink()
    with pytest.raises(ValueError, match="Expected all draws of"):
        physics.load_chain(tmp_path)
    with pytest.raises(ValueError, match="Expected all draws of"):
        physics.hmc(SHAPE, FreeField(), draws=30, **options)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_draws_vouch_for_their_place(tmp_path):
    """Files of one measurement under each other's names."""
    options = {"warmup": 5, "resume": True, "out": tmp_path}
    for draws in (10, 20):
        physics.hmc(SHAPE, FreeField(), draws=draws, **options)
    first, second = tmp_path / "000000.npz", tmp_path / "000001.npz"
    kept = [first.read_bytes(), second.read_bytes()]
    first.write_bytes(kept[1])
    second.write_bytes(kept[0])
    for read in (lambda: physics.load_chain(tmp_path), lambda: physics.hmc(SHAPE, FreeField(), draws=30, **options)):
        with pytest.raises(
            ValueError,
            match=r"000000.npz: Expected a file as mera wrote it for this measurement; got one that is damaged",
        ):
            read()


def test_too_few_draws_yet(tmp_path, monkeypatch):
    interrupted(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        physics.hmc(SHAPE, FreeField(1.0), draws=10, out=tmp_path)
    assert Folder(tmp_path).exists
    with pytest.raises(ValueError, match="Expected a measurement with at least 8 draws"):
        physics.load_chain(tmp_path)


def test_counts_of_numpy_and_a_start_of_chains_are_kept_as_facts(tmp_path):
    """The start says how many chains there are, and their dtype."""
    start = torch.randn(3, *SHAPE)
    options = {"out": tmp_path / "a", "warmup": np.int64(5), "every": np.int64(2)}
    physics.hmc(SHAPE, FreeField(), draws=np.int64(10), start=start, **options)
    facts = Folder(tmp_path / "a").facts()
    assert (facts["chains"], facts["dtype"]) == (3, "float32")
    with pytest.raises(ValueError, match=r"Expected the dtype of the measurement in .*, 'float32'; got 'float64'"):
        physics.hmc(SHAPE, FreeField(), draws=20, resume=True, **options)
