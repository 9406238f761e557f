"""One number for height and width, or one for each."""

from __future__ import annotations

from trunkline.ingest.prototxt.layers.layer import Layer
from trunkline.ingest.prototxt.text.fields import Fields

Pair = tuple[int, int]


def pair(layer: Layer, fields: Fields, name: str, sides: tuple[str, str], default: int) -> Pair:
    """Read one size for both axes, or one for each.

    Args:
        layer: The layer, which errors name.
        fields: The block that holds the size.
        name: The field for both axes, such as ``pad``.
        sides: The fields for height and width, such as ``pad_h`` and ``pad_w``.
        default: The size of an axis for which the file gives none.

    Raises:
        LayerFaultError: The file uses both forms, or gives more than two sizes.
    """
    both = fields.integers(name)
    if fields.has(sides[0]) or fields.has(sides[1]):
        if both:
            raise layer.layer_error(
                f"{layer.text} gives {name} and {sides[0]}/{sides[1]}", name, "keep one form", fields
            )
        return fields.integer(sides[0], default), fields.integer(sides[1], default)
    if len(both) > 2:
        raise layer.layer_error(
            f"{layer.text} has {len(both)} values for {name}", name, "an image has two axes", fields
        )
    both = both or [default]
    return both[0], both[-1]  # Caffe repeats the field once an axis; a single value holds for both
