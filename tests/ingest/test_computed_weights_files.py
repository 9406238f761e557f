"""Files whose weights are computed: what they are computed from trains, or they are merged into one, with a note."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from corpus_files import zoo
from onnx import TensorProto, helper
from onnx_models import Array, assert_close, image, model, run, save, tensor, to_proto, weight
from torch import nn
from torch_nets.reparametrised import REPARAMETRISED

from trunkline.errors import UnsupportedOp
from trunkline.graph.graph import Graph, array_of, shape_of
from trunkline.ingest.read import read
from trunkline.ingest.torch_module.exporter import quiet_exporter
from trunkline.twins.twin import Twin
from trunkline.verbs.inspect import inspect

node = helper.make_node


def check(path: Path, trained: set[str], batch: int = 2) -> Graph:
    graph = read(path)
    x = image(batch, *[size or 0 for size in shape_of(graph.input)[1:]])
    expected = run(onnx.load(path), x)
    assert_close(run(to_proto(graph), x), expected)
    assert_close({name: y.detach().numpy() for name, y in Twin(graph).eval()(torch.from_numpy(x)).items()}, expected)
    assert set(Twin(graph).trainable()) == trained
    return graph


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "trained", "count"),
    [
        ("reparametrised_weight", {"w", "gain"}, 112),
        ("gathered_parameter_table", {"table", "w"}, 24),
        ("weight_standardisation_bn", {"w"}, 108),
    ],
)
def test_files_of_real_exporters_are_read(name: str, trained: set[str], count: int) -> None:
    graph = check(zoo(name), trained)
    assert inspect(graph).stored.trainable == count
    assert graph.notes == ()


@pytest.mark.golden
def test_one_parameter_in_several_entries() -> None:
    """After a step the bias still holds three numbers a channel, at the places that the file names."""
    graph = read(zoo("gathered_parameter_table"))
    twin = Twin(graph)
    optimiser = torch.optim.SGD(twin.parameters(), lr=0.1)
    twin(torch.randn(2, 3, 8, 8)).popitem()[1].square().mean().backward()
    optimiser.step()
    bias = twin.run_values(torch.zeros(1, 3, 8, 8))["bias"]
    table = twin.tensor("table")
    assert torch.equal(bias, table[:, torch.tensor(array_of(graph.initializers["ix"]))])


def standardised(opset: int, scale: Array, shift: Array) -> onnx.ModelProto:
    """As torch's older exporter writes it; before opset 14, five outputs were how a node said that it trains."""
    c, outputs = len(scale), ["s", "m1", "v1"] if opset >= 14 else ["s", "m1", "v1", "m2", "v2"]
    training = {"training_mode": 1} if opset >= 14 else {}
    nodes = [
        node("Reshape", ["w", "flat"], ["f"]),
        node("BatchNormalization", ["f", "scale", "shift", "mean", "var"], outputs, epsilon=1e-6, **training),
        node("Reshape", ["s", "full"], ["k"]),
        node("Conv", ["x", "k"], ["y"]),
    ]
    stored = [weight("w", c, 3, 3, 3), tensor("flat", [1, c, -1]), tensor("full", [c, 3, 3, 3])]
    stored += [tensor("scale", scale, np.float32), tensor("shift", shift, np.float32)]
    stored += [tensor("mean", np.zeros(c), np.float32), tensor("var", np.ones(c), np.float32)]
    return model(nodes, initializers=stored, opset=opset)


def expected_of(proto: onnx.ModelProto, scale: Array, shift: Array, x: Array) -> Array:
    """Scale and shift of each standardised kernel, in numpy's float64."""
    (w,) = (onnx.numpy_helper.to_array(t).astype(np.float64) for t in proto.graph.initializer if t.name == "w")
    flat = w.reshape(len(w), -1)
    plain = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-6)
    kernel = torch.from_numpy((plain * scale[:, None] + shift[:, None]).reshape(w.shape))
    return nn.functional.conv2d(torch.from_numpy(x).double(), kernel).numpy()


