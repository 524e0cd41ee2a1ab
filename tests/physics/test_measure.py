"""Measurements that are kept: interrupted, killed, resumed, shared between processes, and analysed afterwards."""

import json
import os
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
from mera.physics import FreeField, Phi4, jobs
from mera.physics.storage import Storage
from tests.helpers.laws import randomize

SAMPLERS = ["reweighting", "metropolis", "hmc"]
SHAPE = (1, 4, 6)


def small_flow(seed=0, **options):
    torch.manual_seed(seed)
    options = {"channels": 1, "hidden": (6,), "layers": 1, "norm": False, "prior": "gaussian"} | options
    return mera.build("rgflow", L=(4, 8), m=2, **options).double()


def interrupted(monkeypatch, after):
    """Let the sampler be interrupted after some moves, as Ctrl-C would."""

    advance, count = jobs.advance, iter(range(10**6))

    def stopping(sampler, recorder, warmup, until, done, then):
        def counted(done, rates):
            if next(count) == after:
                os.kill(os.getpid(), signal.SIGINT)
            return then(done, rates)

        return advance(sampler, recorder, warmup, until, done, counted)

    monkeypatch.setattr(jobs, "advance", stopping)


def assert_same(chain, other):
    assert chain.history.keys() == other.history.keys()
    for name, values in chain.history.items():
        assert torch.equal(values, other.history[name]), name
    assert torch.equal(chain.fields, other.fields)
    assert (chain.log_weights is None) == (other.log_weights is None)
    assert chain.log_weights is None or torch.equal(chain.log_weights, other.log_weights)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_interrupted_measurement_goes_on_bit_by_bit(tmp_path, monkeypatch, sampler):
    options = {"sampler": sampler, "samples": 60 if sampler != "reweighting" else 5000, "chains": 5, "every": 2}
    if sampler != "reweighting":
        options["warmup"] = 7
    flow, action = small_flow(), Phi4(1.0, 0.5)
    whole = physics.measure(flow, action, tmp_path / "whole", **options)
    for after in (3, 4):
        with monkeypatch.context() as patch:
            interrupted(patch, after)
            with pytest.raises(KeyboardInterrupt):
                physics.measure(flow, action, tmp_path / "parts", resume=True, **options)
    assert_same(physics.measure(flow, action, tmp_path / "parts", resume=True, **options), whole)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_more_chains_than_a_part_has_and_more_samples(tmp_path):
    action = FreeField(1.0)
    options = {"sampler": "hmc", "chains": 19, "warmup": 5, "every": 5}
    short = physics.measure(SHAPE, action, tmp_path / "a", samples=190, **options)
    assert short.history["m2"].shape == (10, 19)
    assert short.fields.shape == (2 * 19, *SHAPE)
    assert short.is_complete
    long = physics.measure(SHAPE, action, tmp_path / "a", samples=380, resume=True, **options)
    assert torch.equal(long.history["m2"][:10], short.history["m2"])
    assert torch.equal(long.fields[: 2 * 19], short.fields)
    parts = long.history["m2"].unbind(1)
    assert len({tuple(part.tolist()) for part in parts}) == 19  # no two chains have the same random numbers


def test_kept_fields_are_those_that_were_measured(tmp_path):
    chain = physics.measure(SHAPE, FreeField(1.0), tmp_path, sampler="hmc", samples=120, chains=12, every=3)
    kept = chain.fields.square().mean((1, 2, 3)).view(-1, 12)
    torch.testing.assert_close(kept, chain.history["phi2"][2::3])
    torch.testing.assert_close(chain.result.fields.square().mean((1, 2, 3)), chain.history["phi2"][-1])


KILLED = """
import sys, torch
from mera import physics
from mera.physics import jobs
torch.set_num_threads(1)
jobs.EVERY = 0
physics.measure((1, 4, 6), "free", sys.argv[1], sampler="hmc", samples=2_000, chains=12, resume=True, every=100)
"""


@pytest.mark.slow
def test_a_killed_measurement_goes_on(tmp_path):
    """Kill with SIGKILL, twice, once something is written; the measurement is then that which ran through."""
    whole = physics.measure((1, 4, 6), "free", tmp_path / "whole", sampler="hmc", samples=2_000, chains=12, every=100)
    for files in (3, 9):
        process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "killed"])
        while len(list((tmp_path / "killed").glob("part-*/*.npz"))) < files:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "killed"], check=True)
    assert_same(physics.load_chain(tmp_path / "killed"), whole)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("sampler", ["reweighting", pytest.param("hmc", marks=pytest.mark.slow)])
