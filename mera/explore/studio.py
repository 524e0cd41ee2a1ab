"""A flow, an image of it and operations on its latents for the explorer; independent of the web framework."""

from __future__ import annotations

import copy
import io
import math
import threading
from collections import deque
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mera._utils.errors import InputError
from mera.analysis import leading, map_picture, receptive_fields
from mera.analysis.latents import LatentIndex
from mera.data.dataset import resize
from mera.data.picture_files import read_picture
from mera.drawing.figures import Picture, visible_sites
from mera.drawing.images import coloured
from mera.flow.density import Density
from mera.flow.flow import Flow, Latents

MAX_UPLOAD = 20 * 2**20
"""The largest size of an uploaded picture, in bytes."""
REDUCED = 1024
"""The longest edge to which an uploaded picture is reduced."""
SEARCH: dict[str, Any] = {"samples": 4, "particles": 12, "warmup": 8, "iterations": 8, "leapfrog": 5, "steps": 0}
"""Options of the search for fillings, and their number."""
UNDO_STEPS = 20
"""The number of images that `undo` can restore."""
LEADS = 6
"""The number of latents of a level that have sliders."""
FIELD_SAMPLES = 8
"""The number of samples over which receptive fields are averaged, enough for a thumbnail."""
STRENGTH_SAMPLES = 512
"""The number of samples from which the strongest latents are found."""


class Learnt:
    """A flow of images without context, with a title, and a cache of receptive fields."""

    def __init__(self, flow: Density, title: str = "a flow") -> None:
        bijection = flow.flow
        lattice = bijection.plan.input
        if bijection.plan.context is not None or not lattice.is_picture:
            got = f"a flow on {lattice}" + ("" if bijection.plan.context is None else ", with a context")
            raise InputError("a flow of images without context, of two dimensions and 1 or 3 channels", got)
        self.flow: Flow = copy.deepcopy(bijection).eval().requires_grad_(False)
        self.title = title
        self.note = "" if bijection is flow else ", of one element of the mixture"
        self._lock = threading.Lock()
        self._leads: dict[int, list[tuple[LatentIndex, Tensor]]] = {}

    def picture(self, x: Tensor) -> Tensor:
        """Convert one example (1, C, H, W) in the flow's own space to a picture, (1 or 3, H, W) uint8."""
        return self.flow.to_images(x)[0].cpu()

    def leads(self, level: int) -> list[tuple[LatentIndex, Tensor]]:
        """The latents of a level with the strongest receptive fields, and these as pictures (3, H, W) uint8; cached."""
        with self._lock:  # two threads would compute the same latents
            if level not in self._leads:
                latents = leading(self.flow, level, LEADS, samples=STRENGTH_SAMPLES)
                fields = receptive_fields(self.flow, latents, samples=FIELD_SAMPLES)
                self._leads[level] = list(zip(latents, map(coloured, fields.mean(1).cpu()), strict=True))
            return self._leads[level]


