"""Local field bijectors: values and log-dets by site on a box are those of the whole lattice."""

import pytest
import torch

from mera.bijectors import Invert, named
from mera.graph import Lattice
from mera.graph.boxes import Box
from mera.graph.local_fields import is_local, run_on_box
from tests.helpers.laws import randomize

SMALL = {"hidden": (4,), "layers": 2, "residual_blocks": 1}
FIELDS = {
    "convolution": (SMALL, 3),
    "convolution-channels": (SMALL | {"mask": "channels"}, 3),
    "details": (SMALL | {"passive": 1}, 3),
    "corners": (SMALL, 4),
    "glow-steps": (SMALL, 2),
}
EDGES = (26, 30)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("name", FIELDS)
def test_values_on_a_box_are_those_of_the_lattice(name, periodic, inverted):
    options, channels = FIELDS[name]
    options = options | {"padding": "circular" if periodic else "zeros"}
    bijector = randomize(named(name.split("-channels")[0], options)((channels, *EDGES)))
    bijector = Invert(bijector) if inverted else bijector
    lattice = Lattice(channels, EDGES, (periodic,) * 2)
    assert is_local(bijector, lattice)
    x = torch.randn(2, channels, *EDGES, dtype=torch.float64)
    radius = [width // 2 for width in bijector.receptive_kernel]
    targets = [((11, 13), (12, 17)), ((0, 2), (28, 30)), *([((-2, 3), (29, 33))] if periodic else [])]
    for inverse in (False, True):
        y, _ = (bijector.inverse if inverse else bijector)(x)
        whole = Box.of((0, n) for n in EDGES)
        _, by_site = run_on_box(bijector, lattice, x, whole, whole, inverse=inverse)
        for target in map(Box.of, targets):
            box = target.grown(radius, lattice)
            values, log_det = run_on_box(bijector, lattice, box.take(x), box, target, inverse=inverse)
            torch.testing.assert_close(values, target.take(y))
            torch.testing.assert_close(log_det, target.take(by_site))


def test_convolutions_that_end_at_a_periodic_border_are_not_local():
    bijector = named("convolution", SMALL)((1, 8, 8))
    assert not is_local(bijector, Lattice(1, (8, 8), (True, True)))
    assert not named("spectral")((1, 8, 8)).is_local
