"""An operator's twin: a torch function that holds no weights, and the error for a setting that it does not know."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from torch import Tensor, nn

from trunkline.errors import UnsupportedOp
from trunkline.graph.graph import name_of

Result = Tensor | tuple[Tensor, ...]


class Op(nn.Module):
    """A weightless operator: a function of tensors, with its settings already fixed.

    Args:
        function: Takes the node's inputs in ONNX order; an input that is ``None`` at the end may be left out.
        modal: Whether ``function`` takes ``training=``, as Dropout and BatchNormalization do.
        casts: Whether ``function`` takes float32 weights with float64 data, because it casts them itself, in blocks.
    """

    def __init__(self, function: Callable[..., Result], *, modal: bool = False, casts: bool = False) -> None:
        super().__init__()
        self.function = function
        self.modal = modal
        self.casts = casts

    def forward(self, *inputs: Tensor | None) -> Result:
        """Return the node's output, or a tuple of them."""
        if self.modal:
            return self.function(*inputs, training=self.training)
        return self.function(*inputs)

    def extra_repr(self) -> str:
        """Show the function and its settings."""
        # A factory fixes the settings of a function with functools.partial.
        settings: dict[str, object] = getattr(self.function, "keywords", {})
        name = getattr(getattr(self.function, "func", self.function), "__name__", "function").strip("_")
        return ", ".join([name, *(f"{key}={value}" for key, value in settings.items())])


def unsupported_setting(node: ir.Node, what: str, advice: str = "") -> UnsupportedOp:
    """Return the error for an operator that has a twin, but not for this setting."""
    return UnsupportedOp(f"{node.op_type} with {what} is not supported", place=name_of(node), advice=advice)
