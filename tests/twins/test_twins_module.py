"""The twin of a whole Graph: names, sharing, partial outputs, training, and torch's own tools."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from trunkline.errors import InvalidConfig, InvalidModel, UnsupportedOp
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.twins import registry
from trunkline.twins.op import Op
from trunkline.twins.registry import make_op, register
from trunkline.twins.schedule import ScheduledOp, schedule
from trunkline.twins.twin import Twin


def two_heads(*, shared: bool = True) -> Graph:
    """conv-bn-relu, then two heads; with ``shared`` both read one weight."""
    b = GraphBuilder("two_heads")
    x = b.image("image", (3, 8, 8))
    x = b.node("Conv", [x, b.weight("conv.weight", (4, 3, 3, 3), Filler())], name="conv", attributes={"pads": [1] * 4})
    stats = [b.weight(f"bn.{k}", (4,), Filler("constant", float(k in ("scale", "var")))) for k in STATS]
    x = b.node("BatchNormalization", [x, *stats], name="bn", attributes={"epsilon": 1e-5, "momentum": 0.8})
    x = b.node("Relu", [x], name="relu")
    x = b.node("Dropout", [x, b.tensor("ratio", np.array(0.5, np.float32))], name="drop")
    head = b.weight("head.weight", (2, 4, 1, 1), Filler())
    other = head if shared else b.weight("head.weight@1", (2, 4, 1, 1), Filler())
    depth = b.node("Conv", [x, head], name="depth")
    up = b.node("Resize", [x, None, b.tensor("scales", np.array([1, 1, 2, 2], np.float32))], name="up")
    return b.finish([depth, b.node("Conv", [up, other], name="segmentation")])


STATS = ("scale", "bias", "mean", "var")


def image(n: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)


def linear_chain(names: list[str]) -> Graph:
    """A sum of one weight per name: the smallest graph with arbitrary weight names."""
    b = GraphBuilder("names")
    x = b.image("the input", (1, 2, 2))
    for i, name in enumerate(names):
        x = b.node("Add", [x, b.tensor(name, np.full((1, 1, 1), i, np.float32))], name=f"the node {i}")
    return b.finish([x])


# ------------------------------------------------------------------ names


@pytest.mark.golden
def test_state_dict_keys_are_onnx_names() -> None:
    twin = Twin(two_heads())
    assert list(twin.state_dict()) == ["conv.weight", "bn.scale", "bn.bias", "head.weight", "bn.mean", "bn.var"]
    assert set(twin.trainable()) == {"conv.weight", "bn.scale", "bn.bias", "head.weight"}
    assert set(twin.weights()) == set(twin.state_dict())
    assert all(isinstance(p, nn.Parameter) for p in twin.trainable().values())
    assert {id(p) for p in twin.parameters()} == {id(p) for p in twin.trainable().values()}


HARD_NAMES = [
    "a",
    "a.b",
    "a.b.c",
    "onnx::Conv_12",
    "conv/weight:0",
    "conv1.weight@2",
    "training",
    "forward",
    "w_a",
    "a_b",
]
HARD_NAMES += ["operators.0.weight", "operators", "ünïcode ☃", ".", "a.", "..b", "w_w_a", "state_dict", "type"]


@pytest.mark.properties
def test_hard_names_survive_a_state_dict() -> None:
    graph = linear_chain(HARD_NAMES)
    source, target = Twin(graph), Twin(graph)
    assert set(source.state_dict()) == set(HARD_NAMES)
    with torch.no_grad():
        for i, parameter in enumerate(source.trainable().values()):
            parameter.fill_(i + 0.5)
    result = target.load_state_dict(source.state_dict())
    assert not result.missing_keys and not result.unexpected_keys
    assert all(torch.equal(target.weights()[name], tensor) for name, tensor in source.weights().items())


@pytest.mark.properties
@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.text(st.sampled_from("aw_.2/"), min_size=1, max_size=4), min_size=1, max_size=8, unique=True))
def test_any_names_survive_in_another_module(names: list[str]) -> None:
    """Any names come back from the state_dict of a module that contains the twin."""
    source, target = (nn.ModuleDict({"inner": Twin(linear_chain(names))}) for _ in range(2))
    assert set(source.state_dict()) == {f"inner.{name}" for name in names}
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    target.load_state_dict(source.state_dict(), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


@pytest.mark.abuse
def test_strict_loading_names_every_misfit() -> None:
    """Strict loading names what is missing and what is too much."""
    twin = Twin(linear_chain(["a", "a.b"]))
    state = {"a": torch.zeros(1, 1, 1), "a.c": torch.zeros(1)}
    result = twin.load_state_dict(state, strict=False)
    assert result.missing_keys == ["a.b"] and result.unexpected_keys == ["a.c"]


@pytest.mark.abuse
def test_load_weights_reports_all_or_changes_nothing() -> None:
    """load_weights reports every problem, and then changes nothing."""
    twin = Twin(two_heads())
    before = {name: tensor.clone() for name, tensor in twin.weights().items()}
    wrong = {name: tensor + 1 for name, tensor in before.items() if name != "bn.mean"}
    wrong |= {"conv.wieght": torch.zeros(1), "bn.bias": torch.zeros(5)}
    with pytest.raises(InvalidModel) as caught:
        twin.load_weights(wrong)
    assert {problem.place for problem in caught.value.problems} == {"conv.wieght", "bn.bias", "bn.mean"}
    assert 'did you mean "conv.weight"?' in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in twin.weights().items())


@pytest.mark.golden
def test_load_weights_keeps_the_parameter_object() -> None:
    """load_weights takes numpy arrays, and keeps the parameter objects that an optimiser holds."""
    twin = Twin(two_heads()).double()
    parameter = twin.trainable()["conv.weight"]
    content = {name: np.full(tuple(t.shape), 0.5, np.float32) for name, t in twin.weights().items()}
    twin.load_weights(content)
    assert twin.trainable()["conv.weight"] is parameter
    assert parameter.dtype == torch.float64 and bool((parameter == 0.5).all())


# ------------------------------------------------------------------ sharing and partial outputs


@pytest.mark.golden
def test_shared_initializer_is_one_parameter() -> None:
    """An initializer that two nodes read is one parameter, whose gradient is the sum."""
    tied, untied = Twin(two_heads()).eval(), Twin(two_heads(shared=False)).eval()
    untied.load_weights({**tied.weights(), "head.weight@1": tied.weights()["head.weight"]})
    for twin in (tied, untied):
        sum(y.square().sum() for y in twin(image()).values()).backward()
    parts = [untied.trainable()[name].grad for name in ("head.weight", "head.weight@1")]
    assert parts[0] is not None and parts[1] is not None
    torch.testing.assert_close(tied.trainable()["head.weight"].grad, parts[0] + parts[1])
    torch.testing.assert_close(tied.trainable()["conv.weight"].grad, untied.trainable()["conv.weight"].grad)


@pytest.mark.golden
def test_partial_outputs_run_only_their_nodes() -> None:
    twin = Twin(two_heads()).eval()
    ran: list[str] = []
    for index, op in enumerate(twin.operators):
        op.register_forward_hook(lambda *_, i=index: ran.append(i))
    everything = twin(image())
    ran.clear()
    partial = twin(image(), ["segmentation"])
    assert list(partial) == ["segmentation"] and len(ran) == 6
    assert torch.equal(partial["segmentation"], everything["segmentation"])
    ran.clear()
    assert twin(image(), ["relu"])["relu"].shape == (2, 4, 8, 8) and len(ran) == 3
    assert list(twin(image(), ["image"])) == ["image"] and twin(image(), []) == {}


@pytest.mark.properties
def test_run_values_holds_every_value() -> None:
    twin = Twin(two_heads()).eval()
    values = twin.run_values(image())
    assert list(values) == ["image", "conv", "bn", "relu", "drop", "depth", "up", "segmentation"]
    assert torch.equal(values["depth"], twin(image())["depth"])


@pytest.mark.properties
def test_values_are_dropped_after_last_use() -> None:
    """A schedule drops each value once, after its last use."""
    steps = [
        ScheduledOp(0, ("x", "w"), ("a",)),
        ScheduledOp(1, ("a",), ("b", "unused")),
        ScheduledOp(2, ("a", "b"), ("c",)),
        ScheduledOp(3, ("b",), ("d",)),
    ]
    chosen = schedule(steps, ("c",), stored={"w"})
    assert [(step.op, step.drops) for step in chosen] == [(0, ("x",)), (1, ("unused",)), (2, ("a", "b"))]
    assert [step.op for step in schedule(steps, ("d", "a"), stored={"w"})] == [0, 1, 3]


@pytest.mark.abuse
def test_unknown_output_and_wrong_image_are_refused() -> None:
    twin = Twin(two_heads())
    with pytest.raises(InvalidConfig, match='did you mean "depth"'):
        twin(image(), ["dept"])
    with pytest.raises(InvalidConfig, match=r"needs \[N, 3, 8, 8\]"):
        twin(torch.zeros(1, 4, 8, 8))


# ------------------------------------------------------------------ training


@pytest.mark.parity
@pytest.mark.parametrize("momentum", [0.9, 0.25])
def test_batch_norm_trains_as_in_torch(momentum: float) -> None:
    b = GraphBuilder("bn")
    rng = np.random.default_rng(0)
    stats = [b.tensor(f"bn.{key}", np.abs(rng.standard_normal(4)).astype(np.float32)) for key in STATS]
    x = b.node("BatchNormalization", [b.image("x", (4, 5, 5)), *stats], name="bn", attributes={"momentum": momentum})
    twin = Twin(b.finish([x])).train()
    reference = nn.BatchNorm2d(4, momentum=1 - momentum)
    names = {"bn.scale": "weight", "bn.bias": "bias", "bn.mean": "running_mean", "bn.var": "running_var"}
    for ours, theirs in names.items():
        getattr(reference, theirs).data.copy_(twin.weights()[ours])
    for step in range(3):
        batch = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(step)) * 3 + 1
        ours, theirs = twin(batch)["bn"], reference(batch)
        torch.testing.assert_close(ours, theirs)
        ours.square().sum().backward(), theirs.square().sum().backward()
    for name, theirs in names.items():
        torch.testing.assert_close(twin.weights()[name], getattr(reference, theirs))
    torch.testing.assert_close(twin.trainable()["bn.scale"].grad, reference.weight.grad)
    torch.testing.assert_close(twin.eval()(batch)["bn"], reference.eval()(batch))


@pytest.mark.abuse
def test_batch_norm_of_one_value_is_explained() -> None:
    """Training BatchNormalization on one value per channel is refused with advice."""
    b = GraphBuilder("bn")
    stats = [b.tensor(key, np.ones(4, np.float32)) for key in STATS]
    twin = Twin(b.finish([b.node("BatchNormalization", [b.image("x", (4, 1, 1)), *stats], name="bn1")])).train()
    with pytest.raises(InvalidConfig, match="one value per channel") as caught:
        twin(torch.zeros(1, 4, 1, 1))
    assert caught.value.problems[0].place == "bn1"
    assert twin(torch.zeros(2, 4, 1, 1))["bn1"].shape == (2, 4, 1, 1)


@pytest.mark.properties
def test_dropout_follows_torchs_generator() -> None:
    """Dropout drops in training only, and draws from torch's own generator."""
    twin = Twin(two_heads()).train()
    torch.manual_seed(3)
    first = twin(image(), ["drop", "relu"])
    torch.manual_seed(3)
    second = twin(image(), ["drop"])
    assert torch.equal(first["drop"], second["drop"])
    kept = first["drop"] != 0
    assert 0.2 < kept.float().mean() / (first["relu"] != 0).float().mean() < 0.8
    torch.testing.assert_close(first["drop"][kept], 2 * first["relu"][kept])
    values = twin.eval()(image(), ["drop", "relu"])
    assert torch.equal(values["drop"], values["relu"])


