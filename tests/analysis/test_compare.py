"""Comparisons: models by text, widths that fit, scores with standard errors, and a comparison that goes on."""

from dataclasses import replace

import pytest
import torch

import mera
from mera.analysis.compare import Score, compare, contestants, score_table, write_report
from mera.data import ArrayDataset, DataSplits
from mera.graph.summary import count_parameters
from mera.train import RunFolder, Settings

COMMON = {"L": 8, "channels": 1, "layers": 1}
SHORT = Settings(steps=6, eval_every=2, batch_size=8)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    array = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return DataSplits("noise", 1, ArrayDataset(array[:30]), ArrayDataset(array[30:]))


@pytest.fixture
def found():
    return contestants(["rgflow"], COMMON, parameters=1000)


@pytest.mark.parametrize("model", ["rgflow", "glow", "tree", "wavelet", "tebd"])
def test_a_width_fits_a_number_of_parameters(model):
    options = mera.models.fit_width(model, 30_000, {"L": 16, "channels": 3})
    widths = options["hidden"]
    counts = [
        count_parameters(mera.build(model, **options | {"hidden": tuple(w + step for w in widths)}))
        for step in (-2, 0, 2)
        if widths[0] + step > 0
    ]
    assert abs(count_parameters(mera.build(model, **options)) - 30_000) == min(abs(n - 30_000) for n in counts)


def test_widths_of_scales_keep_their_ratios():
    options = mera.models.fit_width("realnvp", 100_000, {"L": 32, "channels": 3})
    (first,), (second,), (third,), (fourth,) = options["hidden"]
    assert second / first == pytest.approx(2.5, abs=0.5)
    assert third / first == pytest.approx(6, abs=1)
    assert third == fourth
    assert count_parameters(mera.build("realnvp", **options)) == pytest.approx(100_000, rel=0.05)


def test_too_few_parameters_are_refused():
    with pytest.raises(ValueError, match=r"at least \d.* parameters, those of rgflow.*; got 50"):
        mera.models.fit_width("rgflow", 50, {"L": 16})


def test_a_comparison_goes_on_when_its_data_was_moved(tmp_path, found, images):
    here, there = (replace(images, source={"name": "noise", "root": root}) for root in ("here", "there"))
    assert next(compare(found, here, SHORT, tmp_path)) == next(compare(found, there, SHORT, tmp_path))
    other = replace(here, source={"name": "noise", "train_size": 7})
    with pytest.raises(
        ValueError, match=r"Expected the comparison of the run in .*data\.train_size=None; got data\.train_size=7"
    ):
        next(compare(found, other, SHORT, tmp_path))


def test_a_comparison_goes_on_and_gives_the_same_scores(tmp_path, images):
    found = contestants(["rgflow", "tree(m=2)"], COMMON, parameters=1000)
    some = []
    for score in compare(found, images, SHORT, tmp_path, seeds=2):
        some.append(score)
        if len(some) == 3:
            break  # as if the machine had stopped
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("flow.safetensors")}
    scores = list(compare(found, images, SHORT, tmp_path, seeds=2))
    assert [(s.model, s.seed) for s in scores] == [("rgflow", 0), ("tree(m=2)", 0), ("rgflow", 1), ("tree(m=2)", 1)]
    assert scores[:3] == some
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())  # nothing was trained again
    assert len({s.loss for s in scores}) == 4
    stopped = RunFolder(tmp_path / "rgflow" / "seed0")  # in its middle
    for path in (stopped.path / "score.json", stopped.checkpoints / "step_00000006.pt"):
        path.unlink()
    assert next(compare(found, images, SHORT, tmp_path, seeds=2)).loss == scores[0].loss
    unset = replace(SHORT, batch_size=None)  # the data decide
    report = write_report(scores, images, unset, tmp_path, "mera compare").read_text()
    assert report.startswith("# Models on noise")
    for text in ("test bits/dim", "rgflow", "tree(m=2)", "±", "in batches of 8."):
        assert text in report
    assert (tmp_path / "samples.png").exists()
    wider = contestants(["rgflow"], COMMON, parameters=3000)
    for others, message in (
        ((found, replace(images, name="other"), SHORT), "data='noise'; got data='other'"),
        ((wider, images, SHORT), r"hidden="),
        ((found, images, replace(SHORT, steps=4)), "steps=6"),
    ):
        with pytest.raises(ValueError, match=message):
            next(compare(*others, tmp_path))


def test_standard_errors_and_paired_gaps():
    """Over several seeds; with one seed over the test examples, whose differences are those of single examples."""
    losses = {"a": (2.0, 3.0, 4.0), "b": (2.5, 3.5, 4.5)}
    scores = [
        Score(model, seed, 1000, 10, 0.5, (loss - 1, loss + 1), 0.1, "")
        for model, values in losses.items()
        for seed, loss in enumerate(values)
    ]
    first, second = score_table(scores).rows
    assert first[5] == "3.000 ± 0.577"  # the standard deviation is 1, the root of three is 1.732
    assert second[6] == "+0.500 ± 0.000"
    first, second = score_table([score for score in scores if score.seed == 0]).rows
    assert first[5:7] == ["2.000 ± 1.000", ""]
    assert second[5:7] == ["2.500 ± 1.000", "+0.500 ± 0.000"]


def test_a_wrong_contestant_is_found_before_the_first_learns(tmp_path, images):
    found = contestants(["rgflow", "rgflow(layers=0)"], {"L": 8, "channels": 1})
    with pytest.raises(ValueError, match="layers"):
        next(compare(found, images, SHORT, tmp_path))
    assert not any(tmp_path.iterdir())
