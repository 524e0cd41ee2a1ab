"""Data sets by name: generated, from torchvision, or any folder of images."""

from mera.data import folder, msds, standard  # noqa: F401, each module registers its data sets
from mera.data.dataset import (
    DataMissingError,
    ImageDataset,
    ImageSplits,
    ImageTensorDataset,
    class_numbers,
    first,
    labels,
    load,
    names,
    register,
    resize,
)

__all__ = [
    "DataMissingError",
    "ImageDataset",
    "ImageSplits",
    "ImageTensorDataset",
    "class_numbers",
    "first",
    "labels",
    "load",
    "names",
    "register",
    "resize",
]