@pytest.mark.parity
@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("plain", [True, False])
def test_a_standardised_kernel_of_any_opset(opset: int, plain: bool, tmp_path: Path) -> None:
    scale, shift = (np.ones(4), np.zeros(4)) if plain else (np.array([0.5, 2.0, 1.0, 3.0]), np.array([0.1, 0, 0, 1]))
    proto = standardised(opset, scale, shift)
    graph, x = read(save(proto, tmp_path)), image(2, 3, 8, 8)
    assert set(Twin(graph).trainable()) == ({"w"} if plain else {"w", "scale", "shift"})
    have = Twin(graph).eval()(torch.from_numpy(x))["y"].detach().numpy()
    np.testing.assert_allclose(have, expected_of(proto, scale, shift, x), atol=1e-4)
    assert shape_of(graph.initializers["w"]) == (4, 3, 3, 3)


@pytest.mark.abuse
def test_training_mode_on_images_is_refused(tmp_path: Path) -> None:
    """A normalisation in training mode is refused on what is computed from the image."""
    nodes = [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "m1", "v1"], training_mode=1)]
    stored = [tensor(name, np.ones(3), np.float32) for name in "sbmv"]
    with pytest.raises(UnsupportedOp, match=r"training_mode=1(.|\n)*model\.eval"):
        read(save(model(nodes, initializers=stored), tmp_path))


@pytest.mark.golden
def test_written_out_normalisation_is_merged(tmp_path: Path) -> None:
    """The root is of a variance, which must not train: below zero it has none."""
    nodes = [
        node("Add", ["var", "eps"], ["raised"]),
        node("Sqrt", ["raised"], ["root"]),
        node("Div", ["gamma", "root"], ["scale"]),
        node("Mul", ["mean", "scale"], ["moved"]),
        node("Sub", ["beta", "moved"], ["shift"]),
        node("Conv", ["x", "w"], ["c"]),
        node("Mul", ["c", "scale"], ["m"]),
        node("Add", ["m", "shift"], ["y"]),
    ]
    stored = [weight(name, 4, 1, 1) for name in ("gamma", "mean", "beta")] + [weight("w", 4, 3, 1, 1)]
    stored += [tensor("var", np.full((4, 1, 1), 2.0), np.float32), tensor("eps", 1e-5, np.float32)]
    graph = check(save(model(nodes, initializers=stored), tmp_path), {"w", "scale", "shift"})
    (note,) = graph.notes
    assert '"scale", "shift"' in note
    assert "train as one tensor each" in note


@pytest.mark.golden
def test_both_factors_of_a_product_train(tmp_path: Path) -> None:
    """As LoRA's, and as an MLP that computes a bias for attention from stored coordinates."""
    nodes = [
        node("MatMul", ["up", "down"], ["low"]),
        node("Reshape", ["low", "shape"], ["low4"]),
        node("Add", ["w", "low4"], ["k"]),
        node("Conv", ["x", "k"], ["y"]),
    ]
    stored = [weight("up", 4, 2), weight("down", 2, 27), tensor("shape", [4, 3, 3, 3]), weight("w", 4, 3, 3, 3)]
    assert check(save(model(nodes, initializers=stored), tmp_path), {"up", "down", "w"}).notes == ()


@pytest.mark.golden
def test_an_mlp_of_stored_coordinates_trains(tmp_path: Path) -> None:
    """Swin V2's (Liu et al. 2022, section 3.3): torch's older exporter writes coordinates as a Constant node."""
    nodes = [
        node("Constant", [], ["coordinates"], value=tensor("", np.random.default_rng(0).random((16, 2)), np.float32)),
        node("Gemm", ["coordinates", "fc1.weight", "fc1.bias"], ["hidden"]),
        node("Relu", ["hidden"], ["active"]),
        node("MatMul", ["active", "fc2.weight"], ["table"]),
        node("Reshape", ["table", "shape"], ["bias"]),
        node("Add", ["x", "bias"], ["shifted"]),
        node("Conv", ["shifted", "w"], ["y"]),
    ]
    trained = {"fc1.weight": (2, 5), "fc1.bias": (5,), "fc2.weight": (5, 3), "w": (4, 3, 1, 1)}
    stored = [*(weight(name, *shape) for name, shape in trained.items()), tensor("shape", [1, 3, 4, 4])]
    proto = model(nodes, initializers=stored, shape=("N", 3, 4, 4))
    proto.producer_name = "pytorch"
    check(save(proto, tmp_path), set(trained))


