"""Targets, records and samplers as users meet them."""

from types import SimpleNamespace

import pytest
import torch

import mera
from mera import physics
from mera.physics import Draw, FreeField, Phi4, Sampler, Target, run


def flow_of(**options):
    return mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), norm=False, prior="gaussian", **options)


def test_a_target_takes_the_place_of_an_action_and_is_checked_once(monkeypatch):
    target, flow = Target(Phi4(1.0, 0.5), (1, 4, 4)), flow_of().double()
    checked = []
    monkeypatch.setattr("mera.physics.target.laws_of", lambda *a: checked.append(a) or {})
    physics.hmc((1, 4, 4), target, draws=8, warmup=2)
    physics.metropolis(flow, target, draws=8, warmup=2)
    physics.temper(target, (1, 4, 4), draws=8, warmup=2, points=[0.5, 1.0])
    physics.cluster(target, (1, 4, 4), draws=8, warmup=2)
    mera.train.fit(flow, target, steps=1, batch_size=8, eval_images=4, check=False, quiet=True)
    assert not checked
    mera.train.fit(flow_of(), target, steps=1, batch_size=8, eval_images=4, check=False, quiet=True)
    assert len(checked) == 1  # once for the flow's single precision
    with pytest.raises(ValueError, match=r"fields of the shape of the target, \(1, 4, 4\)"):
        physics.hmc((1, 8, 8), target)
    monkeypatch.undo()
    assert mera.check(target).ok


class Independent(Sampler):
    """A sampler of a user's own: the free field, mode by mode."""

    name = "independent"

    def __init__(self, target, chains):
        self.targets, self._scale = [target], target.action.eigenvalues(target.shape[1:]).rsqrt()
        self.fields = torch.zeros(chains, *target.shape, dtype=torch.float64)

    def draw(self, tune, most):
        noise = torch.fft.fftn(torch.randn_like(self.fields), dim=(2, 3))
        self.fields = torch.fft.ifftn(noise * self._scale, dim=(2, 3)).real
        return [Draw(self.fields, 1.0, self.targets[0].action(self.fields))]


def test_a_sampler_of_ones_own_is_one_class(tmp_path):
    torch.manual_seed(0)
    target = Target(FreeField(0.7), (1, 4, 6))
    (found,) = run(Independent(target, 4), {"chains": 4}, 400, out=tmp_path, every=10)
    value, error = found.observables["phi2"]
    assert abs(value - FreeField(0.7).phi2((4, 6))) < 4 * error
    assert found.tau["phi2"] == pytest.approx(0.5, abs=0.1)
    loaded = physics.load_chain(tmp_path)
    assert (loaded.sampler, loaded.fields.shape) == ("independent", (160, 1, 4, 6))
    assert (found.rates.shape, found.fields.shape, found.done) == ((400, 1), (160, 1, 4, 6), 400)


def test_states_are_exact():
    """Numbers, and tensors in their own dtype, also of attributes of attributes."""
    sampler, again = (Independent(Target(FreeField(), (1, 4, 4)), 2) for _ in range(2))
    values = {"count": 7, "rate": 0.1, "done": True, "step": torch.tensor([[0.1], [0.7]])}
    for one, kept in ((sampler, values), (again, {"count": 0, "rate": 1.0, "done": False, "step": torch.zeros(1)})):
        one.inner, one.state_names = SimpleNamespace(**kept), ["fields", *(f"inner.{name}" for name in kept)]
    sampler.fields = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    again.restore(sampler.state())
    assert torch.equal(again.fields, sampler.fields)
    for name, value in values.items():
        found = getattr(again.inner, name)
        assert type(found) is type(value)
        assert torch.equal(torch.as_tensor(found), torch.as_tensor(value))
        assert torch.as_tensor(found).dtype == torch.as_tensor(value).dtype


def test_estimates_go_to_arviz():
    arviz = pytest.importorskip("arviz_base")
    chain = physics.hmc((1, 4, 4), FreeField(), draws=20, chains=3, warmup=5)
    tree = chain.to_arviz()
    assert dict(tree["posterior"].sizes)["chain"] == 3
    assert torch.equal(torch.tensor(tree["posterior"]["m2"].values), chain.history["m2"].T)
    assert tree["posterior"]["correlator"].shape == (3, 20, 3)
    report = physics.anneal(FreeField(), (1, 4, 4), particles=8)
    assert report.to_arviz()["sample_stats"]["log_weight"].shape == (1, 64)
    assert arviz.__version__


def test_a_folder_of_before_says_so(tmp_path):
    """A measurement whose draws are named as they were before."""
    import numpy as np

    from mera.physics.record import Folder

    folder = Folder(tmp_path)
    folder.write({"warmup": 0, "chains": 2, "start": "0", "sampler": "hmc", "fingerprint": {}})
    np.savez(tmp_path / "a.npz", **{"series/m2": np.zeros((8, 2)), "done": np.array(8)})
    folder.write_part("000000.npz", (tmp_path / "a.npz").read_bytes())
    with pytest.raises(
        ValueError, match="Expected a measurement of this version of mera; got draws in the format of another version"
    ):
        physics.load_chain(tmp_path)
