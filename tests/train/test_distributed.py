"""Several processes on one machine are one process: the same weights, the same numbers, the same samples."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mera
from mera.train import RunFolder
from tests import helpers
from tests.tables.models import ONE_EACH

WORKER = Path(helpers.__file__).parent / "train_worker.py"


TORCHRUN = "-m torch.distributed.run --standalone --nproc-per-node={}"
ACCELERATE = "-m accelerate.commands.launch --cpu --num_machines 1 --mixed_precision no --dynamo_backend no "\
    "--main_process_port 29617 --num_processes {}"  # fmt: skip


def launch(processes: int, *arguments, worker: Path = WORKER, by: str = TORCHRUN) -> str:
    """Run a worker in so many processes, as a launcher starts them; what they print."""
    launcher = by.format(processes).split()
    command = [sys.executable, *(launcher if processes > 1 else []), str(worker), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(WORKER.parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def close(path: Path, other: Path) -> None:
    """Weights, metrics and samples of two runs agree to 1e-9, in float64."""
    first, second = RunFolder(path), RunFolder(other)
    weights = mera.load(second.path).state_dict()
    for name, tensor in mera.load(first.path).state_dict().items():
        torch.testing.assert_close(tensor, weights[name], atol=1e-9, rtol=0, msg=name)
    for line, same in zip(first.metrics(), second.metrics(), strict=True):
        assert line == pytest.approx(same | {key: line[key] for key in line if key.endswith("seconds")}, abs=1e-9)
    samples, others = (torch.load(run.path / "samples.pt", weights_only=True) for run in (first, second))
    torch.testing.assert_close(samples, others, atol=1e-8, rtol=0)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    launch(1, "images", path, 6)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "by"), [(2, TORCHRUN), (4, TORCHRUN), (2, ACCELERATE)])
def test_processes_that_share_a_batch_equal_one(tmp_path, alone, processes, by):
    launch(processes, "images", tmp_path / "run", 6, by=by)
    close(alone, tmp_path / "run")


@pytest.mark.slow
def test_processes_that_learn_an_action_equal_one(tmp_path):
    launch(1, "action", tmp_path / "alone", 10)
    launch(2, "action", tmp_path / "shared", 10)
    close(tmp_path / "alone", tmp_path / "shared")


@pytest.mark.slow
def test_shared_gradients_of_every_model():
    printed = launch(2, worker=WORKER.with_name("ddp_worker.py"))
    lines = [line for line in printed.splitlines() if not line.startswith("[Gloo]")]
    assert lines == [f"{name} agrees" for name in [*ONE_EACH.values(), "conditional"]]


@pytest.mark.slow
def test_the_best_weights_follow_the_losses_of_the_first_process(tmp_path):
    """Each process evaluates by itself, and losses that differ must not let the weights drift apart."""
    printed = launch(2, "best", tmp_path, 4)
    first, second = re.findall(r"\[\d[^]]*\]", printed)  # two processes may print into one line
    assert first == second
    assert json.loads(first)[0] == 4  # no loss of the first process is worse than one before


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, alone):
    launch(2, "images", tmp_path / "run", 2)  # stops after two steps
    assert RunFolder(tmp_path / "run").state()["step"] == 2
    launch(1, "images", tmp_path / "run", 6)
    close(alone, tmp_path / "run")
