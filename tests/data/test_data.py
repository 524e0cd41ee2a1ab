"""Data sets: what is generated, what is read from files that the tests make, and what is missing."""

import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from mera import data
from mera._utils.registry import Registry
from mera.data import dataset
from mera.data.msds import msds


@pytest.mark.parametrize(("kind", "shared", "spread"), [(1, "color", (-32, 32)), (2, "angle", (0, 45))])
def test_msds_is_what_its_definition_says(kind, shared, spread):
    images, labels = msds(kind, "train", 300)
    assert (images.shape, images.dtype) == ((300, 3, 32, 32), torch.uint8)
    common = labels[f"global_{shared}"]
    difference = labels[shared] - common.view(300, 1, 1, *common.shape[1:])
    for values, ends in (
        (labels["jitter"], (-1, 1)), (difference, spread), (common, {1: (32, 223), 2: (0, 180)}[kind]),
        *([(labels["angle"], (0, 180))] if kind == 1 else [(labels["color"], (0, 255))]),
    ):  # fmt: skip
        assert (values.min(), values.max()) == ends
    # an ellipse shows its cell's colour at its centre, wherever the jitter put it
    for n, row, column in [(0, 0, 0), (7, 2, 3), (99, 3, 1)]:
        dy, dx = labels["jitter"][n, row, column].tolist()
        y, x = 8 * row + 4 + dy, 8 * column + 4 + dx
        shown = images[n, :, y - 1 : y + 1, x - 1 : x + 1].flatten(1).amax(1).int()
        assert (shown - labels["color"][n, row, column]).abs().max() <= 2
    # one that is not turned is wide rather than high
    (n, row, column) = (labels["angle"] % 180 == 0).nonzero()[0].tolist()
    dy, dx = labels["jitter"][n, row, column].tolist()
    row, column = 8 * row + dy, 8 * column + dx
    box = images[n, :, max(row, 0) : row + 8, max(column, 0) : column + 8].amax(0) > 20
    rows = box.any(1).nonzero()[:, 0] + max(row, 0) - row
    assert (rows.min() >= 2) & (rows.max() <= 6)


def test_msds_splits_differ_and_do_not_depend_on_their_size():
    train, _ = msds(1, "train", 1200)
    assert torch.equal(train[:50], msds(1, "train", 50)[0])
    assert not torch.equal(train[:50], msds(1, "test", 50)[0])
    assert not torch.equal(train[:50], msds(1, "train", 50, seed=1)[0])
    assert len({image.numpy().tobytes() for image in train}) == 1200


def test_sets_in_memory_give_batches_and_are_resized():
    images = data.load("msds2", L=16, train_size=20, test_size=10)
    assert (len(images.train), len(images.test), images.channels) == (20, 10, 3)
    assert images.train[3].shape == (3, 16, 16)
    batch = next(iter(torch.utils.data.DataLoader(images.train, batch_size=5)))
    assert torch.equal(batch, data.first(images.train, 5))
    assert len(images.train.labels["angle"]) == 20


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_idx_files(tmp_path, name, folder):
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    digits = (np.arange(5 * 28 * 28) % 256).astype(np.uint8).reshape(5, 28, 28)
    for file, array in (("images-idx3-ubyte", digits), ("labels-idx1-ubyte", np.arange(5, dtype=np.uint8))):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        for split in ("train", "t10k"):
            (raw / f"{split}-{file}").write_bytes(header + array.tobytes())
    images = data.load(name, L=28, root=tmp_path)
    assert torch.equal(images.train[1], torch.from_numpy(digits[1:2]))
    assert images.test.labels["class"].tolist() == [0, 1, 2, 3, 4]
    assert data.load(name, L=32, root=tmp_path).test[0].shape == (1, 32, 32)


