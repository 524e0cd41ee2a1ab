"""Comparisons: models by text, widths that fit, scores with two errors, and a comparison that goes on."""

import csv
import json
from dataclasses import replace

import pytest
import torch
from matplotlib.figure import Figure

import mera
from mera.analysis.compare import compare
from mera.analysis.comparison import Comparison, Score
from mera.analysis.contestants import contestants
from mera.data import ArrayDataset, DataSplits
from mera.graph.summary import count_parameters
from mera.models import by_name
from mera.train import RunFolder, Settings

SHORT = Settings(steps=4, eval_every=2, batch_size=8)
SMALL = "rgflow(layers=1, hidden=(4,))"


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    array = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(40) % 3
    return DataSplits("noise", 1, ArrayDataset(array[:30], labels[:30]), ArrayDataset(array[30:], labels[30:]))


@pytest.fixture
def no_curves(monkeypatch):
    """Curves are drawn as an empty figure: a picture after each run would take most of the time."""
    monkeypatch.setattr(Comparison, "curves", lambda comparison: Figure())


@pytest.fixture
def own(monkeypatch):
    """The name of a model of a user."""

    monkeypatch.setattr(by_name._models, "_functions", dict(by_name._models._functions))

    @mera.models.register("own")
    def build(channels: int, L: tuple[int, ...]) -> mera.Flow:
        layout = mera.Layout(L, channels)
        layout.latent(layout.local(layout.input, "coupling(hidden=(4,))", kernel=2, name="a"))
        return mera.Flow(layout)

    return "own"


@pytest.mark.parametrize("model", ["rgflow", "glow", "wavelet"])
def test_a_width_fits_a_number_of_parameters(model):
    options = mera.models.fit_width(model, 8_000, {"L": 8, "channels": 3})
    widths = options["hidden"]
    counts = [
        count_parameters(mera.build(model, **options | {"hidden": tuple(w + step for w in widths)}))
        for step in (-2, 0, 2)
        if widths[0] + step > 0
    ]
    assert abs(count_parameters(mera.build(model, **options)) - 8_000) == min(abs(n - 8_000) for n in counts)


def test_widths_of_scales_keep_their_ratios():
    options = mera.models.fit_width("realnvp", 100_000, {"L": 32, "channels": 3})
    (first,), (second,), (third,), (fourth,) = options["hidden"]
    assert second / first == pytest.approx(2.5, abs=0.5)
    assert third / first == pytest.approx(6, abs=1)
    assert third == fourth
    assert count_parameters(mera.build("realnvp", **options)) == pytest.approx(100_000, rel=0.05)


def test_numbers_of_parameters_that_no_width_has_are_refused():
    with pytest.raises(ValueError, match=r"at least \d.* parameters, those of rgflow.*; got 50"):
        mera.models.fit_width("rgflow", 50, {"L": 16})
    with pytest.raises(ValueError, match="a model whose number of parameters grows with the width"):
        mera.models.fit_width("rgflow", 100_000, {"L": 16, "bijector": "linear"})


@pytest.mark.usefixtures("no_curves")
def test_a_comparison_goes_on_when_its_data_was_moved(tmp_path, images):
    here, there = (replace(images, source={"name": "noise", "root": root}) for root in ("here", "there"))
    assert compare([SMALL], here, SHORT, tmp_path).scores == compare([SMALL], there, SHORT, tmp_path).scores
    other = replace(here, source={"name": "noise", "train_size": 7})
    with pytest.raises(
        ValueError, match=r"Expected the comparison of the run in .*data\.train_size=None; got data\.train_size=7"
    ):
        compare([SMALL], other, SHORT, tmp_path)


@pytest.mark.usefixtures("no_curves")
def test_a_comparison_goes_on_and_gives_the_same_scores(tmp_path, images):
    texts = ["rgflow(layers=1)", "tree(m=2)"]
    options = {"seeds": 2, "parameters": 1000}
    some = compare(texts[:1], images, SHORT, tmp_path, **options).scores
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("flow.safetensors")}
    found = compare(texts, images, SHORT, tmp_path, **options)
    assert [(s.model, s.seed) for s in found.scores] == [(text, seed) for seed in (0, 1) for text in texts]
    assert found.is_complete
    assert found.scores[::2] == some
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())  # nothing was trained again
    assert len({s.loss for s in found.scores}) == 4
    stopped = RunFolder(tmp_path / "rgflow_layers=1" / "seed0")  # in its middle
    for path in (stopped.path / "score.json", stopped.checkpoints / "step_00000004.pt"):
        path.unlink()
    assert compare(texts, images, SHORT, tmp_path, **options).scores[0].loss == found.scores[0].loss
    for other, message in (
        ((images, SHORT, {"parameters": 3000}), r"hidden="),
        ((replace(images, name="other"), SHORT, options), "data='noise'; got data='other'"),
        ((images, replace(SHORT, steps=3), options), "steps=4"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(texts, other[0], other[1], tmp_path, **other[2])


def test_the_files_of_a_comparison_hold_its_rows(tmp_path, images, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Comparison, "save", lambda comparison, out: None)
        found = compare([SMALL, "tree(m=2, hidden=(4,))"], images, SHORT, tmp_path, seeds=2)
    found.save(tmp_path)
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in found.rows()]
    assert json.loads((tmp_path / "table.json").read_text())["rows"] == found.rows()
    assert dict(found.recipe)["optimizer"] == "Muon"
    latex = (tmp_path / "table.tex").read_text()
    assert latex.count(r"\\") == 3
    assert r"\pm" in latex
    report = (tmp_path / "report.md").read_text()
    for text in (SMALL, "± examples ± seeds", "| batch_size | 8 |", "curves.png", torch.__version__):
        assert text in report
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.usefixtures("no_curves")
def test_layouts_trained_flows_and_models_of_the_user_take_part(tmp_path, images, own):
    flow = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(4,))
    mera.save(flow, tmp_path / "trained.mera")
    mera.save_layout(flow.layout, tmp_path / "own.toml")
    texts = [own, str(tmp_path / "own.toml"), str(tmp_path / "trained.mera")]
    found = compare(texts, images, SHORT, tmp_path / "out", seeds=2, parameters=10_000)
    assert [row["seeds"] for row in found.rows()] == [2, 2, 0]
    assert [row["steps"] for row in found.rows()] == [4, 4, 0]
    expected = mera.train.evaluate.example_losses(flow, images.test).tolist()
    assert found.scores[2].losses == pytest.approx(expected)
    assert "already trained" in found.rows()[2]["note"]
    assert all("not of 10,000 parameters" in row["note"] for row in found.rows())
    assert found.table.rows[2][0].endswith("*")


