"""`mera doctor` says what the machine is, and notices a flow that breaks a law."""

import json

import torch

from mera.bijectors import Affine
from tests.helpers.command import plain, run


def test_it_tests_the_default_flow():
    result = run("doctor")
    assert result.exit_code == 0, result.output
    text = plain(result)
    assert f"torch {torch.__version__}" in " ".join(text.split())
    assert "All is well." in text
    report = json.loads(run("doctor", "--json").output)
    assert report["is_well"]
    errors = [float(found.removeprefix("error ")) for found in report["laws"].values() if found.startswith("error ")]
    assert len(errors) >= 9
    assert max(errors) < 1e-9


def test_it_notices_a_broken_law(monkeypatch):
    forward = Affine.forward
    monkeypatch.setattr(Affine, "forward", lambda self, x, params: (forward(self, x, params)[0], 0.9 * params[:, 0]))
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert not json.loads(result.output.splitlines()[0])["is_well"]