@pytest.mark.properties
def test_training_step_moves_every_parameter() -> None:
    """One training step lowers the loss and moves every parameter."""
    twin = Twin(two_heads()).train()
    before = {name: p.detach().clone() for name, p in twin.trainable().items()}
    optimiser = torch.optim.SGD(twin.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        torch.manual_seed(0)
        loss = sum(((y - 1) ** 2).mean() for y in twin(image()).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(not torch.equal(before[name], p) for name, p in twin.trainable().items())


@pytest.mark.parity
def test_gradcheck_of_the_whole_network() -> None:
    twin = Twin(two_heads(shared=False)).double().eval()
    parameters = list(twin.trainable().values())

    def run(x: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(twin(x).values())

    x = image(1, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)


# ------------------------------------------------------------------ torch's own tools


@pytest.mark.properties
def test_double_bfloat16_and_autocast() -> None:
    twin = Twin(two_heads()).eval()
    single = twin(image())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = twin(image())
    for name, y in single.items():
        assert mixed[name].dtype == torch.bfloat16
        torch.testing.assert_close(mixed[name].float(), y, rtol=0.05, atol=0.05)
    exact = copy.deepcopy(twin).double()(image(dtype=torch.float64))
    for name, y in single.items():
        torch.testing.assert_close(exact[name].float(), y, rtol=1e-4, atol=1e-5)
    assert copy.deepcopy(twin).bfloat16()(image(dtype=torch.bfloat16))["depth"].dtype == torch.bfloat16


@pytest.mark.properties
def test_deep_copies_and_pickles_are_independent() -> None:
    twin = Twin(two_heads()).eval()
    for other in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin))):
        assert torch.equal(other(image())["depth"], twin(image())["depth"])
        with torch.no_grad():
            other.trainable()["head.weight"].zero_()
        assert not torch.equal(other(image())["depth"], twin(image())["depth"])


