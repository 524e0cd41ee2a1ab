"""Any folder of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from mera.data.dataset import DataMissingError, DataSplits, register, resize

__all__ = ["ImageFiles", "fit_square", "read_image"]

SUFFIXES = frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


class ImageFiles(Dataset):
    """Image files: the square at the centre of each, resized to L x L.

    An item whose file cannot be read raises a `ValueError` with the name of the file.

    Args:
        files: the files, in the order of the items.
        L: edge of the images.
        channels: 1 for grey images, 3 for colour.
    """

    def __init__(self, files: list[Path], L: int, channels: int) -> None:
        self.files = files
        self.L = L
        self.channels = channels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        return fit_square(read_image(self.files[index], self.channels), self.L)


def read_image(path: Path, channels: int) -> torch.Tensor:
    """An image file as a tensor (channels, H, W) uint8.

    Args:
        path: the file.
        channels: 1 for a grey image, 3 for colour.

    Raises:
        ValueError: if the file cannot be read; the message has its name.
    """
    from torchvision.transforms.v2.functional import pil_to_tensor

    if not path.is_file():
        raise ValueError(f"Expected an image in {path}; got no such file")
    try:
        with Image.open(path) as image:
            return pil_to_tensor(_eight_bits(image).convert("L" if channels == 1 else "RGB"))
    except Exception as error:  # decoders raise any kind of error for bytes that are no image
        raise ValueError(f"Expected an image in {path}; got a file that cannot be read: {error}") from error


def fit_square(pixels: torch.Tensor, L: int) -> torch.Tensor:
    """The square at the centre of an image, resized to L x L.

    Args:
        pixels: the image, (channels, H, W) uint8.
        L: edge of the resized image.
    """
    from torchvision.transforms.v2.functional import center_crop

    return resize(center_crop(pixels, [min(pixels.shape[-2:])] * 2), L)


@register("folder")
def folder(L: int, root: Path, download: bool, channels: int = 3) -> DataSplits:
    """All images below a folder, sub-folders included.

    If the folder has sub-folders `train` and `test`, they are the splits. Otherwise every tenth file, by name, is a
    test image. Images are cut to the square at their centre and resized.

    Args:
        L: edge of the images.
        root: the folder.
        download: not used: there is nothing to download.
        channels: 3 to read colour images, 1 to read grey ones.

    Raises:
        ValueError: if `channels` is neither 1 nor 3.
        DataMissingError: if a split has no images.
    """
    if channels not in (1, 3):
        raise ValueError(f"Expected 1 or 3 channels of a folder of images; got {channels}")
    if (root / "train").is_dir() and (root / "test").is_dir():
        splits = [_images(root / "train"), _images(root / "test")]
    else:
        files = _images(root)
        splits = [[f for i, f in enumerate(files) if i % 10 != 9], files[9::10]]
    if not all(splits):
        counts = " and ".join(str(len(split)) for split in splits)
        raise DataMissingError(
            f"Expected images below {root} for training and test; got {counts}. "
            f"Put at least ten images there, or some in each of {root / 'train'} and {root / 'test'}."
        )
    return DataSplits("folder", channels, *(ImageFiles(split, L, channels) for split in splits))


def _eight_bits(image: Image.Image) -> Image.Image:
    """An image of 16 bits per value scaled to 8 bits; PIL itself would cut off all values above 255."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its values are of no known range")
    return image


def _images(root: Path) -> list[Path]:
    """The image files below a folder, by name."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
