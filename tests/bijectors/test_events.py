"""Events that a bijector does not take are refused when it is called."""

import pytest
import torch

from mera import bijectors

SHAPE = (2, 4, 4)


@pytest.mark.parametrize("method", ["forward", "inverse"])
@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (3, 3, 4, 4), (3, 2, 4), SHAPE, None])
@pytest.mark.parametrize("name", ["actnorm", "coupling", "convolution", "linear", "permutation"])
def test_events_of_another_shape_are_refused(name, shape, method):
    """An index or a broadcast would accept some of them, and return numbers."""
    bijector = bijectors.named(name)(SHAPE)
    with pytest.raises(ValueError, match=r"^\w+: Expected events \(B, 2, 4, 4\); got "):
        getattr(bijector, method)(None if shape is None else torch.randn(shape))
