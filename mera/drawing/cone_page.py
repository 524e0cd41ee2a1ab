"""A page for a browser, one file that needs no server, on which the causal cones of a layout light up."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from importlib.resources import files

import numpy as np
from rich.console import Console
from torch import Tensor

from mera._utils.errors import InputError
from mera.cones.dense import all_generation_cones, all_inference_cones
from mera.display.progress import ProgressBar, check_console
from mera.graph import Layout, Plan, compile
from mera.graph.lattice import Lattice

MOST = 64 * 64
"""The most pixels of a lattice, since the page holds the cone of each."""


def cone_page(layout: Layout | Plan, title: str = "a layout", console: Console | None = None) -> str:
    """The page as HTML: point at a pixel, and the latents that depend on it light up; at a latent, and its pixels do.

    Args:
        layout: a layout, or a compiled one such as `flow.plan`.
        title: what the page calls it.
        console: where progress is shown; None to show nothing.

    Raises:
        ValueError: if the lattice has three dimensions, or more than 4,096 pixels.

    >>> import mera
    >>> page = cone_page(mera.build("tree", L=8, m=2, hidden=(4,)).plan, "a tree")
    >>> "Causal cones" in page
    True
    """
    plan = layout if isinstance(layout, Plan) else compile(layout)
    if plan.input.dim > 2 or plan.input.sites > MOST:
        raise InputError(f"a lattice of one or two dimensions with at most {MOST:,} pixels", str(plan.input))
    total = plan.input.sites + sum(latent.lattice.sites for latent in plan.latents)
    with ProgressBar("cones", check_console(console), "cone") as bar:
        of_pixels = _gathered(all_inference_cones(plan), bar, 0, total)
        of_latents = _gathered(all_generation_cones(plan), bar, len(of_pixels), total)
    described = {
        "title": title,
        **_described(plan.input),
        "levels": [{"name": f"z{h}", **_described(latent.lattice)} for h, latent in enumerate(plan.latents)],
        "inference": _packed(of_pixels),
        "generation": _packed(of_latents),
    }
    page = files("mera.drawing").joinpath("cone_page.html").read_text(encoding="utf-8")
    text = json.dumps(described).replace("<", "\\u003c")  # which could end the script
    return page.replace("/*CONES*/null", text)


def _gathered(pieces: Iterable[Tensor], bar: ProgressBar, done: int, total: int) -> np.ndarray:
    """All rows of some pieces, as they come."""
    rows: list[np.ndarray] = []
    for piece in pieces:
        rows.extend(piece.numpy())
        bar.update(done + len(rows), (done + len(rows)) / total)
    return np.stack(rows)


def _described(lattice: Lattice) -> dict[str, object]:
    """The shape of a lattice, and its channels."""
    return {"shape": list(lattice.shape), "channels": lattice.channels}


def _packed(rows: np.ndarray) -> str:
    """A matrix of truth values as text, eight of them in a byte, each row from a new byte on."""
    return b64encode(np.packbits(rows, axis=1).tobytes()).decode("ascii")
