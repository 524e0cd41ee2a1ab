"""The gate of examples and labels: counts, dtypes, ranges, layouts, and the line that mends them."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import mera
from mera import data
from mera.data import ArrayDataset, as_fields, as_images
from mera.train import fit

X = torch.rand(40, 1, 8, 8)
Y = torch.arange(40) % 2
PIXELS = (255 * X).to(torch.uint8)
SHORT = {"steps": 1, "eval_images": 2, "batch_size": 4}


def flow_of(channels=1, **options):
    return mera.build("rgflow", L=8, m=4, channels=channels, hidden=(4,), **options)


def of_two_classes():
    return flow_of(classes=2)


ANGLES = {"transform": "circular-spline", "prior": "VonMises(loc=0, concentration=1)", "norm": False}


class Frame:
    """Looks like a table of pandas."""

    columns = ("a", "b")

    def to_numpy(self):
        return np.zeros((3, 2))


def with_nan(x):
    x = 5 * x.clone()
    x[7, 0, 2, 3] = float("nan")
    return x


REFUSED = {
    "int64": (flow_of, PIXELS.long(), "torch.int64: mera.data.as_images"),
    "uint16": (flow_of, (X * 65535).numpy().astype(np.uint16), "torch.uint16: mera.data.as_images"),
    "bool": (flow_of, X > 0.5, "torch.bool: mera.data.as_images"),
    "large integers": (flow_of, (X * 9999).long(), r"torch.int64: for fields, convert them by \.float\(\)"),
    "channels last": (lambda: flow_of(3), np.zeros((40, 8, 8, 3), np.uint8), r"\(8, 8, 3\), channels last: movedim"),
    "other shape": (flow_of, torch.randn(20, 1, 4, 4), r"examples of shape \(1, 8, 8\), .*; got \(1, 4, 4\)"),
    "two kinds": (flow_of, PIXELS, {"test": 5 * X[:5]}, "examples of one kind; got images and fields"),
    "frame": (flow_of, Frame(), "examples as a tensor or an array; got Frame"),
    "objects": (flow_of, np.array([np.zeros(2), None], dtype=object), r"np.stack\(list\(array\)\) makes one array"),
    "text": (flow_of, np.array(["a", "b"]), "examples of numbers; got an array of dtype <U1"),
    "nan": (flow_of, with_nan(X), "infinite values or NaN in the one with index 7"),
    "nan in a data set": (flow_of, TensorDataset(with_nan(X)), "infinite values or NaN in the one with index 7"),
    "too few labels": (of_two_classes, 5 * X, {"labels": Y[:9]}, r"for each of 40 examples; got .* shape \(9,\)"),
    "labels of others": (of_two_classes, 5 * X[10:], {"labels": Y}, "labels 'class' for each of 30 examples"),
    "angles beyond": (lambda: flow_of(**ANGLES), 9 * X, "angles from -pi to pi.*got values up to"),
    "images of angles": (lambda: flow_of(**ANGLES), PIXELS, "angles from -pi to pi.*got images of torch.uint8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_cannot_be_learnt(name):
    make, data, *options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        fit(make(), data, **SHORT, **(options[0] if options else {}))


PICTURES = {
    "floats": X, "int64": PIXELS.long(), "uint16": (X * 65535).numpy().astype(np.uint16), "bool": X > 0.5,
    "channels last": (255 * np.random.default_rng(0).random((40, 8, 8, 1))).astype(np.uint8), "uint8": PIXELS,
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_as_images(name):
    images = as_images(PICTURES[name])
    assert (images.dtype, images.shape) == (torch.uint8, X.shape)
    if name not in ("bool", "channels last"):
        assert (images.float() / 255 - X).abs().max() < 0.01
    assert fit(flow_of(), images, **SHORT).unit == "bits/dim"


def test_a_data_set_as_images():
    """Labels stay, and palettes become colours."""
    examples = as_images(TensorDataset(X, Y))
    assert torch.equal(examples[3], as_images(X)[3])
    assert torch.equal(examples.labels["class"], Y)
    assert fit(flow_of(classes=2), examples, **SHORT).unit == "bits/dim"
    image = Image.new("P", (2, 2))
    image.putpalette([200, 100, 50] * 256)
    assert as_images([image])[0][:, 0, 0].tolist() == [200, 100, 50]


def test_pixels_that_cannot_be_converted(tmp_path):
    """NaN of an array on disk too, which is not read before."""
    np.save(tmp_path / "a.npy", np.array([[[[0.5, np.nan]]]], np.float32))
    for pixels, message in (
        (5 * X, r"pixels from 0 to 1; got \S+ to [45]"),
        (np.load(tmp_path / "a.npy", mmap_mode="r"), "Expected pixels from 0 to 1; got nan to nan"),
        (torch.rand(5), r"Expected pixels \(N, C, H, W\), .*; got shape \(5,\)"),
        ((x for x in X), "a data set that can be read in any order; got generator"),
        (data.windows(torch.rand(3, 400, 400), L=8).train, "convert images before windows of them"),
    ):
        with pytest.raises(ValueError, match=message):
            as_images(pixels)
    images = as_images([torch.rand(3, 4, 4), torch.full((3, 4, 4), 2.0)])
    with pytest.raises(ValueError, match="example 1: Expected pixels from 0 to 1; got 2 to 2"):
        images[1]


WHOLE = (16 * X).round()
MISREAD = {
    "[0, 1]": (X, r"floats in \[0, 1\] in the shape of images: learn mera.data.as_images\(x\)", lambda x: as_images(x)),
    "digits": (WHOLE, r"floats from 0 to 16 .*as_images\(x / 255\)", lambda x: as_images(x / 255)),
    "uint8.float()": (PIXELS.float(), r"as_images\(x / 255\)", lambda x: as_images(x / 255)),
    "[0, 255]": (254.7 * X, r"as_images\(x / 255\)", lambda x: as_images(x / 255)),
    "[-1, 1]": (2 * X - 1, r"in \[-1, 1\] .*as_images\(\(x \+ 1\) / 2\)", lambda x: as_images((x + 1) / 2)),
    "spins": (2 * (X > 0.5) - 1.0, r"all whole numbers.*learn x \+ torch.rand_like", lambda x: x + torch.rand_like(x)),
    "normalised": ((PIXELS / 255 - 0.4) / 0.2, r"of only \d+ different values.*uniform noise", as_fields),
}  # fmt: skip


@pytest.mark.parametrize("name", MISREAD)
def test_floats_that_are_no_fields(name):
    """Refused by `fit` and `mera.check` with the conversion, which both take; `as_fields` is taken, too."""
    x, message, convert = MISREAD[name]
    with pytest.raises(ValueError, match=message):
        fit(flow_of(), x, **SHORT)
    report = mera.check(x)
    assert not report.ok
    assert re.search(message, repr(report.table()))
    fit(flow_of(), convert(x), **SHORT)
    assert mera.check(convert(x)).ok
    assert fit(flow_of(), as_fields(x), **SHORT).unit == "nats/variable"


def test_what_is_said_to_be_fields_is_of_floats():
    with pytest.raises(ValueError, match=r"fields of floats, x\.float\(\), for as_fields; got .*uint8"):
        fit(flow_of(), as_fields(PIXELS), **SHORT)
    with pytest.raises(ValueError, match="whole numbers"):
        fit(flow_of(), torch.randn(40, 1, 8, 8), test=900 + WHOLE, **SHORT)


def test_fields_in_a_small_range_are_fields():
    for x in (X - 0.5, 0.2 * torch.randn(40, 1, 8, 8), 90 * X + 10, torch.randn(40, 1, 8, 8).bfloat16().float()):
        assert fit(flow_of(), x, **SHORT).unit == "nats/variable"
    assert fit(flow_of(classes=2), as_fields(X), labels=Y, **SHORT).unit == "nats/variable"


def test_a_memory_map_is_checked_as_it_is_read(tmp_path):
    values = np.memmap(tmp_path / "fields", dtype=np.float32, mode="w+", shape=(40, 1, 8, 8))
    values[:] = with_nan(X).numpy()
    examples = ArrayDataset(values)
    assert examples[6].isfinite().all()
    with pytest.raises(ValueError, match="NaN in the one with index 7"):
        examples[7]
