"""Flows learn from data as people have it."""

import resource
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import mera
from mera import data
from mera._utils.registry import Registry
from mera.data import as_splits, dataset
from mera.train import fit
from mera.train.evaluate import example_losses
from tests.helpers.training import IMAGES, SHORT, small_flow

PIXELS = IMAGES.train.array
SHAPE = (3, 8, 8)


def field_flow(**options):
    torch.manual_seed(3)
    return mera.build("rgflow", L=8, channels=1, layers=1, hidden=(8,), prior="gaussian", **options)


def fields(n=80):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 1


class Tuples(Dataset):
    """Images of PIL with labels, as torchvision has them."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return Image.fromarray(PIXELS[index].movedim(0, -1).numpy()), index % 2


@pytest.mark.parametrize(
    ("examples", "n", "given", "labels"),
    [
        (PIXELS, 60, None, []),
        (PIXELS.numpy(), 60, None, []),
        (PIXELS, 60, torch.arange(60) % 3, ["class"]),
        (PIXELS, 60, list(range(60)), ["class"]),
        (PIXELS, 60, torch.rand(60, 2), ["context"]),
        (TensorDataset(PIXELS), 60, None, []),
        (TensorDataset(PIXELS, torch.arange(60)), 60, None, ["class"]),
        (TensorDataset(PIXELS), 60, torch.arange(60), ["class"]),
        (Tuples(), 20, None, ["class"]),
        (list(PIXELS), 60, None, []),
    ],
)
def test_one_in_ten_is_held_out(examples, n, given, labels):
    splits = as_splits(examples, SHAPE, labels=given)
    assert (len(splits.train), len(splits.test)) == (n - n // 10, n // 10)
    assert list(splits.test.labels) == labels
    whole = as_splits(examples, SHAPE, test=PIXELS, labels=given).train
    for part in (splits.train, splits.test):
        for index in range(len(part)):
            place = next(i for i in range(n) if torch.equal(PIXELS[i], part[index]))
            for name, values in part.labels.items():
                assert torch.equal(values[index], whole.labels[name][place])


class Targets(Dataset):
    """Has numbers as `targets`, and their parity as the labels of items, by a transform that may have a name."""

    targets = (0, 1, 2, 3) * 5

    def __init__(self, transform=None):
        if transform is not None:
            self.target_transform = transform

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return PIXELS[index], self.targets[index] % 2


@pytest.mark.parametrize("examples", [Targets(), Targets(lambda number: number % 2)])
def test_a_transform_of_targets_holds(examples):
    splits = as_splits(examples, SHAPE, test=TensorDataset(PIXELS[:4], torch.arange(4)))
    assert splits.train.labels["class"].tolist() == [0, 1] * 10


def test_labels_of_the_test():
    y = torch.arange(60) % 3
    for labels in (y, y.tolist(), y.numpy()):
        splits = as_splits(PIXELS[:50], SHAPE, test=PIXELS[50:], labels=labels[:50], test_labels=labels[50:])
        assert torch.equal(splits.test.labels["class"], y[50:])
        assert torch.equal(data.ArrayDataset(PIXELS, labels=labels).labels["class"], y)
    assert list(data.ArrayDataset(PIXELS, labels=y.float()).labels) == ["context"]
    flow = mera.build("rgflow", L=8, layers=1, hidden=(8,), classes=3)
    fit(flow, PIXELS[:50], SHORT, labels=y[:50], test=PIXELS[50:], test_labels=y[50:], steps=1)
    with pytest.raises(ValueError, match="Expected test_labels= together with test="):
        fit(flow, PIXELS, SHORT, labels=y, test_labels=y)
    for labels in ({"labels": y}, {"test": PIXELS, "test_labels": y}):
        with pytest.raises(ValueError, match="Expected a conditional flow for labels"):
            fit(small_flow(), PIXELS, SHORT, **labels)


def test_labels_that_come_in_turn_are_in_both_parts():
    """And each example is in one of them, whatever their number."""
    x = torch.zeros(1000, 1, 2, 2)
    splits = as_splits(x, (1, 2, 2), labels=torch.arange(1000) % 10)
    assert [part.labels["class"].unique().tolist() for part in (splits.train, splits.test)] == [[*range(10)]] * 2
    for n in (2, 3, 9, 10, 11, 57, 100):
        numbers = torch.arange(float(n)).view(n, 1, 1, 1)
        splits = as_splits(numbers, (1, 1, 1))
        found = [int(part[i]) for part in (splits.train, splits.test) for i in range(len(part))]
        assert sorted(found) == list(range(n))
        assert len(splits.test) == max(1, n // 10)
    places = [
        int(part) % 10
        for part in torch.cat([as_splits(torch.arange(1e4).view(-1, 1, 1, 1), (1, 1, 1)).test[i] for i in range(1000)])
    ]
    assert min(places.count(place) for place in range(10)) > 60


def test_names_and_fields_without_an_axis_of_channels(monkeypatch):
    splits = as_splits(PIXELS, SHAPE, test=PIXELS[:7])
    assert torch.equal(splits.train.array, PIXELS)
    assert torch.equal(splits.test.array, PIXELS[:7])
    assert as_splits(splits, SHAPE) is splits
    monkeypatch.setattr(dataset, "_loaders", registry := Registry("a data set"))
    registry.register("own")(lambda L: IMAGES)
    assert as_splits("own", SHAPE).train is IMAGES.train
    assert as_splits(torch.randn(20, 8, 8), (1, 8, 8)).train[0].shape == (1, 8, 8)
    for ambiguous in ((PIXELS, PIXELS[:7]), {"train": PIXELS, "test": PIXELS[:7]}, (PIXELS, torch.arange(60))):
        with pytest.raises(ValueError, match=r"a pair or a dict: fit\(flow, train, labels=y, test=test"):
            as_splits(ambiguous, SHAPE)


def test_fields_are_learnt_in_nats(tmp_path):
    flow, x = field_flow(), fields()
    result = fit(flow, x, steps=60, batch_size=16, lr=5e-3, warmup=5, eval_every=60)
    entropy = 0.5 * np.log(2 * np.pi * np.e * 9)  # of a Gaussian of deviation 3, for each variable
    assert result.test_loss == pytest.approx(entropy, abs=0.2)
    held_out = as_splits(x, (1, 8, 8)).test
    assert result.test_loss == pytest.approx(example_losses(flow, held_out).mean().item(), abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 12), (1, 4, 4, 4)])
def test_fields_of_any_shape(shape):
    layout = mera.Layout(shape[1:], shape[0])
    kernel = 2 if len(shape) == 4 else 4
    layout.latent(layout.local(layout.input, {"name": "coupling", "layers": 1, "hidden": (4,)}, kernel))
    x = torch.randn(30, *shape)
    assert np.isfinite(fit(mera.Flow(layout), x.double().numpy(), replace(SHORT, batch_size=8)).test_loss)


def test_an_array_larger_than_memory(tmp_path):
    """A file of 64 GB with holes: only the examples that are asked for are read."""
    n = 2**28
    array = np.memmap(tmp_path / "fields.bin", dtype=np.float32, mode="w+", shape=(n, 1, 8, 8))
    splits = as_splits(array, (1, 8, 8))
    assert len(splits.train) + len(splits.test) == n
    assert torch.equal(splits.train[n // 2], torch.zeros(1, 8, 8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fit(field_flow(norm=False), array, steps=3, batch_size=8, eval_images=10)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 2**18  # 256 MiB, in units of a KiB


@pytest.mark.parametrize(("make_flow", "examples"), [(field_flow, fields()), (small_flow, PIXELS)])
def test_a_loss_of_the_users_own(make_flow, examples):
    """The usual loss, written by a user: for images the same up to a constant factor, which Adam undoes."""
    own, usual = make_flow(), make_flow()
    variables = examples[0].numel()
    options = {"optimizer": "AdamW", "clip": 1e9}
    result = fit(own, examples, SHORT, **options, loss=lambda flow, x: -flow.log_prob(x).mean() / variables)
    expected = fit(usual, examples, SHORT, **options)
    for a, b in zip(own.parameters(), usual.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=4e-3 if examples is PIXELS else 1e-5, rtol=0)
    assert set(result.history.metrics[0]) >= {"train_loss", "test_loss"}
    if examples is not PIXELS:
        assert result.test_loss == pytest.approx(expected.test_loss, rel=1e-5)


def test_labels_are_read_when_they_are_needed():
    class Words(Tuples):
        def __getitem__(self, index):
            return super().__getitem__(index)[0], f"word {index}"

    assert np.isfinite(fit(small_flow(), Words(), replace(SHORT, steps=1, batch_size=4)).test_loss)
    conditional = mera.build("rgflow", L=8, layers=1, hidden=(4,), classes=2)
    with pytest.raises(ValueError, match=r"Expected labels as numbers; .*; got"):
        fit(conditional, Words(), SHORT)


def test_data_sets_of_the_library_datasets():
    images = [Image.fromarray(x.movedim(0, -1).numpy()) for x in PIXELS[:30]]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    whole = datasets.Dataset.from_dict({"image": images, "label": [i % 3 for i in range(30)]}, features)
    splits = as_splits(whole, SHAPE)
    assert (len(splits.train), len(splits.test)) == (27, 3)
    assert set(splits.train.labels["class"].tolist()) == {0, 1, 2}
    assert any(torch.equal(splits.train[0], x) for x in PIXELS[:2])
    grey = as_splits(whole, (1, 8, 8)).train[0]
    assert (grey.shape, grey.dtype) == ((1, 8, 8), torch.uint8)
    pair = as_splits(whole, SHAPE, test=whole.select(range(4)))
    assert (len(pair.train), len(pair.test)) == (30, 4)
    with pytest.raises(ValueError, match="a data set that can be read in any order, or a name; got IterableDataset"):
        as_splits(whole.to_iterable_dataset(), SHAPE)

    class Counted(IterableDataset):
        def __iter__(self):
            return iter(PIXELS)

        def __len__(self):
            return len(PIXELS)

    with pytest.raises(ValueError, match="a data set that can be read in any order, or a name; got Counted"):
        as_splits(Counted(), SHAPE)
    rows = datasets.Dataset.from_dict({"phi": torch.randn(20, 4, 4).tolist()}).with_format("torch")
    assert as_splits(rows, (1, 4, 4)).train[2].shape == (1, 4, 4)
    assert np.isfinite(fit(small_flow(), whole, replace(SHORT, batch_size=8)).test_loss)
