"""How weights start: copied from their file, or drawn by their filler."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.graph.fillers import Filler
from trunkline.graph.graph import array_of, name_of
from trunkline.seeds import seed_of


def initial_tensor(value: ir.Value, seed: int = 0) -> Tensor:
    """Return a new tensor with the content an initializer starts with.

    A weight with a filler is drawn here, in torch, without evaluating its lazy tensor; any other is copied from
    the file. The draw is a pure function of (seed, name), or of what the filler is drawn as.
    """
    filler = Filler.of(value)
    if filler is None:
        return to_tensor(array_of(value))
    assert value.const_value is not None
    return draw(filler, name_of(value), tuple(value.const_value.shape.numpy()), seed)


def draw(filler: Filler, name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return a float32 tensor filled by ``filler``, a pure function of the arguments."""
    if filler.kind == "constant":
        return torch.full(shape, filler.value, dtype=torch.float32)
    if filler.kind == "diagonal":
        return torch.from_numpy(filler.draw(shape, name))
    tensor, spread = torch.empty(shape, dtype=torch.float32), filler.spread(shape)
    # The copies of one weight share a stream (`drawn_as`), so that they start equal whatever they are called.
    generator = torch.Generator().manual_seed(seed_of(filler.drawn_as or name, seed))
    if filler.kind in ("msra", "gaussian"):
        return tensor.normal_(0.0, spread, generator=generator)
    return tensor.uniform_(-spread, spread, generator=generator)


def to_tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
    """Return a copy of ``array``, also of the float types that numpy itself does not know."""
    # torch does not accept the arrays of ml_dtypes. float32 holds all their numbers, so nothing is rounded.
    if array.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        return torch.from_numpy(array.astype(np.float32)).to(getattr(torch, array.dtype.name))
    return torch.from_numpy(np.array(array, order="C"))


def view_of(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
    """Return a tensor to copy from at once: it shares the memory of ``array`` where torch can."""
    # torch warns about memory that is read-only, and refuses types that are not numpy's own.
    is_plain = array.flags.writeable and array.flags.c_contiguous and array.dtype.isbuiltin == 1
    return torch.from_numpy(array) if is_plain else to_tensor(array)