class Studio:
    """The image of one visitor, and its latents.

    Attributes:
        data: the image in the flow's own space, (1, C, H, W).
        latents: its latents, one tensor (1, C_h, *shape_h) for each level, finest first.
        photograph: the photograph (C, H, W) of which the image is a window, uint8; None if there is none.
        corner: the first row and the first column of the window.
        surprising: the row and the column of the middle of the window that surprises the flow most, after `cost`.
    """

    def __init__(self, learnt: Learnt) -> None:
        self.learnt, self.flow = learnt, learnt.flow
        self.photograph: Tensor | None = None
        self.corner = self.surprising = 0, 0
        self._kept: deque[Tensor] = deque(maxlen=UNDO_STEPS)
        self._moved: LatentIndex | None = None  # the latent that changed last, if nothing else has changed since
        self.latents: Latents
        self.draw()

    @property
    def picture(self) -> Tensor:
        """The image, (1 or 3, H, W) uint8."""
        return self.learnt.picture(self.data)

    def value(self, latent: LatentIndex) -> float:
        """The value of a latent (level, channel, *site)."""
        level, *place = latent
        return float(self.latents[level][(0, *place)])

    @torch.no_grad()
    def bits_per_dim(self) -> float:
        """Bits per dimension of the image, as of uint8 pixels."""
        stretched = float(self.flow.preprocess.inverse(self.data)[1])
        return -(float(self.flow.log_prob(self.data)) - stretched) / (self.data.numel() * math.log(2))

    def draw(self) -> None:
        """Draw an image."""
        self.photograph = None
        self._open(self._decode(self.flow.sample_latents(1)))

    def read(self, content: bytes) -> Tensor:
        """The pixels (C, H, W) of an image file, reduced if they are many; the image stays."""
        try:
            return read_picture(io.BytesIO(content), self.flow.plan.input.channels, REDUCED)
        except Exception as error:  # decoders raise any error for bytes that are not an image
            raise InputError("a picture", "a file that is not a picture, or is damaged") from error

    def show(self, pixels: Tensor) -> None:
        """Open pixels (C, H, W), uint8: small pictures enlarged, of a larger `photograph` the window in the middle."""
        shape = self.flow.plan.input.shape
        if any(n < edge for n, edge in zip(pixels.shape[1:], shape, strict=True)):
            pixels = resize(pixels, shape)
        height, width = pixels.shape[1:]
        self.photograph = None if (height, width) == shape else pixels.clone()
        self._take_window(pixels, height // 2, width // 2)

    def look(self, row: int, column: int) -> None:
        """Take the window of the photograph around a pixel, after the changes of the present one are pasted."""
        self.photograph = self.whole
        self._take_window(self.photograph, row, column)

    @property
    def whole(self) -> Tensor:
        """The photograph with the present window pasted in, or else the image, (C, H, W) uint8."""
        if self.photograph is None:
            return self.picture
        whole, (row, column) = self.photograph.clone(), self.corner
        height, width = self.flow.plan.input.shape
        whole[:, row : row + height, column : column + width] = self.picture
        return whole

    @torch.no_grad()
    def _take_window(self, pixels: Tensor, row: int, column: int) -> None:
        """Start from the window of pixels (C, H, W), uint8, around one of them."""
        height, width = self.flow.plan.input.shape
        rows = visible_sites(row, pixels.shape[1], height)
        columns = visible_sites(column, pixels.shape[2], width)
        self.corner = rows.start, columns.start
        window = pixels[None, :, rows.start : rows.stop, columns.start : columns.stop]
        self._open(self.flow.from_images(window.to(self.flow.device)))

    def set(self, latent: LatentIndex, value: float) -> None:
        """Set a latent (level, channel, *site); `undo` reverts all changes of one latent in a row."""
        if latent != self._moved:
            self._keep()
            self._moved = latent
        level, *place = latent
        z = tuple(t.clone() for t in self.latents)
        z[level][(0, *place)] = value
        self.data, self.latents = self._decode(z), z

    def redraw(self, level: int) -> None:
        """Redraw all latents of a level, 0 for the finest."""
        fresh = self.flow.sample_latents(1)
        z = tuple(new if h == level else old for h, (new, old) in enumerate(zip(fresh, self.latents, strict=True)))
        self.replace(self._decode(z))

    def replace(self, x: Tensor) -> None:
        """Replace the image by data (1, C, H, W) in the flow's own space, such as a filling; `undo` reverts this."""
        self._keep()
        self._show(x)

    @torch.no_grad()
    def _show(self, x: Tensor) -> None:
        """Take data (1, C, H, W) as the image, and compute its latents."""
        self.data, self.latents = x, self.flow(x)[0]

    def _keep(self) -> None:
        """Keep the image for `undo`."""
        self._kept.append(self.data.clone())
        self._moved = None

    def undo(self) -> bool:
        """Restore the image before the last change, and return whether there was one."""
        if not self._kept:
            return False
        self._moved = None
        self._show(self._kept.pop())
        return True

    def cost(self) -> Picture:
        """Draw the bits per dimension of the photograph or the image, by pixel and level, and set `surprising`."""
        found = map_picture(self.flow, self.whole)
        if self.photograph is not None:
            scale = found.shape[0] / found.bits.shape[1]  # pixels of a cell
            window = [max(round(edge / scale), 1) for edge in self.flow.plan.input.shape]
            bits = avg_pool2d(found.bits.sum(0)[None, None], window, 1)[0, 0]
            row, column = divmod(int(bits.argmax()), bits.shape[1])
            self.surprising = int((row + window[0] / 2) * scale), int((column + window[1] / 2) * scale)
        return found.figure()

    def fill(self, mask: Tensor) -> list[Tensor]:
        """Sample fillings of masked pixels (H, W), each (1, C, H, W) in the flow's own space, by short chains."""
        inpainting: Any = self.flow.inpaint(self.data.clone(), mask, **SEARCH)
        self.convergence = str(inpainting.convergence)
        return list(inpainting.samples.detach().split(1))

    def _open(self, x: Tensor) -> None:
        """Start from new data (1, C, H, W), and clear the history of `undo`."""
        self.convergence = ""
        self._moved = None
        self._kept.clear()
        self._show(x)

    @torch.no_grad()
    def _decode(self, z: Latents) -> Tensor:
        """Map latents to data."""
        return self.flow.inverse(z)[0]
