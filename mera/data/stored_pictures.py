"""Pictures with all that their files hold, such as alpha and profiles, beside the pixels that a flow sees."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import getchunks, putchunk
from torch import Tensor

from mera._utils.files import reading, replacing
from mera.data.items import opened, sixteen_bits

ORIENTATION = 0x0112
"""The EXIF tag of the orientation, from 1 to 8."""
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""The modes of PIL, by the number of bands."""
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""The colour types of PNG, by the number of bands."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, eq=False)
class StoredPicture:
    """The values of a picture as its file stores them, and what belongs to them.

    Args:
        values: (H, W, bands), uint8 or uint16; grey, grey and alpha, colours, or colours and alpha.
        orientation: the EXIF orientation, by which the picture is turned to be upright.
        info: the ICC profile, the EXIF data and the resolution, by their names in PIL.
        lost: what of the file is not kept, as words.
    """

    values: np.ndarray
    orientation: int
    info: dict[str, Any]
    lost: tuple[str, ...] = ()

    @property
    def has_alpha(self) -> bool:
        """Return whether the last band is alpha."""
        return self.values.shape[2] in (2, 4)

    @property
    def upright(self) -> np.ndarray:
        """The values, turned by the orientation."""
        return _turned(self.values, self.orientation)

    def with_pixels(self, pixels: Tensor, changed: Tensor | None = None) -> StoredPicture:
        """The picture with other pixels, in front of the same alpha.

        Where the picture is partly transparent, colours are those that give the pixels in front of white.

        Args:
            pixels: the upright pixels, (1 or 3, H, W) uint8.
            changed: the pixels that are taken, bool (H, W); the others keep their values, bit for bit. None for all,
                also of another size, to which alpha is resized; they have 8 bits.
        """
        before, lost = self.upright, list(self.lost)
        height, width = pixels.shape[1:]
        colours = before.shape[2] - self.has_alpha
        image = Image.fromarray(pixels.cpu().movedim(0, -1).squeeze(-1).contiguous().numpy())
        new = np.asarray(image.convert(MODES[colours])).reshape(height, width, colours).astype(float)
        if len(pixels) < colours:
            lost.append("the colours of changed pixels (the flow is one of grey pictures)")
        most = np.iinfo(before.dtype).max
        if changed is None:
            if most > 255:
                lost.append("16 bits per value (8 are written)")
            dtype, most_of_new = np.dtype(np.uint8), 255
        else:
            dtype, most_of_new = before.dtype, most
        if self.has_alpha:
            alpha = before[..., -1] / most
            if alpha.shape != (height, width):
                alpha = np.asarray(Image.fromarray(alpha.astype(np.float32)).resize((width, height)))
            share = np.maximum(alpha, 1 / 255)[..., None]
            new = np.concatenate([(new - 255 * (1 - share)) / share, 255 * alpha[..., None]], 2)
        new = (new.clip(0, 255) * (most_of_new / 255)).round().astype(dtype)
        if changed is not None:
            where = changed.cpu().numpy()[..., None]
            if self.has_alpha:
                where = where & (np.arange(new.shape[2]) < colours)
            new = np.where(where, new, before)
        return replace(self, values=_turned(new, self.orientation, back=True), lost=tuple(dict.fromkeys(lost)))

    def save(self, path: Path) -> None:
        """Write the picture as a PNG."""
        values = np.ascontiguousarray(self.values)
        with replacing(path) as temporary:
            if values.dtype == np.uint8:
                image = Image.fromarray(values.squeeze(-1) if values.shape[2] == 1 else values)
                image.save(temporary, "png", **self.info)
            else:
                temporary.write_bytes(_of_16_bits(values, self.info))


