"""Mixtures in files, and flows and formats that are refused."""

import pytest
import torch

import mera
from mera.models.archive import read_archive, write_archive
from mera.models.saving import FORMAT, describe_flow, rebuild_empty
from tests.helpers.laws import randomize
from tests.tables.models import MODELS, rgflow


@pytest.mark.parametrize(("group", "elements"), [("flip", None), ("translations", 3), (("translations", "signs"), 5)])
def test_mixtures_come_back(tmp_path, group, elements):
    mixture = randomize(mera.Symmetrized(rgflow(L=(4, 8), m=2, channels=2), group, elements), 0.2)
    mera.save(mixture, tmp_path / "mixture")
    again, x = mera.load(tmp_path / "mixture"), torch.randn(2, 2, 4, 8, dtype=torch.float64)
    assert torch.equal(again.log_prob(x), mixture.log_prob(x))
    assert torch.equal(again.orbit(x)[0], mixture.orbit(x)[0])
    assert (again.group, len(again.elements)) == (group, len(mixture.elements))
    description = describe_flow(mixture)
    assert description == describe_flow(mixture.flow) | {"symmetrized": group} | (
        {} if elements is None else {"elements": elements}
    )
    assert len(rebuild_empty(description).elements) == len(mixture.elements)


def test_other_formats_are_refused(tmp_path):
    mera.save(MODELS["rgflow"](), tmp_path / "flow")
    description, tensors = read_archive(tmp_path / "flow")
    for other in (FORMAT - 1, FORMAT + 1):
        write_archive(tmp_path / "other", description | {"format": other}, tensors)
        with pytest.raises(
            ValueError, match=f"a flow of format {FORMAT}; got format {other}: load it with the version"
        ):
            mera.load(tmp_path / "other")
        with pytest.raises(ValueError, match=f"a flow of format {FORMAT}; got format {other}"):
            rebuild_empty(description | {"format": other})


def test_a_file_comes_before_a_trained_flow_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()  # commands write pictures into folders of such names
    assert mera.load("digits").plan == mera.load_pretrained("digits").plan
    own = MODELS["rgflow"]()
    mera.save(own, "digits/flow.safetensors")
    assert mera.load("digits").plan == own.plan
