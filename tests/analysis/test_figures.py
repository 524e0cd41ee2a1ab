"""The figures of the paper, for a run."""

import pytest
import torch

import mera
from mera.analysis.paper import FIGURES, Subject
from tests.helpers.command import run, succeed


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("name", "channels"), [("rgflow", 3), ("realnvp", 1)])
def test_every_figure_of_every_flow_of_images(name, channels, monkeypatch):
    monkeypatch.setattr("mera.analysis.paper.REPAIRED", 1)
    short = {"samples": 2, "particles": 8, "warmup": 2, "iterations": 4, "leapfrog": 2, "steps": 3}
    monkeypatch.setattr("mera.analysis.paper.SEARCH", short)
    monkeypatch.setattr("mera.analysis.paper.FIELD_SAMPLES", 2)
    flow = mera.build(name, L=8, m=2, channels=channels, layers=1, hidden=(4,), residual_blocks=1)
    images = torch.randint(0, 256, (20, channels, 8, 8), dtype=torch.uint8)
    state = torch.get_rng_state()
    pictures = {key: figure.draw(Subject(flow, images)) for key, figure in FIGURES.items()}
    assert torch.equal(torch.get_rng_state(), state)
    for key in ("3b", "5"):  # the same each time
        assert FIGURES[key].draw(Subject(flow, images))._repr_png_() == pictures[key]._repr_png_()


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_command_draws_them(tmp_path):
    mera.save(mera.build("rgflow", L=8, channels=3, layers=1, hidden=(6,)), tmp_path / "flow")
    succeed("figures", tmp_path / "flow", "--only", "3c,5", "--out", tmp_path / "figures")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"figure_3c.png", "figure_5.png"}


def test_the_list_and_what_is_refused(tmp_path):
    listed = run("figures", "--list").output
    assert all(figure.title in listed for figure in FIGURES.values())
    mera.save(mera.build("rgflow", L=8, dim=1, channels=1, hidden=(4,)), tmp_path / "line")
    for arguments, code, message in (
        ([tmp_path / "line"], 1, "Expected a flow of images, with 1 or 3 channels in two dimensions; got 1 x 8"),
        ([tmp_path / "line", "--only", "3a,99"], 2, "got 99"),
    ):
        done = run("figures", *arguments)
        assert done.exit_code == code
        assert message in f"{done.output} {done.exception}"
