"""The laws must hold for any parameters that training reaches: here after steps of optimisers with weight decay.

Weight decay moves all parameters to zero, those too that are not meant to be learnt, and so does every optimiser in
its own way: what is kept in a parameter and must not change would show here.
"""

import pytest
import torch
from torch import nn

from mera.train.optimizers import Muon
from tests.helpers.laws import check_laws, flat, randomize
from tests.helpers.quick import quick_of
from tests.tables.bijectors import BIJECTORS, CONDITIONAL
from tests.tables.models import CONDITIONAL as CONDITIONAL_MODELS
from tests.tables.models import MODELS, ONE_EACH, batch, contexts

DECAY = {"lr": 0.03, "weight_decay": 0.5}
STEPS = 2
OPTIMIZERS = (torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop, Muon)


def train(module, x, context, *optimizers):
    """Some steps of each optimiser on the negative log-likelihood of data under a standard normal prior."""
    arguments = () if context is None else (context,)
    for cls in optimizers:
        optimizer = cls(module.parameters(), **DECAY)
        for _ in range(STEPS):
            optimizer.zero_grad()
            z, log_det = module(x, *arguments)
            (flat(z).square().sum(1) / 2 - log_det).mean().backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)  # without it, some optimisers diverge
            optimizer.step()


@pytest.mark.parametrize("name", [*BIJECTORS, *(f"conditional {name}" for name in CONDITIONAL)])
def test_laws_of_bijectors(name):
    table, key = (
        (CONDITIONAL, name.removeprefix("conditional ")) if name.startswith("conditional ") else (BIJECTORS, name)
    )
    bijector = randomize(table[key]())
    if not list(bijector.parameters()):
        return
    start = {name: value.detach().clone() for name, value in bijector.named_parameters()}
    x = 0.7 * torch.randn(8, *bijector.event_shape, dtype=torch.float64)
    context = None
    if bijector.context_shape is not None:
        context = torch.randn(8, *bijector.context_shape, dtype=torch.float64)
    train(bijector, x, context, *OPTIMIZERS)
    assert not all(torch.equal(value, start[name]) for name, value in bijector.named_parameters())
    check_laws(bijector, x[:1], None if context is None else context[:1])


@pytest.mark.parametrize(
    "name", quick_of([*MODELS, *(f"conditional {name}" for name in CONDITIONAL_MODELS)], ONE_EACH.values())
)
def test_laws_of_models(name):
    is_conditional = name.startswith("conditional ")
    flow = randomize((CONDITIONAL_MODELS if is_conditional else MODELS)[name.removeprefix("conditional ")](), 0.2)
    x = batch(flow, 2)
    context = contexts(flow, 2) if is_conditional else None
    train(flow, x, context, torch.optim.AdamW, Muon)
    check_laws(flow, x[:1], None if context is None else context[:1])