@pytest.mark.golden
def test_product_with_vector_is_merged(tmp_path: Path) -> None:
    """A file does not say which factor its author trained; spectral normalisation moves its vectors by itself."""
    nodes = [
        node("MatMul", ["w", "v"], ["wv"]),
        node("MatMul", ["u", "wv"], ["sigma"]),
        node("Div", ["w", "sigma"], ["divided"]),
        node("Reshape", ["divided", "shape"], ["k"]),
        node("Conv", ["x", "k"], ["y"]),
    ]
    stored = [weight("w", 4, 27), weight("v", 27, 1), weight("u", 1, 4), tensor("shape", [4, 3, 3, 3])]
    graph = check(save(model(nodes, initializers=stored), tmp_path), {"divided"})
    assert '"divided"' in graph.notes[0]


@pytest.mark.golden
def test_setting_computed_from_floats(tmp_path: Path) -> None:
    """Scales of a Resize out of stored floats, as exporters of detectors write them."""
    nodes = [
        node("Slice", ["ones", "zero", "two"], ["first"]),
        node("Mul", ["pair", "half"], ["last"]),
        node("Concat", ["first", "last"], ["scales"], axis=0),
        node("Conv", ["x", "w"], ["c"]),
        node("Resize", ["c", "", "scales"], ["y"], mode="nearest"),
    ]
    stored = [tensor("ones", [1, 1, 1], np.float32), tensor("pair", [4, 4], np.float32), weight("w", 4, 3, 1, 1)]
    stored += [tensor("half", [0.5, 0.5], np.float32), tensor("zero", [0]), tensor("two", [2])]
    graph = check(save(model(nodes, initializers=stored), tmp_path), {"w"})
    assert [node.op_type for node in graph.nodes] == ["Conv", "Resize"]


@pytest.mark.golden
def test_weight_bent_at_a_threshold(tmp_path: Path) -> None:
    """The comparison needs numbers while the file is read; the weight itself goes on training."""
    nodes = [
        node("Mul", ["w", "w"], ["square"]),
        node("Greater", ["square", "threshold"], ["large"]),
        node("Where", ["large", "square", "w"], ["k"]),
        node("Conv", ["x", "k"], ["y"]),
    ]
    stored = [weight("w", 4, 3, 3, 3), tensor("threshold", 0.1, np.float32)]
    graph = check(save(model(nodes, initializers=stored), tmp_path), {"w"})
    assert [node.op_type for node in graph.nodes] == ["Mul", "Where", "Conv"]


@pytest.mark.golden
def test_root_of_a_stored_number(tmp_path: Path) -> None:
    """The root of a stored number without axes is part of a formula."""
    nodes = [
        node("Constant", [], ["width"], value=tensor("", 64.0, np.float32)),
        node("Sqrt", ["width"], ["root"]),
        node("Conv", ["x", "w"], ["c"]),
        node("Div", ["c", "root"], ["y"]),
    ]
    graph = check(save(model(nodes, initializers=[weight("w", 4, 3, 1, 1)]), tmp_path), {"w"})
    assert [node.op_type for node in graph.nodes] == ["Conv", "Div"]


def exported(module: nn.Module, folder: Path, *, dynamo: bool, optimize: bool = True) -> Path:
    path = folder / "m.onnx"
    newer = {"dynamo": True, "optimize": optimize, "verbose": False}
    older = {"dynamo": False, "do_constant_folding": optimize}
    with quiet_exporter():
        torch.onnx.export(module.eval(), (torch.zeros(1, 3, 8, 8),), str(path), **(newer if dynamo else older))
    return path


@pytest.mark.parity
@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("name", ["product", "pruned", "positions"])
def test_torch_files_train_the_modules_parameters(name: str, dynamo: bool, tmp_path: Path) -> None:
    """The files of both of torch's exporters train what the module trains."""
    torch.manual_seed(0)
    module = REPARAMETRISED[name]()
    graph = read(exported(module, tmp_path, dynamo=dynamo, optimize=False))
    masks = 216 if name == "pruned" and not dynamo else 0  # a file of the older exporter cannot say that it is a mask
    trained = sum(p.numel() for p in module.parameters()) + masks
    assert inspect(graph).stored.trainable == trained
    x = torch.randn(1, 3, 8, 8)
    want, have = module(x), Twin(graph).eval()(x).popitem()[1]
    torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5)


