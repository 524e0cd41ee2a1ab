"""Detection of tensors that torch compiles or transforms, for which only plain operations work."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from mera._utils.torch_private import is_wrapped_by_functorch


def is_transformed(tensor: Tensor) -> bool:
    """Whether operations on a tensor are compiled, mapped by torch.func, or differentiated in forward mode."""
    return (
        torch.compiler.is_compiling()
        or is_wrapped_by_functorch(tensor)
        or forward_ad.unpack_dual(tensor).tangent is not None
    )
