"""Random states of devices, and values that autocast does not round."""

import torch

from mera._utils.random import set_torch_states
from mera._utils.torch_modes import exactly


def test_states_of_devices_that_are_missing_are_ignored(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    restored = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: restored.append((state, device)))
    set_torch_states({"cpu": torch.get_rng_state(), "cuda-0": "first", "cuda-1": "second"})
    assert restored == [("first", 0), ("second", 1)]


def test_autocast_is_off_where_values_are_exact():
    x = torch.randn(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with exactly(torch.device("cpu")):
            assert (x @ x).dtype == torch.float32
