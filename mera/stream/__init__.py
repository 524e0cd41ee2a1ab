"""log p of images of any size: the forward pass in tiles, with a store on disk that can be changed."""

from mera.stream.store import Store
from mera.stream.stream import Streamed, stream
from mera.stream.surroundings import StoredImage

__all__ = ["Store", "StoredImage", "Streamed", "stream"]
