"""Examples in files of arrays, from Python and on the command line."""

import numpy as np
import pytest
import torch

import mera
from mera import physics
from tests.helpers.command import succeed

FIELDS = torch.randn(40, 1, 8, 8, dtype=torch.float64)


def test_files_of_all_kinds(tmp_path):
    h5py = pytest.importorskip("h5py")
    np.save(tmp_path / "a.npy", FIELDS.numpy())
    np.savez(tmp_path / "a.npz", fields=FIELDS.numpy(), other=np.zeros(3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mine"] = FIELDS.numpy()
    for name, options in (("a.npy", {}), ("a.npz", {}), ("a.h5", {}), ("a.h5", {"key": "mine"})):
        splits = mera.data.load(str(tmp_path / name), **options)
        assert len(splits.train) == 36
        found = torch.stack([splits.test[i] for i in range(4)])
        assert torch.equal(found, FIELDS[36:])
        assert splits.source["name"] == "array"
        assert len(mera.data.load(**splits.source).train) == 36
    for shape, expected in (((6, 4, 5), (1, 4, 5)), ((6, 1, 5), (1, 5)), ((6, 2, 4, 5), (2, 4, 5))):
        np.save(tmp_path / "a.npy", np.zeros(shape))
        splits = mera.data.load(str(tmp_path / "a.npy"))
        assert (tuple(splits.train[0].shape), splits.channels) == (expected, expected[0])


def test_labels_in_a_file(tmp_path):
    """Sorted by class, as they often are: both classes are in both splits, on the command line too."""
    h5py = pytest.importorskip("h5py")
    x, y = FIELDS.float().numpy(), np.repeat([0, 1], 20)
    np.savez(tmp_path / "a.npz", x=x, labels=np.array(["cat", "dog"])[y], other=np.zeros(3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["anything"], file["y"] = x, y
    for name in ("a.npz", "a.h5"):
        splits = mera.data.load(str(tmp_path / name))
        assert (len(splits.train), len(splits.test)) == (36, 4)
        for part in (splits.train, splits.test):
            assert set(part.labels["class"].tolist()) == {0, 1}
            places = [int((FIELDS.float() == part[i]).flatten(1).all(1).nonzero()) for i in range(len(part))]
            assert part.labels["class"].tolist() == [place // 20 for place in places]
    options = ["--L", 8, "--channels", 1, "--hidden", 6, "--steps", 1, "--out", tmp_path / "run"]
    succeed("train", "rgflow", "--data", tmp_path / "a.npz", "--conditional", *options)
    assert mera.load(tmp_path / "run").context_encoder.classes == 2
    assert mera.train.RunFolder(tmp_path / "run").facts()["classes"] == ["cat", "dog"]
    np.savez(tmp_path / "b.npz", x=x, y=np.zeros(3))  # no labels of these examples
    assert mera.data.load(str(tmp_path / "b.npz")).train.labels == {}


def test_what_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros((3, 1, 4)), b=np.zeros((3, 1, 4)))
    np.save(tmp_path / "flat.npy", np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([None, {}]), allow_pickle=True)
    (tmp_path / "broken.h5").write_bytes(b"no")
    for name, message in {
        "a.npz": "Expected one of the arrays a, b",
        "flat.npy": r"Expected two examples or more \(N, C, \*shape\)",
        "objects.npy": "Expected an array; got a file that cannot be read",
        "broken.h5": "Expected an array; got a file that cannot be read",
        "none.npy": "Expected a file",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            mera.data.load(str(tmp_path / name))


def test_fields_of_a_measurement_are_found_among_its_histories(tmp_path):
    """And learnt on the command line, where samples of the flow become an array."""
    chain = physics.hmc((1, 8, 8), physics.FreeField(1.0), draws=40, every=2)
    np.savez(tmp_path / "chain.npz", fields=chain.fields, **chain.history)
    options = ["--L", 8, "--channels", 1, "--hidden", 6, "--steps", 1, "--batch-size", 8, "--out", tmp_path / "run"]
    succeed("train", "rgflow", "--data", tmp_path / "chain.npz", *options)
    succeed("sample", tmp_path / "run", "--n", 5, "--out", tmp_path / "samples.npy")
    samples = np.load(tmp_path / "samples.npy")
    assert (samples.shape, samples.dtype.kind) == ((5, 1, 8, 8), "f")
