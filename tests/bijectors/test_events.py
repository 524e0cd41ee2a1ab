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


def test_events_by_keyword_and_events_of_a_bijector_of_the_user():
    class Twice(bijectors.Bijector):
        def forward(self, data):
            return 2 * data, bijectors.log_det_dtype(data)

        def inverse(self, y):
            return y / 2, None

    twice = Twice(SHAPE)
    assert twice(data=torch.ones(1, *SHAPE))[0].sum() == 2 * 32
    assert twice.inverse(y=torch.ones(1, *SHAPE))[0].sum() == 16
    with pytest.raises(ValueError, match="Twice: Expected events"):
        twice(data=torch.ones(1, 2, 4))
    with pytest.raises(TypeError, match="data"):
        twice()


def test_hidden_widths_that_are_no_tuple_are_refused():
    with pytest.raises(ValueError, match="Expected hidden as a tuple of widths; got 32"):
        bijectors.named("coupling", {"hidden": 32})(SHAPE)
