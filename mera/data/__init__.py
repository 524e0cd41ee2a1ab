"""Data sets by name: generated, from torchvision, from packages with pictures, or any folder of images."""

from mera.data import arrays, msds, pictures, standard  # noqa: F401, each module registers its data sets
from mera.data.dataset import (
    ArrayDataset,
    DataMissingError,
    DataSplits,
    Edges,
    Examples,
    class_numbers,
    first,
    labels,
    load,
    names,
    register,
    resize,
    takes,
)
from mera.data.examples import as_fields, as_images, as_splits
from mera.data.pictures import photograph
from mera.data.random_windows import windows
from mera.data.sources import reflected

__all__ = [
    "ArrayDataset",
    "DataMissingError",
    "DataSplits",
    "Edges",
    "Examples",
    "as_fields",
    "as_images",
    "as_splits",
    "class_numbers",
    "first",
    "labels",
    "load",
    "names",
    "photograph",
    "reflected",
    "register",
    "resize",
    "takes",
    "windows",
]
