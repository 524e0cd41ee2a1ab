"""Data sets: what is generated, what is read from files that the tests make, and what is missing."""

import itertools
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
from mera.data.packages import EvenWindows


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
        pixels[:, :, 2] = i
        Image.fromarray(pixels).save(path)


def test_folder_names_what_is_wrong(tmp_path):
    with pytest.raises(data.DataMissingError, match=rf"Expected images below {tmp_path}.*got 0 and 0"):
        data.load("folder", root=tmp_path)
    make_photographs(tmp_path, "abcdefghij")
    broken = tmp_path / "d.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"Expected an image in {broken}; got a file that cannot be read"):
        data.load("folder", L=8, root=tmp_path).train[3]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("msds1", {"train_siz": 3}, r"an option of 'msds1' among .*; got 'train_siz' \(did you mean"),
        ("msds1", {"L": 0}, "Expected L as a positive integer, or several of them; got 0"),
        ("msds1", {"L": (4, 4, 5)}, r"Expected L as a positive integer, or a pair of them; got \(4, 4, 5\)"),
        ("msds1", {"train_size": 0}, "Expected a positive number of images as an integer >= 1; got 0"),
        ("imagenet", {}, r"Expected a data set among .*'msds1'.*; got 'imagenet'"),
        ("folder", {"channels": 2}, "Expected 1 or 3 channels"),
        ("folder", {"crop": "left"}, "Expected a crop among"),
    ],
)
def test_what_is_refused(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, root=tmp_path, **options)


def test_a_loader_with_fewer_parameters(monkeypatch):
    registry = Registry("a data set")
    monkeypatch.setattr(dataset, "_loaders", registry)
    images = data.ArrayDataset(torch.zeros(4, 1, 2, 2))
    seen = []
    registry.register("mine")(lambda L: seen.append(L) or data.DataSplits("mine", 1, images, images))
    registry.register("none")(lambda L: 3)
    for L in (4, (4,), (4, 4), (4, 8), (4, 4, 4)):
        data.load("mine", L=L)
    assert seen == [4, 4, 4, (4, 8), (4, 4, 4)]
    with pytest.raises(ValueError, match="Expected a DataSplits from the function of the data set 'none'; got int"):
        data.load("none")
    with pytest.raises(ValueError, match="Expected an option of 'mine' among"):
        data.load("mine", L=4, n=3)


def test_splits_and_classes_of_a_folder(tmp_path):
    names = [f"{animal}/deep/{i}" for animal in ("dog", "cat") for i in "abcdefghijklmnop"]
    make_photographs(tmp_path / "all", names)
    (tmp_path / "all" / "notes.pdf").write_bytes(b"%PDF no image")
    both = data.load("folder", L=8, root=tmp_path / "all")
    assert (len(both.train), len(both.test), both.classes) == (29, 3, ("cat", "dog"))
    assert (both.train[0].shape, both.train[0].dtype) == ((3, 8, 8), torch.uint8)
    for split in (both.train, both.test):
        blue = torch.tensor([int(x[2].float().mean()) for x in split])
        assert torch.equal(split.labels["class"], (blue < 16).long())
    assert data.load("folder", L=8, root=tmp_path / "all", channels=1).test[0].shape == (1, 8, 8)
    make_photographs(tmp_path / "cut" / "train", ["b/1", "a/1", "a/2"])
    make_photographs(tmp_path / "cut" / "test", ["b/1"])
    cut = data.load("folder", L=8, root=tmp_path / "cut")
    assert (len(cut.train), len(cut.test)) == (3, 1)
    assert (cut.train.labels["class"].tolist(), cut.test.labels["class"].tolist()) == ([0, 0, 1], [1])
    make_photographs(tmp_path / "mixed", ["a/1", "b/1", *"cdefghijklm"])
    assert data.load("folder", L=8, root=tmp_path / "mixed").train.labels == {}


def test_random_crops_and_flips(tmp_path):
    make_photographs(tmp_path, "abcdefghij")
    plain, cropped = (data.load("folder", L=6, root=tmp_path, crop=crop) for crop in ("centre", "random"))
    flipped = data.load("folder", L=6, root=tmp_path, flip=True)
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
    assert data.load("folder", L=(6, 12), root=tmp_path, crop="random").train[0].shape == (3, 6, 12)
    wide = data.load("folder", L=(6, 12), root=tmp_path).test[0].float()
    assert wide.shape == (3, 6, 12)
    assert (wide[0].amin(), wide[0].amax()) == (pytest.approx(5, abs=6), pytest.approx(185, abs=6))  # all columns
    assert (wide[1].amin(), wide[1].amax()) == (pytest.approx(30, abs=6), pytest.approx(190, abs=6))  # 10 of 12 rows
    assert data.load("msds1", L=(8, 16), train_size=3, test_size=3).train[0].shape == (3, 8, 16)


