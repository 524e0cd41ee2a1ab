"""Actions on the command line: train, resume, measure."""

import json

import pytest

import mera
from mera import physics
from mera.cli.measure import SAMPLERS, WITHOUT_CHAINS
from mera.flow import Symmetrized
from mera.physics.record import Folder
from mera.train import RunFolder
from tests.helpers.command import SMALL, plain, run, succeed

ACTION = "phi4(mass2=1, coupling=0.5)"


def measured(*arguments):
    """The report that a measurement prints."""
    return json.loads(succeed("measure", *arguments, "--json").output.splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "phi4"
    text = plain(
        succeed(
            "train", "rgflow", "--action", ACTION, *SMALL, "--steps", 20, "--lr", "5e-3", "--no-check", "--out", path
        )
    )
    assert "learns Phi4(mass2=1, coupling=0.5, periodic=True) on 1 x 8 x 8, as a mixture with its mirror image" in text
    assert "finished after 20 steps: ESS <= 0." in text
    return path


def test_a_run_of_an_action_is_resumed_and_not_evaluated(folder):
    assert "going on from step 20 of 25" in plain(
        succeed("train", "--resume", folder, "--steps", 25, "--rewarm", "--no-check")
    )
    assert RunFolder(folder).facts()["action"] == ACTION
    assert isinstance(mera.load(folder), Symmetrized)
    assert run("train", "--resume", folder, "--root", "elsewhere", "--steps", 30).exit_code == 2
    refused = run("evaluate", folder)
    assert refused.exit_code == 1
    assert "which learnt the action" in str(refused.exception)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_measure(folder, tmp_path, sampler):
    warmup = [] if sampler in WITHOUT_CHAINS else ["--warmup", 20]
    result = succeed("measure", folder, "--sampler", sampler, "--samples", 200, *warmup, "--out", tmp_path)
    assert "correlation_length" in result.output
    text = (tmp_path / "report.json").read_text()
    report = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert report["action"] == ACTION
    assert ("exchanged" in report) == (sampler == "tempering")
    value, error = report["observables"]["phi2"]
    if sampler == "reweighting" and report["ess"] * report["samples"] < 2:  # one weight decides
        assert error is None
    else:
        assert 0 < error < value < 1
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"


def test_measure_with_images_of_the_flow(folder, tmp_path):
    """The mixture of more images is another density of the same target."""
    more = ["--symmetries", "flip,rotations,translations", "--elements", 12]
    few = measured(folder, "--samples", 400, "--seed", 0, "--out", tmp_path / "few")
    many = measured(folder, "--samples", 400, "--seed", 0, "--out", tmp_path / "many", *more)
    assert many["free_energy"][0] < few["free_energy"][0]
    assert many["log_z"] == pytest.approx(few["log_z"], abs=0.5)
    refused = run("measure", folder, "--elements", 3)
    assert refused.exit_code == 2
    assert "--elements needs --symmetries" in plain(refused)


def test_another_action(folder, tmp_path):
    saved = tmp_path / "flow.safetensors"
    mera.save(mera.load(folder).flow, saved)
    missing = run("measure", saved)
    assert missing.exit_code == 2
    assert "Expected --action" in plain(missing)
    options = ["--samples", 64, "--chains", 4, "--warmup", 10, "--sampler", "hmc"]
    assert measured(saved, "--action", "free(mass2=2)", *options)["sampler"] == "hmc"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_measurements_are_kept_and_prolonged(folder):
    options = ["measure", folder, "--sampler", "hmc", "--chains", 4, "--warmup", 5]
    succeed(*options, "--samples", 80)
    assert "--resume" in str(run(*options, "--samples", 80).exception)
    seed = Folder(folder / "measure" / "hmc").facts()["seed"]
    assert f"the seed of the measurement in {folder}" in str(
        run(*options, "--samples", 160, "--resume", "--seed", seed + 1).exception
    )
    succeed(*options, "--samples", 160, "--resume", "--seed", seed)
    chain = physics.load_chain(folder / "measure" / "hmc")
    assert chain.history["m2"].shape == (40, 4)


def test_an_action_of_several_components(tmp_path):
    arguments = [
        "--action",
        "on(n=2)",
        *SMALL,
        "--steps",
        2,
        "--no-symmetrize",
        "--no-check",
        "--out",
        tmp_path / "run",
    ]
    succeed("train", "rgflow", *arguments)
    assert mera.load(tmp_path / "run").plan.input.channels == 2
