"""The join ``subspaces`` against sums of channel groups, written out."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx_models import to_proto

from trunkline.errors import InvalidConfig
from trunkline.fragments.registry import make_join

pytestmark = pytest.mark.golden

SIZE = (12, 3, 5)


def run(starts: list[np.ndarray], numbers: list[int], x: dict[int, np.ndarray]) -> np.ndarray:
    settings = {"starts": [square.tolist() for square in starts]}
    fragment = make_join("subspaces", dict.fromkeys(numbers, SIZE), settings)
    assert {f"weight{number}" for number in numbers} <= set(fragment.initializers)
    session = ort.InferenceSession(to_proto(fragment).SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {f"x{number}": x[number] for number in numbers})
    return y


@pytest.mark.parametrize("numbers", [[0, 1, 2], [0, 2], [1]])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_groups_are_added_up(count: int, numbers: list[int]) -> None:
    """Group s is Σ_k Σ_r α_k[s, r] · x_k[r]; a read that is left out takes its α with it."""
    rng = np.random.default_rng(count)
    starts = [rng.standard_normal((count, count)).astype(np.float32) for _ in range(3)]
    x = {number: rng.standard_normal((2, *SIZE), dtype=np.float32) for number in range(3)}
    expected = np.zeros((2, *SIZE), np.float32)
    width = SIZE[0] // count
    for number in numbers:
        for s in range(count):
            for r in range(count):
                expected[:, s * width : (s + 1) * width] += (
                    starts[number][s, r] * x[number][:, r * width : (r + 1) * width]
                )
    np.testing.assert_allclose(run(starts, numbers, x), expected, rtol=1e-5, atol=1e-5)


def test_the_identity_is_exact() -> None:
    rng = np.random.default_rng(0)
    x = {number: rng.standard_normal((2, *SIZE), dtype=np.float32) for number in range(2)}
    assert np.array_equal(run([np.eye(2), np.zeros((2, 2))], [0, 1], x), x[0])


@pytest.mark.abuse
def test_bad_subspaces_are_refused() -> None:
    """Too few squares, none that is square, widths that do not divide, maps of two shapes."""
    sizes = {0: SIZE, 1: SIZE}
    square = [[1, 0], [0, 1]]
    with pytest.raises(InvalidConfig, match="settings.starts: .* number 1 has 1 starts"):
        make_join("subspaces", sizes, {"starts": [square]})
    for starts in ([square, [[1]]], [square, [[1, 0]]], [[[1, 0], [1]], square], []):
        with pytest.raises(InvalidConfig, match="settings"):
            make_join("subspaces", sizes, {"starts": starts})
    with pytest.raises(InvalidConfig, match="settings.starts: 9 channels are not 2 equal subspaces"):
        make_join("subspaces", dict.fromkeys(sizes, (9, 3, 5)), {"starts": [square, square]})
    with pytest.raises(InvalidConfig, match="reads: subspaces are added up of values of one shape"):
        make_join("subspaces", {0: SIZE, 1: (12, 3, 4)}, {"starts": [square, square]})
