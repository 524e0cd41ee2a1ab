"""Every option of every model changes the flow: its plan, its parameters, or its density."""

import inspect

import pytest
import torch

import mera
from mera.models import builder, names, presets
from tests.helpers.laws import randomize

OTHER = {
    "L": [(8, 16), (9, 27)], "channels": [3], "prior": ["laplace"], "context": [3], "classes": [4], "dim": [1],
    "layers": [2], "residual_blocks": [1, 2], "hidden": [(5,)], "conditioner": ["paper"], "norm": [False],
    "mix_channels": [False], "transform": ["spline", "affine"], "bijector": ["maf"], "boundary": ["open", "periodic"],
    "levels": [1], "block_spins": [True, False], "details": [0], "details_hidden": [(5,)], "m": [4],
    "order": ["authors"], "share_levels": [True], "shared_from": [1], "spectral": [True], "repeats": [3], "depth": [3],
}  # fmt: skip
"""By option, values that differ from `BASE`; of two, one is the default of some models, or fits the ternary MERA."""
BASE = {"L": 8, "m": 2, "channels": 2, "layers": 1, "hidden": (4,), "details": 1, "norm": True}


def described(model, **options):
    """The plan, the parameters by name and shape, and log p of one field with random parameters."""
    parameters = inspect.signature(builder(model)).parameters
    base = BASE | {"L": {"ternary": 9, "tree": 16}.get(model, 8)}
    torch.manual_seed(0)
    flow = mera.build(model, **{name: value for name, value in base.items() if name in parameters} | options)
    shapes = {name: tensor.shape for name, tensor in flow.state_dict().items()}
    randomize(flow, 0.1)
    torch.manual_seed(1)
    x = torch.randn(1, *flow.plan.input.event_shape, dtype=torch.float64)
    context = None
    if flow.needs_context:
        context = (
            torch.zeros(1, dtype=torch.long) if flow.context_encoder.classes else torch.ones(1, *flow.plan.context)
        )
    return str(flow.plan), shapes, flow.log_prob(x, context).item()


@pytest.mark.parametrize("model", names())
def test_every_option_changes_the_flow(model):
    before = described(model)
    assert described(model) == before
    for option, parameter in inspect.signature(builder(model)).parameters.items():
        values = [value for value in OTHER[option] if value != BASE.get(option, parameter.default)]
        value = values[-1 if model == "ternary" else 0]
        shared = {"share_levels": True} if option == "shared_from" else {}
        without = described(model, **shared) if shared else before
        assert described(model, **{option: value}, **shared) != without, option
    for preset in presets(model):
        assert described(model, preset=preset, hidden=(5, 5), layers=1, residual_blocks=1) != before