def test_parts_of_a_photograph_stay_together(tmp_path):
    root = tmp_path / "parts"
    make_photographs(root, [f"photo{chr(97 + p)}_{i}" for p in range(20) for i in range(5)])
    with pytest.warns(UserWarning, match="the names of 5 files begin with 'photoa'") as record:
        data.load("folder", L=4, root=root)
    assert record[0].filename == __file__
    splits = data.load("folder", L=4, root=root, groups="^.*_")
    assert (len(splits.train), len(splits.test)) == (90, 10)
    photographs = [{file.name.split("_")[0] for file in split.files} for split in (splits.train, splits.test)]
    assert photographs[0].isdisjoint(photographs[1])
    assert data.load(**splits.source).test.files == splits.test.files
    for groups, message in (
        ("(", 'Expected groups as "folder" or a regular expression'),
        ("^x", "Expected groups='.x' to match a part of each path; got photoa_0.png"),
        ("^photo", "Expected at least 2 groups of files by groups='.photo'; got 1, 'photo'"),
        ("folder", "Expected at least 2 groups of files"),
    ):
        with pytest.raises(ValueError, match=message):
            data.load("folder", L=4, root=root, groups=groups)
    make_photographs(tmp_path / "folders", [f"p{p}/{i}" for p in range(3) for i in "abcd"])
    splits = data.load("folder", L=4, root=tmp_path / "folders", groups="folder")
    assert [{file.parent.name for file in split.files} for split in (splits.train, splits.test)] == [
        {"p0", "p1"},
        {"p2"},
    ]
    assert (len(splits.train), len(splits.test)) == (8, 4)
    make_photographs(tmp_path / "numbered", [f"IMG_{i:04d}" for i in range(20)])
    assert len(data.load("folder", L=4, root=tmp_path / "numbered").test) == 2  # no parts, no warning


@pytest.mark.parametrize(
    ("name", "channels", "train", "test", "label", "learnt"),
    [("faces", 1, 320, 80, "person", 32), ("photographs", 3, 1385, 386, "photograph", 5)],
)
def test_pictures_of_packages(name, channels, train, test, label, learnt):
    splits = data.load(name, 32)
    assert (len(splits.train), len(splits.test)) == (train, test)
    assert splits.train[0].shape == (channels, 32, 32)
    seen = [set(data.labels(part, label).tolist()) for part in (splits.train, splits.test)]
    assert seen[0] == set(range(learnt))
    assert not seen[0] & seen[1]  # nobody, and no photograph, is in both splits
    assert data.first(splits.train, 20).double().std() > 20  # a picture, not a constant
    assert torch.equal(splits.train[0], splits.train[0]) == (name == "faces")  # of photographs, random windows
    if name == "photographs":
        assert len(data.load(name, L=32, windows=False).test) == test


def test_windows_of_wallpapers(tmp_path):
    folder = tmp_path / "usr/share/backgrounds"
    (folder / "budgie").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    for name in ("budgie/b.jpg", "budgie/a.jpg", "view_by_someone.jpg", "other.jpg"):
        Image.fromarray(pixels).save(folder / name)
    splits = data.load("wallpapers", L=(8, 12), root=tmp_path, train_windows=5, test_windows=4, longest=45)
    assert (len(splits.train), len(splits.test)) == (10, 4)
    assert splits.train.labels["photograph"].tolist() == [0] * 5 + [1] * 5
    images = [part.source.array for part in splits.train.parts]
    assert images[0].shape == (3, 25, 45)
    again = data.load(**splits.source)
    assert torch.equal(data.first(again.test, 4), data.first(splits.test, 4))
    for index in range(10):
        top, left = splits.train.places[index].tolist()
        window = images[index // 5][:, top : top + 8, left : left + 12]
        item = splits.train[index]
        assert torch.equal(item, window) or torch.equal(item, window.flip(-1))
    with pytest.raises(IndexError):
        splits.test[4]
    with pytest.raises(ValueError, match="Expected at least 26 x 12 pixels of photograph 0; got 25 x 45"):
        data.load("wallpapers", L=(26, 12), root=tmp_path, longest=45)


def test_every_place_of_a_window_is_drawn():
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    windows = EvenWindows([image], (2, 3), 2000)
    corners, counts = torch.stack([window[0, 0, 0] for window in windows]).unique(return_counts=True)
    assert corners.tolist() == [0, 1, 4, 5]
    assert counts.min() > 400
    colours = torch.arange(3, dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 5)
    permuted = [tuple(window[:, 0, 0].tolist()) for window in EvenWindows([colours], (2, 3), 200, colours=True)]
    assert set(permuted) == set(itertools.permutations(range(3)))
    assert 80 < permuted.count((0, 1, 2)) < 150  # a half, and a sixth of the other half: 117
    flipped = EvenWindows([image], (2, 3), 200, flip=True)
    assert {int(window[0, 0, 0] < window[0, 0, 2]) for window in flipped} == {0, 1}
