"""Pictures that are written with what their files hold."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo, putchunk

from mera.data.picture_files import read_picture
from mera.data.stored_pictures import ORIENTATION, SIGNATURE, _of_16_bits, read_stored

RNG = np.random.default_rng(0)


def changed_at(file, where=(1, 2), value=7):
    """The pixels of a file with one that has changed, and where."""
    pixels = read_picture(file)
    changed = torch.zeros(pixels.shape[1:], dtype=torch.bool)
    changed[where] = True
    pixels[:, *where] = value
    return pixels, changed


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_keeps_its_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(tmp_path / "a.png", exif=exif)
    stored = read_stored(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(stored.upright, np.asarray(ImageOps.exif_transpose(image)))
    pixels, changed = changed_at(tmp_path / "a.png")
    stored.with_pixels(pixels, changed).save(tmp_path / "b.png")
    assert torch.equal(read_picture(tmp_path / "b.png"), pixels)
    with Image.open(tmp_path / "b.png") as image:
        assert image.getexif().get(ORIENTATION, 1) == orientation
        assert image.size == (9, 6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_grey_tiff_file_is_turned_by_a_quarter(tmp_path, kind):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    values = RNG.integers(0, np.iinfo(kind).max, (7, 5), dtype=kind)
    Image.fromarray(values).save(tmp_path / "a.tif", exif=exif)  # not compressed
    upright = np.rot90(values, -1)
    assert np.array_equal(read_stored(tmp_path / "a.tif").upright[..., 0], upright)
    in_8_bits = (upright * (255 / np.iinfo(kind).max)).round()
    assert np.array_equal(read_picture(tmp_path / "a.tif")[0].numpy(), in_8_bits)


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_an_orientation_beside_exif_data_is_kept(tmp_path, suffix):
    exif, xmp = Image.Exif(), '<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    exif[0x010F] = "a maker"
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    options = {"pnginfo": text} if suffix == "png" else {"xmp": xmp.encode(), "lossless": True}
    image = Image.fromarray(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    image.save(tmp_path / f"a.{suffix}", exif=exif, **options)
    pixels, changed = changed_at(tmp_path / f"a.{suffix}")
    assert pixels.shape == (3, 9, 6)
    read_stored(tmp_path / f"a.{suffix}").with_pixels(pixels, changed).save(tmp_path / "b.png")
    assert torch.equal(read_picture(tmp_path / "b.png"), pixels)
    with Image.open(tmp_path / "b.png") as written:
        assert written.getexif()[0x010F] == "a maker"


@pytest.mark.parametrize(("bits", "colour_type", "key"), [(2, 0, [1]), (4, 0, [9]), (16, 2, [300, 7, 65535])])
def test_a_transparent_colour_of_a_few_bits_or_many(tmp_path, bits, colour_type, key):
    rows = {2: [[1, 2, 3, 0]], 4: [[9, 2, 15, 0]], 16: [[*key, 600, 700, 800]]}[bits]
    packed = int("".join(f"{value:0{bits}b}" for value in rows[0]), 2).to_bytes(bits * len(rows[0]) // 8, "big")
    width = 4 if colour_type == 0 else 2
    file = io.BytesIO()
    file.write(SIGNATURE)
    putchunk(file, b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0))
    putchunk(file, b"tRNS", struct.pack(f">{len(key)}H", *key))
    putchunk(file, b"IDAT", zlib.compress(b"\0" + packed))
    putchunk(file, b"IEND", b"")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    stored = read_stored(tmp_path / "a.png")
    assert (stored.values[0, :, -1] == 0).tolist() == [True] + [False] * (width - 1)
    assert read_picture(tmp_path / "a.png")[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_16_bits_of_unchanged_pixels_stay(tmp_path, bands):
    values = RNG.integers(0, 65536, (6, 9, bands), dtype=np.uint16)
    values[1, 2, bands - 1] = 65535  # opaque where there is alpha
    (tmp_path / "a.png").write_bytes(_of_16_bits(values, {"icc_profile": b"a profile", "dpi": (300, 300)}))
    stored = read_stored(tmp_path / "a.png")
    assert np.array_equal(stored.values, values)
    filled = stored.with_pixels(*changed_at(tmp_path / "a.png"))
    assert filled.lost == ()
    filled.save(tmp_path / "b.png")
    again = read_stored(tmp_path / "b.png")
    values[1, 2, : bands - (bands in (2, 4))] = 7 * 257
    assert np.array_equal(again.values, values)
    assert again.info["icc_profile"] == b"a profile"
    refined = stored.with_pixels(torch.zeros(3, 12, 18, dtype=torch.uint8))
    assert refined.lost == ("16 bits per value (8 are written)",)
    assert refined.values.shape == (12, 18, bands)


def test_alpha_stays_and_colours_are_those_before_white(tmp_path):
    values = RNG.integers(0, 256, (6, 9, 4), dtype=np.uint8)
    values[1, 2, 3] = 128
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels, changed = changed_at(tmp_path / "a.png", value=200)
    filled = read_stored(tmp_path / "a.png").with_pixels(pixels, changed)
    filled.save(tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        found = np.asarray(image)
    assert np.array_equal(found[..., 3], values[..., 3])
    assert (found != values).any(2).sum() == 1
    assert (read_picture(tmp_path / "b.png")[:, 1, 2] - 200.0).abs().max() <= 1
    larger = filled.with_pixels(torch.zeros(3, 12, 18, dtype=torch.uint8))
    assert larger.values.shape == (12, 18, 4)


def test_what_is_lost_is_said(tmp_path):
    image = Image.fromarray(RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    image.convert("CMYK").save(tmp_path / "a.jpg", icc_profile=b"inks")
    assert read_stored(tmp_path / "a.jpg").lost == ("CMYK colours and their ICC profile (RGB is written)",)
    image.quantize().save(tmp_path / "a.gif", save_all=True, append_images=[image.rotate(90).quantize()])
    assert read_stored(tmp_path / "a.gif").lost == ("1 of 2 frames or pages (the first is written)",)
    image.save(tmp_path / "a.png")
    pixels, changed = changed_at(tmp_path / "a.png")
    assert "colours of changed pixels" in read_stored(tmp_path / "a.png").with_pixels(pixels[:1], changed).lost[0]
    image.convert("L").save(tmp_path / "g.png")
    assert read_stored(tmp_path / "g.png").with_pixels(pixels).values.shape == (6, 9, 1)
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="Expected a picture; got a file that cannot be read"):
        read_stored(tmp_path / "b.png")
