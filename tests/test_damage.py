"""A file of every kind that mera writes, damaged in twelve ways: refused by its name, or read as the same numbers."""

import random
import shutil

import numpy as np
import pytest
import torch

import mera
from mera import physics
from mera.models.archive import read_archive
from mera.train import RunFolder, fit
from tests.helpers.training import small_flow

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of few draws
IMAGES = mera.data.load("msds1", L=8, train_size=40, test_size=20)


def numbers_of_run(folder):
    """All that a run holds, as a command reads it."""
    run = RunFolder(folder)
    flow = mera.load(folder).state_dict()
    return run.facts(), run.metrics(), flow, [run.read(step)["step"] for step in run.steps()]


def numbers_of_measurement(folder):
    return {name: values.tolist() for name, values in physics.load_chain(folder).history.items()}


def make_run(folder, seed):
    fit(small_flow(), IMAGES, steps=4, batch_size=4, eval_every=2, seed=seed, run=folder, quiet=True)


def make_flow(folder, seed):
    torch.manual_seed(seed)
    folder.mkdir()
    mera.save(small_flow(), folder / "flow.mera")


def make_measurement(folder, seed):
    torch.manual_seed(seed)
    physics.hmc((1, 4, 4), physics.FreeField(1.0), draws=8, warmup=4, chains=2, out=folder)


KINDS = {
    "flow": (make_flow, lambda folder: read_archive(folder / "flow.mera"), ["flow.mera"]),
    "run": (make_run, numbers_of_run,
            ["manifest.json", "metrics.jsonl", "flow.safetensors", "checkpoints/step_00000004.pt"]),
    "measurement": (make_measurement, numbers_of_measurement, ["manifest.json", "000000.npz"]),
}  # fmt: skip
"""By a kind: how a folder is made, how its numbers are read, and its files."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of each kind."""
    root = tmp_path_factory.mktemp("damage")
    for name, (make, _, _) in KINDS.items():
        for seed in (0, 1):
            make(root / f"{name}{seed}", seed)
    return root


def damages(content, other):
    """Twelve damaged contents of a file, by name; `other` is that of the same file in another folder."""
    draw, n = random.Random(0), len(content)
    for i in range(4):
        where = draw.randrange(n)
        yield f"flip {i}", content[:where] + bytes([content[where] ^ (1 << i)]) + content[where + 1 :]
    for share in (0.1, 0.9):
        yield f"cut {share}", content[: int(share * n)]
    yield "cut the last byte", content[:-1]
    for share in (0.0, 0.8):
        start, length = int(share * n), max(1, n // 16)
        yield f"zeros {share}", content[:start] + bytes(length) + content[start + length :]
    yield "empty", b""
    yield "other's", other
    yield "text", b'{"format": 1}\n'


def read_or_message(read, folder):
    """What is read, or the message of the error."""
    try:
        return read(folder)
    except (ValueError, OSError) as error:
        return str(error)


def same(a, b):
    """Whether two readings are equal; a series of lines may have lost its last ones, as after a kill."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, (list, tuple)):
        return len(a) <= len(b) and all(map(same, a, b))
    return bool(torch.equal(a, b)) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize(("kind", "file"), [(kind, file) for kind, (*_, files) in KINDS.items() for file in files])
def test_damage_is_refused_by_name_or_changes_nothing(folders, tmp_path, kind, file):
    _, read, _ = KINDS[kind]
    before, original = read(folders / f"{kind}0"), folders / f"{kind}0"
    ways = dict(damages((original / file).read_bytes(), (folders / f"{kind}1" / file).read_bytes()))
    assert len(ways) == 12
    refused = 0
    for way, content in ways.items():
        folder = tmp_path / way
        shutil.copytree(original, folder)
        (folder / file).write_bytes(content)
        found = read_or_message(read, folder)
        if isinstance(found, str):  # another manifest is whole, but does not fit the other files
            assert str(folder if way == "other's" else folder / file) in found, (way, found)
            refused += 1
        else:
            assert same(found, before) or (kind, way) == ("flow", "other's"), way
        shutil.rmtree(folder)
    assert refused > 6


def doubled_draws(folder):
    with np.load(folder / "000000.npz") as file:
        arrays = {name: 2 * file[name] if name == "series/m" else file[name] for name in file.files}
    np.savez(folder / "000000.npz", **arrays)


def moved_weights(folder):
    path = folder / "checkpoints" / "step_00000004.pt"
    state = torch.load(path)
    torch.save(state | {"flow": {name: value + 0.5 for name, value in state["flow"].items()}}, path)


def cut_metrics(folder):
    path = folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("measurement", doubled_draws), ("run", moved_weights), ("run", cut_metrics),
        ("run", lambda folder: (folder / "metrics.jsonl").write_bytes(b"")),
        ("run", lambda folder: (folder / "metrics.jsonl").unlink()),
    ],
)  # fmt: skip
def test_what_is_edited_with_the_tools_of_numpy_and_torch_is_refused(folders, tmp_path, kind, edit):
    folder = tmp_path / kind
    shutil.copytree(folders / f"{kind}0", folder)
    edit(folder)
    found = read_or_message(KINDS[kind][1], folder)
    assert isinstance(found, str)
    assert str(folder) in found
    assert kind == "measurement" or not mera.check(folder).ok


def test_a_missing_file_is_refused_or_mended(folders, tmp_path):
    for kind, (_, read, files) in KINDS.items():
        before = read(folders / f"{kind}0")
        for file in files:
            folder = tmp_path / kind
            shutil.copytree(folders / f"{kind}0", folder)
            (folder / file).unlink()
            found = read_or_message(read, folder)
            assert str(folder) in found if isinstance(found, str) else same(found, before), (kind, file)
            shutil.rmtree(folder)
