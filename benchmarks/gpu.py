"""Speed and memory of flows on a GPU as a Markdown table, in about ten minutes. Ends with a message if there is no GPU.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --quick        # the same lines at small sizes, to see that they run

Each line is the median of several calls, with the device's queue empty before and after. "products" are the bare matrix
products of the forward pass. Kernels are counted by torch's profiler; on a CPU, the operations that compute are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile
from versions import recorded_products

import mera

VIEWS = {"view", "as_strided", "t", "transpose", "slice", "select", "expand", "unbind", "reshape", "permute", "alias",
         "unsqueeze", "squeeze", "detach", "narrow", "_unsafe_view", "empty", "empty_strided", "empty_like", "to",
         "split", "split_with_sizes", "tensor_split", "unflatten", "flatten", "linear", "item"}  # fmt: skip
"""Operations that launch no kernel, or call another one that does."""


def settle(device: str) -> None:
    """Wait until the device has nothing left to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def median(call: Callable[[], object], device: str, repeats: int) -> float:
    """Milliseconds of a call."""
    times = []
    for _ in range(repeats + 2):
        settle(device)
        start = time.perf_counter()
        call()
        settle(device)
        times.append(1e3 * (time.perf_counter() - start))
    return sorted(times[2:])[repeats // 2]


def launches(call: Callable[[], object], device: str) -> int:
    """Kernels that a call launches; on a CPU, operations that compute."""
    on_gpu = device == "cuda"
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if on_gpu else [ProfilerActivity.CPU]
    with profile(activities=activities) as found:
        call()
        settle(device)
    if on_gpu:
        return sum(event.count for event in found.key_averages() if event.device_type.name == "CUDA")
    calls = [event for event in found.events() if is_counted(event.name)]
    return sum(not any(is_counted(child.name) for child in event.cpu_children) for event in calls)


def is_counted(name: str) -> bool:
    """Whether an operation of torch computes something, as far as its name tells."""
    return name.startswith("aten::") and name.removeprefix("aten::") not in VIEWS


def peak(call: Callable[[], object], device: str) -> str:
    """The most memory that a call needs beyond what is held, in MiB; nothing on a CPU."""
    if device != "cuda":
        return ""
    settle(device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    settle(device)
    return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:,.0f}"


def step_of(flow: mera.Flow, x: torch.Tensor, precision: str = "float32") -> Callable[[], None]:
    """A training step without its optimiser."""
    half = precision == "bfloat16"

    def step() -> None:
        flow.zero_grad()
        with torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext():
            loss = -flow.log_prob(x).mean()
        loss.backward()

    return step


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """A training step as one CUDA graph."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def lines(device: str, quick: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """A measurement: a name, and a call."""
    L, batch = (8, 4) if quick else (32, 64)
    for model, options in {"rgflow": {"m": 4}, "realnvp": {}, "glow": {}}.items():
        flow = mera.build(model, L=L, **options).to(device)
        x = torch.randn(batch, 3, L, L, device=device)
        with torch.no_grad():
            z = flow(x)[0]
        yield f"{model}: forward", torch.no_grad()(lambda flow=flow, x=x: flow(x))
        yield f"{model}: inverse", torch.no_grad()(lambda flow=flow, z=z: flow.inverse(z))
        yield f"{model}: training step", step_of(flow, x)
        yield f"{model}: training step, bfloat16", step_of(flow, x, "bfloat16")
        if model == "rgflow":
            yield "rgflow: products of a forward pass", recorded_products(partial(flow, x), device)
            if device == "cuda":
                yield "rgflow: training step, CUDA graph", captured(step_of(flow, x))
    hidden = 16 if quick else 512
    authors = mera.build("rgflow", L=L, preset="authors", hidden=(hidden, hidden)).to(device)
    yield (
        f"rgflow, authors, hidden {hidden}: training step",
        step_of(authors, torch.randn(batch, 3, L, L, device=device)),
    )
    L = 16 if quick else 256
    for checkpoint in (False, True):
        flow = mera.build("rgflow", L=L, m=4).to(device)
        flow.checkpoint = checkpoint
        yield (
            f"rgflow, L={L}, checkpoint {checkpoint}: training step",
            step_of(flow, torch.randn(2, 3, L, L, device=device)),
        )
    mask = torch.zeros(L, L, dtype=torch.bool)
    mask[L // 2 - 4 : L // 2, L // 2 - 4 : L // 2] = True
    for places in (1, 64):
        pixels = torch.randn(places, 3, 16, device=device)
        with torch.no_grad():
            local = flow.restrict(torch.randn(1, 3, L, L, device=device), mask)
        call = torch.no_grad()(lambda local=local, pixels=pixels: local.log_prob(pixels))
        yield f"rgflow, L={L}: restricted, {places} images", call
    yield f"rgflow, L={L}: window of 16 x 16", lambda: flow.window(0, (0, 16), (0, 16))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    device = arguments.device
    if device == "cuda" and not torch.cuda.is_available():
        print("Expected a GPU that torch can use; got none: nothing measured.")
        return
    name = torch.cuda.get_device_name() if device == "cuda" else device
    print(f"torch {torch.__version__}, {name}; medians of {arguments.repeats}\n")
    print("| work | ms | kernels | peak MiB |\n|---|---|---|---|")
    for what, call in lines(device, arguments.quick):
        ms, count = median(call, device, arguments.repeats), launches(call, device)
        print(f"| {what} | {ms:.2f} | {count:,} | {peak(call, device)} |", flush=True)


if __name__ == "__main__":
    main()