def test_two_processes_measure_what_one_does(tmp_path, sampler):
    path = tmp_path / "flow.safetensors"
    mera.save(small_flow(), path)
    options = ["--action", "free", "--sampler", sampler, "--samples", "1200", "--chains", "16"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    one = [sys.executable, "-m", "mera"]
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mera"]
    for name, command in (("one", one), ("two", two)):
        subprocess.run(
            [*command, "measure", path, *options, "--out", tmp_path / name], check=True, env=environment, timeout=300
        )
    assert_same(*(physics.load_chain(tmp_path / name) for name in ("one", "two")))
    assert (tmp_path / "two" / "report.json").is_file()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_reweighting_is_that_of_estimate(tmp_path):
    """The same averages, with their errors, from other samples."""
    flow = small_flow()

    def action(phi):
        return FreeField(4.0)(0.4 * phi)

    fields = physics.hmc((1, 4, 8), action, draws=8).fields
    kept = physics.measure(flow, action, tmp_path, samples=4000, fields=fields)
    report = physics.estimate(flow, action, 4000, fields=fields)
    assert kept.result.n == 4000
    assert kept.log_weights.shape == (4000,)
    error = (kept.result.log_z_error**2 + report.log_z_error**2) ** 0.5
    assert abs(kept.result.log_z - report.log_z) < 5 * error
    assert kept.result.forward_ess == pytest.approx(report.forward_ess)


def test_derived_quantities(tmp_path):
    """Three methods agree on the error of a ratio, whose exact value is known for a Gaussian."""
    chain = physics.measure(SHAPE, FreeField(2.0), tmp_path, sampler="hmc", samples=16_000, every=0)
    assert chain.fields.shape == (0, *SHAPE)
    found = [
        chain.derive(lambda mean: mean["m4"] / mean["m2"] ** 2, method=m) for m in ("gamma", "jackknife", "bootstrap")
    ]
    for quantity in found:
        assert abs(quantity.value - 3) < 5 * quantity.error
        assert quantity.error == pytest.approx(found[0].error, rel=0.25)
    binder = chain.derive(lambda mean: 1 - mean["m4"] / (3 * mean["m2"] ** 2))
    assert binder == pytest.approx(chain.observables["binder"])
    with pytest.raises(ValueError, match="Expected a function that returns one number"):
        chain.derive(lambda mean: 3.0)
    with pytest.raises(ValueError, match="Expected at least 8 bins"):
        chain.derive(lambda mean: mean["m2"], "jackknife", bin_size=1001)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_derived_quantities_of_weighted_samples(tmp_path):
    flow = small_flow()
    kept = physics.measure(flow, lambda phi: 0.55 * phi.square().flatten(1).sum(1), tmp_path, samples=4000)
    for method in ("gamma", "jackknife"):
        found = kept.derive(lambda mean: mean["phi2"], method)
        assert found.value == pytest.approx(kept.observables["phi2"].value)
        assert found.error == pytest.approx(kept.observables["phi2"].error, rel=0.1)


def test_files_for_other_programs(tmp_path):
    chain = physics.measure(SHAPE, FreeField(1.0), tmp_path / "chain", sampler="hmc", samples=160)
    chain.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["history/m2"], chain.history["m2"].numpy())
        assert json.loads(str(file["facts"]))["seed"] == 0
    with pytest.raises(ValueError, match=r"Expected the name of a file \.npz"):
        chain.save(tmp_path / "a.txt")


