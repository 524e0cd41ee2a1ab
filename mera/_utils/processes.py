"""The processes that train together, by torch.distributed; and requests to stop: SIGINT (Ctrl-C) and SIGTERM."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GRACE = 0.2
"""The seconds before Python ends in which threads of the process group release their tensors."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def is_main() -> bool:
    """Return whether this process is the first of the processes that were started together; it writes all files."""
    return rank() == 0


def rank() -> int:
    """The number of this process among those that were started together, from 0 on."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes that were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_group(device: torch.device) -> torch.device:
    """Join the processes that torchrun or accelerate launch started, and return the device of this process."""
    if world_size() == 1:
        return device
    import torch
    from torch import distributed

    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if device.type == "cuda" else device
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave_group)  # threads of the group that outlive the interpreter can abort the process
    return device


def reduced(value: Tensor, is_mean: bool = False) -> Tensor:
    """The sum, or the mean, of a tensor over all processes."""
    if world_size() > 1:
        from torch import distributed

        join_group(value.device)
        value = value.detach().clone()
        distributed.all_reduce(value)
    return value / world_size() if is_mean else value


def _leave_group() -> None:
    """Destroy the process group, after its threads have released the tensors of the last exchange.

    Gloo releases them shortly after the exchange, in a thread that then waits for the lock of the interpreter; where
    Python already ends, it ends this thread, and the C++ runtime aborts the process ("terminate called without an
    active exception").
    """
    from torch import distributed

    if distributed.is_initialized():
        time.sleep(GRACE)  # releases the lock
        distributed.destroy_process_group()


class StopSignal:
    """A context in which a signal sets `number`; a second SIGINT has the effect that it had before the context.

    A second SIGTERM has no effect, since launchers that forward signals may send one request to stop twice. Outside the
    main thread, where no signals arrive, `number` stays 0.

    Attributes:
        number: the number of the signal that arrived; 0 if none did.
    """

    number = 0

    def __enter__(self) -> StopSignal:
        self.previous_handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self.previous_handlers = {number: signal.signal(number, self._stop) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous_handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self.number = number
        if number == signal.SIGINT:
            signal.signal(number, self.previous_handlers[number])


def raise_signal(number: int) -> NoReturn:
    """Raise what Python raises for SIGINT, `KeyboardInterrupt`; or `SystemExit` with the usual status for SIGTERM."""
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
