"""Data sets by name: generated, from torchvision, or any folder of images."""

from mera.data import folder, msds, standard  # noqa: F401, each registers its sets
from mera.data.dataset import (
    DataMissingError,
    ImageData,
    Images,
    ImageSet,
    first,
    labels,
    load,
    names,
    register,
    resize,
)

__all__ = [
    "DataMissingError",
    "ImageData",
    "ImageSet",
    "Images",
    "first",
    "labels",
    "load",
    "names",
    "register",
    "resize",
]
