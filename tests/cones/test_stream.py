"""log p of large images: tiles, maps, sources on disk."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import mera
from mera import analysis
from mera.bijectors.boxes import Box
from mera.graph import Lattice, Node
from mera.graph.operations import Move
from tests.helpers.laws import randomize

FLOWS = {
    "rgflow": ("rgflow", {"L": 16, "m": 4, "channels": 2}, (32, 48)),
    "authors": ("rgflow", {"L": 8, "m": 2, "channels": 1, "order": "authors", "share_levels": True}, (8, 24)),
    "open": ("rgflow", {"L": (24, 16), "m": 4, "levels": 2, "channels": 1, "boundary": "open"}, (32, 16)),
    "open-wide": ("rgflow", {"L": 12, "m": 6, "levels": 2, "channels": 1, "boundary": "open"}, (36, 24)),
    "3d": ("rgflow", {"L": 4, "m": 2, "dim": 3, "channels": 1}, (4, 8, 12)),
    "1d": ("rgflow", {"L": 16, "m": 4, "dim": 1, "channels": 3}, (80,)),
    "context": ("rgflow", {"L": 8, "m": 2, "channels": 1, "context": 3}, (16, 8)),
    "tree": ("tree", {"L": 8, "m": 2, "channels": 1}, (16, 24)),
    "ternary": ("ternary", {"L": 9, "channels": 1}, (27, 36)),
    "neuralrg": ("neuralrg", {"L": 8, "channels": 1, "repeats": 2}, (24, 16)),
    "tebd": ("tebd", {"L": 8, "m": 4, "channels": 1}, (16, 24)),
    "details": ("rgflow", {"L": 16, "m": 4, "channels": 1, "details": 1, "boundary": "open"}, (32, 16)),
    "details-context": ("rgflow", {"L": 8, "m": 2, "channels": 1, "details": 1, "context": 3}, (24, 16)),
    "noise": ("rgflow", {"L": 8, "m": 2, "channels": 2, "learnt_noise": (3,), "boundary": "open"}, (32, 48)),
    "noise-periodic": ("rgflow", {"L": 8, "m": 2, "channels": 1, "learnt_noise": (3,)}, (24, 32)),
    "realnvp": ("realnvp", {"L": 16, "m": 4, "channels": 1}, (32, 48)),
    "glow": ("glow", {"L": 16, "m": 4, "boundary": "periodic"}, (32, 48)),
    "wavelet": ("wavelet", {"L": 8}, (24, 16)),
    "decimation-1d": ("decimation", {"L": 8, "dim": 1, "channels": 1}, (96,)),
}


def case(name, dtype=torch.float64):
    model, options, shape = FLOWS[name]
    flow = randomize(mera.build(model, layers=1, hidden=(5,), residual_blocks=1, **options), 0.2).resized(shape)
    x = 0.8 * torch.randn(1, *flow.plan.input.event_shape, dtype=torch.float64)
    context = torch.randn(1, 3, dtype=torch.float64) if "context" in name else None
    return flow, x, context


@pytest.mark.parametrize("name", FLOWS)
def test_equal_to_the_pass_in_memory(name):
    flow, x, context = case(name)
    log_prob, z = flow.log_prob(x, context).item(), flow(x, context)[0]
    parts = analysis.decompose(flow, x, context)
    for tile in (16 if name in ("realnvp", "glow") else 5, 1000):
        result = flow.stream(x[0].numpy(), tile=tile, context=context)
        assert abs(result.log_prob - log_prob) < 1e-9
        assert len(result.levels) == len(z)
        assert not list(result.path.glob("value*"))  # which no tile needs any more
        for level, expected in enumerate(parts.maps):
            found = torch.from_numpy(np.asarray(result.map(level))).double()[None]
            for axis, edge in enumerate(flow.plan.input.shape, start=1):  # spread over the pixels of a site
                cell = edge // found.shape[axis]
                found = found.repeat_interleave(cell, axis) / cell
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
            assert abs(result.levels[level] - expected.sum().item()) < 1e-9


def test_a_context_at_each_pixel_is_refused_at_once():
    flow = mera.build("rgflow", L=8, channels=1, hidden=(4,), context=(2, 8, 8))
    with pytest.raises(ValueError, match=r"for streams; got a context of shape \(2, 8, 8\)"):
        flow.stream(torch.randn(1, 8, 8), context=torch.randn(1, 2, 8, 8))


BLOCK = {"name": "coupling", "layers": 1, "hidden": (8,)}


def ends_in_a_decimation(layout):
    x = layout.local(layout.input, BLOCK, kernel=4)
    coarse, fine = layout.decimate(x)
    layout.latent(fine)
    layout.latent(coarse)


def fine_goes_on(layout):
    """The coarse lattice leaves first, and is the second level."""
    coarse, fine = layout.decimate(layout.local(layout.input, BLOCK, kernel=4, offset=(2, 0)))
    layout.latent(layout.local(fine, "actnorm", kernel=2), name="fine")
    layout.latent(coarse, name="coarse")


@pytest.mark.parametrize("declare", [ends_in_a_decimation, fine_goes_on])
def test_levels_are_those_of_latents(declare):
    layout = mera.Layout((16, 24), 2)
    declare(layout)
    flow = randomize(mera.Flow(layout), 0.2)
    x = torch.randn(1, *flow.plan.input.event_shape, dtype=torch.float64)
    (z, log_det), result = flow(x), flow.stream(x[0].numpy(), tile=8)
    densities = [flow.prior.log_prob([level]).item() for level in z]
    own = log_det.item()
    if "local1" in flow.bijectors:  # an ActNorm of 24 patches
        own = 24 * flow.bijectors["local1"].log_scale.sum().item()
    expected = [densities[0] + own, densities[1] + log_det.item() - own]
    assert result.levels == pytest.approx(expected, abs=1e-9)
    assert result.levels == pytest.approx([part.sum().item() for part in analysis.decompose(flow, x).maps], abs=1e-9)


def test_images_of_8_bits():
    """Bits per dimension do not depend on the tile, and are those of the image with the same noise."""
    flow = randomize(mera.build("rgflow", L=32, m=4, channels=3, layers=1, hidden=(5,)), 0.2).float()
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 64), dtype=np.uint8)
    flow = flow.resized((96, 64))
    results = [flow.stream(images, tile=tile, seed=3) for tile in (16, 96)]
    assert abs(results[0].bits_per_dim - results[1].bits_per_dim) < 1e-5
    drawn = torch.stack([flow.bits_per_dim(torch.from_numpy(images)[None]) for _ in range(8)])
    assert abs(results[0].bits_per_dim - drawn.mean()) < 6 * drawn.std()
    assert results[0].bits_per_dim != flow.stream(images, seed=4).bits_per_dim
    assert np.isnan(flow.stream(images / np.float32(255)).bits_per_dim)


def test_sources_on_disk(tmp_path):
    zarr, h5py = (pytest.importorskip(name) for name in ("zarr", "h5py"))
    flow = randomize(mera.build("tree", L=8, m=2, channels=3, layers=1, hidden=(5,)), 0.2).float().resized((16, 24))
    image = np.random.default_rng(0).integers(0, 256, (3, 16, 24), dtype=np.uint8)
    expected = flow.stream(image).log_prob
    np.save(tmp_path / "a.npy", image)
    assert flow.stream(np.load(tmp_path / "a.npy", mmap_mode="r")).log_prob == expected
    assert flow.stream(zarr.array(image, chunks=(3, 8, 8)), tile=8).log_prob == pytest.approx(expected, abs=1e-2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        assert flow.stream(file.create_dataset("image", data=image)).log_prob == expected
    assert flow.stream(torch.from_numpy(image)).log_prob == expected


def test_what_is_refused(tmp_path):
    flow, x, _ = case("rgflow")
    source = x[0].numpy()
    with pytest.raises(ValueError, match=r"flow\.resized"):
        flow.stream(source[:, :16])
    with pytest.raises(ValueError, match="finite"):
        flow.stream(np.where(source == source.max(), np.inf, source))
    layout = mera.Layout((8, 8), 1)
    layout.latent(layout.local(layout.input, "spectral", kernel=9, stride=1, name="waves"))
    with pytest.raises(ValueError, match=r"(?s)Expected a bijector of patches.*'waves'"):
        mera.Flow(layout).stream(np.zeros((1, 8, 8), np.float32))
    flow.stream(source, tmp_path / "out", tile=16)
    (tmp_path / "out" / "note.txt").write_text("a file of the user")
    with pytest.raises(FileExistsError, match="Expected an empty folder for a stream"):
        flow.stream(source, tmp_path / "out", tile=16)
    (tmp_path / "killed.part").mkdir()
    with pytest.raises(FileExistsError, match=r"no other stream to .*; remove .*killed\.part if none is running"):
        flow.stream(source, tmp_path / "killed", tile=16)
    angles = mera.build(
        "rgflow", L=8, channels=1, transform="circular-spline", hidden=(4,), prior="VonMises(loc=0, concentration=1)"
    )
    with pytest.raises(ValueError, match="a flow of real numbers for images; got a flow of angles"):
        angles.stream(np.zeros((1, 8, 8), np.uint8))


def test_the_maps_are_files_of_numpy_and_appear_when_all_are_done(tmp_path):
    flow, x, _ = case("tree")
    with pytest.raises(ValueError, match="finite"):
        flow.stream(torch.where(x[0] == x.max(), torch.nan, x[0]), tmp_path / "out", tile=8)
    assert not any(tmp_path.iterdir())
    result = flow.stream(x[0].numpy(), tmp_path / "out", tile=8)
    assert sorted(path.name for path in tmp_path.glob("**/*")) == ["map0.npy", "map1.npy", "map2.npy", "out"]
    assert np.array_equal(np.load(tmp_path / "out" / "map1.npy"), result.map(1))
    shutil.rmtree(tmp_path / "out")
    assert np.isfinite(result.log_prob)
    with pytest.raises(FileNotFoundError):
        result.map(0)


def pooled(values, cells):
    """The sums over a grid of cells, where a site counts for a cell by the share of it that the cell covers."""
    for axis, count in enumerate(cells):
        n = values.shape[axis]
        shares = torch.tensor([[max(0.0, min((i + 1) * count / n, j + 1) - max(i * count / n, j)) * n / count
                                for j in range(count)] for i in range(n)], dtype=torch.float64)  # fmt: skip
        values = (values.movedim(axis, -1) @ shares).movedim(-1, axis)
    return values


@pytest.mark.parametrize(
    ("name", "cells"), [("rgflow", {5: (3, 5), 48: (32, 48)}), ("3d", {7: (2, 5, 7), 1: (1, 1, 1)})]
)
def test_the_picture_adds_up(name, cells):
    flow, x, _ = case(name)
    result = flow.stream(x[0].numpy(), tile=16)
    bits = -result.log_prob / (x[0].numel() * np.log(2))
    for edge, shape in cells.items():
        found = result.bits(edge)
        assert abs(found.sum(0).mean().item() - bits) < 1e-5
        for level, values in enumerate(found):
            nats = pooled(torch.from_numpy(np.asarray(result.map(level))).double(), shape)
            torch.testing.assert_close(
                values, -nats * np.prod(shape) / (x[0].numel() * np.log(2)), atol=1e-4, rtol=1e-5
            )


def test_the_picture_of_an_image():
    flow, x, _ = case("rgflow")
    result = flow.stream(x[0].numpy())
    assert torch.equal(result.bits(16, (8, 48)), result.bits(16)[:, :3])
    image = torch.randint(0, 256, (2, 32, 48), dtype=torch.uint8)
    result = flow.stream(image)
    assert result.bits().sum(0).mean().item() == pytest.approx(result.bits_per_dim, abs=1e-4)
    with pytest.raises(ValueError, match="Expected finite values; got infinite values or NaN in the box"):
        flow.stream(torch.where(x[0] == x.max(), torch.nan, x[0]))


@dataclass(frozen=True)
class Roll(Move):
    """An operation that moves all sites of a periodic line by a distance."""

    lattice: Lattice
    distance: int
    pattern = "roll"

    @property
    def outputs(self):
        return (self.lattice,)

    def forward(self, x):
        return (x.roll(self.distance, 2),)

    def inverse(self, outputs):
        return outputs[0].roll(-self.distance, 2)

    def map_forward(self, indices):
        n, channels = self.lattice.sites, self.lattice.channels
        moved = (indices // channels + self.distance) % n * channels + indices % channels
        return ((torch.ones_like(indices, dtype=torch.bool), moved),)

    def map_inverse(self, outputs):
        return Roll(self.lattice, -self.distance).map_forward(outputs[0])[0][1]


@dataclass(frozen=True)
class Rotate(Node):
    distance: int

    def lower(self, lattice):
        return (Roll(lattice, self.distance),)


def test_operations_that_move_variables_beyond_their_cells_are_refused():
    """Tiles would be computed from the wrong sites; cones and restrictions follow the indices."""
    layout = mera.Layout((16,), 1)
    (x,) = layout.add(Rotate(2), layout.local(layout.input, "coupling(hidden=(4,))", 4), "rotate")
    layout.latent(layout.local(x, "coupling(hidden=(4,))", 4))
    flow = randomize(mera.Flow(layout), 0.2)
    x = torch.randn(1, 1, 16, dtype=torch.float64)
    local = flow.restrict(x, ((3, 6),))
    torch.testing.assert_close(local.log_prob(local.pixels + 1), flow.log_prob(local.fill(local.pixels + 1)))
    with pytest.raises(ValueError, match=r"(?s)operations that move variables within cells.*'rotate'"):
        flow.stream(x[0].numpy())


def test_a_temporary_folder_goes_with_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    flow, x, _ = case("tree")
    result = flow.stream(x[0].numpy())
    assert list(tmp_path.iterdir()) == [result.path]
    del result
    assert not list(tmp_path.iterdir())


KILLED = """
import mera, os, torch
result = mera.build("rgflow", L=8, channels=1, hidden=(4,)).stream(torch.randn(1, 8, 8))
print(result.path, flush=True)
os._exit(9)
"""


def test_the_folder_of_a_killed_stream_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", KILLED], env=os.environ | {"TMPDIR": str(tmp_path)}, check=False)
    assert killed.returncode == 9
    (left,) = tmp_path.iterdir()
    flow, x, _ = case("tree")
    first = flow.stream(x[0].numpy())
    assert not left.exists()
    second = flow.stream(x[0].numpy())
    assert first.map(0).shape == second.map(0).shape  # the folder of a living stream stays
    del first, second
    assert not list(tmp_path.iterdir())


def flip_a_byte(out):
    content = bytearray((out / "map0.npy").read_bytes())
    content[-3] ^= 1
    (out / "map0.npy").write_bytes(content)


@pytest.mark.parametrize(
    "edit",
    [
        flip_a_byte,
        lambda out: shutil.copy(out / "map1.npy", out / "map0.npy"),
        lambda out: shutil.copy(out.parent / "other" / "map0.npy", out / "map0.npy"),
        lambda out: (out / "map0.npy").write_bytes(b""),
    ],
)
def test_a_map_that_is_not_the_one_of_the_stream_is_refused(tmp_path, edit):
    flow, x, _ = case("tree")
    result = flow.stream(x[0].numpy(), tmp_path / "out")
    flow.stream(x[0].numpy() + 1, tmp_path / "other")
    assert float(result.map(0).sum()) == pytest.approx(result.levels[0], rel=1e-5)
    edit(tmp_path / "out")
    for read in (lambda: result.map(0), result.bits):
        with pytest.raises(ValueError, match=r"map0\.npy: Expected a map as this stream wrote it"):
            read()
    assert result.map(1).shape


def test_a_map_is_drawn_without_the_order_of_coding():
    flow = mera.build("rgflow", L=16, m=4, channels=1, details=1, hidden=(4,), boundary="open").float()
    streamed = flow.resized((32, 48)).stream(torch.randn(1, 32, 48))
    squares = np.indices((16, 24)).sum(0) % 2 * 2.0 - 1
    np.save(streamed.file("map0"), np.kron(squares, np.ones((2, 2))).astype(np.float32))
    np.save(streamed.file("map1"), np.pad(np.ones((1, 1), np.float32), ((7, 8), (11, 12))))
    streamed.seal()
    assert streamed.even_map(0).abs().max() == 0
    spread = streamed.even_map(1)
    assert spread.sum() == 1
    assert [spread[7, 11], *(spread[at] for at in ((5, 11), (9, 11), (7, 9), (7, 13)))] == [0.5, *[0.125] * 4]
    even, exact = (streamed.bits(edge=48, even=it) for it in (True, False))
    assert torch.equal(even[2], exact[2])  # the coarsest level has no convolution
    assert torch.allclose(even[1].mean(), exact[1].mean())
    tile = Box((4, 3), (9, 24))
    assert torch.equal(streamed.even_map(1, tile), spread[4:9, 3:24])
