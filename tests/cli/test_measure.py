"""Actions on the command line: train, resume, measure."""

import json

import numpy as np
import pytest

import mera
from mera import physics
from mera.flow import Symmetrized
from mera.train import RunFolder
from tests.helpers.command import SMALL, plain, run

ACTION = "phi4(mass2=1, coupling=0.5)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "phi4"
    result = run("train", "rgflow", "--action", ACTION, *SMALL, "--steps", 20, "--lr", "5e-3", "--out", path)
    assert result.exit_code == 0, result.output
    text = plain(result)
    assert "learns Phi4(mass2=1, coupling=0.5, periodic=True) on 1 x 8 x 8, as a mixture with its mirror image" in text
    assert "finished after 20 steps: ESS <= 0." in text
    return path


def test_a_run_of_an_action_is_resumed_and_listed(folder):
    result = run("train", "--resume", folder, "--steps", 25)
    assert result.exit_code == 0, result.output
    assert "going on from step 20 of 25" in plain(result)
    assert RunFolder(folder).config()["action"] == ACTION
    flow = mera.load(folder)
    assert isinstance(flow, Symmetrized)
    (listed,) = json.loads(run("runs", folder.parent, "--json").output)
    assert listed["data"] == ACTION
    moved = run("train", "--resume", folder, "--root", "elsewhere", "--steps", 30)
    assert moved.exit_code == 2
    refused = run("evaluate", folder)
    assert refused.exit_code == 1
    assert "which learnt the action" in str(refused.exception)


@pytest.mark.parametrize("sampler", ["reweighting", "metropolis", "hmc"])
def test_measure(folder, tmp_path, sampler):
    warmup = [] if sampler == "reweighting" else ["--warmup", 20]
    result = run("measure", folder, "--sampler", sampler, "--samples", 200, *warmup, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "correlation_length" in result.output
    text = (tmp_path / "report.json").read_text()
    report = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert report["action"] == ACTION
    value, error = report["observables"]["phi2"]
    if sampler == "reweighting" and report["ess"] * report["samples"] < 2:  # one weight decides
        assert error is None
    else:
        assert 0 < error < value < 1
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"


def test_measure_with_images_of_the_flow(folder, tmp_path):
    """The mixture of more images is another density of the same target."""
    reports = []
    for more in ([], ["--symmetries", "flip,rotations,translations", "--images", 12]):
        result = run("measure", folder, "--samples", 400, "--out", tmp_path / str(len(more)), "--json", *more)
        assert result.exit_code == 0, result.output
        reports.append(json.loads(result.output.splitlines()[-1]))
    few, many = reports
    assert many["free_energy"][0] < few["free_energy"][0]
    assert many["log_z"] == pytest.approx(few["log_z"], abs=0.5)
    refused = run("measure", folder, "--images", 3)
    assert refused.exit_code == 2
    assert "--images needs --symmetries" in plain(refused)


def test_another_action(folder, tmp_path):
    saved = tmp_path / "flow.safetensors"
    mera.save(mera.load(folder).flow, saved)
    options = ["--samples", 64, "--chains", 4, "--warmup", 10, "--sampler", "hmc", "--json"]
    missing = run("measure", saved, *options)
    assert missing.exit_code == 2
    assert "Expected --action" in plain(missing)
    result = run("measure", saved, "--action", "free(mass2=2)", *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output.splitlines()[-1])["sampler"] == "hmc"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_measurements_are_kept_listed_and_prolonged(folder):
    options = ["measure", folder, "--sampler", "hmc", "--chains", 4, "--warmup", 5]
    first = run(*options, "--samples", 80)
    assert first.exit_code == 0, first.output
    assert "--resume" in str(run(*options, "--samples", 80).exception)
    assert run(*options, "--samples", 80, "--name", "again", "--seed", 1).exit_code == 0
    assert run(*options, "--samples", 160, "--resume").exit_code == 0
    chain = physics.load_chain(folder / "measure" / "hmc")
    assert chain.history["m2"].shape == (40, 4)
    listed = json.loads(run("measure", folder, "--list", "--json").output)
    assert [(row["measurement"], row["samples"]) for row in listed] == [("again", "80 of 80"), ("hmc", "160 of 160")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "Pass either --data or --action"),
        (["--out", "x", "--data", "msds1", "--action", "ising"], "Pass either --data or --action"),
        (["--out", "x", "--action", "ising", "--conditional"], "--action takes no options of data; got --conditional"),
        (["--out", "x", "--data", "msds1", "--no-symmetrize"], "--symmetrize is for --action"),
    ],
)
def test_arguments_that_are_refused(arguments, message):
    result = run("train", "rgflow", *SMALL, *arguments)
    assert result.exit_code == 2
    assert message in plain(result)


def test_an_action_of_several_components(tmp_path):
    arguments = ["--action", "on(n=2)", *SMALL, "--steps", 2, "--no-symmetrize", "--out", tmp_path / "run"]
    result = run("train", "rgflow", *arguments)
    assert result.exit_code == 0, result.output
    assert mera.load(tmp_path / "run").plan.input.channels == 2


@pytest.mark.parametrize("sampler", ["anneal", "hmc"])
def test_measure_without_a_run(tmp_path, sampler):
    options = ["--action", "free(mass2=1)", "--L", 4, "--sampler", sampler, "--samples", 256, "--json"]
    result = run("measure", *options, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads(result.output.splitlines()[-1])
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"
    if sampler == "anneal":
        log_z, error = report["log_z"]
        assert abs(log_z - physics.FreeField(1.0).log_z((4, 4))) < 5 * error + 0.01
        with np.load(tmp_path / "particles.npz") as file:
            assert file["fields"].shape == (256, 1, 4, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Expected --action for a measurement without a run"),
        (["--action", "free", "--L", 4], "Expected a run for the sampler reweighting; got none"),
        (["--action", "free", "--sampler", "hmc"], "Expected --L, the edge of the lattice"),
    ],
)
def test_what_a_measurement_without_a_run_needs(options, message):
    result = run("measure", *options)
    assert result.exit_code == 2
    assert message in plain(result)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_family_without_a_run(tmp_path):
    family = ["--action", "on(n=2, mass2=(-1, 1))", "--at", "mass2=0.5", "--L", 4, "--sampler", "hmc", "--samples", 128]
    result = run("measure", *family, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert physics.load_chain(tmp_path).fields.shape[1:] == (2, 4, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampler", "anneal", "--warmup", 7], "Expected no --warmup for the sampler anneal"),
        (["--sampler", "anneal", "--resume"], "Expected no --resume for the sampler anneal"),
        (["--sampler", "hmc", "--symmetries", "flip"], "Expected no --symmetries for the sampler hmc without a run"),
        (["--sampler", "hmc", "--fields", "x.npy"], "Expected no --fields for the sampler hmc"),
    ],
)
def test_options_that_a_sampler_does_not_have(options, message):
    result = run("measure", "--action", "free", "--L", 4, *options)
    assert result.exit_code == 2
    assert message in plain(result)


def test_annealing_replaces_nothing(tmp_path):
    options = ["measure", "--action", "free", "--L", 2, "--sampler", "anneal", "--samples", 64, "--out", tmp_path]
    assert run(*options).exit_code == 0
    assert "Expected a folder without a measurement" in str(run(*options).exception)
