"""Parity: Resize, Upsample and GridSample in all their modes, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from arrays import floats, ints
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from one_node import Array, Fragment, Stored, by_onnxruntime, check, model, normal

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin

pytest.importorskip("onnxruntime")

GRID = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
EVEN = [0.5, 1.0, 1.5, 2.0, 3.0]
UNEVEN = [0.3, 0.6, 0.7, 0.75, 1.2, 2.5]
OPSETS = st.sampled_from([11, 13, 18, 19])


def wanted(data: st.DataObject, x: Array, coordinates: str) -> Stored:
    """Region, scales and sizes: one of the latter, for all axes."""
    if data.draw(st.booleans()):
        return (floats(), floats(), ints(*x.shape[:2], *(data.draw(st.integers(1, 14)) for _ in x.shape[2:])))
    scales = [data.draw(st.sampled_from(EVEN + UNEVEN)) for _ in x.shape[2:]]
    exact = np.array(x.shape[2:], np.float32) * np.array(scales, np.float32)
    assume(bool((np.floor(exact) > 0).all()))
    assume(not ((np.floor(exact) == x.shape[2:]) & (exact != np.floor(exact))).any())
    assume(coordinates in ("asymmetric", "half_pixel") or not (exact % 1).any())
    return (floats(), floats(1, 1, *scales))


SIZES = st.lists(st.integers(2, 9), min_size=2, max_size=2)


@pytest.mark.parity
@GRID
@given(st.sampled_from(COORDINATES), OPSETS, SIZES, st.data())
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest(rounding: str, coordinates: str, opset: int, sizes: list[int], data: st.DataObject) -> None:
    x = normal(2, 3, *sizes)
    modes: dict[str, Any] = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    check("Resize", x, *wanted(data, x, coordinates), opset=opset, mode="nearest", **modes)


@pytest.mark.parity
@GRID
@given(st.sampled_from(COORDINATES), OPSETS, SIZES, st.data())
@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_linear_and_cubic(
    mode: str, antialias: int, coordinates: str, opset: int, sizes: list[int], data: st.DataObject
) -> None:
    x = normal(2, 3, *sizes)
    modes: dict[str, Any] = {"coordinate_transformation_mode": coordinates, "mode": mode}
    if antialias:
        opset, modes["antialias"] = max(opset, 18), 1
    if mode == "cubic":
        modes["cubic_coeff_a"] = data.draw(st.sampled_from([-0.75, -0.5]))
        modes["exclude_outside"] = data.draw(st.integers(0, 1))
    check("Resize", x, *wanted(data, x, coordinates), opset=opset, tolerance=1e-4, **modes)


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("shape", "sizes"), [((2, 3, 7), (2, 3, 11)), ((1, 2, 4, 5, 3), (1, 2, 7, 3, 6))])
def test_over_one_and_three_axes(mode: str, shape: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    for coordinates in COORDINATES:
        check("Resize", normal(*shape), None, None, ints(*sizes), mode=mode, coordinate_transformation_mode=coordinates)


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1, -2]])
def test_named_axes(mode: str, axes: list[int]) -> None:
    for opset in (18, 19):
        check("Resize", normal(2, 3, 5, 4), None, floats(2, 3), opset=opset, mode=mode, axes=axes)
        check("Resize", normal(2, 3, 5, 4), None, None, ints(9, 3), opset=opset, mode=mode, axes=axes)


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
@pytest.mark.parametrize("sizes", [(7, 8), (9, 4), (3, 3), (10, 8), (20, 5)])
def test_kept_aspect_ratio(mode: str, policy: str, sizes: tuple[int, int]) -> None:
    settings_ = {"axes": [2, 3], "keep_aspect_ratio_policy": policy}
    check("Resize", normal(2, 3, 5, 4), None, None, ints(*sizes), mode=mode, tolerance=1e-4, **settings_)


REGIONS = [(0.0, 0.0, 1.0, 1.0), (0.2, 0.1, 0.9, 0.6), (-0.3, 0.4, 0.8, 1.6), (0.9, 0.8, 0.1, 0.2)]


@pytest.mark.parity
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("sizes", [(7, 8), (3, 1), (6, 9), (1, 3)])
def test_crop_and_resize(mode: str, region: tuple[float, ...], sizes: tuple[int, int]) -> None:
    x = normal(2, 3, 5, 4)
    modes: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.5}
    whole = floats(0, 0, *region[:2], 1, 1, *region[2:])
    check("Resize", x, whole, None, ints(2, 3, *sizes), opset=13, mode=mode, tolerance=1e-4, **modes)
    check("Resize", x, floats(*region), None, ints(*sizes), mode=mode, axes=[2, 3], tolerance=1e-4, **modes)


@pytest.mark.parity
@pytest.mark.parametrize("sizes", [(10, 8), (7, 9)])
@pytest.mark.parametrize("axes", [[0, 1, 2, 3], [2, 3], [3, 2]])
def test_crop_in_a_file_with_freed_batch(sizes: tuple[int, int], axes: list[int], tmp_path: Path) -> None:
    """The reader names other axes than the file does; the region must follow."""
    x = normal(1, 3, 5, 4)
    regions = {0: (0.0, 1.0), 1: (0.0, 1.0), 2: (0.2, 0.9), 3: (-0.1, 0.6)}
    targets = {0: 1, 1: 3, 2: sizes[0], 3: sizes[1]}
    region = floats(*(regions[axis][0] for axis in axes), *(regions[axis][1] for axis in axes))
    stored = (region, None, ints(*(targets[axis] for axis in axes)))
    modes = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "axes": axes}
    proto = model("Resize", x, stored, 18, modes)
    onnx.save(proto, tmp_path / "net.onnx")
    twin = Twin(read(tmp_path / "net.onnx"))
    for batch in (1, 2):
        got = twin(torch.from_numpy(np.repeat(x, batch, axis=0)))["y"]
        want = np.repeat(by_onnxruntime(proto, x)[0], batch, axis=0)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(1, 2, 5, 7), (2, 2, 4, 4)])
@pytest.mark.parametrize("factor", [(2.0, 2.0), (3.0, 1.5), (0.5, 0.5)])
def test_old_tensorflow_coordinates(shape: tuple[int, ...], factor: tuple[float, float]) -> None:
    modes = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "mode": "nearest", "nearest_mode": "floor"}
    check("Resize", normal(*shape), floats(), floats(1, 1, *factor), opset=11, **modes)


@pytest.mark.parity
def test_half_pixel_symmetric_with_even_scales() -> None:
    """half_pixel_symmetric is half_pixel where sizes divide evenly."""
    x = normal(2, 3, 5, 4)
    for stored in ((None, floats(1, 1, 2, 1.5)), (None, None, ints(2, 3, 7, 9))):
        modes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"}
        got = Fragment(model("Resize", x, stored, 19, modes))(torch.from_numpy(x))[0]
        want = F.interpolate(torch.from_numpy(x), got.shape[2:], mode="bilinear", align_corners=False)
        torch.testing.assert_close(got, want)


@pytest.mark.parity
@pytest.mark.parametrize("opset", [7, 9])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample(opset: int, mode: str) -> None:
    x = normal(1, 3, 5, 4)
    stored, attributes = ((floats(1, 1, 2, 3),), {}) if opset == 9 else ((), {"scales": [1.0, 1.0, 2.0, 3.0]})
    check("Upsample", x, *stored, opset=opset, mode=mode, **attributes)


REFUSED: list[tuple[int, Stored, dict[str, Any], str]] = [
    (18, (None, floats(1, 1, 1.3, 2)), {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, "evenly"),
    (18, (None, floats(1, 1, 1.1, 1.1)), {"mode": "linear"}, "leaves the size"),
    (
        *(18, (floats(0, 0, 0, 0, 1, 1, 0.5, 0.5), floats(1, 1, 1.3, 1.3))),
        *({"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize with scales"),
    ),
    (
        *(18, (floats(0, 0, 0, 0, 1, 1, 0.5, 0.5), None, ints(2, 3, 5, 4))),
        *({"coordinate_transformation_mode": "tf_crop_and_resize"}, "keeps the size of a cropped axis"),
    ),
    (
        *(18, (floats(0, 0, 0, 0, 1, 1, 0.5, 0.5), None, ints(2, 3, 5, 9))),
        *({"coordinate_transformation_mode": "tf_crop_and_resize"}, "keeps the size of a cropped axis"),
    ),
    (18, (None, floats(1, 1, 1.1, 0.5)), {"mode": "linear", "antialias": 1}, "leaves the size"),
    (19, (None, floats(1, 1, 1.3, 2)), {"coordinate_transformation_mode": "half_pixel_symmetric"}, "symmetric"),
    (11, (floats(), floats(1, 1, 2, 2)), {"coordinate_transformation_mode": "tf_half_pixel_for_nn"}, "for_nn"),
    (18, (None, floats(1, 1, 2, 2)), {"mode": "linear", "exclude_outside": 1}, "exclude_outside"),
    (18, (None, floats(2, 1, 2, 2)), {"mode": "linear"}, "batch axis"),
    (18, (None, floats(1, 1, 2)), {"mode": "linear"}, "3 scales or sizes for axes"),
    (18, (None, floats(2, 2)), {"axes": [2, 2]}, "axes"),
    (18, (None, floats(2, 2)), {"axes": [2, 9]}, "axes"),
]


@pytest.mark.abuse
@pytest.mark.parametrize(("opset", "stored", "attributes", "text"), REFUSED)
def test_ambiguous_resizing_is_refused(opset: int, stored: Stored, attributes: dict[str, Any], text: str) -> None:
    """What runtimes do not agree on is refused."""
    with pytest.raises((UnsupportedOp, InvalidModel), match=text):
        Fragment(model("Resize", normal(2, 3, 5, 4), stored, opset, attributes))


# ------------------------------------------------------------------ grid sample

GRIDS = 1.3 * np.tanh(normal(2, 4, 6, 2))


@pytest.mark.parity
@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    x = normal(2, 3, 5, 7)
    names = {"bilinear": "linear", "bicubic": "cubic"}
    for opset, name in ((16, mode), (20, names.get(mode, mode))):
        attributes = {"mode": name, "padding_mode": padding, "align_corners": corners}
        check("GridSample", x, GRIDS, opset=opset, tolerance=1e-4, **attributes)


@pytest.mark.parity
@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_grid_sample_of_volumes(mode: str, padding: str, corners: int) -> None:
    grid = 1.3 * np.tanh(normal(2, 2, 4, 3, 3))
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    check("GridSample", normal(2, 3, 4, 5, 6), grid, opset=20, tolerance=1e-4, **attributes)


@pytest.mark.abuse
def test_cubic_sampling_of_volumes_is_refused() -> None:
    with pytest.raises(UnsupportedOp, match="bicubic"):
        Fragment(model("GridSample", normal(1, 2, 3, 3, 3), (normal(1, 2, 2, 2, 3),), 20, {"mode": "cubic"}))
