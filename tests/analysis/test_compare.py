"""`mera compare`: models by text, widths that fit, scores with standard errors, and a comparison that goes on."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import mera
from mera.analysis.compare import compare, contestants, write_report
from mera.analysis.compare.report import score_table
from mera.analysis.compare.scores import Score
from mera.cli.app import app
from mera.data import ArrayDataset, DataSplits
from mera.graph.summary import count_parameters
from mera.train import RunFolder, Settings

COMMON = {"L": 8, "channels": 1, "layers": 1}


def tiny_images() -> DataSplits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return DataSplits("noise", 1, ArrayDataset(images[:30]), ArrayDataset(images[30:]))


def test_too_few_parameters_are_refused():
    with pytest.raises(ValueError, match=r"at least \d.* parameters, those of rgflow.*; got 50"):
        mera.models.fit_width("rgflow", 50, {"L": 16})


@pytest.mark.parametrize("model", ["rgflow", "realnvp", "glow", "tree", "wavelet", "tebd"])
def test_a_width_fits_a_number_of_parameters(model):
    options = mera.models.fit_width(model, 30_000, {"L": 16, "channels": 3})
    widths = options["hidden"]
    counts = [
        count_parameters(mera.build(model, **options | {"hidden": tuple(w + step for w in widths)}))
        for step in (-2, 0, 2)
        if widths[0] + step > 0
    ]
    assert abs(count_parameters(mera.build(model, **options)) - 30_000) == min(abs(n - 30_000) for n in counts)


def test_a_comparison_goes_on_when_its_data_was_moved(tmp_path):
    found, settings = contestants(["rgflow"], COMMON, parameters=1000), Settings(steps=2, eval_every=2, batch_size=8)
    here, there = (replace(tiny_images(), source={"name": "noise", "root": root}) for root in ("here", "there"))
    assert next(compare(found, here, settings, tmp_path)) == next(compare(found, there, settings, tmp_path))
    other = replace(here, source={"name": "noise", "train_size": 7})
    with pytest.raises(ValueError, match="a run with data: "):
        next(compare(found, other, settings, tmp_path))


def test_a_run_goes_on_that_stopped_in_its_middle(tmp_path):
    found, images = contestants(["rgflow"], COMMON, parameters=1000), tiny_images()
    settings = Settings(steps=6, eval_every=2, batch_size=8)
    whole = next(compare(found, images, settings, tmp_path / "whole"))
    stopped = RunFolder(tmp_path / "stopped" / "rgflow" / "seed0")
    next(compare(found, images, settings, tmp_path / "stopped"))
    for path in (stopped.path / "score.json", stopped.checkpoints / "step_00000006.pt"):
        path.unlink()
    assert next(compare(found, images, settings, tmp_path / "stopped")).loss == whole.loss


def test_a_comparison_goes_on_and_gives_the_same_scores(tmp_path):
    found, images = contestants(["rgflow", "tree(m=2)"], COMMON, parameters=1000), tiny_images()
    settings = Settings(steps=3, eval_every=2, batch_size=8)
    some = []
    for score in compare(found, images, settings, tmp_path, seeds=2):
        some.append(score)
        if len(some) == 3:
            break  # as if the machine had stopped
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("flow.safetensors")}
    scores = list(compare(found, images, settings, tmp_path, seeds=2))
    assert [(s.model, s.seed) for s in scores] == [("rgflow", 0), ("tree(m=2)", 0), ("rgflow", 1), ("tree(m=2)", 1)]
    assert scores[:3] == some
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())  # nothing was trained again
    assert len({s.loss for s in scores}) == 4
    report = write_report(scores, images, settings, tmp_path, "mera compare").read_text()
    assert "rgflow" in report
    assert "±" in report
    assert (tmp_path / "samples.png").exists()
    other = DataSplits("other", 1, images.train, ArrayDataset(images.test.array.clone()))
    with pytest.raises(ValueError, match="'name': 'noise'"):
        next(compare(found, other, settings, tmp_path))
    wider = contestants(["rgflow"], COMMON, parameters=3000)
    with pytest.raises(ValueError, match=r"options: .*hidden"):
        next(compare(wider, images, settings, tmp_path))
    with pytest.raises(ValueError, match="steps=3"):
        next(compare(found, images, Settings(steps=4, eval_every=2, batch_size=8), tmp_path))


def test_standard_errors_and_paired_gaps():
    losses = {"a": (2.0, 3.0, 4.0), "b": (2.5, 3.5, 4.5)}
    scores = [
        Score(model, seed, 1000, 10, 0.5, (loss - 1, loss + 1), 0.1, "")
        for model, values in losses.items()
        for seed, loss in enumerate(values)
    ]
    rows = score_table(scores).rows
    assert rows[0][5] == "3.000 ± 0.577"  # the standard deviation is 1, the root of three is 1.732
    assert rows[1][6] == "+0.500 ± 0.000"


@pytest.mark.slow
def test_the_command_writes_a_report(tmp_path):
    arguments = ["compare", "rgflow(layers=1)", "tree(layers=1)", "--data", "msds1", "--L", "8", "--parameters", "3000"]
    arguments += [
        "--data-options",
        "train_size=20 test_size=10",
        "--steps",
        "2",
        "--out",
        str(tmp_path),
        "--seeds",
        "2",
    ]
    for _ in range(2):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert "test bits/dim" in result.output
    assert (tmp_path / "report.md").read_text().startswith("# Models on msds1")
    assert json.loads((tmp_path / "tree_layers=1" / "seed1" / "score.json").read_text())["seed"] == 1


def test_a_wrong_contestant_is_found_before_the_first_learns(tmp_path):
    found = contestants(["rgflow", "rgflow(layers=0)"], {"L": 8, "channels": 1})
    with pytest.raises(ValueError, match="layers"):
        next(compare(found, tiny_images(), Settings(steps=2, batch_size=8), tmp_path))
    assert not any(tmp_path.iterdir())


def test_one_seed_has_errors_over_the_test_examples():
    """The error of a difference is that of the differences of single examples."""
    scores = [Score(model, 0, 10, 5, 1.0, losses, 0.1, "") for model, losses in (("a", (1.0, 3.0)), ("b", (1.5, 3.5)))]
    first, second = score_table(scores).rows
    assert first[5:7] == ["2.000 ± 1.000", ""]
    assert second[5:7] == ["2.500 ± 1.000", "+0.500 ± 0.000"]
