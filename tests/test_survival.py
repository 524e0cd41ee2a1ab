"""Nothing is lost: runs that are killed, disks that are full, files that are damaged."""

import errno
import itertools
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError

import mera
from mera.io import archive
from mera.train import RunFolder, fit
from tests.helpers.training import IMAGES, SHORT, lines, same, small_flow

STEPS = 60
TRAIN = [
    sys.executable, "-m", "mera", "train", "rgflow", "--L", "8", "--layers", "1", "--hidden", "8", "--data", "msds1",
    "--train-size", "60", "--steps", str(STEPS), "--eval-every", "5", "--eval-images", "10", "--batch-size", "8",
    "--keep", "3", "--ema", "0.9",
]  # fmt: skip


def start(*command, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # one thread: sums in one order
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    )


def survive(path, whole, kills, rng):
    """Train with a signal at a random moment of each of `kills` runs, then to the end."""
    command, done = [*TRAIN, "--out", str(path)], 0
    while done < kills:
        process = start(*command)
        run = RunFolder(path)
        while not run.steps() and process.poll() is None:  # nobody can lose what was never saved
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 2.0 if command[4] == "rgflow" else 5.0))
        sent = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        process.send_signal(sent)
        errors = process.communicate()[1]
        if sent != signal.SIGINT:  # which comes out as whatever it interrupts, while Python still imports
            assert "Error" not in errors
        done += 1
        command = [sys.executable, "-m", "mera", "train", "--resume", str(path)]
    process = start(*command)
    assert process.communicate()[1] == ""
    run = RunFolder(path)
    assert lines(run) == lines(whole)
    assert same(run.flow(), whole.flow())
    assert same(mera.load(run.best), mera.load(whole.best))
    assert archive_equal(run.state(), whole.state())
    assert not list(path.rglob("*.part"))


def archive_equal(a, b):
    """Whether two states are the same but for the time that was spent."""
    packed = [({}, state | {"spent": 0}) for state in (a, b)]
    texts = [archive.pack(state, tensors) for tensors, state in packed]
    first, second = (tensors for tensors, _ in packed)
    return texts[0] == texts[1] and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    assert start(*TRAIN, "--out", str(path)).communicate()[1] == ""
    return RunFolder(path)


def test_two_kills(tmp_path, whole):
    survive(tmp_path / "run", whole, 2, random.Random(0))


@pytest.mark.slow
def test_thirty_kills(tmp_path, whole):
    survive(tmp_path / "run", whole, 30, random.Random(1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_of_a_run(tmp_path, number):
    """Those that read images leave it to the run to stop."""
    command = [*TRAIN, "--out", str(tmp_path / "run"), "--steps", "1000000", "--workers", "2"]
    process, run = start(*command, start_new_session=True), RunFolder(tmp_path / "run")
    while len(run.steps()) < 2 and process.poll() is None:
        time.sleep(0.05)
    before = run.steps()[-1]
    os.killpg(process.pid, number)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert run.steps()[-1] >= before


def test_a_copy_of_a_checkpoint_is_left_alone(tmp_path):
    run, newest = damaged_run(tmp_path)
    copy = newest.with_name("step_00000003 (copy).safetensors")
    copy.write_bytes(newest.read_bytes())
    assert run.steps() == [3, 6]
    fit(small_flow(), IMAGES, replace(SHORT, steps=9), run, resume=True)
    assert copy.exists()


def test_a_folder_in_the_place_of_a_file(tmp_path):
    run, _ = damaged_run(tmp_path)
    run.weights.unlink()
    run.weights.mkdir()
    with pytest.raises(IsADirectoryError, match=r"Expected the name of a file; got .*, which is a folder"):
        fit(small_flow(), IMAGES, replace(SHORT, steps=9), run, resume=True)
    assert run.steps() == [3, 6]


def test_a_full_disk(tmp_path, monkeypatch):
    """Each write in turn finds no room; the run goes on from what was there before, as if nothing had happened."""
    expected = RunFolder(tmp_path / "whole")
    expected.create({})
    fit(small_flow(), IMAGES, SHORT, expected)
    real, failures = os.fsync, 0
    for failing in range(40):
        run = RunFolder(tmp_path / f"run{failing}")
        run.create({})
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
        flow = small_flow()
        fit(flow, IMAGES, SHORT, run, resume=bool(run.steps()))
        assert lines(run) == lines(expected)
        assert same(run.flow(), expected.flow())
    assert 15 < failures < 40  # until there were fewer writes than that


def test_a_full_disk_within_a_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(archive, "save_file", full)
    with pytest.raises(OSError, match=r"flow: cannot be written: .*No space left"):
        mera.save(small_flow(), tmp_path / "flow")
    assert not list(tmp_path.iterdir())


def damaged_run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create({})
    fit(small_flow(), IMAGES, SHORT, run)
    assert run.steps() == [3, 6]
    return run, run.checkpoints / "step_00000006.safetensors"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b"")


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_an_older_checkpoint_takes_the_place_of_a_damaged_one(tmp_path, damage):
    run, newest = damaged_run(tmp_path)
    expected = run.flow()
    damage(newest)
    flow = small_flow()
    with pytest.warns(UserWarning, match=r"step_00000006.*damaged.*; going on from step 3 instead"):
        fit(flow, IMAGES, SHORT, run, resume=True)
    assert same(flow, expected)
    assert run.state()["step"] == 6


def test_damaged_checkpoints_do_not_outlive_newer_work(tmp_path):
    run = RunFolder(tmp_path)
    for step in (2, 4, 6):
        run.save(small_flow(), {"step": step}, step, keep=3)
    for step in (4, 6):
        truncate(run.checkpoints / f"step_{step:08d}.safetensors")
    with pytest.warns(UserWarning, match="going on from step 2"):
        assert run.state() == {"step": 2}
    run.save(small_flow(), {"step": 3}, 3, keep=1)
    assert run.state() == {"step": 3}


def test_nothing_that_is_loaded_can_run(tmp_path):
    run, newest = damaged_run(tmp_path)
    trace = tmp_path / "trace"
    for path in (newest, run.checkpoints / "step_00000003.safetensors", run.weights, run.best):
        path.write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises(ValueError, match="Expected a file that mera wrote"):
        run.state()
    with pytest.raises(ValueError, match="Expected a file that mera wrote"):
        run.flow()
    torch.save({"flow": Malicious(trace)}, newest)
    with pytest.raises(ValueError, match="Expected a file that mera wrote"):
        run.state()
    assert not trace.exists()


def test_the_best_and_the_last_checkpoints_stay(tmp_path):
    run = RunFolder(tmp_path)
    for step in range(0, 60, 10):
        run.save(small_flow(), {"step": step}, step, keep=2, best_step=20 if step >= 20 else step)
    assert run.steps() == [20, 40, 50]


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    run = RunFolder(tmp_path)
    run.create({})
    with run.locked(), pytest.raises(FileExistsError, match="Expected a folder that no other run writes to"):
        fit(small_flow(), IMAGES, SHORT, RunFolder(tmp_path))
    fit(small_flow(), IMAGES, SHORT, run)  # the lock is given up


def test_what_a_killed_write_leaves_is_removed(tmp_path):
    run = RunFolder(tmp_path)
    run.create({})
    run.checkpoints.mkdir()
    leftovers = [tmp_path / ".flow.safetensors.99.part", run.checkpoints / ".step_00000003.safetensors.99.part"]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    fit(small_flow(), IMAGES, SHORT, run)
    assert not any(leftover.exists() for leftover in leftovers)
