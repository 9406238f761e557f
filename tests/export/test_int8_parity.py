"""8-bit files: where the pairs stand, what stays in float32, and that the runtime computes what the file says."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
import torch
from agreement import relative, run_onnx
from backbones import BACKBONES, conv, two_taps
from commands import ended, python
from numpy.typing import NDArray
from onnx import numpy_helper

from trunkline.errors import InvalidConfig, ParityFailure
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.export.parity import quantised
from trunkline.export.parity.quantised import check_quantised
from trunkline.export.parity.session import ParitySession
from trunkline.export.precision.int8 import Activations, Int8Settings, RangeMethod, find_ranges
from trunkline.export.precision.int8_file import export_int8, quantised_parts
from trunkline.export.provenance import PRECISION_KEY
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import HEAD, PART_KEY, TASKS_KEY, UNIT_KEY, Graph, shape_of
from trunkline.verbs.int8_choice import parts_to_keep

pytestmark = pytest.mark.parity
NETS = {**{name: BACKBONES[name] for name in ("chain", "residual", "mobile")}, "two_taps": two_taps}


def images_for(graph: Graph, count: int = 12) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(1, *shape_of(graph.input)[1:])).astype(np.float32) for _ in range(count)]  # type: ignore[arg-type]


def quantise(
    graph: Graph, folder: Path, *keep: str, ranges: RangeMethod = "minmax", activations: Activations = "unsigned"
) -> Path:
    images = images_for(graph)
    source = write_onnx(graph, folder / "full.onnx")
    found = find_ranges(source, images, Int8Settings(ranges, activations=activations))
    return export_int8(found, folder / "int8.onnx", keep, images[:4]).path


@pytest.mark.parametrize("activations", get_args(Activations))
@pytest.mark.parametrize("name", NETS)
def test_every_layer_multiplies_integers(name: str, activations: Activations, tmp_path: Path) -> None:
    """Weights by output channel and symmetric; activations as asked for; nothing is far off."""
    graph = NETS[name]()
    path = quantise(graph, tmp_path, activations=activations)
    proto = onnx.load(path)
    assert {item.key: item.value for item in proto.metadata_props}[PRECISION_KEY] == "int8"
    assert proto.producer_name == "trunkline"
    stored = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    writers = {name: node for node in proto.graph.node for name in node.output}
    layers = [node for node in proto.graph.node if node.op_type == "Conv"]
    assert len(layers) == len([node for node in onnx.load(tmp_path / "full.onnx").graph.node if node.op_type == "Conv"])
    for node in layers:
        image, weight = (writers[name] for name in node.input[:2])
        assert image.op_type == weight.op_type == "DequantizeLinear"
        numbers, scales, zeros = (stored[name] for name in weight.input)
        assert numbers.dtype == np.int8 and scales.shape == (len(numbers),) and not zeros.any()
        zero = stored[image.input[2]]
        assert zero.dtype == (np.int8 if activations == "signed" else np.uint8)
        assert activations == "unsigned" or not zero
        # TensorRT dequantises no 32-bit integers.
        assert all((bias in stored) == (activations == "signed") for bias in node.input[2:])
    image = torch.from_numpy(np.concatenate(images_for(graph)[:3]))
    ours, theirs = run_onnx(path, image), run_onnx(tmp_path / "full.onnx", image)
    assert list(ours) == list(theirs)
    for key, found in ours.items():
        assert 0 < relative(found, theirs[key]) < 0.2 and found.dtype == np.float32


@pytest.mark.parametrize("ranges", get_args(RangeMethod))
def test_ranges_by_any_method(ranges: RangeMethod, tmp_path: Path) -> None:
    """All that was seen, or less of it and finer steps."""
    graph = BACKBONES["chain"]()
    path = quantise(graph, tmp_path, ranges=ranges)
    stored = {item.name: item for item in onnx.load(path).graph.initializer}
    scale = float(numpy_helper.to_array(stored["image_scale"]))
    seen = np.concatenate(images_for(graph))
    whole = (seen.max() - seen.min()) / 255
    assert scale == pytest.approx(whole, rel=1e-3) if ranges == "minmax" else scale < whole


def test_what_is_kept_stays_in_float32(tmp_path: Path) -> None:
    proto = onnx.load(quantise(BACKBONES["chain"](), tmp_path, "conv1"))
    nodes = {node.name: node for node in proto.graph.node}
    assert nodes["conv1"].input[1] == "conv1.weight" and nodes["conv2"].input[1] != "conv2.weight"


@pytest.mark.slow
def test_bytes_follow_from_the_model_and_images(tmp_path: Path) -> None:
    """Also in a process that orders sets otherwise."""
    script = (
        "import sys; from pathlib import Path; sys.path[:0] = ['tests/export', 'tests/helpers']\n"
        "from test_int8_parity import quantise; from backbones import two_taps\n"
        "quantise(two_taps(), Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[2]
    made = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        said = ended(python("-c", script, folder, cwd=root, PYTHONHASHSEED=seed))
        assert said.code == 0, said.err
        made.append((folder / "int8.onnx").read_bytes())
        assert said.out == ""
    assert made[0] == made[1]


def test_wrong_kernels_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime whose fused kernels clip what they add up, as those with 16 bits do."""
    graph = two_taps()
    path = quantise(graph, tmp_path)
    images = images_for(graph)[:4]
    assert check_quantised(path, tmp_path / "full.onnx", images).passed

    class Clipping(ParitySession):
        def __init__(self, model: Path, *, fuse: bool = True) -> None:
            super().__init__(model, fuse=fuse)
            self.clips = fuse and model == path

        def run(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
            found = super().run(image)
            return {n: v.clip(max=0.3 * v.max()) for n, v in found.items()} if self.clips else found

    monkeypatch.setattr(quantised, "ParitySession", Clipping)
    report = check_quantised(path, tmp_path / "full.onnx", images)
    assert not report.passed
    with pytest.raises(ParityFailure, match="8-bit kernels"):
        report.raise_if_failed()


def test_no_images_no_ranges(tmp_path: Path) -> None:
    source = write_onnx(two_taps(), tmp_path / "full.onnx")
    with pytest.raises(InvalidConfig, match="no images"):
        find_ranges(source, [], Int8Settings())


def test_parts_are_units_and_heads(tmp_path: Path) -> None:
    b = GraphBuilder("owned")
    x = conv(b, b.image("image", (3, 4, 4)), "first", 2)
    y = conv(b, x, "second", 2)
    graph = b.finish([conv(b, y, "last", 2)])
    graph.node("first").metadata_props[UNIT_KEY] = graph.node("second").metadata_props[UNIT_KEY] = "stage"
    graph.node("last").metadata_props.update({PART_KEY: HEAD, TASKS_KEY: "depth"})
    parts = quantised_parts(write_onnx(graph, tmp_path / "m.onnx"))
    assert parts == {"stage": ("first", "second"), "head of depth": ("last",)}


PARTS = {"one": ("a", "b"), "two": ("c",), "three": ("d",)}
LOSS = {"a": 0.2, "b": 0.3, "c": 2.0, "d": 1.0}


def losing(nodes: object) -> float:
    """Every node that is not kept loses its part."""
    assert isinstance(nodes, tuple)
    return -sum(loss for node, loss in LOSS.items() if node not in nodes)


@pytest.mark.parametrize(
    ("drop", "always", "kept", "asked"),
    [
        (4.0, (), (), False),
        (1.6, (), ("two",), True),
        (0.6, (), ("two", "three"), True),
        (0.0, (), ("two", "three", "one"), True),
        (1.6, ("three",), ("three", "two"), True),
        (2.6, ("three",), ("three",), False),
    ],
)
def test_the_most_sensitive_parts_are_kept(
    drop: float, always: tuple[str, ...], kept: tuple[str, ...], asked: bool
) -> None:
    found = parts_to_keep(PARTS, losing, drop, always)
    assert found.parts == kept and found.change_percent >= -drop
    assert found.nodes == tuple(node for part in kept for node in PARTS[part])
    assert set(found.recovered) == (set(PARTS) - set(always) if asked else set())
    if asked and not always:
        assert found.recovered == pytest.approx({"one": -3.0, "two": -1.5, "three": -2.5})
