"""A second way to run a layout: site by site and patch by patch, from the graph alone, without a plan."""

import itertools

import torch

from mera import Flow
from mera.graph import Decimate, Input, Latent, Local, Split, Squeeze


def naive_forward(flow: Flow, x: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Latents by the name of their node, and the log-det, of one batch."""
    graph, modules = flow.layout.graph, {step.node: step.module for step in flow.plan.steps}
    log_det = torch.zeros(x.shape[0], dtype=x.dtype)
    latents = {}
    (start,) = (name for name, node in graph.nodes(data="node") if isinstance(node, Input))
    periodic = graph.nodes[start]["node"].lattice.periodic
    stack = [(start, 0, x)]
    while stack:
        source, output, value = stack.pop()
        (name,) = (n for _, n, o in graph.out_edges(source, data="output") if o == output)
        node = graph.nodes[name]["node"]
        if isinstance(node, Latent):
            latents[name] = value
        elif isinstance(node, Local):
            before = value
            value, change = naive_local(node, flow.bijectors[modules[name]], value, periodic)
            value = torch.cat([before[:, : node.passive], value[:, node.passive :]], dim=1)
            log_det = log_det + change
            stack.append((name, 0, value))
        elif isinstance(node, Split):
            stack += [(name, 0, value[:, : node.keep]), (name, 1, value[:, node.keep :])]
        else:
            cells = naive_cells(node, value)
            if isinstance(node, Squeeze):
                stack.append((name, 0, torch.cat(cells, dim=1)))
            elif isinstance(node, Decimate):
                stack += [(name, 0, cells[0]), (name, 1, torch.cat(cells[1:], dim=1))]
    return latents, log_det


def naive_cells(node, value):
    """The sublattices of a cell's first site, its second, and so on."""
    dim = value.ndim - 2
    strides = node.stride if isinstance(node.stride, tuple) else (node.stride,) * dim
    starts = itertools.product(*(range(s) for s in strides))
    return [value[(..., *(slice(a, None, s) for a, s in zip(start, strides, strict=True)))] for start in starts]


def naive_local(node, bijector, value, periodic):
    """Every patch by itself; a patch that would cross an open border is left out."""
    dim, shape = value.ndim - 2, value.shape[2:]
    settings = (node.kernel, node.stride or node.kernel, node.offset)
    kernel, stride, offset = (v if isinstance(v, tuple) else (v,) * dim for v in settings)
    if stride != kernel:
        shifted = value.roll([-o for o in offset], tuple(range(2, 2 + dim)))
        result, change = bijector(shifted)
        return result.roll(offset, tuple(range(2, 2 + dim))), change
    out, log_det = value.clone(), torch.zeros(value.shape[0], dtype=value.dtype)
    for corner in itertools.product(*(range(o, o + n, k) for n, k, o in zip(shape, kernel, offset, strict=True))):
        index, whole = [], True
        for c, k, n, wraps in zip(corner, kernel, shape, periodic, strict=True):
            whole &= wraps or c + k <= n
            index.append([(c + i) % n for i in range(k)])
        if whole:
            sites = (slice(None), slice(None), *torch.meshgrid(*map(torch.tensor, index), indexing="ij"))
            out[sites], change = bijector(value[sites])
            log_det = log_det + change
    return out, log_det