def test_cifar10_files(tmp_path, monkeypatch):
    from torchvision import datasets

    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    for file in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / file).write_bytes(pickle.dumps({"data": pixels.reshape(4, -1), "labels": [0, 1, 2, 3]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    images = data.load("cifar10", root=tmp_path)
    assert (len(images.train), len(images.test)) == (20, 4)
    assert torch.equal(images.test[2], torch.from_numpy(pixels[2]))
    assert images.classes == tuple("abcdefghij")


def test_celeba_is_cropped_resized_and_flipped(tmp_path, monkeypatch):
    """Eight faces of CelebA's size, split four, two and two."""
    from torchvision import datasets

    monkeypatch.setattr(datasets.CelebA, "_check_integrity", lambda self: True)
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(1, 9)]
    for i, name in enumerate(names):
        pixels = np.zeros((218, 178, 3), np.uint8)
        pixels[35:183, 15:89, 0] = 20 * (i + 1)  # the left half of the crop
        Image.fromarray(pixels).save(folder / "img_align_celeba" / name, quality=95)
    for file, head, values in (
        ("list_eval_partition", [], [0, 0, 0, 0, 1, 1, 2, 2]),
        ("identity_CelebA", [], range(8)),
        ("list_bbox_celeba", ["8", "image_id x_1 y_1 width height"], ["1 1 1 1"] * 8),
        ("list_landmarks_align_celeba", ["8", "lefteye_x lefteye_y"], ["1 1"] * 8),
        ("list_attr_celeba", ["8", "Smiling Male"], ["1 -1"] * 8),
    ):
        lines = head + [f"{name} {value}" for name, value in zip(names, values, strict=True)]
        (folder / f"{file}.txt").write_text("\n".join(lines) + "\n")
    images = data.load("celeba", L=32, root=tmp_path)
    assert (len(images.train), len(images.test), images.channels) == (4, 2, 3)
    assert images.test[0].shape == (3, 32, 32)
    red = images.test[0][0].float()
    assert red[:, :14].mean() == pytest.approx(140, abs=3)
    assert red[:, 18:].mean() == pytest.approx(0, abs=3)
    torch.manual_seed(0)
    sides = {bool(images.train[3][0, :, :14].float().mean() > 40) for _ in range(40)}
    assert sides == {True, False}


def make_photographs(root, names):
    for i, name in enumerate(names):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((12, 20, 3), np.uint8)
        pixels[:, :, 0] = np.arange(20) * 10  # red tells the column
        pixels[:, :, 1] = np.arange(12)[:, None] * 20  # green tells the row
        pixels[:, :, 2] = i % 256
        Image.fromarray(pixels).save(path)


def test_folder_names_what_is_wrong(tmp_path):
    with pytest.raises(data.DataMissingError, match=rf"Expected pictures below {tmp_path}; got none"):
        data.load("pictures", root=tmp_path)
    make_photographs(tmp_path, "abcdefghij")
    for broken in tmp_path.iterdir():
        broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"{tmp_path}/a.png: Expected a picture; got a file that cannot be read"):
        data.load("pictures", L=8, root=tmp_path, crop="centre").train[0]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("msds1", {"train_siz": 3}, r"an option of 'msds1' among .*; got 'train_siz' \(did you mean"),
        ("msds1", {"L": 0}, r"Expected L as 1 or more positive integers; got \(0,\)"),
        ("msds1", {"L": (4, 4, 5)}, r"Expected L as a positive integer, or a pair of them; got \(4, 4, 5\)"),
        ("msds1", {"train_size": 0}, "Expected a positive number of images as an integer >= 1; got 0"),
        ("imagenet", {}, r"a data set among .*'msds1'.*; got 'imagenet': neither a path nor a data set"),
        ("pictures", {"channels": 2}, "Expected 1 or 3 channels"),
        ("pictures", {"crop": "left"}, "Expected a crop among"),
        ("pictures", {"crop": "centre", "turn": True}, "Expected turn and colours with crop=.windows. alone"),
    ],
)
def test_what_is_refused(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, **options, **({"root": tmp_path} if name == "pictures" else {}))


def test_a_loader_with_fewer_parameters(monkeypatch):
    registry = Registry("a data set")
    monkeypatch.setattr(dataset, "_loaders", registry)
    images = data.ArrayDataset(torch.zeros(4, 1, 2, 2))
    seen = []
    registry.register("mine")(lambda L: seen.append(L) or data.DataSplits("mine", 1, images, images))
    for L in (4, (4,), (4, 4), (4, 8), (4, 4, 4)):
        data.load("mine", L=L)
    assert seen == [4, 4, 4, (4, 8), (4, 4, 4)]
    with pytest.raises(ValueError, match="Expected an option of 'mine' among"):
        data.load("mine", L=4, n=3)
    registry.register("tensor")(lambda: torch.zeros(4, 1, 2, 2))
    with pytest.raises(ValueError, match="Expected DataSplits from the function of the data set 'tensor'; got Tensor"):
        data.load("tensor")


def whole(root, L=8, **options):
    return data.load("pictures", L=L, root=root, crop=options.pop("crop", "centre"), **{"flip": False} | options)


def test_splits_and_classes_of_a_folder(tmp_path):
    names = [f"{animal}/deep/{i}" for animal in ("dog", "cat") for i in range(40)]
    make_photographs(tmp_path / "all", names)
    (tmp_path / "all" / "notes.pdf").write_bytes(b"%PDF no image")
    both = whole(tmp_path / "all")
    assert (len(both.train) + len(both.test), both.classes) == (80, ("cat", "dog"))
    assert 3 < len(both.test) < 16
    assert set(both.test.labels["class"].tolist()) == {0, 1}
    assert (both.train[0].shape, both.train[0].dtype) == ((3, 8, 8), torch.uint8)
    for split in (both.train, both.test):
        blue = torch.tensor([int(x[2].float().mean()) for x in split])
        assert torch.equal(split.labels["class"], (blue < 40).long())
    assert whole(tmp_path / "all", channels=1).test[0].shape == (1, 8, 8)
    make_photographs(tmp_path / "cut" / "train", ["b/1", "a/1", "a/2"])
    make_photographs(tmp_path / "cut" / "test", ["b/1"])
    cut = whole(tmp_path / "cut")
    assert (len(cut.train), len(cut.test)) == (3, 1)
    assert (cut.train.labels["class"].tolist(), cut.test.labels["class"].tolist()) == ([0, 0, 1], [1])
    make_photographs(tmp_path / "mixed", ["a/1", "b/1", *"cdefghijklm"])
    assert whole(tmp_path / "mixed").train.labels == {}


