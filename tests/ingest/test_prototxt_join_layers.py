"""Parity of Eltwise, Axpy, Concat, Slice, Split and Silence against Caffe's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from prototxt_nets import assert_close, evaluate, image, net, trainable

from trunkline.errors import InvalidModel

SHAPE = (8, 4, 5)


def parts(count: int) -> str:
    """Return the layer that cuts x into blobs b0, b1, …"""
    tops = " ".join(f'top: "b{index}"' for index in range(count))
    return f'layer {{ name: "cut" type: "Slice" bottom: "x" {tops} }}'


def bottoms(count: int) -> str:
    return " ".join(f'bottom: "b{index}"' for index in range(count))


@pytest.mark.parity
@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("operation", ["PROD", "SUM", "MAX"])
def test_eltwise(operation: str, count: int) -> None:
    body = f'type: "Eltwise" {bottoms(count)} eltwise_param {{ operation: {operation} stable_prod_grad: true }}'
    graph, x = net(body, SHAPE, parts(count)), image(SHAPE)
    stacked = np.stack(np.split(x.astype(np.float64), count, axis=1))
    assert_close(evaluate(graph, x)[0], {"PROD": stacked.prod, "SUM": stacked.sum, "MAX": stacked.max}[operation](0))


@pytest.mark.parity
@pytest.mark.parametrize("coeff", [(1, -1), (0.5, 2), (-1, -1), (0, 1), (1, 1), (1, -1, 0.25, 3), (1, 1, 1, 1)])
def test_eltwise_coefficients_are_constants(coeff: tuple[float, ...]) -> None:
    fields = " ".join(f"coeff: {value}" for value in coeff)
    body = f'type: "Eltwise" {bottoms(len(coeff))} eltwise_param {{ {fields} }}'
    graph, x = net(body, SHAPE, parts(len(coeff))), image(SHAPE)
    blobs = np.split(x.astype(np.float64), len(coeff), axis=1)
    assert_close(evaluate(graph, x)[0], sum(value * blob for value, blob in zip(coeff, blobs, strict=True)))
    assert trainable(graph) == 0


@pytest.mark.parity
def test_eltwise_of_a_blob_with_itself() -> None:
    x = image()
    assert_close(evaluate(net('type: "Eltwise" bottom: "x" bottom: "x" bottom: "x"'), x)[0], 3 * x)


@pytest.mark.parity
@pytest.mark.parametrize("flat", [True, False])
def test_axpy(flat: bool) -> None:
    pool = 'layer { name: "p" type: "Pooling" bottom: "b0" top: "p" pooling_param { pool: AVE global_pooling: true } }'
    flatten = 'layer { name: "f" type: "Flatten" bottom: "p" top: "f" }' if flat else ""
    body = f'type: "Axpy" bottom: "{"f" if flat else "p"}" bottom: "b0" bottom: "b1"'
    graph, x = net(body, SHAPE, parts(2) + pool + flatten), image(SHAPE)
    first, second = np.split(x.astype(np.float64), 2, axis=1)
    assert_close(evaluate(graph, x)[0], first.mean((2, 3), keepdims=True) * first + second)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("field", "axis"), [("", 1), ("axis: 1", 1), ("concat_dim: 1", 1), ("axis: -1", 3), ("axis: 2", 2)]
)
def test_concat(field: str, axis: int) -> None:
    graph, x = net(f'type: "Concat" {bottoms(4)} concat_param {{ {field} }}', SHAPE, parts(4)), image(SHAPE)
    assert_close(evaluate(graph, x)[0], np.concatenate(np.split(x, 4, axis=1), axis=axis))


@pytest.mark.parity
@pytest.mark.parametrize(
    ("fields", "axis", "points"),
    [("", 1, [4]), ("axis: 2", 2, [2]), ("slice_dim: 1", 1, [4]), ("slice_point: 3", 1, [3])]
    + [("axis: -1 slice_point: 1", 3, [1]), ("slice_point: 1 slice_point: 6", 1, [1, 6])],
)
def test_slice(fields: str, axis: int, points: list[int]) -> None:
    tops = " ".join(f'top: "y{index}"' for index in range(len(points) + 1))
    graph, x = net(f'type: "Slice" {tops} slice_param {{ {fields} }}', SHAPE), image(SHAPE)
    for found, expected in zip(evaluate(graph, x), np.split(x, points, axis=axis), strict=True):
        assert_close(found, expected)


@pytest.mark.golden
def test_slice_of_one_and_split_are_identities() -> None:
    """Neither a Slice into one part nor a Split needs a node."""
    before = 'layer { name: "one" type: "Slice" bottom: "x" top: "one" }'
    before += 'layer { name: "split" type: "Split" bottom: "one" top: "s0" top: "s1" }'
    before += 'layer { name: "quiet" type: "Silence" bottom: "s1" }'
    graph = net('type: "Eltwise" bottom: "s0" bottom: "s1"', before=before)
    assert [node.op_type for node in graph.nodes] == ["Add"]
    assert any("Silence" in note for note in graph.notes)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('type: "Eltwise" bottom: "b0"', "1 bottoms; expected 2 or more"),
        ('type: "Eltwise" bottom: "b0" bottom: "x"', "cannot add"),
        ('type: "Eltwise" bottom: "b0" bottom: "b1" eltwise_param { coeff: 1 }', "1 coefficients for 2"),
        ('type: "Eltwise" bottom: "b0" bottom: "b1" eltwise_param { operation: PROD coeff: 1 coeff: 2 }', "of PROD"),
        ('type: "Eltwise" bottom: "b0" bottom: "b1" eltwise_param { operation: MEAN }', "one of PROD, SUM, MAX"),
        ('type: "Axpy" bottom: "b0" bottom: "b1"', "expected 3"),
        ('type: "Axpy" bottom: "b0" bottom: "b1" bottom: "b1"', "one factor per channel of N x 4 x 4 x 5"),
        ('type: "Axpy" bottom: "b0" bottom: "b1" bottom: "x"', 'cannot add "b1"'),
        ('type: "Concat" bottom: "b0" bottom: "x" concat_param { axis: 2 }', "cannot join along axis 2"),
        ('type: "Concat" bottom: "b0" bottom: "x" concat_param { axis: 1 concat_dim: 1 }', "axis and concat_dim"),
        ('type: "Slice" top: "y" top: "z" slice_param { axis: 1 slice_dim: 1 }', "axis and slice_dim"),
        ('type: "Slice" top: "y" top: "z" top: "w"', "into 3 parts of equal size"),
        ('type: "Slice" top: "y" top: "z" top: "w" slice_param { slice_point: 5 slice_point: 5 }', "into 3 parts"),
        ('type: "Slice" top: "y" top: "z" slice_param { slice_point: 1 slice_point: 5 }', "into 2 parts"),
    ],
)
def test_faults_are_located(body: str, words: str) -> None:
    with pytest.raises(InvalidModel, match=words) as caught:
        net(body, SHAPE, parts(2))
    assert caught.value.problems[0].line == 3