@pytest.mark.usefixtures("no_curves")
def test_a_comparison_is_conditional_on_classes(tmp_path, images, own):
    found = compare([SMALL], images, SHORT, tmp_path, conditional=True)
    assert mera.load(found.scores[0].run).context_encoder.classes == 3
    with pytest.raises(ValueError, match=r"option classes.*got own"):
        compare([own], images, SHORT, tmp_path / "other", conditional=True)


@pytest.mark.usefixtures("no_curves")
def test_a_rate_is_tuned_on_held_out_training_examples(tmp_path):
    grey = torch.randint(0, 256, (80, 1, 1, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey = grey.expand(-1, -1, 8, 8)  # every step helps
    images = DataSplits("grey", 1, ArrayDataset(grey[:60]), ArrayDataset(grey[60:]))
    settings = replace(SHORT, steps=20, eval_every=None, lr=1e-4)
    found = compare([SMALL], images, settings, tmp_path, tune=True)
    row = found.rows()[0]
    runs = sorted(tmp_path.glob("*/tuned/*"))
    losses = {path.name: RunFolder(path).metrics()[-1]["test_bits"] for path in runs}
    assert losses.keys() == {"3.33e-05", "0.0001", "0.0003"}
    assert f"{row['lr']:.3g}" == min(losses, key=losses.get) == "0.0003"
    assert row["tuning_minutes"] > 0
    assert found.table.header[-2] == "rate"
    assert len(RunFolder(found.scores[0].run).metrics()) == 20


def test_errors_over_examples_and_seeds():
    losses = {"a": (2.0, 3.0, 4.0), "b": (2.5, 3.5, 4.5)}
    scores = [
        Score(model, seed, 1000, 10, 0.5, (loss - 1, loss + 1), 0.1, "", 0.1)
        for model, values in losses.items()
        for seed, loss in enumerate(values)
    ]
    several = Comparison(scores, "data", expected=6)
    first, second = several.rows()
    assert first["loss"] == 3
    assert first["error_examples"] == pytest.approx(1)  # two examples, 2 and 4
    assert first["error_seeds"] == pytest.approx(1 / 3**0.5)
    assert first["difference"] is None
    assert (second["difference"], second["difference_error_examples"], second["difference_error_seeds"]) == (0.5, 0, 0)
    single = Comparison([score for score in scores if score.seed == 0], "data", expected=6)
    first, second = single.rows()
    assert (first["loss"], first["error_examples"], first["error_seeds"]) == (2, 1, None)
    assert second["difference"] == 0.5
    assert "one seed" in single.legend
    assert "2 of 6 runs" in single.legend
    assert [found.legend.count("An error over few seeds is rough") for found in (several, single)] == [1, 0]


def test_differences_are_those_of_the_seeds_that_both_models_have():
    """A model that is already trained has one run for all seeds; one whose later seeds are not done has fewer."""
    first = [Score("a", seed, 9, 10, 1, (loss, loss + 1), 1, "") for seed, loss in enumerate((1.0, 2.0))]
    unfinished, trained = Score("b", 0, 9, 10, 1, (1.5, 2.5), 1, ""), Score("c", 0, 9, 0, 0, (3.0, 4.0), 1, "c")
    rows = Comparison([*first, unfinished, trained], "data", expected=5).rows()
    assert [row["difference"] for row in rows] == [None, 0.5, 1.5]  # 1.5 - 1; 3 - (1 + 2) / 2
    assert [row["difference_error_seeds"] for row in rows] == [None, None, 0.5]
    assert [row["seeds"] for row in rows] == [2, 1, 0]
    rows = Comparison([trained, *first], "data").rows()
    assert [row["difference"] for row in rows] == [None, -1.5]


def test_differences_within_two_errors_are_not_told_apart():
    near = Comparison([Score("a", 0, 9, 1, 1, (1.0, 2.0), 1, ""), Score("b", 0, 9, 1, 1, (1.3, 1.9), 1, "")], "data")
    assert "is 0 for b" in near.legend
    far = Comparison([Score("a", 0, 9, 1, 1, (1.0, 2.0), 1, ""), Score("b", 0, 9, 1, 1, (1.5, 2.4), 1, "")], "data")
    assert "is 0" not in far.legend


def test_a_wrong_contestant_is_found_before_the_first_learns(tmp_path, images):
    with pytest.raises(ValueError, match="layers"):
        compare(["rgflow", "rgflow(layers=0)"], images, SHORT, tmp_path)
    with pytest.raises(ValueError, match=r"no hidden=\.\.\. in a model whose width"):
        contestants(["glow(hidden=(32,))"], {"L": 8}, parameters=100_000)
    assert not any(tmp_path.iterdir())
