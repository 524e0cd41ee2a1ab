"""The smooth surface through the pixels around a hole, from which the search for a filling starts."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from mera.graph import Lattice


def biharmonic(x: Tensor, mask: Tensor, lattice: Lattice) -> Tensor:
    r"""Fill the masked pixels (*shape) of x (1, C, *shape) with a biharmonic surface, channel by channel.

    The surface is the least bent one, a minimum of :math:`\sum (\Delta x)^2` with the Laplacian :math:`\Delta` of the
    lattice and reflecting open borders. Values beyond those of the other pixels of the channel are clamped to them.
    """
    laplacian = _laplacian(lattice)
    hidden = mask.flatten().cpu().numpy()
    bending = (laplacian @ laplacian.T)[hidden]
    known = x[0].detach().flatten(1).double().cpu().numpy()[:, ~hidden]
    surface = splu(bending[:, hidden].tocsc()).solve(-(bending[:, ~hidden] @ known.T)).T
    clamped = np.clip(surface, known.min(1, keepdims=True), known.max(1, keepdims=True))
    filled = x.clone()
    filled[0, :, mask] = torch.from_numpy(clamped).to(x)
    return filled


def _laplacian(lattice: Lattice) -> sparse.csr_array:
    """The Laplacian of a lattice, with rows and columns of sites by flat index."""
    total = sparse.csr_array((1, 1))
    for n, is_periodic in zip(lattice.shape, lattice.periodic, strict=True):
        sites = np.arange(n if is_periodic else n - 1)
        data, edges = np.ones(2 * len(sites)), np.concatenate([sites, sites])
        ends = np.concatenate([sites, (sites + 1) % n])
        difference = sparse.csr_array((data * np.repeat([-1.0, 1.0], len(sites)), (edges, ends)), (len(sites), n))
        total = sparse.kronsum(difference.T @ difference, total, format="csr")
    return sparse.csr_array(total)
