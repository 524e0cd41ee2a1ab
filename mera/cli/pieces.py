"""Pieces of scratches and of specks that are far apart, which are filled one by one; without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPACIOUS, LONG, PIECE = 4, 36, 16
"""A hole longer than LONG pixels, whose square has SPACIOUS times its pixels, has pieces of up to PIECE pixels."""


def pieces_of(hidden: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Divide a scratch, or specks far apart, (H, W) into pieces along its length; other holes are one piece."""
    edges = [np.ptp(np.flatnonzero(hidden.any(1 - axis))) + 1 for axis in range(2)]
    if max(edges) <= LONG or max(edges) ** 2 <= SPACIOUS * hidden.sum():
        return [hidden]
    at, axis, pieces = np.argwhere(hidden), int(np.argmax(edges)), []
    while len(at):
        is_near = at[:, axis] < at[:, axis].min() + PIECE
        is_near &= at[:, 1 - axis] < at[is_near, 1 - axis].min() + PIECE
        piece = np.zeros_like(hidden)
        piece[tuple(at[is_near].T)] = True
        at = at[~is_near]
        pieces.append(piece)
    return pieces
