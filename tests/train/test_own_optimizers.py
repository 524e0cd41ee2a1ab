"""Optimisers and schedules by name, as an instance and as a factory."""

import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import optim

from mera.train import Settings, fit
from mera.train.optimizers import cosine
from tests.helpers.callbacks import At
from tests.helpers.training import IMAGES, SHORT, same, small_flow

OWN = {"settings": replace(SHORT, warmup=None)}


def halved(optimizer):
    return optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)


def test_name_instance_and_factory_are_the_same():
    flows = [small_flow().double() for _ in range(3)]
    fit(flows[0], IMAGES, SHORT, optimizer="AdamW", lr=0.1, weight_decay=0.0)
    own = {"lr": 0.1, "weight_decay": 0.0, "fused": True}
    schedule = partial(optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: cosine(step, 2, step / 6))
    fit(flows[1], IMAGES, SHORT, optimizer=optim.AdamW(flows[1].parameters(), **own), schedule=schedule, warmup=None)
    fit(flows[2], IMAGES, SHORT, optimizer=partial(optim.AdamW, **own))
    for named, own in zip(flows[0].parameters(), flows[1].parameters(), strict=True):
        torch.testing.assert_close(named, own, atol=1e-14, rtol=0)
    assert same(flows[1], flows[2])
    assert not same(flows[0], small_flow().double())


def test_schedules_of_the_user():
    own = replace(SHORT, warmup=None, eval_every=1)
    result = fit(small_flow(), IMAGES, own, schedule=halved, optimizer=partial(optim.Adam, lr=0.01))
    assert [line["lr"] for line in result.history.metrics] == pytest.approx([0.01 * 0.5**step for step in range(6)])
    named = fit(small_flow(), IMAGES, SHORT, schedule="constant", warmup=None)
    assert named.history.metrics[-1]["lr"] == 8e-3


def test_an_optimizer_serves_twice():
    """Its learning rate is at 0 at the end of a cosine, and as it was after the run."""
    flow = small_flow()
    optimizer = optim.Adam(flow.parameters(), lr=0.01)
    for _ in range(2):
        before = [parameter.detach().clone() for parameter in flow.parameters()]
        fit(flow, IMAGES, SHORT, optimizer=optimizer)
        assert max((a - b).abs().max() for a, b in zip(flow.parameters(), before, strict=True)) > 0.005
        assert optimizer.param_groups[0]["lr"] == 0.01


def other_parameters():
    return optim.Adam(torch.nn.Linear(2, 2).parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": optim.SGD, "lr": 0.1}, "Pass lr to your own optimizer itself, not to fit"),
        ({"optimizer": optim.SGD, "settings": Settings(weight_decay=0.1)}, "Pass weight_decay to your own optimizer"),
        ({"optimizer": other_parameters()}, "Expected an optimiser of the flow's parameters; got one with 2 other"),
        ({"schedule": halved(other_parameters())}, "Expected a function from an optimiser to a schedule, .*; got a La"),
        (OWN | {"schedule": lambda _: halved(other_parameters())}, "optimiser that is used; got LambdaLR without it"),
        (OWN | {"schedule": lambda _: None}, "a schedule of the optimiser that is used; got NoneType"),
        (OWN | {"schedule": optim.lr_scheduler.ReduceLROnPlateau}, "steps without a loss; got ReduceLROnPlateau"),
    ],
)
def test_options_that_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(small_flow(), IMAGES, run=tmp_path / "run", **{"settings": SHORT} | options)
    assert not list(tmp_path.iterdir())


def test_an_optimiser_of_a_part_of_the_parameters_is_said():
    flow = small_flow()
    first, *others = flow.parameters()
    with pytest.warns(UserWarning, match=f"got one that lacks {len(others)} of {1 + len(others)} tensors"):
        fit(flow, IMAGES, SHORT, optimizer=optim.Adam([first]))
    for parameter in others:  # frozen on purpose: nothing to say
        parameter.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(flow, IMAGES, SHORT, optimizer=optim.Adam([first]))


def test_levels_are_frozen_and_released_on_the_way():
    flow, seen = small_flow(), {}
    flow.level(0).requires_grad_(False)

    def keep(loop):
        seen[loop.step] = [[p.detach().clone() for p in flow.level(level).parameters()] for level in (0, 1)]

    def exchange(loop):
        keep(loop)
        flow.level(0).requires_grad_(True)
        flow.level(1).requires_grad_(False)

    fit(flow, IMAGES, SHORT, callbacks=[At(1, keep), At(3, exchange), At(5, keep)])
    changed = [
        [not all(map(torch.equal, seen[first][level], seen[last][level])) for level in (0, 1)]
        for first, last in ((1, 3), (3, 5))
    ]
    assert changed == [[False, True], [True, False]]


def test_callbacks_see_the_gradients_that_are_used():
    norms = []

    def norm(loop):
        gradients = [p.grad for p in loop.flow.parameters() if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    fit(small_flow(), IMAGES, SHORT, clip=1e-3, callbacks=[At(2, norm)])
    assert norms == pytest.approx([1e-3], rel=1e-3)
