"""The authors' checkpoints: their numbers, and files that are something else."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import mera
from tests.helpers.files import Malicious

DATA = Path(__file__).parents[1] / "golden"
GOLDEN = ["rgflow_L8_m4_C1", "rgflow_L16_m4_C3"]
exact = {"atol": 1e-10, "rtol": 0}


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers(name):
    flow = mera.load_rgflow_checkpoint(DATA / f"{name}.state")
    golden = {key: torch.from_numpy(value) for key, value in np.load(DATA / f"{name}.npz").items()}
    assert golden["x"].dtype == torch.float64
    z, log_det = flow(golden["x"])
    torch.testing.assert_close(flow.to_lattice(z), golden["z"], **exact)
    torch.testing.assert_close(log_det, golden["log_det"], **exact)
    torch.testing.assert_close(flow.log_prob(golden["x"]), golden["log_prob"], **exact)
    x, log_det = flow.inverse(flow.from_lattice(golden["z_in"]))
    torch.testing.assert_close(x, golden["x_out"], **exact)
    torch.testing.assert_close(log_det, golden["log_det_inverse"], **exact)


def authors_state(flow: mera.Flow, scale: float) -> dict[str, torch.Tensor]:
    """A flow of the authors' architecture under the names that their code gives."""
    state = {"prior.scale": torch.tensor(scale)}
    for node, chain in flow.bijectors.items():
        block = 2 * int(node[-1]) + node.startswith("decimator")
        for layer, coupling in enumerate(chain.members):
            networks, back = coupling.networks[0].networks, coupling.partition.back
            for net in (0, 1):
                prefix = f"layers.{block}.{'st'[net]}_layers.{layer}."
                state[prefix + "scale.scale"] = networks.scale.data[net, 0, back]
                state[prefix + "scale.saved_mean"] = state[prefix + "scale.saved_var"] = torch.zeros(len(back))
                for residual in range(networks.blocks):
                    for depth, (swish, linear) in enumerate(zip(networks.swishes, networks.linears, strict=True)):
                        start = back if depth == 0 else slice(None)
                        end = back if depth == len(networks.linears) - 1 else slice(None)
                        place = f"{prefix}res_blocks.{residual}."
                        state[f"{place}{2 * depth}.scale"] = swish.slope.data[residual, net, 0, start]
                        linear_place = f"{place}{2 * depth + 1}."
                        state[linear_place + "weight_v"] = linear.weight_v.data[residual, net].T[:, start][end]
                        state[linear_place + "weight_g"] = linear.weight_g.data[residual, net].T[end]
                        state[linear_place + "bias"] = linear.bias.data[residual, net, 0, end]
    for step in flow.plan.steps:
        if step.module:
            block = 2 * int(step.node[-1]) + step.node.startswith("decimator")
            mask = mera.bijectors.checkerboard(step.operation.event_shape).float()
            state[f"layers.{block}.mask_left"], state[f"layers.{block}.mask_right"] = mask, 1 - mask
    return state


@pytest.mark.parametrize(
    ("options", "scale", "dtype"),
    [
        ((8, 2, 2, (1, 3, 2), (2, 1, 1), (5,)), 1.0, torch.float32),
        ((16, 8, 1, 1, 3, (4, 6, 5)), 0.5**0.5, torch.float64),
        ((4, 4, 4, 2, 1, (7, 3)), 1.0, torch.float64),
    ],
)
def test_sizes_are_read_off_the_file(tmp_path, options, scale, dtype):
    names = ("L", "m", "channels", "layers", "residual_blocks", "hidden")
    prior = "gaussian" if scale == 1.0 else "laplace"
    flow = mera.build("rgflow", preset="authors", prior=prior, **dict(zip(names, options, strict=True)))
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    flow = flow.to(dtype)
    torch.save({"flow": authors_state(flow, scale), "optimizer": {}}, tmp_path / "a.state")
    loaded = mera.load_rgflow_checkpoint(tmp_path / "a.state")
    x = torch.randn(3, *flow.plan.input.event_shape, dtype=dtype)
    assert torch.equal(loaded.log_prob(x), flow.log_prob(x))
    other = mera.load_rgflow_checkpoint(tmp_path / "a.state", prior=torch.distributions.StudentT(3.0))
    assert not torch.equal(other.log_prob(x), flow.log_prob(x))


def test_pickled_code_is_not_run(tmp_path):
    target = tmp_path / "executed"
    torch.save({"flow": Malicious(target), "optimizer": {}}, tmp_path / "a.state")
    (tmp_path / "b.state").write_bytes(pickle.dumps(Malicious(target)))
    for file in ("a.state", "b.state"):
        with pytest.raises(ValueError, match=f"{file}: Expected a checkpoint of tensors; .*no code was run"):
            mera.load_rgflow_checkpoint(tmp_path / file)
    assert not target.exists()


def test_damaged_or_other_files(tmp_path):
    whole = (DATA / "rgflow_L8_m4_C1.state").read_bytes()
    state = torch.load(DATA / "rgflow_L8_m4_C1.state", weights_only=True)["flow"]
    path = tmp_path / "c.state"
    for damaged in (b"", b"not a checkpoint", whole[:1000], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"c\.state: Expected a checkpoint of tensors; got a damaged file or one"):
            mera.load_rgflow_checkpoint(path)
    for content in ({"flow": {}}, {"model": state}, [1], {"flow": [state]}):
        torch.save(content, path)
        with pytest.raises(ValueError, match="Expected a dict with the state dict of a flow under 'flow'"):
            mera.load_rgflow_checkpoint(path)
    mask, scale = "layers.0.mask_left", "layers.0.s_layers.0.scale.scale"
    for content, reason in (
        ({name: tensor for name, tensor in state.items() if "1.res_blocks.0.1.bias" not in name}, "KeyError"),
        ({name: tensor for name, tensor in state.items() if not name.startswith("layers.3.")}, "got 3 blocks"),
        (state | {"prior.scale": torch.tensor(0.3)}, "prior="),
        (state | {mask: state["layers.0.mask_right"]}, "checkerboard"),
        (state | {"layers.0.extra": torch.zeros(1)}, "layers.0.extra"),
        (state | {"layers.1.mask_left": state["layers.1.mask_right"]}, "mask_left of block 1"),
        (state | {mask: state[mask][:, 0]}, "masks of square patches"),
        (state | {scale: state[scale].half()}, "weights of one dtype"),
        (state | {scale: state[scale] * math.nan}, "finite weights"),
        (state | {scale: torch.zeros(3).double()}, "equal size"),
        ({"weight": torch.zeros(1)}, "got 0 blocks"),
    ):
        torch.save({"flow": content, "optimizer": {}}, path)
        with pytest.raises(ValueError, match=rf"(?s)c\.state: Expected a checkpoint of the authors' RG-Flow.*{reason}"):
            mera.load_rgflow_checkpoint(path)
    flipped = bytearray(whole)
    flipped[whole.index(state[scale].numpy().tobytes()) + 3] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"c\.state: Expected a checkpoint of tensors; got a damaged file"):
        mera.load_rgflow_checkpoint(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        mera.load_rgflow_checkpoint(tmp_path / "none")
