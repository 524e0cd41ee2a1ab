"""Models of bijectors on whole lattices: Real NVP, Glow, Wavelet Flow, decimation; and the builder of their layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, cast

from mera._utils.errors import InputError
from mera._utils.flow_options import HIDDEN_CHANNELS, LAYERS, NORM, PADDING, WINDOW, Hidden, Norm, PerLevel, Transform
from mera._utils.options import Option, flag
from mera.bijectors import Bijector, named
from mera.bijectors.catalogue import TRANSFORMS
from mera.graph import Layout, Port
from mera.graph.layout_error import within
from mera.graph.plan import context_of
from mera.models.by_name import register
from mera.models.lattices import kernels, levels, offset_of
from mera.models.options import (
    Channels,
    FieldBoundary,
    FieldLayers,
    FieldModel,
    TopWidth,
    WidthsOfChannels,
    options_per_level,
)


class Fields:
    """A builder of layouts of bijectors on whole lattices.

    Args:
        model: the options of the model.
        squeezed_first: whether each level begins with a squeeze, so that there is one level fewer.
        common: further options of the bijectors at all levels.

    Attributes:
        layout: the layout.
        add: adds a node; see `add_field`.
        lattices: the number of lattices, one more than levels if a squeeze comes first.
        levels: the number of levels.
        options: the options of the bijectors of each level, finest first.
    """

    def __init__(self, model: FieldModel, squeezed_first: bool = False, **common: Any) -> None:
        n_levels = None if model.levels is None else model.levels + squeezed_first
        self.lattices = levels(model.shape, model.m, n_levels=n_levels)
        self.levels = max(1, self.lattices - squeezed_first)
        common |= {"padding": PADDING[model.boundary], "transform": model.transform}
        hidden = cast(Hidden, model.hidden)  # not None any more
        per_level = options_per_level(self.levels, model.layers, model.residual_blocks, hidden)
        self.options = [common | options for options in per_level]
        self.layout = Layout(model.shape, model.channels, model.boundary, model.context_shape)
        self.add = partial(add_field, self.layout)

    def split(self, x: Port, keep: int, level: int) -> Port:
        """Let all but the first `keep` channels leave as the latents of a level, and return the kept channels."""
        x, fine = self.layout.split(x, keep=keep, name=f"split{level}")
        self.layout.latent(fine, name=f"z{level}")
        return x

    def finished(self, x: Port) -> Layout:
        """Let all channels of the last output leave as the latents of the last level, and return the layout."""
        self.layout.latent(x, name=f"z{self.levels - 1}")
        return self.layout


def add_field(
    layout: Layout, x: Port, bijector: str, name: str, options: dict[str, Any], passive: int = 0,
    share: str | None = None,
) -> Port:  # fmt: skip
    """Add a node for a registered bijector, whose `receptive_kernel` is the node's kernel, and return the output."""
    shape, make = x.lattice.event_shape, named(bijector, options)
    with within(f"node {name!r}"):  # a temporary instance, because only the bijector itself knows its kernel
        instance: Bijector = make(shape, context_of(layout.context, shape))
    kernel = cast(tuple, instance.receptive_kernel)
    return layout.local(x, make, kernel=kernel, field=True, share=share, name=name, passive=passive)


