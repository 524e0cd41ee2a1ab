"""Stages: the steps between one cut of the channels and the next, evaluated on boxes of sites."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from operator import mul

import torch
from torch import Tensor

from mera.bijectors.boxes import Box
from mera.bijectors.local import run_on_box
from mera.executor.passes import spread_evenly
from mera.executor.plan_module import PlanModule
from mera.graph.lattice import Lattice
from mera.graph.layout_error import LayoutError
from mera.graph.operations import Cut, Regroup
from mera.graph.plan import Step


@dataclass(frozen=True)
class Stage:
    """The steps between one lattice and the next.

    Args:
        number: the number of the stage, from the data on.
        lattice: the lattice at the entry.
        steps: the steps that act on the lattice, in order: bijectors of patches, and regroupings of sites.
        leaving: for each level of latents that leaves, the number of the level and the channels, first to last.
        kept: the channels that go on to the next stage; None if there is no next stage.
    """

    number: int
    lattice: Lattice
    steps: tuple[Step, ...]
    leaving: tuple[tuple[int, slice], ...]
    kept: slice | None

    @property
    def cell(self) -> tuple[int, ...]:
        """For each dimension, the number of sites of the entry for one site of the outputs."""
        return self.cells[-1]

    @cached_property
    def cells(self) -> tuple[tuple[int, ...], ...]:
        """The edges of one site in sites of the entry: at the entry, then behind each step."""
        ones = (1,) * self.lattice.dim
        cells = (step.operation.cell for step in self.steps)
        return tuple(accumulate(cells, lambda fine, cell: tuple(map(mul, fine, cell)), initial=ones))

    @property
    def coarse(self) -> tuple[int, ...]:
        """The shape of the lattice of the outputs."""
        return tuple(n // c for n, c in zip(self.lattice.shape, self.cell, strict=True))

    def needed(self, box: Box) -> list[Box]:
        """The boxes from which a box of outputs is computed: at the entry, and behind each step."""
        boxes = [box]
        for step in reversed(self.steps):
            boxes.append(step.operation.needed(boxes[-1]))
        return boxes[::-1]


def stages_of(flow: PlanModule) -> list[Stage]:
    """The stages of the plan of a flow, finest first.

    A bijector that acts on a whole lattice at once, or several lattices behind a cut, are refused.

    Raises:
        LayoutError: if a bijector acts on a whole lattice at once, or more than one lattice goes on behind a cut; the
            message names the node.
    """
    plan, stages = flow.plan, list[Stage]()
    levels = {latent.value: h for h, latent in enumerate(plan.latents)}
    users = {step.source: step for step in plan.steps}
    value, lattice = 0, plan.input
    while True:
        entry, steps = lattice, []
        while value in users and len(users[value].targets) == 1:
            step = users[value]
            if step.module and step.apply.is_field and not flow.is_local(step):
                expected = "a bijector of patches, or one whose log-det is a sum over sites"
                raise LayoutError(expected, "one that acts on the whole lattice at once", node=step.node)
            if not step.module and not isinstance(step.move, (Cut, Regroup)):  # others may move variables anywhere
                expected = "operations that move variables within cells, Regroup and Cut"
                raise LayoutError(expected, str(step.operation), node=step.node)
            steps.append(step)
            value, lattice = step.targets[0], step.operation.outputs[0]
        outputs, first = [(value, lattice)], 0
        if value in users:
            outputs = list(zip(users[value].targets, users[value].operation.outputs, strict=True))
        leaving, going_on = [], []
        for target, output in outputs:
            channels = slice(first, first + output.channels)
            first += output.channels
            if target in levels:
                leaving.append((levels[target], channels))
            else:
                going_on.append((target, channels, output))
        if len(going_on) > 1:
            raise LayoutError("one lattice that goes on behind a cut", str(len(going_on)), node=users[value].node)
        kept = going_on[0][1] if going_on else None
        stages.append(Stage(len(stages), entry, tuple(steps), tuple(leaving), kept))
        if not going_on:
            return stages
        value, _, lattice = going_on[0]


def run_stage(
    stage: Stage, flow: PlanModule, block: Tensor, box: Box, context: Tensor | None
) -> tuple[Tensor, dict[int, Tensor]]:
    """Compute a box of the outputs of a stage.

    Args:
        block: the values at the entry in the box `stage.needed(box)[0]`, (C, *sites).
        box: the box of outputs.
        context: the encoded context of the image, (1, K); None for a flow without context.

    Returns:
        The outputs with all channels, (C, *sites); and for each level of latents that leaves the part of log p of each
        site of the entry, in double precision. All log-dets count for the finest of the levels.
    """
    boxes, values = stage.needed(box), block[None]
    total = torch.zeros(box.refined(stage.cell).shape, dtype=torch.float64, device=block.device)
    for step, cell, (here, after) in zip(stage.steps, stage.cells[1:], pairwise(boxes), strict=True):
        if not step.module:
            (values,) = step.move.forward(values)
            continue
        bijector = flow.bijector(step)
        encoded = None if bijector.context_shape is None else context
        if step.apply.is_field:
            values, by_site = run_on_box(bijector, step.apply.lattice, values, here, after, encoded)
        elif step.apply.on_box(here).events:
            values, by_site = (after.crop(part, here) for part in _apply(step, flow, values, here, encoded))
        else:
            values = after.crop(values, here)
            continue
        rest = tuple(all_ // done for all_, done in zip(stage.cell, cell, strict=True))
        total += _spread(box.refined(rest).crop(by_site[0].to(torch.float64), after), cell)
    maps = {}
    for level, channels in stage.leaving:
        density = flow.prior.log_density(values[:, channels])[0].sum(0, dtype=torch.float64)
        maps[level] = _spread(density, stage.cell)
    maps[min(maps)] += total
    return values[0], maps


def _apply(step: Step, flow: PlanModule, values: Tensor, box: Box, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Transform all patches in a box: the values behind them, and the log-det of each site, (1, *sites)."""
    operation = step.apply.on_box(box)
    inputs, outer = operation.gather(values)
    transform = flow.transform(lambda _: None if context is None else context.expand(len(inputs), -1))
    changed, log_det = transform(step, inputs)
    return operation.scatter(changed, outer, 1), spread_evenly(operation, log_det.to(torch.float64), 1)


def _spread(values: Tensor, cell: Sequence[int]) -> Tensor:
    """Spread values evenly over cells of sites."""
    values = values / math.prod(cell)
    for axis, edge in enumerate(cell):
        values = values.repeat_interleave(edge, axis)
    return values
