"""A symmetrised flow is used as a flow is: trained, saved, and by the command line."""

import math

import pytest
import torch

import mera
from mera.train import RunFolder, fit
from tests.helpers.command import run
from tests.helpers.training import IMAGES, SHORT, same


def symmetric(**options):
    torch.manual_seed(1)
    return mera.Symmetrized(mera.build("rgflow", L=8, layers=1, hidden=(6,), **options))


def fields(n=80):
    torch.manual_seed(0)
    x = torch.randn(n, 1, 8, 8) + 2
    return x * (torch.randint(0, 2, (n, 1, 1, 1)) * 2 - 1)


def field_flow():
    return symmetric(channels=1, prior="gaussian")


def test_its_parameters_are_those_of_the_flow():
    p = field_flow()
    assert set(p.state_dict()) == {f"flow.{name}" for name in p.flow.state_dict()}
    assert p.double().log_prob(fields(2).double()).dtype == torch.float64
    assert p.log_prob(torch.zeros(0, 1, 8, 8, dtype=torch.float64)).shape == (0,)


def test_it_has_what_a_flow_has():
    p = symmetric()
    images = IMAGES.train.array[:4]
    x = p.from_images(images)
    assert p.to_images(x).equal(images)
    nats = -p.bits_per_dim(images, noise=torch.zeros(images.shape)) * 192 * math.log(2)
    assert nats.shape == (4,)
    for number in (3, (3,)):
        samples, log_prob = p.rsample_and_log_prob(number)
        assert (samples.shape, log_prob.shape) == ((3, 3, 8, 8), (3,))
        torch.testing.assert_close(p.log_prob(samples), log_prob)
        assert p.flow.sample(number).shape == samples.shape
    assert p.distribution().sample((2, 2)).shape == (2, 2, 3, 8, 8)
    assert p.n_parameters == p.flow.n_parameters
    assert repr(p).startswith("Symmetrized Flow on 3 x 8 x 8")
    assert "<table>" in p._repr_html_()
    assert not p.checkpoint
    p.checkpoint = True
    assert p.flow.checkpoint
    with pytest.raises(ValueError, match="Expected a Flow; got Symmetrized"):
        mera.Symmetrized(p)


def test_it_is_trained_and_goes_on_bit_by_bit(tmp_path):
    from tests.helpers.callbacks import StopAt

    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    expected, flow, again = field_flow(), field_flow(), field_flow()
    fit(expected, fields(), SHORT, whole)
    fit(flow, fields(), SHORT, parts, callbacks=[StopAt(4)])
    fit(again, fields(), SHORT, parts, resume=True)
    assert same(again, expected)
    assert same(mera.load(tmp_path / "whole"), expected)


def test_the_command_line_does_not_fill_with_it(tmp_path):
    images = mera.data.load("msds1", L=8, train_size=60, test_size=20)
    fit(symmetric(), images, SHORT, tmp_path / "run")
    refused = run("inpaint", tmp_path / "run", "--test", 0, "--region", "0:2,0:2")
    assert "Expected a run of a Flow on two dimensions; got a Symmetrized" in str(refused.exception)


def test_images_in_the_place_of_data():
    flow = mera.build("rgflow", L=8, layers=1, hidden=(6,))
    for call in (flow, flow.log_prob, mera.Symmetrized(flow).flow.log_prob):
        with pytest.raises(
            ValueError, match=r"got torch\.uint8: `bits_per_dim` takes images as they are, `from_images`"
        ):
            call(IMAGES.train.array[:2])


def test_a_flow_that_fails_in_the_mirror_alone():
    from mera.train.health import first_not_finite
    from mera.train.likelihoods import FieldLikelihood

    layout = mera.Layout((4,), 1)
    layout.latent(layout.local(layout.input, "pointwise-spline", kernel=2, name="spline"))
    p = mera.Symmetrized(mera.Flow(layout, prior="Uniform(0, 5)"))  # no density below 0
    fields = torch.ones(2, 1, 4)
    assert first_not_finite(p, FieldLikelihood(fields), (fields, torch.empty(2, 0))) == "the density of the latents"


def test_contexts_of_sites_are_not_moved():
    flow = mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), context=(1, 4, 4))
    with pytest.raises(ValueError, match="one context for all sites beside symmetries that move sites"):
        mera.Symmetrized(flow, ("flip", "rotations"))
    assert len(mera.Symmetrized(flow, "flip").elements) == 2
