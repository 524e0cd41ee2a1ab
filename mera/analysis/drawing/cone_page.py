"""An HTML page, one file without a server, that shows the causal cones of a layout."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from importlib.resources import files

import numpy as np
from rich.console import Console
from torch import Tensor

from mera._utils.errors import InputError
from mera._utils.progress import ProgressBar, check_console
from mera.cones.all_cones import all_generation_cones, all_inference_cones
from mera.graph import Layout, Plan, compile

MAX_PIXELS = 64 * 64
"""The largest number of pixels of a lattice, since the page contains the cone of every pixel."""


def cone_page(layout: Layout | Plan, title: str = "a layout", console: Console | None = None) -> str:
    """Make an HTML page that highlights the latents that depend on a pixel, and the pixels that depend on a latent.

    Args:
        layout: a layout, or a plan such as `flow.plan`, of one or two dimensions and at most 4,096 pixels.
        title: the name of the layout on the page.
        console: where progress is shown; None shows it on terminals and in notebooks only.

    >>> import mera
    >>> page = cone_page(mera.build("tree", L=8, m=2, hidden=(4,)).plan, "a tree")
    >>> "Causal cones" in page
    True
    """
    plan = layout if isinstance(layout, Plan) else compile(layout)
    if plan.input.dim > 2 or plan.input.sites > MAX_PIXELS:
        raise InputError(f"a lattice of one or two dimensions with at most {MAX_PIXELS:,} pixels", str(plan.input))
    total = plan.input.sites + sum(latent.lattice.sites for latent in plan.latents)
    with ProgressBar("cones", check_console(console), "cone") as bar:
        inference = _stack(all_inference_cones(plan), bar, 0, total)
        generation = _stack(all_generation_cones(plan), bar, len(inference), total)
    content = {
        "title": title,
        "shape": plan.input.shape,
        "channels": plan.input.channels,
        "levels": [
            {"name": f"z{h}", "shape": latent.lattice.shape, "channels": latent.lattice.channels}
            for h, latent in enumerate(plan.latents)
        ],
        "inference": _pack(inference),
        "generation": _pack(generation),
    }
    page = files("mera.analysis.drawing").joinpath("cone_page.html").read_text(encoding="utf-8")
    text = json.dumps(content).replace("<", "\\u003c")  # "</script>" in the title would end the script
    return page.replace("/*CONES*/null", text)


def _stack(chunks: Iterable[Tensor], bar: ProgressBar, done: int, total: int) -> np.ndarray:
    """Stack the rows of all chunks, and show progress; `done` of `total` rows were computed before."""
    rows: list[np.ndarray] = []
    for chunk in chunks:
        rows.extend(chunk.numpy())
        bar.update(done + len(rows), (done + len(rows)) / total)
    return np.stack(rows)


def _pack(rows: np.ndarray) -> str:
    """Encode a bool matrix as base64 text of packed bits; each row begins with a new byte."""
    return b64encode(np.packbits(rows, axis=1).tobytes()).decode("ascii")
