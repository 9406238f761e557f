"""Golden: what an Einsum costs, against the matrix product that it is, and against torch's own count."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import helper
from torch.utils.flop_counter import FlopCounterMode

from trunkline.export.count import count_file
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.cost import graph_cost, node_macs
from trunkline.graph.einsum import einsum_macs

pytestmark = pytest.mark.golden

Shapes = list[tuple[int, ...]]


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("nij,njk->nik", [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        ("n i j , n j k -> n i k", [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        ("ij,jk", [(3, 4), (4, 5)], 3 * 4 * 5),  # without an arrow, what is there once stays
        ("ij,j", [(3, 4), (4,)], 3 * 4),
        ("...ij,...jk->...ik", [(2, 7, 3, 4), (2, 7, 4, 5)], 2 * 7 * 3 * 4 * 5),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (2, 7, 4, 5)], 2 * 7 * 3 * 4 * 5),
        ("...ij,jk", [(2, 3, 4), (4, 5)], 2 * 3 * 4 * 5),
        ("...i,...i->...", [(2, 3), (2, 3)], 2 * 3),
        ("...i,...i->i", [(2, 3), (2, 3)], 2 * 3),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 2 * (2 * 3 * 4 * 5)),
        ("ii,ij->j", [(3, 3), (3, 4)], 3 * 4),
        ("nchw,c->nchw", [(2, 3, 4, 5), (3,)], 0),  # element by element, like a Mul
        ("i,j->ij", [(3,), (4,)], 0),
        ("nij->nji", [(2, 3, 4)], 0),
        ("nij->ni", [(2, 3, 4)], 0),
    ],
)
def test_each_equation_costs_its_products(equation: str, shapes: Shapes, macs: int) -> None:
    assert einsum_macs(equation, shapes) == macs
    result = torch.einsum(equation, *(torch.zeros(shape) for shape in shapes))
    file = helper.make_graph(
        [helper.make_node("Einsum", [f"x{i}" for i in range(len(shapes))], ["y"], equation=equation)],
        "einsum",
        [helper.make_tensor_value_info(f"x{i}", onnx.TensorProto.FLOAT, shape) for i, shape in enumerate(shapes)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, list(result.shape))],
    )
    assert count_file(helper.make_model(file, opset_imports=[helper.make_opsetid("", 18)])).macs == macs


@pytest.mark.parametrize("equation", ["nij,njk->nik", "nhid,nhjd->nhij", "nij,jk->nik", "nchw,ck->nkhw"])
def test_two_operands_cost_what_torch_counts(equation: str) -> None:
    sizes = dict(zip("nhijkdcw", (2, 3, 4, 5, 6, 7, 3, 5), strict=True))
    operands = [
        torch.zeros([sizes[letter] for letter in term]) for term in equation.split("->", maxsplit=1)[0].split(",")
    ]
    with FlopCounterMode(display=False) as counter:
        torch.einsum(equation, *operands)
    assert 2 * einsum_macs(equation, [tuple(operand.shape) for operand in operands]) == counter.get_total_flops()


def test_einsum_costs_as_matmul() -> None:
    """For one image, though the batch is free."""
    found = []
    for op, attributes in (("MatMul", {}), ("Einsum", {"equation": "ncij,ncjk->ncik"})):
        b = GraphBuilder(op)
        x = b.image("x", (3, 4, 4))
        node = b.node(op, [x, x], name="product", attributes=attributes).producer()
        assert isinstance(node, ir.Node)
        found.append((node_macs(node), graph_cost(b.finish([node.outputs[0]])).macs))
    assert found == [(3 * 4**3,) * 2] * 2
