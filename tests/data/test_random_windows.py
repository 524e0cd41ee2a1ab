"""Random windows of images of any size."""

import numpy as np
import pytest
import torch
from PIL import Image

import mera
from mera.data.random_windows import Part, Windows
from mera.data.sources import open_image
from mera.train import Settings
from mera.train.recognize import recognize


def coordinates(height, width, start=0):
    """An image whose pixels tell where they are: channels are row, column and number of the image, modulo 256."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows % 256, columns % 256, torch.full_like(rows, start)]).to(torch.uint8)


def pixels_of(part, times):
    """All pixels that the windows of a part show, if each is read so many times."""
    return torch.cat([part[i].flatten() for _ in range(times) for i in range(len(part))]).unique()


def test_windows_lie_in_their_images():
    images = [coordinates(200, 40, 0), coordinates(33, 250, 1), coordinates(90, 90, 2)]
    data = mera.data.windows(images, L=(32, 16), test=0.2)
    assert [len(split.pictures.unique()) for split in (data.train, data.test)] == [2, 1]
    for index, number in enumerate(data.train.pictures):
        window = data.train[index].int()
        assert (window[2] == number).all()
        assert (window[0].diff(dim=0) % 256 == 1).all()
        assert (window[1].diff(dim=1) % 256 == 1).all()
    assert all((window[2] == 2).all() for window in (data.test[i] for i in range(20)))
    torch.manual_seed(0)
    assert not torch.equal(data.train[0], data.train[0])
    assert torch.equal(data.test[7], data.test[7])
    assert not torch.equal(data.test[7], data.test[8])


@pytest.mark.parametrize("seed", [None, 0])
def test_windows_lie_at_all_places(seed):
    """From the first to the last row and column."""
    data = Windows([Part(open_image(coordinates(20, 30)), (2, 11), (5, 15))], (8, 8), count=60, seed=seed)
    corners = {tuple(data[i][:2, 0, 0].tolist()) for i in range(60)}
    assert corners == {(row, column) for row in (2, 3) for column in (5, 6, 7)}


@pytest.mark.parametrize("shape", [(300, 90), (70, 280)])
def test_no_test_pixel_is_learnt(shape):
    image = torch.arange(shape[0] * shape[1], dtype=torch.float32).view(1, *shape)
    data = mera.data.windows(image, L=16, test=0.3, turn=True, flip=True)
    seen, tested = pixels_of(data.train, 20), pixels_of(data.test, 1)
    axis = 0 if shape[0] > shape[1] else 1
    last = torch.stack(torch.unravel_index(seen.long(), shape))[axis].max()
    first = torch.stack(torch.unravel_index(tested.long(), shape))[axis].min()
    assert first - last > 16
    learnt = (data.train.parts[0].rows, data.train.parts[0].columns)[axis]
    for edge in (8, 32, 60):  # a run may be evaluated with other windows than it learnt: the test part is the same
        (part,) = mera.data.windows(image, edge, test=0.3).test.parts
        assert (part.rows, part.columns)[axis][0] >= learnt[1] + 16
    assert len(tested) > 0.25 * image.numel()
    assert len(seen) > 0.5 * image.numel()


@pytest.mark.parametrize("shapes", [
    [(400, 50)], [(60, 500)], [(56, 40)], [(60, 50)] * 3, [(20, 20), (300, 200)], [(40, 40)] * 5,
])  # fmt: skip
def test_no_pixel_that_is_held_out_is_learnt(shapes):
    """Random windows overlap, so that every tenth of them would show pixels of the others."""
    images = [number * 2**16 + torch.arange(float(h * w)).view(1, h, w) + 0.5 for number, (h, w) in enumerate(shapes)]
    n = sum(image.numel() for image in images)
    flow = mera.build("rgflow", L=16, m=4, channels=1, hidden=(4,), levels=1)
    data = mera.data.windows(images, L=16, test=images[:1])
    chosen_by = recognize(flow, data, Settings(keep="best").filled({}))
    alone = recognize(flow, data.train, Settings().filled({}))
    for train, held_out in ((chosen_by.train, chosen_by.validation), (alone.train, alone.test)):
        learnt, kept = pixels_of(train.examples, 5), pixels_of(held_out.examples, 5)
        assert not torch.isin(kept, learnt).any()
        assert len(kept) > 0.03 * n
        assert len(learnt) > 0.35 * n
        if len(shapes) == 5:  # whole pictures
            assert [(part // 2**16).int().unique().tolist() for part in (learnt, kept)] == [[0, 1, 2, 3], [4]]


@pytest.mark.parametrize("make", [
    lambda x: x.bfloat16(), lambda x: x.double().requires_grad_(), lambda x: x[0].numpy().astype(">f2"),
])  # fmt: skip
def test_windows_are_copies_of_floats_of_any_kind(make):
    image = make(torch.arange(90.0).expand(1, 50, 90).clone())
    window = mera.data.windows(image, L=16, test=0.3).train[0]
    assert window.dtype == torch.float32
    assert window.shape == (1, 16, 16)
    assert (window.diff(dim=-1) == 1).all()
    window.fill_(-1.0)
    assert (torch.as_tensor(np.asarray(image, "=f8") if isinstance(image, np.ndarray) else image) >= 0).all()


def test_turns_and_flips():
    part = Part(open_image(coordinates(40, 40)), (0, 40), (0, 40))
    torch.manual_seed(0)
    ways = {
        (int(w[0, 1, 0]) - int(w[0, 0, 0]), int(w[0, 0, 1]) - int(w[0, 0, 0]), int(w[1, 0, 1]) - int(w[1, 0, 0]))
        for w in (Windows([part], 8, flip=True, turn=True)[0] for _ in range(200))
    }
    assert len(ways) >= 6
    plain = Windows([part], 8)
    assert all(torch.equal(w[0, :, 0].int().diff(), torch.ones(7).int()) for w in (plain[0] for _ in range(20)))
    with pytest.raises(ValueError, match="square windows"):
        Windows([part], (8, 16), turn=True)


def test_files_of_every_kind(tmp_path):
    image = coordinates(70, 96)
    numbers = image.numpy()
    np.save(tmp_path / "a.npy", numbers)
    thumbnail = Image.fromarray(numbers.transpose(1, 2, 0)[::2, ::2])
    for name, others in (("b.png", []), ("c.tif", []), ("d.tif", [thumbnail])):
        Image.fromarray(numbers.transpose(1, 2, 0)).save(tmp_path / name, save_all=True, append_images=others)
    for name in ("a.npy", "b.png", "c.tif", "d.tif"):
        source = open_image(tmp_path / name)
        assert source.shape == (3, 70, 96), name
        assert torch.equal(source[:, 10:30, 33:66], image[:, 10:30, 33:66]), name
    data = mera.data.load(tmp_path, L=16, scale=None, flip=True)
    assert len(data.train.parts) + len(data.test.parts) == 4
    assert (data.train[0].shape, data.train[0].dtype) == ((3, 16, 16), torch.uint8)
    grey = tmp_path / "grey"
    for split in ("train", "test"):
        (grey / split).mkdir(parents=True)
        Image.fromarray(numbers[0]).save(grey / split / "a.png")
    assert mera.data.load("pictures", L=16, root=grey, scale=None, channels=1).channels == 1


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([torch.zeros(3, 20, 90)], {"test": 0.4}, "at least 32 x 32 pixels|at least 32 columns"),
        ([torch.zeros(3, 40, 40), torch.zeros(3, 31, 40), torch.zeros(3, 40, 40)], {}, "at least 32 x 32.*31 x 40"),
        ([torch.zeros(3, 64, 64)], {}, "at least 32 rows"),
        ([torch.zeros(3, 99, 99), torch.zeros(1, 99, 99)], {}, "the same channels"),
        ([torch.zeros(3, 99, 99, dtype=torch.float8_e5m2)] * 2, {}, "8-bit or floating-point.*; got float8_e5m2"),
        ([np.zeros((3, 99, 99), bool)] * 2, {}, "8-bit or floating-point.*; got bool"),
        ([torch.zeros(2, 3, 99, 99)], {}, "an array .C, H, W."),
        ([], {}, "one image or more"),
        ([torch.zeros(3, 99, 99)], {"test": 0.0}, "share of the test"),
    ],
)
def test_what_is_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        mera.data.windows(images, L=32, **options)


def test_windows_take_no_labels_of_the_user():
    """They have their own, and a split of windows with labels would overlap."""
    windows = mera.data.windows([np.zeros((3, 90, 90), dtype=np.uint8)], L=8).train
    with pytest.raises(ValueError, match="Expected windows or pictures without labels="):
        mera.data.as_splits(windows, (3, 8, 8), labels=torch.zeros(len(windows)))
