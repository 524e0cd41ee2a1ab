"""Which line of metrics belongs to the weights that a run keeps."""

import pytest

from mera._utils.run_records import _kept

FIRST, SECOND = ({"step": step, "test_bits": 9 - step, "validation_bits": bits} for step, bits in ((1, 3.0), (2, 5.0)))


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([], ({}, None)),
        ([FIRST], (FIRST, "best, step 1")),
        ([FIRST, SECOND], (FIRST, "best, step 1")),
        ([{"step": 1, "test_bits": 2.0}, {"step": 2, "test_bits": 3.0}], ({"step": 2, "test_bits": 3.0}, "last")),
    ],
)
def test_the_metrics_that_are_kept(metrics, expected):
    assert _kept(metrics) == expected