@pytest.mark.parity
def test_torch_compile() -> None:
    # The compiler gives a function up after eight models in one process, and other tests compile some too.
    torch._dynamo.reset()
    twin = Twin(two_heads()).eval()
    compiled = torch.compile(twin, backend="eager", fullgraph=True)
    for name, y in compiled(image()).items():
        torch.testing.assert_close(y, twin(image())[name])


@pytest.mark.parity
def test_torch_export_with_a_free_batch() -> None:
    twin = Twin(two_heads()).eval()
    batch = torch.export.Dim("batch", min=1, max=16)
    program = torch.export.export(twin, (image(),), dynamic_shapes={"image": {0: batch}})
    for name, y in program.module()(image(5)).items():
        torch.testing.assert_close(y, twin(image(5))[name])


@pytest.mark.properties
def test_functional_call_sees_the_parameters() -> None:
    twin = Twin(two_heads()).eval()
    zeros = {name: torch.zeros_like(p) for name, p in twin.named_parameters()}
    y = torch.func.functional_call(twin, zeros, (image(),))["depth"]
    assert bool((y == 0).all())


# ------------------------------------------------------------------ registry


def softshrink(node: ir.Node) -> Op:
    return Op(torch.nn.functional.softshrink)


@pytest.mark.golden
def test_operator_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.twins.registry._FACTORIES", {})
    register("Shrink")(softshrink)
    node = ir.node("Shrink", [ir.Value(name="x")], name="s")
    assert torch.equal(make_op(node)(torch.tensor([2.0])), torch.tensor([1.5]))
    with pytest.raises(ValueError, match="already registered"):
        register("Shrink")(softshrink)


