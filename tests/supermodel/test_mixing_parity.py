"""Parity: weight-space mixing against plain output mixing, in float64, gradients of weights and policies too."""

from __future__ import annotations

import pytest
import torch
from automtl_model import AutoMTL, AutoMTLOptions
from backbones import BACKBONES
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.fragments.heads.make_head import make_head
from trunkline.sharing.skip import Skip
from trunkline.supermodel.mixing.linear_operator import Geometry, apply_linear, apply_skip
from trunkline.supermodel.mixing.mixed_kernel import Kernels, Mixture
from trunkline.supermodel.mixing.mixed_linear import mixed_linear

pytestmark = pytest.mark.parity

TASKS = ["a", "b"]
LIMIT = 1e-10


def make(name: str, **options: object) -> AutoMTL:
    backbone = BACKBONES[name]()
    heads = {task: make_head("light", backbone, 2) for task in TASKS}
    model = AutoMTL(backbone, heads, TASKS, AutoMTLOptions(**options), seed=3).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*model.store.weights().values(), *model.policies]:
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
    return model


def gradients(model: AutoMTL, step: int, mode: str) -> dict[str, torch.Tensor]:
    model.mode(mode, step)
    image = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs = model(image)
    loss = sum((output.sin() * (i + 1)).sum() for i, output in enumerate(outputs.values()))
    loss.backward()
    found = {name: p.grad for group in model.groups().values() for name, p in group.items()}
    return {
        **{n: g for n, g in found.items() if g is not None},
        **{f"output.{t}": y.detach() for t, y in outputs.items()},
    }


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(("mode", "straight_through"), [("sample", False), ("sample", True), ("average", False)])
@pytest.mark.parametrize("batchnorm", ["tied", "task"])
def test_parity_with_output_mixing(name: str, mode: str, straight_through: bool, batchnorm: str) -> None:
    settings = {"straight_through": straight_through, "batchnorm": batchnorm}
    fast = gradients(make(name, mixing="weight", **settings), 7, mode)
    plain = gradients(make(name, mixing="output", **settings), 7, mode)
    assert fast.keys() == plain.keys()
    assert len(fast) > 10
    scale = max(gradient.abs().max() for gradient in plain.values())
    for key, gradient in plain.items():
        error = (fast[key] - gradient).abs().max()
        assert error <= LIMIT * max(gradient.abs().max(), 1e-4 * scale), key


@pytest.mark.parametrize("name", BACKBONES)
def test_parity_of_running_statistics(name: str) -> None:
    models = [make(name, mixing=mixing) for mixing in ("weight", "output")]
    for model in models:
        gradients(model, 0, "sample")
    for key, tensor in models[0].store.weights().items():
        torch.testing.assert_close(tensor, models[1].store.weights()[key], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", BACKBONES)
def test_parity_in_evaluation(name: str) -> None:
    image = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    outputs = []
    for mixing in ("weight", "output"):
        model = make(name, mixing=mixing).eval()
        model.mode("soft")
        outputs.append(model(image))
    for task in TASKS:
        torch.testing.assert_close(outputs[0][task], outputs[1][task], rtol=1e-10, atol=1e-10)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_parity_of_one_unit(data: st.DataObject) -> None:
    """Any stride, padding, dilation, groups, tap and size: the mixed convolution is the sum of its options."""
    groups = data.draw(st.sampled_from([1, 2, 4]))
    batch, channels = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([4, 16]))  # 16: kernels beat maps
    kernel, stride = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    dilation, size = data.draw(st.integers(1, 2)), data.draw(st.integers(8, 11))
    top, bottom = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    projected = data.draw(st.booleans())
    tap = max((kernel - 1) // 2, -(-top // dilation))
    c_out = 8 if projected else channels
    geometry = Geometry("conv", (stride, stride), (top, top, bottom, bottom), (dilation, dilation), groups)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    x = torch.randn(batch, channels, size, size, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = [
        torch.randn(
            c_out, channels // groups, kernel, kernel, generator=generator, dtype=torch.float64, requires_grad=True
        )
        for _ in range(2)
    ]
    shares = data.draw(st.sampled_from([None, [1, 0, 0], [0, 1, 0], [0, 0, 1], [1e-25, 1e-12, 1]]))
    p = torch.rand(3, generator=generator, dtype=torch.float64)
    p = (p if shares is None else torch.tensor(shares, dtype=torch.float64)).requires_grad_()
    out = apply_linear(x, weights[0], None, geometry).shape[2]
    offset = dilation * tap - top
    skip = None
    projection = None
    if tap < kernel and offset + stride * (out - 1) < size:
        kind = "projection" if projected else "subsample"
        skip = Skip(kind, (tap, tap), (offset, offset), (stride, stride), (out, out), groups, (1,) if projected else ())
        if projected:
            projection = torch.randn(
                c_out, channels // groups, 1, 1, generator=generator, dtype=torch.float64, requires_grad=True
            )
    inputs = [x, p, *weights, *([projection] if projection is not None else [])]
    fast = mixed_linear(Mixture(geometry, skip), x, p, Kernels(*weights, projection))
    plain = p[0] * apply_linear(x, weights[0], None, geometry) + p[1] * apply_linear(x, weights[1], None, geometry)
    if skip is not None:
        plain = plain + p[2] * apply_skip(skip, x, projection)
    torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-10)
    direction = torch.randn(plain.shape, generator=generator, dtype=torch.float64)
    ours = torch.autograd.grad((fast * direction).sum(), inputs)
    theirs = torch.autograd.grad((plain * direction).sum(), inputs)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-9)