def test_each_class_has_a_test_picture(tmp_path):
    make_photographs(tmp_path, [f"{name}/{i}" for name in "abcdefgh" for i in range(3)])
    splits = whole(tmp_path)
    assert (
        splits.test.labels["class"].unique().tolist() == splits.train.labels["class"].unique().tolist() == [*range(8)]
    )


def test_a_picture_that_is_added_or_renamed_moves_no_other(tmp_path):
    """One in ten is for the test, by a hash of its path."""
    names = [f"{i:03d}" for i in range(300)]
    make_photographs(tmp_path, names)
    splits = whole(tmp_path)
    tested = {file.stem for file in splits.test.files}
    assert 15 < len(tested) < 45
    assert splits.test.names == sorted(f"{name}.png" for name in tested)
    (tmp_path / "299.png").rename(tmp_path / "000a.png")
    make_photographs(tmp_path, [f"new{i}" for i in range(20)])
    again = {file.stem for file in whole(tmp_path).test.files}
    assert {name for name in again if name in names and name != "299"} == tested - {"299"}


def test_links_to_one_file_count_once(tmp_path):
    make_photographs(tmp_path / "all", [f"{i:02d}" for i in range(20)])
    (tmp_path / "best").mkdir()
    for i in range(0, 20, 2):
        (tmp_path / "best" / f"{i:02d}.png").symlink_to(f"../all/{i:02d}.png")
    for options in ({}, {"crop": "windows"}, {"crop": "windows", "scale": None}):
        splits = whole(tmp_path, **options)
        parts = (splits.train.parts, splits.test.parts) if options else (splits.train.files, splits.test.files)
        assert sum(map(len, parts)) == 20


def test_random_crops_and_flips(tmp_path):
    make_photographs(tmp_path, "abcdefghij")
    plain, cropped = (whole(tmp_path, 6, crop=crop) for crop in ("centre", "random"))
    flipped = whole(tmp_path, 6, flip=True)
    assert torch.equal(plain.test[0], cropped.test[0])  # test images stay as they are
    assert torch.equal(plain.test[0], flipped.test[0])
    sides = {torch.equal(flipped.train[0], plain.train[0].flip(-1)) for _ in range(30)}
    assert sides == {True, False}
    crops = [cropped.train[0].float() for _ in range(60)]
    assert len({int(x[0].mean()) for x in crops[:40]}) > 5
    spans, heights = ([x[channel].amax() - x[channel].amin() for x in crops] for channel in (0, 1))
    assert min(spans) < 80 < max(spans)  # of the largest square, 12 columns wide, it is about 110
    assert min(heights) > 90  # at least 0.7 of the edge, hence half the area
    # lattices that are no square
    assert whole(tmp_path, (6, 12), crop="random").train[0].shape == (3, 6, 12)
    wide = whole(tmp_path, (6, 12)).test[0].float()
    assert wide.shape == (3, 6, 12)
    assert (wide[0].amin(), wide[0].amax()) == (pytest.approx(5, abs=6), pytest.approx(185, abs=6))  # all columns
    assert (wide[1].amin(), wide[1].amax()) == (pytest.approx(30, abs=6), pytest.approx(190, abs=6))  # 10 of 12 rows
    assert data.load("msds1", L=(8, 16), train_size=3, test_size=3).train[0].shape == (3, 8, 16)


def test_parts_of_a_photograph_stay_together(tmp_path):
    root = tmp_path / "parts"
    make_photographs(root, [f"photo{chr(97 + p)}_{i}" for p in range(20) for i in range(5)])
    with pytest.warns(UserWarning, match="the names of 5 files begin with 'photoa'"):
        whole(root)
    for groups, message in (
        ("^.*_", "Expected groups among"),
        ("folder", "Expected at least 2 folders of files; got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            whole(root, groups=groups)
    make_photographs(tmp_path / "folders", [f"p{p}/{i}" for p in range(3) for i in "abcd"])
    splits = whole(tmp_path / "folders", groups="folder")
    people = [{file.parent.name for file in split.files} for split in (splits.train, splits.test)]
    assert (len(people[0]), len(people[1]), len(splits.train)) == (2, 1, 8)
    assert people[0].isdisjoint(people[1])
    assert data.load(**splits.source).test.files == splits.test.files
    make_photographs(tmp_path / "numbered", [f"IMG_{i:04d}" for i in range(20)])
    whole(tmp_path / "numbered")  # no parts, no warning