@register("realnvp")
@dataclass(frozen=True, kw_only=True)
class RealNVP(FieldModel):
    """Real NVP: a multiscale flow of couplings with convolutions, whose cones are wide.

    Dinh et al. (2017), https://arxiv.org/abs/1605.08803. At each level checkerboard couplings act, the lattice is
    squeezed, channel couplings act, and half of the channels leave as latents. The topmost lattice has
    checkerboard couplings only, and all of its channels leave. Conditioners are residual networks of convolutions.
    """

    layers: FieldLayers = 1
    hidden: Annotated[
        Hidden | None,
        Option(
            "channels of the hidden convolutions in one residual block, or such channels for each level, finest first. "
            "If None, 16 at the finest level and 2.5 times as many at each further level, up to 96."
        ),
    ] = None
    norm: Norm = True

    def fitted(self) -> dict[str, Any]:
        """The widths of the hidden layers, if they were left out."""
        number = levels(self.shape, self.m, n_levels=self.levels)
        return {} if self.hidden is not None else {"hidden": [(min(int(16 * 2.5**h), 96),) for h in range(number)]}

    def layout(self) -> Layout:
        """Declare the layout."""
        fields = Fields(replace(self, **self.fitted()), norm=self.norm)
        x = fields.layout.input
        for level, blocks in enumerate(fields.options):
            x = fields.add(x, "convolution", f"checkerboard{level}", {"mask": "checkerboard", **blocks})
            if level + 1 < fields.levels:
                x = fields.layout.squeeze(x, name=f"squeeze{level}")
                x = fields.add(x, "convolution", f"channels{level}", {"mask": "channels", **blocks})
                x = fields.split(x, x.channels // 2, level)
        return fields.finished(x)


@register("glow")
@dataclass(frozen=True, kw_only=True)
class Glow(FieldModel):
    """Glow: a multiscale flow of ActNorms, 1 x 1 convolutions and channel couplings.

    Kingma & Dhariwal (2018), https://arxiv.org/abs/1807.03039. At each level the lattice is squeezed, `layers` steps of
    an ActNorm, a 1 x 1 convolution and a channel coupling act, and half of the channels leave as latents, with a mean
    and a scale that a convolution reads from the channels that stay (Fig. 2b). All channels of the topmost lattice
    leave. A lattice that does not halve is not squeezed, and needs at least two channels.
    """

    layers: Annotated[
        PerLevel, Option("number of steps of flow at a level: ActNorm, 1 x 1 convolution, coupling.").per_level()
    ] = 3
    hidden: WidthsOfChannels = (44,)

    def layout(self) -> Layout:
        """Declare the layout."""
        fields = Fields(self, squeezed_first=True)
        x = fields.layout.input
        for level, blocks in enumerate(fields.options):
            if level + 1 < fields.lattices:
                x = fields.layout.squeeze(x, name=f"squeeze{level}")
            x = fields.add(x, "glow-steps", f"steps{level}", blocks)
            if level + 1 < fields.levels:
                kept = x.channels // 2
                options = {"passive": kept, "hidden": blocks["hidden"], "padding": blocks["padding"]}
                x = fields.add(x, "split-prior", f"prior{level}", options, kept)
                x = fields.split(x, kept, level)
        return fields.finished(x)


@register("wavelet")
@dataclass(frozen=True, kw_only=True)
class WaveletFlow(FieldModel):
    """Wavelet Flow: a Haar pyramid in which couplings transform the details conditioned on the means.

    Yu et al. (2020), https://arxiv.org/abs/2010.13821. At each level a Haar transform makes means and details, and
    couplings conditioned on the means transform the details, which leave as latents. The means go on to the next level
    unchanged. The topmost lattice has its own couplings. A level therefore generates from the image at half the
    resolution (times 2 in two dimensions), and each level could be trained separately.
    """

    hidden: WidthsOfChannels = (64,)
    norm: Norm = True

    def layout(self) -> Layout:
        """Declare the layout."""
        fields = Fields(self, norm=self.norm)
        x = fields.layout.input
        for level, blocks in enumerate(fields.options):
            if level + 1 == fields.levels:
                x = fields.add(x, "convolution", f"top{level}", blocks)
                break
            means = x.channels
            x = fields.layout.local(x, "dct", kernel=2, name=f"haar{level}")
            x = fields.layout.squeeze(x, name=f"squeeze{level}")
            x = fields.add(x, "details", f"details{level}", {"passive": means, **blocks}, passive=means)
            x = fields.split(x, means, level)
        return fields.finished(x)


LayersWithoutFrames = Annotated[PerLevel | None, Option(f"{LAYERS.help} 1 if None; only without frames.").per_level()]


@register("decimation")
@dataclass(frozen=True, kw_only=True)
class Decimation(FieldModel):
    r"""Decimation: the sites of a lattice given one site of each cell, level by level, for lattice field theories.

    .. math:: q(\phi) = q(\phi_H) \prod_{h < H} q(\text{other sites of } \phi_h \mid \phi_{h+1})

    The lattice :math:`\phi_{h+1}` is :math:`\phi_h` at the first corner of each cell, unchanged. The other white sites
    of a checkerboard follow given the first corners, by a coupling; then the black sites given all white ones, by a
    map of each site. If neighbours alone interact, as in phi^4, black sites are independent of each other given the
    white ones. On coarser lattices they are not, since the sites that are left out couple them; before the two steps
    (in the direction of generation), `layers` couplings of all new sites therefore act. RiGCS generates Ising spins
    in this order (arXiv 2503.08918). In one dimension all new sites are black. The topmost lattice has splines of
    patches, whatever `transform` is. Cones are those of convolutions.

    With `frames` the new sites are drawn in turns: the white sites of each of 2 x 2 sublattices, then the black sites,
    on the finest lattice all at once. A site is drawn relative to the direction of a learnt sum of its neighbours, by a
    network that reads what does not change if all fields turn together; so a symmetry under such turns is exact. See
    `mera.bijectors.AngleFrame` and `VectorFrame`. The sites of the topmost lattice are drawn one by one.
    """

    presets: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {"action": lambda options: {}}

    m: TopWidth = 2
    channels: Channels = 1
    layers: LayersWithoutFrames = None  # type: ignore[assignment]
    hidden: Annotated[
        Hidden | None,
        Option(
            f"{HIDDEN_CHANNELS.help} If None, 16, or 64 with frames, whose networks have no convolutions."
        ).per_level(),
    ] = None
    transform: Transform = "spline(max_log_scale=1)"
    boundary: FieldBoundary = "periodic"
    norm: Annotated[bool | None, Option(f"{NORM.help} True if None; only without frames.", flag)] = None
    frames: Annotated[
        bool | None,
        Option(
            "whether new sites are drawn in turns, relative to the direction of a learnt sum of neighbours, so that "
            "log p is the same for fields that are turned as a whole: angles (XY), or vectors of all channels (O(n)). "
            "If None, for angles only, which need them.",
            flag,
        ),
    ] = None
    window: Annotated[int | None, Option(f"{WINDOW.help} 3 if None; only with frames.", WINDOW.check)] = None
    share_levels: Annotated[
        bool, Option("whether all levels but the coarsest share their networks, as if the theory were critical.", flag)
    ] = False

    def fitted(self) -> dict[str, Any]:
        """The option `frames`, and the options that were left out, whose values depend on it."""
        of_angles = TRANSFORMS.make(self.transform).of_angles
        if of_angles and self.frames is False:
            raise InputError("frames=True for a transform of angles", f"frames=False, transform={self.transform!r}")
        frames = of_angles if self.frames is None else self.frames
        usual: dict[str, Any] = (
            {"hidden": (64,), "window": 3} if frames else {"hidden": (16,), "layers": 1, "norm": True}
        )
        for name in ("layers", "norm") if frames else ("window",):
            if getattr(self, name) is not None:
                raise InputError(f"no {name} with frames={frames}", f"{name}={getattr(self, name)!r}")
        return {"frames": frames} | {name: value for name, value in usual.items() if getattr(self, name) is None}

    def layout(self) -> Layout:
        """Declare the layout."""
        model = replace(self, **self.fitted())
        common: dict[str, Any] = {} if model.frames else {"norm": model.norm}
        fields = Fields(replace(model, layers=model.layers or 1), **common)
        details, share = "frames" if model.frames else "corners", "details" if self.share_levels else None
        x = fields.layout.input
        for level, blocks in enumerate(fields.options):
            if model.frames:
                del blocks["layers"]
            if level + 1 < fields.levels:
                x = fields.layout.squeeze(x, name=f"squeeze{level}")
                turns = {"window": model.window, "together": level == 0 and share is None} if model.frames else {}
                x = fields.add(x, details, f"details{level}", turns | blocks, self.channels, share)
                x = fields.split(x, self.channels, level)
        if model.frames:
            return fields.finished(fields.add(x, "frames-by-site", f"top{level}", blocks))
        kernel = kernels(self.shape, None, self.m, n_levels=self.levels)[-1]
        top = named("coupling", {"transform": "spline", "hidden": blocks["hidden"], "norm": model.norm})
        if (offset := offset_of(x.lattice, kernel, 0.5)) is not None:
            x = fields.layout.local(x, top, kernel, offset=offset, name=f"disentangler{level}")
        x = fields.layout.local(x, top, kernel, name=f"decimator{level}")
        return fields.finished(x)