def test_parity_of_linear_and_transposed_units() -> None:
    generator = torch.Generator().manual_seed(5)
    cases = [
        (Geometry("linear"), (3, 6), (6, 6), Skip("identity")),
        (Geometry("linear", transposed_weight=False), (3, 6), (6, 6), Skip("identity")),
        (Geometry("transposed", (2, 2), (1, 1, 1, 1), (1, 1), 1, (1, 1)), (2, 4, 5, 5), (4, 6, 3, 3), None),
    ]
    for geometry, shape, weight_shape, skip in cases:
        x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        weights = [
            torch.randn(weight_shape, generator=generator, dtype=torch.float64, requires_grad=True) for _ in "ab"
        ]
        bias = torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True)
        p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64, requires_grad=True)
        plain = p[0] * apply_linear(x, weights[0], None, geometry) + p[1] * apply_linear(x, weights[1], None, geometry)
        bias_shape = (1, -1, 1, 1) if geometry.kind == "transposed" else (-1,)
        plain = plain + bias.view(bias_shape) + (p[2] * x if skip is not None else 0)
        fast = mixed_linear(Mixture(geometry, skip), x, p, Kernels(*weights, None), bias)
        inputs = [x, bias, *weights, p]
        torch.testing.assert_close(fast, plain)
        for mine, reference in zip(
            torch.autograd.grad(fast.sin().sum(), inputs), torch.autograd.grad(plain.sin().sum(), inputs), strict=True
        ):
            torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-10)


def kept_bytes(model: AutoMTL) -> int:
    """Bytes that a forward pass saves for the backward pass, parameters not counted, each storage once."""
    own = {t.untyped_storage().data_ptr() for t in [*model.store.weights().values(), *model.policies]}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in own:
            seen[pointer] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model(torch.zeros(8, 3, 16, 16, dtype=torch.float64))
    assert len(outputs) == len(TASKS)
    return sum(seen.values())


def test_less_is_saved_for_backward() -> None:
    """The backward pass of weight mixing keeps inputs and parameters, no mixed kernel and no option outputs."""
    kept = {}
    for mixing in ("weight", "output"):
        model = make("residual", mixing=mixing)
        model.mode("sample")
        kept[mixing] = kept_bytes(model)
    assert kept["output"] > 1.5 * kept["weight"]


def test_parity_under_bfloat16_autocast() -> None:
    """Mixing stays in float32 and only the mixed kernel is cast, so gradients are float32 and close."""
    results = []
    for autocast in (False, True):
        model = make("residual").float()
        model.mode("sample", 5)
        image = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            outputs = model(image)
        sum(output.float().square().mean() for output in outputs.values()).backward()
        results.append(model.weight_parameters()["a1.weight"].grad)
        assert all(policy.grad is not None for policy in model.policies)
    assert results[1].dtype == torch.float32
    assert (results[0] - results[1]).norm() < 0.15 * results[0].norm()


@pytest.mark.parametrize("channels", [2, 16])
@pytest.mark.parametrize("stride", [1, 2])
def test_options_not_chosen_leave_no_trace(channels: int, stride: int) -> None:
    """Where only the skip counts, a pixel that is 0 stays exactly 0, whether the kernel or the map is larger."""
    out = 6 // stride
    skip = Skip("identity" if stride == 1 else "subsample", (1, 1), (0, 0), (stride, stride), (out, out))
    x = torch.randn(1, channels, 6, 6).relu()
    kernels = Kernels(torch.randn(channels, channels, 3, 3), torch.randn(channels, channels, 3, 3), None)
    mixture = Mixture(Geometry("conv", (stride, stride), (1, 1, 1, 1)), skip)
    torch.testing.assert_close(
        mixed_linear(mixture, x, torch.tensor([0.0, 0.0, 1.0]), kernels), apply_skip(skip, x, None), rtol=0, atol=0
    )


@pytest.mark.parametrize("channels", [2, 16])
def test_parity_of_one_unit_under_bfloat16_autocast(channels: int) -> None:
    """Whether the kernel or the map is larger: the output is bfloat16, gradients are float32, both close."""
    generator = torch.Generator().manual_seed(2)
    mixture = Mixture(Geometry("conv", (1, 1), (1, 1, 1, 1)), Skip("identity", (1, 1), size=(6, 6)))
    shapes = [(2, channels, 6, 6), (channels, channels, 3, 3), (channels, channels, 3, 3)]
    found = []
    for autocast in (False, True):
        generator.manual_seed(2)
        x, shared, own = (torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes)
        p = torch.tensor([0.31, 0.27, 0.42], requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            y = mixed_linear(mixture, x, p, Kernels(shared, own, None))
        assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
        found.append([y.float(), *torch.autograd.grad(y.float().square().sum(), [x, p, shared, own])])
    for exact, rough in zip(*found, strict=True):
        assert rough.dtype == torch.float32
        assert (exact - rough).norm() < 0.01 * exact.norm()
