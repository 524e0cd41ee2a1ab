"""Sweeps: points, interruptions, results, and jobs of a cluster."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mera.drawing.sweep import sweep_figure
from mera.physics.observables import Quantity
from mera.sweep import Grid, values_of
from mera.sweep.cluster import submit
from mera.sweep.report import combined, quantities_of
from tests.helpers.command import plain, run

TRAIN = {"L": 4, "hidden": 4, "layers": 1, "m": 2, "steps": 4, "batch_size": 8, "bijector": "coupling"}
MEASURE = {"sampler": "hmc", "samples": 96, "chains": 4, "warmup": 5}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def as_text(options):
    return " ".join(f"{name}={value}" for name, value in options.items())


def arguments(out, *over, seeds=1):
    parameters = [part for text in over for part in ("--over", text)]
    options = ["--train", as_text(TRAIN), "--measure", as_text(MEASURE), "--seeds", str(seeds), "--out", str(out)]
    return ["sweep", "rgflow", "--action", "phi4(coupling=0.5)", *parameters, *options]


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_values():
    assert values_of("-1:1:3") == [-1.0, 0.0, 1.0]
    assert values_of("8,16") == [8, 16]
    assert values_of("0.5,1e-3") == [0.5, 1e-3]
    assert values_of("coupling,spline") == ["coupling", "spline"]
    assert values_of("true,false,None") == [True, False, "None"]
    for text in ("", "1:2", "a:b:c", "1,,2", "1:2:x", "1:nothing:3", None):
        with pytest.raises(ValueError, match=r"Expected (values such as|START:END:NUMBER)"):
            values_of(text)


def test_a_training_that_was_interrupted_is_not_measured(tmp_path, monkeypatch):
    """It saves and ends with status 0."""
    (point,) = Grid("rgflow", "phi4", {"mass2": [1]}).points(tmp_path)
    commands = [[sys.executable, "-c", "pass", "train"], [sys.executable, "-c", "raise SystemExit(7)", "measure"]]
    monkeypatch.setattr(type(point), "commands", lambda self: commands)
    for has_learnt, status in ((False, 1), (True, 7)):
        monkeypatch.setattr(type(point), "_has_learnt", staticmethod(lambda run, answer=has_learnt: answer))
        assert point() == status


def test_points():
    grid = Grid("rgflow", "phi4(coupling=0.5)", {"mass2": [1, 2], "L": [4, 8]}, 2, {"hidden": 4}, {"samples": 10})
    points = grid.points(Path("out"))
    assert len(points) == len({point.folder for point in points}) == 8
    last = points[-1]
    assert last.action == "phi4(coupling=0.5, mass2=2)"
    assert last.train == {"hidden": 4, "L": 8, "seed": 1}
    assert last.measure == {"samples": 10, "seed": 1}
    for changes, message in (
        ({"over": {}}, "Expected a list of values"),
        ({"over": None}, "Expected options by name as over"),
        ({"over": {"mass2": []}}, "Expected a list of numbers or words"),
        ({"over": {"hidden": [[4, 4], [8]]}}, "Expected a list of numbers or words"),
        ({"over": {"mass2": [1, 1.0]}}, "Expected different values of the parameter mass2"),
        ({"over": {"seed": [1, 2]}}, "Expected no seed in over"),
        ({"train": {"seed": 1, "out": "x"}}, "Expected no seed and out in train"),
        ({"measure": ["x"]}, "Expected options by name as measure"),
        ({"action": None}, "Expected an action as text"),
        ({"seeds": 0}, "Expected a positive number of seeds"),
        ({"action": "phi5"}, "Expected an action"),
        ({"action": "phi4(mass2=(-4, -1))", "over": {"L": [4]}}, "Expected an action without ranges"),
        ({"model": "none"}, "Expected a model"),
        ({"action": "free", "over": {"mass2": [-1.0]}}, "Expected mass2"),
    ):
        with pytest.raises(ValueError, match=message):
            Grid(**{"model": "rgflow", "action": "phi4", "over": {"mass2": [1]}} | changes)


def test_a_mean_over_seeds_has_the_larger_error():
    assert combined([Quantity(1.0, 0.3)]) == (1.0, 0.3)
    assert combined([Quantity(1.0, 0.3), Quantity(1.0, 0.4)]) == pytest.approx((1.0, 0.25))
    assert combined([Quantity(1.0, 0.1), Quantity(3.0, 0.1)]) == pytest.approx((2.0, 1.0))


def check_sweep(out, over, seeds, kills):
    """Kill a sweep after so many points, then let it end: nothing is done twice, and the results have all points."""
    command = [sys.executable, "-m", "mera", *arguments(out, *over, seeds=seeds)]
    before = {}
    for number, how in kills:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, start_new_session=True)
        while len(reports := list(out.glob("points/*/measure/hmc/report.json"))) < number:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(how)
        process.wait()
        before = {path: path.stat().st_mtime_ns for path in reports}
    result = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert "binder" in result.stdout
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())
    assert (out / "results.png").read_bytes()[:4] == b"\x89PNG"
    return rows_of(out / "results.csv")


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on(tmp_path):
    rows = check_sweep(tmp_path, ["mass2=1", "L=4,8"], 1, [(1, signal.SIGKILL)])
    assert sorted((row["mass2"], row["L"], row["seed"]) for row in rows) == [
        ("1", "4", "0"), ("1", "8", "0"),
    ]  # fmt: skip
    for row in rows:
        assert 0 < float(row["phi2"]) < 1
        assert 0 < float(row["phi2_error"]) < 0.2


@pytest.mark.slow
def test_twelve_points_are_killed_twice(tmp_path):
    rows = check_sweep(tmp_path, ["mass2=0.5:2:3", "L=4,8"], 2, [(3, signal.SIGINT), (7, signal.SIGKILL)])
    assert len(rows) == 12


def test_a_folder_of_another_sweep(tmp_path):
    """A result of another action is not taken for one of this sweep."""
    first, second = (Grid("rgflow", f"phi4(coupling={c})", {"mass2": [1]}).points(tmp_path)[0] for c in (0.5, 2.5))
    first.report.parent.mkdir(parents=True)
    first.report.write_text("{}")
    (first.folder / "point.json").write_text(first._description())
    assert first.is_done
    with pytest.raises(ValueError, match="Expected a folder of the same sweep"):
        assert second.is_done


def test_what_is_refused(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('model = "rgflow"\naction = "phi4"\nunknown = 1\n')
    for extra, message in (
        (["sweep", file], "Expected the entries model, action"),
        (["sweep", file, "--over", "L=4"], "Expected either a file, or a model"),
        (["sweep", "rgflow"], "Expected both --action and --over beside a model"),
        (["sweep", "rgflow", "--action", "phi4", "--over", "L"], "Expected --over NAME=VALUES"),
        (["sweep", "rgflow", "--action", "phi4", "--over", "beta=1,2"], "Expected options of mera train; got --beta"),
        (
            ["sweep", "rgflow", "--action", "phi4", "--over", "L=4", "--measure", "double=false"],
            "Expected options of mera measure; got --no-double",
        ),
    ):
        result = run(*extra)
        assert message in plain(result) + str(result.exception)


def sweep_file(folder, steps):
    file = folder / "sweep.toml"
    file.write_text(
        'model = "rgflow"\naction = "phi4(coupling=0.5)"\nover = {mass2 = "1,2"}\n'
        f"train = {{{', '.join(f'{name} = {value!r}' for name, value in (TRAIN | {'steps': steps}).items())}}}\n"
        f"measure = {{{', '.join(f'{name} = {value!r}' for name, value in MEASURE.items())}}}\n"
    )
    return file


def test_a_job_of_a_cluster(tmp_path):
    pytest.importorskip("submitit")
    point, _ = Grid.read(sweep_file(tmp_path, 4)).points(tmp_path)
    (job,) = submit([point], tmp_path / "jobs", "local", {"timeout_min": 5})
    assert job.result() == 0
    assert 0 < quantities_of(point)["phi2"].value < 1
    with pytest.raises(ValueError, match="Expected a cluster local with options of submitit"):
        submit([point], tmp_path / "jobs", "local", {"unknown": 1})


@pytest.mark.slow
def test_a_job_that_comes_to_its_time_limit_is_queued_again(tmp_path):
    point, _ = Grid.read(sweep_file(tmp_path, 4000)).points(tmp_path)
    (job,) = submit([point], tmp_path / "jobs", "local", {"timeout_min": 1})
    assert job.result() == 0
    assert point.is_done
    assert "going on from step" in (point.folder / "log.txt").read_text()


def test_the_picture_marks_what_cannot_be_used():
    means = {(mass2, 16): {"abs_m": Quantity(0.5, 0.1), "ess": Quantity(0.4, math.nan)} for mass2 in (-1.4, -1.2)}
    for doubtful in (set(), {(-1.2, 16)}):
        axes = sweep_figure(["mass2", "L"], means, ["abs_m", "ess"], doubtful).axes
        crosses = [line.get_xdata() for panel in axes for line in panel.lines if line.get_marker() == "x"]
        assert [list(x) for x in crosses] == [[at for at, _ in doubtful]] * 2
    assert combined([Quantity(0.5, math.nan), Quantity(0.7, math.nan)]) == pytest.approx((0.6, 0.1))