class Gains(nn.Module):
    """NFNet's gain of a residual branch, which is one number, and a buffer that is another."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Module()
        self.block.gain = nn.Parameter(torch.tensor(0.2))
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.register_buffer("mean", torch.rand(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block.gain * self.conv(x - self.mean) / 3.0


@pytest.mark.golden
@pytest.mark.parametrize("dynamo", [True, False])
def test_numbers_that_were_parameters_train(dynamo: bool, tmp_path: Path) -> None:
    buffers = set() if dynamo else {"mean"}  # the older exporter does not tell a buffer from a parameter
    path = exported(Gains(), tmp_path, dynamo=dynamo)
    check(path, {"block.gain", "conv.weight", "conv.bias"} | buffers, batch=1)


class Blur(nn.Module):
    """A constant kernel, of a formula, beside one that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        row = torch.tensor([1.0, 2.0, 1.0])
        kernel = (row[:, None] * row / 16).expand(3, 1, 3, 3)
        return nn.functional.conv2d(self.conv(x), kernel, groups=3)


@pytest.mark.golden
@pytest.mark.parametrize("dynamo", [True, False])
def test_torch_constants_do_not_train(dynamo: bool, tmp_path: Path) -> None:
    check(exported(Blur(), tmp_path, dynamo=dynamo), {"conv.weight", "conv.bias"}, batch=1)


@pytest.mark.golden
def test_weights_that_are_all_constant_nodes_train(tmp_path: Path) -> None:
    """A frozen script module is exported so: there is no initializer that its constants could be told from."""
    kernel = weight("w", 4, 3, 3, 3)
    proto = model([node("Constant", [], ["w"], value=kernel), node("Conv", ["x", "w"], ["y"])])
    proto.producer_name = "pytorch"
    check(save(proto, tmp_path), {"w"})


@pytest.mark.golden
def test_note_on_what_the_exporter_merged(tmp_path: Path) -> None:
    proto = model([node("Conv", ["x", "k"], ["y"])], initializers=[weight("k", 4, 3, 3, 3)])
    info = helper.make_tensor_value_info("k", TensorProto.FLOAT, [4, 3, 3, 3])
    entry = info.metadata_props.add()
    entry.key, entry.value = "pkg.onnxscript.optimizer.folded_from", "['conv.gain', 'conv.weight', 'val_3']"
    proto.graph.value_info.append(info)
    proto.producer_name = "pytorch"
    graph = check(save(proto, tmp_path), {"k"})
    assert '"k" of "conv.gain" and "conv.weight"' in graph.notes[0]
    entry.value = "__import__('os')"
    proto.graph.value_info[0].metadata_props[0].value = "__import__('os').abort()"
    assert read(save(proto, tmp_path)).notes == ()


@pytest.mark.golden
@pytest.mark.parametrize(
    ("kinds", "trained"),
    [
        ({"norm.weight": "BUFFER", "norm.running_var": "BUFFER"}, {"conv.weight"}),
        ({"norm.weight": "PARAMETER", "norm.running_var": "BUFFER"}, {"conv.weight", "mul"}),
        ({}, {"conv.weight", "mul"}),
    ],
)
def test_tensor_computed_from_buffers_is_constant(kinds, trained, tmp_path: Path) -> None:
    """As torchvision's frozen normalisation comes out: its buffers are gone, only the module's signature names them."""
    nodes = [node("Conv", ["x", "conv.weight"], ["c"]), node("Mul", ["c", "mul"], ["y"])]
    proto = model(nodes, initializers=[weight("conv.weight", 4, 3, 3, 3), weight("mul", 1, 4, 1, 1)])
    origins = "['norm.running_var', 'norm.weight', 'rsqrt', 'val_3']"
    for name, shape, key, text in (
        ("conv.weight", [4, 3, 3, 3], "pkg.torch.export.graph_signature.InputSpec.kind", "PARAMETER"),
        ("mul", [1, 4, 1, 1], "pkg.onnxscript.optimizer.folded_from", origins),
    ):
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        info.metadata_props.add(key=key, value=text)
        proto.graph.value_info.append(info)
    lines = [f"b_{name.replace('.', '_')}: {kind} target='{name}' persistent=True" for name, kind in kinds.items()]
    signature = "\n".join(["", "# inputs", *lines, "x: USER_INPUT"])
    proto.graph.metadata_props.add(key="pkg.torch.export.ExportedProgram.graph_signature", value=signature)
    proto.producer_name = "pytorch"
    graph = check(save(proto, tmp_path), trained)
    assert any('"mul" of' in note for note in graph.notes) == (not kinds)