def read_stored(file: Path) -> StoredPicture:
    """Read what the file of a picture holds; of several frames or pages the first.

    Raises:
        ValueError: if it cannot be read as a picture; the message names the file.
    """
    with reading(file, "a picture"), opened(file) as image:
        lost = []
        if (frames := getattr(image, "n_frames", 1)) > 1:
            lost.append(f"{frames - 1} of {frames} frames or pages (the first is written)")
            image.seek(0)
        values = _values(image, file)  # first, since reading EXIF data decodes a PNG
        orientation = image.getexif().get(ORIENTATION, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        info = {name: image.info[name] for name in ("icc_profile", "exif", "dpi") if image.info.get(name)}
        exif = Image.Exif()
        exif.load(info.get("exif", b""))
        if orientation > 1 and ORIENTATION not in exif:  # it stands elsewhere in the file, such as in XMP
            exif[ORIENTATION] = orientation
            info["exif"] = exif.tobytes()
        if image.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
            had_profile = info.pop("icc_profile", None) is not None
            lost.append(f"{image.mode} colours{' and their ICC profile' * had_profile} (RGB is written)")
        return StoredPicture(values, orientation, info, tuple(lost))


def _values(image: Image.Image, file: Path) -> np.ndarray:
    """The values of an image, (H, W, bands) of uint8 or uint16."""
    transparent = image.info.get("transparency")
    sixteen = _sixteen_bits(image, file)
    if sixteen is not None:
        if transparent is not None and not isinstance(transparent, bytes):
            alpha = np.where((sixteen == np.asarray(transparent)).all(2, keepdims=True), 0, 65535)
            sixteen = np.concatenate([sixteen, alpha.astype(np.uint16)], 2)
        return sixteen
    grey = image.mode in {"1", "L", "LA", "La"}
    has_alpha = transparent is not None or image.mode in {"LA", "La", "PA", "RGBA", "RGBa"}
    mode = ("LA" if has_alpha else "L") if grey else ("RGBA" if has_alpha else "RGB")
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    return values[..., None] if values.ndim == 2 else values


def _sixteen_bits(image: Image.Image, file: Path) -> np.ndarray | None:
    """The values of an image of 16 bits, (H, W, bands) uint16; None for others.

    PIL keeps 8 of 16 bits where there are several bands. A second pass, as if the bytes were in the other order, gives
    the other 8.
    """
    if (grey := sixteen_bits(image)) is not None:
        return grey[..., None]
    tiles = getattr(image, "tile", [])
    raw = next((str(tile[3] if isinstance(tile[3], str) else tile[3][0]) for tile in tiles), "")
    if raw == "LA;16B":  # two 16-bit values, decoded as four bytes
        four = _decoded(file, "RGBA").astype(np.uint16)
        return four[..., ::2] * 256 + four[..., 1::2]
    other = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}
    if not raw.endswith((";16B", ";16L", ";16N")) or image.mode not in ("RGB", "RGBA"):
        return None
    high, low = (_decoded(file, name).astype(np.uint16) for name in (raw, raw[:-1] + other[raw[-1]]))
    return high * 256 + low


def _decoded(file: Path, name: str) -> np.ndarray:
    """The values of an image whose bytes are read by a raw mode of PIL."""
    with opened(file) as picture:
        image: Any = picture
        image.tile = [
            type(tile)(*tile[:3], name if isinstance(tile[3], str) else (name, *tile[3][1:])) for tile in image.tile
        ]
        return np.asarray(picture)


def _turned(values: np.ndarray, orientation: int, back: bool = False) -> np.ndarray:
    """Values (H, W, ...) turned by an EXIF orientation, or back."""
    turns = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}.get(orientation, 0)
    flipped = orientation in (2, 4, 5, 7)
    if back:
        values = values[:, ::-1] if flipped else values
        return np.rot90(values, -turns)
    values = np.rot90(values, turns)
    return values[:, ::-1] if flipped else values


def _of_16_bits(values: np.ndarray, info: Mapping[str, Any]) -> bytes:
    """A PNG of values (H, W, bands) uint16, which PIL cannot write for several bands, with the metadata of PIL."""
    height, width, bands = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)
    rows = np.concatenate([rows[:1], rows[1:] - rows[:-1]])  # the filter "up", number 2, which begins each row
    data = np.concatenate([np.full((height, 1), 2, np.uint8), rows], 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[bands], 0, 0, 0)
    pixels = {b"IHDR": header, b"IDAT": zlib.compress(data, 6)}
    file = io.BytesIO()
    file.write(SIGNATURE)
    for kind, content, *_ in getchunks(Image.new(MODES[bands], (1, 1)), **info):
        putchunk(file, kind, pixels.get(kind, content))
    return file.getvalue()
