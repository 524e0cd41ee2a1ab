"""Arguments that `fit` refuses before anything is trained or written."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

import mera
from mera import data
from mera.train import RunFolder, Settings, fit
from tests.helpers.callbacks import StopAt
from tests.helpers.training import IMAGES, SHORT, small_flow


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: fit(mera.Flow, IMAGES, SHORT, run), "Expected a Flow to train; got <class"),
        (lambda run: fit(small_flow(), None, SHORT, run), "Expected examples: a tensor, .*; got NoneType"),
        (lambda run: fit(small_flow().half(), IMAGES, SHORT, run), r"got torch\.float16: train flow\.float\(\)"),
        (lambda run: RunFolder(None), "Expected a path; got None"),
        (lambda run: fit(small_flow(), IMAGES, SHORT, run, resume="never"), 'resume as True, False or "auto"'),
        (lambda run: torch.no_grad()(fit)(small_flow(), IMAGES, SHORT, run), "Expected fit to run with gradients"),
        (lambda run: fit(small_flow(), IMAGES.train.array, SHORT, run, test=IMAGES.test.array[:0]),
         "Expected training and test examples; got 60 and 0"),
        (lambda run: fit(small_flow(), IMAGES, SHORT, run, stepps=3), "Expected a setting among .*mean 'steps'"),
        (lambda run: data.as_images(torch.zeros(2, 3, 8, 8) * 1j), "a dense tensor of real numbers; got a complex"),
    ],
)  # fmt: skip
def test_wrong_arguments(tmp_path, call, message):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        call(run)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("norm", "is_started", "n"), [(False, False, 1), (True, True, 1), (True, False, 2)])
def test_one_image_is_enough_without_normalisation_to_start_and_two_are_with_it(norm, is_started, n):
    flow = mera.build("rgflow", L=8, layers=1, hidden=(8,), norm=norm, prior="laplace")
    if is_started:
        flow.initialize(flow.from_images(IMAGES.train.array))
    few = data.DataSplits("few", 3, data.ArrayDataset(IMAGES.train.array[:n]), IMAGES.test)
    assert fit(flow, few, replace(SHORT, steps=1)).test_loss < 20


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("class", torch.zeros(60, dtype=torch.complex64), r"class numbers, integers \(N,\); got .* torch\.complex64"),
        ("class", torch.zeros(60, dtype=torch.bool), r"class numbers, integers \(N,\); got .* torch\.bool"),
        ("class", torch.zeros(60, 1, dtype=torch.int64), r"class numbers, integers \(N,\); got .* shape \(60, 1\)"),
        ("class", torch.zeros(59, dtype=torch.int64), "labels 'class' for each of 60 examples; got labels of shape"),
        ("class", torch.full((60,), 3), "class numbers from 0 to 2; got 3 to 3"),
        ("context", torch.zeros(60, 3), r"finite contexts \(60, 2\); got"),
        ("context", torch.full((60, 2), torch.nan), r"finite contexts \(60, 2\); got"),
    ],
)
def test_wrong_labels(tmp_path, name, labels, message):
    flow = mera.build("rgflow", L=8, layers=1, hidden=(8,), **({"classes": 3} if name == "class" else {"context": 2}))

    def examples():
        train = data.ArrayDataset(IMAGES.train.array, {name: labels})
        test = data.ArrayDataset(IMAGES.test.array, {name: labels[: len(IMAGES.test)]})
        return data.DataSplits("labelled", 3, train, test)

    with pytest.raises(ValueError, match=f"Expected {message}"):
        fit(flow, examples(), SHORT, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_the_configuration_is_that_of_the_flow_that_learns(tmp_path):
    """A flow that failed before its first checkpoint leaves its manifest, but not for another flow."""
    run = RunFolder(tmp_path)
    run.write({"layout": "one that failed", "settings": {"lr": 1}})
    fit(small_flow(), IMAGES, replace(SHORT, steps=1), run, extra={"note": "mine"})
    facts = run.facts()
    assert (facts["note"], facts["model"]) == ("mine", "rgflow")
    assert "layout" not in facts
    assert facts["limits"]["lr"] == 8e-3


def test_settings_by_name_and_as_an_object_train_alike():
    """Where they depend on the data: batch size, rate and decay of an action."""
    action, metrics = mera.physics.FreeField(1.0), []
    for settings, options in ((None, {"steps": 2, "eval_images": 20}), (Settings(steps=2, eval_images=20), {})):
        torch.manual_seed(0)
        flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,))
        metrics.append(fit(flow, action, settings, **options, check=False).history.metrics[-1])
    same = [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in metrics]
    assert same[0] == same[1]
    assert Settings().filled({}).lr == Settings(lr=8e-3).filled({"lr": 1.0}).lr == 8e-3


def test_the_final_check_of_an_action_is_announced_or_left_out(monkeypatch):
    judged, console = [], Console(file=io.StringIO())
    monkeypatch.setattr("mera.train.reverse_kl.ReverseKL.verdict", lambda *args: judged.append(1) or "judged")
    flow, action = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,)), mera.physics.FreeField(1.0)
    for options, verdict in (({"check": False}, "not checked"), ({"callbacks": [StopAt(1)]}, "judged")):
        assert fit(flow, action, steps=2, eval_images=2, console=console, **options).verdict == verdict
        assert ("checking the weights of samples" in console.file.getvalue()) == (verdict == "judged")
    assert judged == [1]
