"""Flows on the hub, which a local folder plays: the calls, what is uploaded, and what is refused."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import mera


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that keeps repositories in folders, with a folder for each revision."""

    def create_repo(repo_id, *, private, exist_ok, token):
        assert (private, exist_ok) == (True, True)
        (tmp_path / repo_id / "main").mkdir(parents=True, exist_ok=True)

    def create_branch(repo_id, *, branch, exist_ok, token):
        (tmp_path / repo_id / branch).mkdir(exist_ok=exist_ok)

    def upload_file(*, path_or_fileobj, path_in_repo, repo_id, revision, token):
        content = path_or_fileobj if isinstance(path_or_fileobj, bytes) else Path(path_or_fileobj).read_bytes()
        Path(hf_hub_download(repo_id, path_in_repo, revision=revision)).write_bytes(content)

    def hf_hub_download(repo_id, filename, *, revision):
        return str(tmp_path / repo_id / (revision or "main") / filename)

    functions = (create_repo, create_branch, upload_file, hf_hub_download)
    module = SimpleNamespace(**{function.__name__: function for function in functions})
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return tmp_path


def test_a_flow_goes_to_the_hub_and_back(hub):
    flow = mera.build("rgflow", L=4, channels=1, hidden=(3,))
    assert mera.push(flow, "ada/small") == "hf://ada/small"
    again = mera.load("hf://ada/small")
    x = torch.randn(2, 1, 4, 4)
    assert torch.equal(again.log_prob(x), flow.log_prob(x))
    card = (hub / "ada/small/main/README.md").read_text()
    assert 'mera.load("hf://ada/small")' in card
    assert "Flow on 1 x 4 x 4" in card
    assert mera.push(flow, "ada/small@v2") == "hf://ada/small@v2"
    assert (hub / "ada/small/v2/flow.safetensors").is_file()
    assert mera.load("hf://ada/small@v2").recipe.model == "rgflow"


@pytest.mark.parametrize("name", ["small", "a/b/c", "", "ada/small@", "../x/y z", 3])
def test_names(hub, name):
    with pytest.raises(ValueError, match="a repository of the hub, user/name or user/name@revision"):
        mera.push(mera.build("rgflow", L=4, channels=1, hidden=(3,)), name)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r'huggingface_hub \(pip install "mera-flow\[hub\]"\)'):
        mera.load("hf://ada/small")
