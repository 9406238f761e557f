"""What a Graph gives has its batch axis first, and a pooling gives places of the size of its values."""

import pytest

from trunkline.errors import InvalidModel
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import shape_of
from trunkline.graph.verify import verify

pytestmark = pytest.mark.abuse


def test_output_with_batch_elsewhere_is_refused() -> None:
    """An output must have its batch axis first."""
    b = GraphBuilder("moved")
    x = b.node("Relu", [b.image("x", (3, 8, 8))], name="relu")
    moved = b.node("Transpose", [x], name="moved", attributes={"perm": [1, 0, 2, 3]})
    with pytest.raises(InvalidModel, match="batch axis first"):
        verify(b.finish([moved]))


def test_places_of_maxima_have_their_size() -> None:
    """MaxPool's second output has the shape of the first, also where a last window is dropped."""
    b = GraphBuilder("pooled")
    window = {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}
    b.node("MaxPool", [b.image("x", (1, 5, 5))], name="pool", attributes=window, outputs=["pool", "places"])
    maxima, places = b.last.outputs
    assert shape_of(maxima) == shape_of(places) == (None, 1, 2, 2)
