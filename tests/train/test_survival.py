"""Nothing is lost: runs that are killed, disks that are full, files that are damaged."""

import errno
import io
import itertools
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from filelock import FileLock

import mera
from mera.train import RunFolder, fit
from tests.helpers.files import Malicious, truncate
from tests.helpers.training import IMAGES, SHORT, lines, same, small_flow

OPTIONS = [
    "--L", "8", "--layers", "1", "--hidden", "8", "--data", "msds1", "--eval-every", "5",
    "--data-options", "train_size=60 test_size=20",
    "--eval-images", "10", "--batch-size", "8", "--checkpoints", "3", "--ema", "0.9",
]  # fmt: skip


def mera_command(*arguments):
    return [sys.executable, "-m", "mera", *map(str, arguments)]


def train_command(path, steps):
    return mera_command("train", "rgflow", *OPTIONS, "--no-compile", "--steps", steps, "--out", path)


def start(command, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # one thread: sums in one order
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for_step(run, step, process):
    """Wait until a run has a checkpoint of a step or a later one; the process must not end before."""
    while not run.steps() or run.steps()[-1] < step:
        assert process.poll() is None, f"the run ended before step {step}: {process.communicate()[1]}"
        time.sleep(0.005)


def send(process, number, everyone=False):
    """Send a signal to a process that is alive, or to its group; its error output."""
    assert process.poll() is None, f"the process ended before it got signal {number}"
    os.killpg(process.pid, number) if everyone else process.send_signal(number)
    return process.communicate()[1]


def uninterrupted(path, steps):
    """A run to the end, and the seconds until its first checkpoint."""
    process, run, begin = start(train_command(path, steps)), RunFolder(path), time.monotonic()
    wait_for_step(run, 0, process)
    startup = time.monotonic() - begin
    assert process.communicate()[1] == ""
    assert run.state()["step"] == steps
    return run, startup


def survive(path, whole, startup, steps, kills, rng):
    """Train with `kills` signals, two of three at random steps, the others while a process starts; then to the end."""
    command, run, last = train_command(path, steps), RunFolder(path), -1
    for kill in range(kills):
        process, number = start(command), rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        training = kill % 3 < 2
        if training:  # so early that the run cannot end before the signal, but after a step of this process
            step = rng.randint(kill * steps // (2 * kills), (kill + 1) * steps // (2 * kills))
            wait_for_step(run, max(step, last + 1), process)
            time.sleep(rng.uniform(0, 0.02))
        else:
            time.sleep(rng.uniform(0, startup / 4))  # a process that resumes starts sooner than the first one
        errors = send(process, number)
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        elif training:
            assert (process.returncode, errors) == (0, "")
        elif number == signal.SIGTERM:
            assert "Error" not in errors  # SIGINT comes out as whatever it interrupts, while Python still imports
        last = run.steps()[-1]
        assert last < steps, "the signal came after the last step"
        command = mera_command("train", "--resume", path)
    process = start(command)
    assert process.communicate()[1] == ""
    assert lines(run) == lines(whole)
    assert same(mera.load(run.path), mera.load(whole.path))
    assert states_equal(run.state(), whole.state())
    assert not list(path.rglob("*.part"))


def states_equal(a, b):
    """Whether two states of training are the same, tensor by tensor, but for the seconds that the runs took."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(key in ("elapsed", "outside") or states_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(states_equal, a, b))
    return a == b


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "steps"), [(2, 60), (30, 900)])
def test_kills(tmp_path, kills, steps):
    whole, startup = uninterrupted(tmp_path / "whole", steps)
    survive(tmp_path / "run", whole, startup, steps, kills, random.Random(kills))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_of_a_run(tmp_path, number):
    """The processes that read images leave it to the run to stop."""
    command, run = train_command(tmp_path / "run", 1_000_000), RunFolder(tmp_path / "run")
    process = start([*command, "--workers", "2"], start_new_session=True)
    wait_for_step(run, 5, process)
    before = run.steps()[-1]
    assert send(process, number, everyone=True) == ""
    assert process.returncode == 0
    assert before <= run.steps()[-1] < 1_000_000


def test_a_copy_of_a_checkpoint_is_left_alone(damaged):
    run, newest = damaged
    copy = newest.with_name("step_00000003 (copy).pt")
    copy.write_bytes(newest.read_bytes())
    assert run.steps() == [3, 6]
    fit(small_flow(), IMAGES, replace(SHORT, steps=9), run, resume=True)
    assert copy.exists()


@pytest.mark.slow
def test_a_full_disk(tmp_path, monkeypatch):
    """Each write in turn finds no room; the run goes on from what was there before, as if nothing had happened."""
    expected = RunFolder(tmp_path / "whole")
    fit(small_flow(), IMAGES, SHORT, expected)
    real, failures = os.fsync, 0
    for failing in range(40):
        run = RunFolder(tmp_path / f"run{failing}")
        writes = itertools.count()

        def full(descriptor, writes=writes, failing=failing):
            if next(writes) == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            try:
                fit(small_flow(), IMAGES, SHORT, run)
            except OSError:
                failures += 1
            else:
                break  # there were fewer writes than that
        flow = small_flow()
        fit(flow, IMAGES, SHORT, run, resume=bool(run.steps()))
        assert lines(run) == lines(expected)
        assert same(mera.load(run.path), mera.load(expected.path))
    assert 15 < failures < 40


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of six steps with two checkpoints, which tests copy."""
    run = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    fit(small_flow(), IMAGES, SHORT, run)
    assert run.steps() == [3, 6]
    return run.path


@pytest.fixture
def damaged(finished, tmp_path):
    """A copy of the run, and its newest checkpoint, to be damaged."""
    run = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    return run, run.checkpoints / "step_00000006.pt"


def flip(path):
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def test_an_older_checkpoint_takes_the_place_of_a_damaged_one(damaged):
    """The line of facts may be whole, and counts evaluations that are repeated."""
    run, newest = damaged
    expected = mera.load(run.path)
    flip(newest)
    flow = small_flow()
    with pytest.warns(UserWarning, match=r"step_00000006.*damaged.*; going on from step 3 instead"):
        fit(flow, IMAGES, SHORT, run, resume=True)
    assert same(flow, expected)
    assert run.state()["step"] == 6
    assert [line["step"] for line in run.metrics()] == [3, 6]


def test_damaged_checkpoints_do_not_outlive_newer_work(tmp_path):
    run = RunFolder(tmp_path)
    run.write({})
    for step in (2, 4, 6):
        run.save(small_flow(), {"step": step}, step, keep=3)
    for step in (4, 6):
        truncate(run.checkpoints / f"step_{step:08d}.pt")
    with pytest.warns(UserWarning, match="going on from step 2"):
        assert run.state() == {"step": 2}
    run.save(small_flow(), {"step": 3}, 3, keep=1)
    assert run.state() == {"step": 3}


def test_nothing_that_is_loaded_can_run(damaged, tmp_path):
    run, newest = damaged
    trace = tmp_path / "trace"
    (run.checkpoints / "step_00000003.pt").unlink()
    torch.save({"flow": Malicious(trace)}, file := io.BytesIO())
    for content in (pickle.dumps(Malicious(trace)), file.getvalue()):
        run.write_part(f"checkpoints/{newest.name}", content, evaluations=0)  # also with a right checksum
        with pytest.raises(ValueError, match="Expected a checkpoint of tensors"):
            run.state()
    run.weights.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(ValueError, match="Expected a file that mera wrote"):
        mera.load(run.path)
    assert not trace.exists()


def test_numbers_of_numpy_are_kept_as_numbers(tmp_path):
    run = RunFolder(tmp_path)
    run.write({})
    run.save(None, {"step": np.int64(3), "betas": (np.float64(0.5), [np.arange(2)])}, 3)
    assert run.state() == {"step": 3, "betas": (0.5, [[0, 1]])}
    with pytest.raises(TypeError, match="Expected tensors, numbers and text"):
        run.save(None, {"path": tmp_path}, 4)
    assert run.steps() == [3]


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    run = RunFolder(tmp_path)
    another = FileLock(tmp_path / ".lock")  # as another process has it
    with another, pytest.raises(FileExistsError, match="Expected a run to which no other process writes"):
        fit(small_flow(), IMAGES, SHORT, RunFolder(tmp_path))
    with run.locked(), pytest.raises(FileExistsError, match="Expected a run to which no other process writes"):
        fit(small_flow(), IMAGES, SHORT, RunFolder(tmp_path))  # another run of this process
    fit(small_flow(), IMAGES, SHORT, run)  # the lock is given up


def test_what_a_killed_write_leaves_is_removed(tmp_path):
    run = RunFolder(tmp_path)
    for folder in (run.checkpoints, run.samples):
        folder.mkdir()
    names = (".flow.safetensors.99.part", "checkpoints/.step_00000003.pt.99.part")
    leftovers = [tmp_path / name for name in (*names, "samples/.step_000003.png.99.part")]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    fit(small_flow(), IMAGES, SHORT, run)
    assert not any(leftover.exists() for leftover in leftovers)
