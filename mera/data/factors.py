"""Known factors of a data set, to compare with latents."""

from __future__ import annotations

from torch import Tensor

from mera.data.dataset import Examples

CONTEXT = "context"


def factors(examples: Examples) -> dict[str, Tensor]:
    """The known factors of a data set by name, (N,) or (N, k), as `mera.analysis.factors` takes them.

    The factors are the attribute `factors` of the data set, if it has one, or else its labels with one number or one
    row for each example, such as "class".

    Args:
        examples: the data set.

    >>> import mera
    >>> images = mera.data.load("msds1", train_size=1, test_size=5).test
    >>> {name: tuple(value.shape) for name, value in factors(images).items()}
    {'global color': (5, 3), 'color of a cell': (5, 3), 'angle of a cell': (5, 2)}
    """
    declared = getattr(examples, "factors", None)
    if declared is not None:
        return dict(declared)
    labels: dict[str, Tensor] = getattr(examples, "labels", {})
    return {
        name: value
        for name, value in labels.items()
        if name != CONTEXT and isinstance(value, Tensor) and value.ndim in (1, 2) and not value.is_complex()
    }