def test_what_is_refused(tmp_path):
    action = FreeField(1.0)
    physics.measure(SHAPE, action, tmp_path, sampler="hmc", samples=160)
    with pytest.raises(FileExistsError, match="Expected a folder without a measurement"):
        physics.measure(SHAPE, action, tmp_path, sampler="hmc", samples=160)
    for change, name in (
        ({"seed": 1}, "seed"),
        ({"chains": 8}, "chains"),
        ({"warmup": 3}, "warmup"),
        ({"every": 0}, "every"),
    ):
        with pytest.raises(ValueError, match=f"Expected the {name} of the measurement"):
            physics.measure(SHAPE, action, tmp_path, sampler="hmc", samples=160, resume=True, **change)
    with pytest.raises(ValueError, match="Expected the action of the measurement"):
        physics.measure(SHAPE, FreeField(2.0), tmp_path, sampler="hmc", samples=160, resume=True)
    with pytest.raises(ValueError, match="Expected a flow for metropolis"):
        physics.measure(SHAPE, action, tmp_path / "b", sampler="metropolis")
    with pytest.raises(ValueError, match="Expected no warm-up for reweighting"):
        physics.measure(small_flow(), action, tmp_path / "b", warmup=3)
    with pytest.raises(FileNotFoundError, match="Expected the folder of a measurement"):
        physics.load_chain(tmp_path / "c")
    file = next((tmp_path / "part-000").glob("*.npz"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="Expected draws of a measurement in"):
        physics.load_chain(tmp_path)


def test_a_flow_of_bounded_support_moves_chains_and_does_not_reweight(tmp_path):
    flow = small_flow(prior="Uniform(low=-1, high=1)")
    for sampler in ("hmc",):
        physics.measure(flow, FreeField(1.0), tmp_path / sampler, sampler=sampler, samples=64, chains=8, warmup=2)
    with pytest.raises(ValueError, match="a density for every field"):
        physics.measure(flow, FreeField(1.0), tmp_path / "reweighting")


def test_another_flow_is_refused(tmp_path):
    """Also another fixed context, another bound of a spline, another own observable and another function as action."""
    bounded = small_flow(transform="spline(bound=6)"), small_flow(transform="spline(bound=0.1)")
    conditional = randomize(small_flow(context=1))
    given = [conditional.given(torch.tensor([[c]], dtype=torch.float64)) for c in (0.5, -1.0)]
    for i, (one, other) in enumerate(((randomize(small_flow()), small_flow()), map(randomize, bounded), given)):
        options = {"sampler": "metropolis", "samples": 160, "warmup": 0}
        physics.measure(one, FreeField(1.0), tmp_path / str(i), **options)
        with pytest.raises(ValueError, match="Expected the flow of the measurement"):
            physics.measure(other, FreeField(1.0), tmp_path / str(i), resume=True, **options)


def test_other_functions_of_the_same_name_are_refused(tmp_path):
    """Own actions and observables; a function in another place of the memory is the same if its values are."""

    def action(k):
        return lambda phi: (k * phi.square()).flatten(1).sum(1)

    def own(k):
        return {"mine": lambda phi: phi[:, 0, 0, 0] + k}

    options = {"sampler": "hmc", "samples": 160, "warmup": 5}
    physics.measure(SHAPE, action(1), tmp_path, observables=own(0), **options)
    physics.measure(SHAPE, action(1), tmp_path, observables=own(0), resume=True, **options)
    for k, c, message in ((2, 0, "action"), (1, 1, "observable mine")):
        with pytest.raises(ValueError, match=f"Expected the {message} of the measurement"):
            physics.measure(SHAPE, action(k), tmp_path, observables=own(c), resume=True, **options)


def test_two_writers_and_a_missing_file(tmp_path):
    options = {"sampler": "hmc", "samples": 160, "warmup": 5, "resume": True}
    Storage(tmp_path).part(0).path.mkdir(parents=True)
    with (
        FileLock(Storage(tmp_path).part(0).path / ".lock"),
        pytest.raises(FileExistsError, match="that no other process writes to"),
    ):
        physics.measure(SHAPE, "free", tmp_path, **options)
    physics.measure(SHAPE, "free", tmp_path, **options)
    physics.measure(SHAPE, "free", tmp_path, **options | {"samples": 320})
    (tmp_path / "part-000" / "000000.npz").unlink()
    with pytest.raises(ValueError, match="Expected files of draws with successive numbers"):
        physics.load_chain(tmp_path)
    with pytest.raises(ValueError, match="Expected files of draws with successive numbers"):
        physics.measure(SHAPE, "free", tmp_path, **options | {"samples": 480})


def test_metropolis_prolonged_is_the_longer_chain(tmp_path):
    flow, options = small_flow(), {"sampler": "metropolis", "chains": 3, "warmup": 4}
    long = physics.measure(flow, "free", tmp_path / "long", samples=900, **options)
    for samples in (90, 500, 900):
        found = physics.measure(flow, "free", tmp_path / "short", samples=samples, resume=True, **options)
    assert_same(found, long)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_kept_samples_of_a_flow_have_weights(tmp_path):
    """Every second batch of all parts together, with the weights of its samples."""
    flow, action = randomize(small_flow()), FreeField(1.0)
    kept = physics.measure(flow, action, tmp_path, samples=10_000, every=2)
    assert kept.fields.shape == (5000, 1, 4, 8)
    expected = -action(kept.fields) - flow.log_prob(kept.fields)
    torch.testing.assert_close(kept.field_log_weights, expected.detach())
    assert physics.measure(flow, action, tmp_path / "few", samples=5000).fields.shape[0] == 500


def test_too_few_draws_yet(tmp_path, monkeypatch):
    interrupted(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        physics.measure(SHAPE, FreeField(1.0), tmp_path, sampler="hmc", samples=160)
    assert Storage(tmp_path).is_started()
    with pytest.raises(ValueError, match="Expected a measurement with at least 8 draws"):
        physics.load_chain(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_samples_that_go_on_are_those_of_one_measurement(tmp_path):
    """Also if more are asked for later: batches have one size."""
    flow, action = small_flow(), FreeField(4.0)
    physics.measure(flow, action, tmp_path / "a", samples=600)
    longer = physics.measure(flow, action, tmp_path / "a", samples=1700, resume=True)
    assert_same(longer, physics.measure(flow, action, tmp_path / "b", samples=1700))
    assert longer.log_weights.shape == (2000,)
