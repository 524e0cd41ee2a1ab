"""The trained flows of the package: small, described, and as good as their cards say."""

import json
from pathlib import Path

import pytest
import torch

import mera
from mera import data
from mera.models import pretrained
from mera.models.saving import FOLDER
from tests.helpers.command import run, succeed

ROOT = Path(__file__).parent.parent.parent
NAMES = ["clothes", "digits", "msds1", "msds2", "photographs"]


def test_all_weights_have_cards_and_all_cards_weights():
    assert sorted(pretrained()) == NAMES
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(NAMES)
    for name, card in pretrained().items():
        assert card.weights.stat().st_size < 8e6
        assert " train rgflow --data " in card.command or (ROOT / card.command.split()[1]).is_file()
        assert card.licence
        described = json.loads((FOLDER / f"{name}.json").read_text())
        assert described["data"]["name"] in card.command or described["name"] in card.command
        assert "root" not in described["data"]


@pytest.mark.parametrize("name", NAMES)
def test_every_flow_loads_and_draws(name):
    with torch.inference_mode():  # training may follow
        flow = mera.load_pretrained(name)
    assert not any(parameter.is_inference() for parameter in flow.parameters())
    assert sum(p.numel() for p in flow.parameters()) == pretrained()[name].parameters
    images = flow.to_images(flow.sample(4, temperature=0.6))
    assert images.shape == (4, flow.plan.input.channels, 32, 32)
    pixels = images.double()
    assert pixels.std() > 10  # no constant
    assert pixels.diff(dim=-1).std() < pixels.std()  # no noise, whose neighbours differ by 1.4 times as much


@pytest.mark.parametrize("name", ["msds1", "msds2"])
def test_the_bits_are_those_of_the_card(name):
    card = pretrained()[name]
    test = data.load(**card.data, train_size=1, test_size=200).test
    found = mera.train.example_losses(mera.load_pretrained(name), test).mean()
    assert abs(found - card.bits_per_dim) < 0.05  # 200 images of 10,000


def test_unknown_names():
    with pytest.raises(ValueError, match=r"a pretrained flow among .*; got 'msds3' .did you mean 'msds2'"):
        mera.load_pretrained("msds3")


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_commands_take_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeed("info", "msds1")
    succeed("sample", "digits", "--n", 4)
    assert (tmp_path / "digits" / "samples_T0.8.png").exists()
    for name in ("new/a", "new/a.npy"):
        succeed("sample", "msds1", "--n", 2, "--out", tmp_path / name)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.npy", "a.png"]
    assert not (tmp_path / "msds1").exists()
    assert "Expected mnist in" in str(run("evaluate", "digits").exception)  # MNIST is not here