def trilu(node: ir.Node) -> Op:
    return Op(upper_triangle)


def upper_triangle(x: Tensor, k: Tensor) -> Tensor:
    return torch.triu(x, int(k))


@pytest.mark.golden
def test_integer_data_is_kept_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers that are data, not settings, are kept in the twin, but not in its state_dict."""
    make_op(ir.node("Relu", [ir.Value(name="x")], name="load the families first"))
    monkeypatch.setitem(registry._FACTORIES, "Trilu", trilu)
    b = GraphBuilder("triangle")
    k = b.tensor("k", np.array(1, np.int64))
    twin = Twin(b.finish([b.node("Trilu", [b.image("x", (1, 2, 2)), k], name="triangle")]))
    assert twin(torch.ones(3, 1, 2, 2))["triangle"].sum() == 3
    assert twin.state_dict() == {} and twin.weights() == {}


@pytest.mark.abuse
def test_unsupported_operators_are_reported_together() -> None:
    b = GraphBuilder("unsupported")
    x = b.image("x", (3, 4, 4))
    y = b.node("Det", [x], name="first")
    y = b.node("Trilu", [b.node("Trilu", [y], name="second")], name="third")
    with pytest.raises(UnsupportedOp) as caught:
        Twin(b.finish([y]))
    assert [problem.place for problem in caught.value.problems] == ["first", "second and 1 more"]


@pytest.mark.golden
def test_repr_shows_the_settings() -> None:
    text = repr(Twin(two_heads()).operators[1])
    assert text == "Op(batch_norm, momentum=0.8, epsilon=1e-05, name=bn)" or text.startswith(
        "Op(batch_norm, momentum=0.8"
    )
