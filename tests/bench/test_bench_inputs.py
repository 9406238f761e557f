"""Golden and abuse: every axis of an input gets a size that somebody has said, or the model is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.bench.runtimes.fill import fill
from trunkline.bench.runtimes.inputs import Declared, filled_size
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig, InvalidModel

Shape = list[int | str | None]


def declared(*shapes: Shape) -> list[Declared]:
    """Inputs called x, y, z."""
    return [Declared(name, tuple(shape), np.dtype("float32")) for name, shape in zip("xyz", shapes, strict=False)]


def shapes(inputs: list[Declared], **settings: object) -> list[tuple[int, ...]]:
    return [one.shape for one in fill(inputs, Settings(**settings), place="m.onnx")]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("shape", "settings", "expected"),
    [
        (["N", 3, 4, 4], {"batch": 2}, (2, 3, 4, 4)),
        ([1, 3], {}, (1, 3)),
        ([], {"batch": 5}, ()),
        ([-1, 3, -1, -1], {"input_size": (8, 9)}, (1, 3, 8, 9)),
        (["N", 3, "H", "W"], {"input_size": (8, 9), "batch": 2}, (2, 3, 8, 9)),
        (["N", "C", "H", "W"], {"input_size": (1, 8, 9)}, (1, 1, 8, 9)),
        ([None, None, None, None], {"input_size": (3, 8, 9)}, (1, 3, 8, 9)),
        (["N", "H", "W", 3], {"input_size": (8, 9)}, (1, 8, 9, 3)),
        (["N", "H", "W", 3], {"input_size": (3, 8, 9)}, (1, 8, 9, 3)),
        (["N", "C", "H", 640], {"input_size": (3, 8, 640)}, (1, 3, 8, 640)),
        ([1, 1, 64, "W"], {"input_size": (64, 9)}, (1, 1, 64, 9)),
        ([1, 1, 64, "W"], {"axes": {"W": 9}}, (1, 1, 64, 9)),
        ([1, 1, 64, None], {"axes": {"x:3": 9}}, (1, 1, 64, 9)),
        (["N", 3, "H", "W"], {"axes": {"H": 7}, "input_size": (7, 9)}, (1, 3, 7, 9)),
        (["N", 3, 8, 9], {"input_size": (8, 9)}, (1, 3, 8, 9)),
        (["T", "N", 16], {"axes": {"T": 20, "N": 2}}, (20, 2, 16)),
        (["N", "T"], {"axes": {"T": 20}}, (1, 20)),
        (["N", "T", "T"], {"axes": {"T": 20}, "batch": 4}, (4, 20, 20)),
        (["N", 3, "T", "H", "W"], {"axes": {"T": 2, "H": 4, "W": 4}}, (1, 3, 2, 4, 4)),
        ([20, 1, 16], {}, (20, 1, 16)),
    ],
)
def test_free_axis_gets_the_given_size(shape: Shape, settings: dict[str, object], expected: tuple[int, ...]) -> None:
    assert shapes(declared(shape), **settings) == [expected]


@pytest.mark.golden
def test_image_size_is_for_images_only() -> None:
    """Other inputs keep their own axes; a second image of another fixed size is its own affair."""
    inputs = declared(["N", 3, "H", "W"], ["N", 10], ["N", 3, 32, 32])
    assert shapes(inputs, input_size=(8, 9), batch=2) == [(2, 3, 8, 9), (2, 10), (2, 3, 32, 32)]


@pytest.mark.golden
def test_state_before_the_batch_is_none() -> None:
    """Layers come first in a recurrent state; some other input has the batch."""
    inputs = declared(["T", "N", 16], [2, "N", 8])
    assert shapes(inputs, axes={"N": 1, "T": 5}) == [(5, 1, 16), (2, 1, 8)]
    assert shapes(declared(["N", 20, 16], [2, "n", 8]), batch=4, axes={"n": 4}) == [(4, 20, 16), (2, 4, 8)]


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("shape", "settings", "says", "advice"),
    [
        (
            ["N", 3, "H", "W"],
            {},
            r'input "x" \[N, 3, H, W\]: .*not known: H, W',
            "--input-size H,W, or .*--axis H=SIZE",
        ),
        (["N", "C", "H", "W"], {"input_size": (8, 9)}, "not known: C", "--input-size C,H,W"),
        (["N", 3, None, -1], {}, r"\[N, 3, \?, \?\].*not known: x:2, x:3", "--axis x:2=SIZE --axis x:3=SIZE"),
        (["N", "T"], {}, "size of this axis is not known: T", "^give it with --axis T=SIZE$"),
        (["N", "T"], {"axes": {"t": 3}}, "not known: T", "--axis T=SIZE"),
        (["N", 3, 8, 9], {"input_size": (8, 8)}, "width 9, not 8", "trunkline convert --input-size"),
        (["N", 3, "H", "W"], {"input_size": (1, 8, 8)}, "channels 3, not 1", "own size"),
        ([1, 1, 64, "W"], {"input_size": (32, 9)}, "height 64, not 32", "own size"),
        (["N", "H", "W", 3], {"input_size": (1, 8, 8)}, "channels 3, not 1", "own size"),
        ([1, 1, 64, 9], {"axes": {"x:3": 8}}, "axis 3 is fixed to 9, not 8", "leave this --axis out"),
        ([4, 3, 8, 9], {}, "batch 1 was asked for, and its first axis is 4", "--batch 4"),
        (["N", 3, 8, 9], {"axes": {"N": 4}}, "batch 1 was asked for, and its first axis is 4", "--batch 4"),
        ([1, 3], {"batch": 2}, "batch 2 was asked for, and its first axis is 1", "--batch 1"),
    ],
)
def test_unknown_sizes_are_refused(shape: Shape, settings: dict[str, object], says: str, advice: str) -> None:
    with pytest.raises(InvalidModel, match=says) as caught:
        shapes(declared(shape), **settings)
    (problem,) = caught.value.problems
    assert problem.place == "m.onnx"
    with pytest.raises(InvalidModel, match=advice):
        raise InvalidModel(problem.advice)


@pytest.mark.abuse
def test_every_input_at_fault_is_named() -> None:
    with pytest.raises(InvalidModel) as caught:
        shapes(declared(["N", 3, "H", "W"], ["N", "T"], ["N", 7]))
    assert [problem.message.partition(" [")[0] for problem in caught.value.problems] == ['input "x"', 'input "y"']


@pytest.mark.abuse
def test_two_images_neither_of_which_fits() -> None:
    with pytest.raises(InvalidModel) as caught:
        shapes(declared([1, 3, 8, 8], [1, 1, 16, 16]), input_size=(32, 32))
    assert len(caught.value.problems) == 2


@pytest.mark.golden
@pytest.mark.parametrize(
    ("inputs", "settings", "expected"),
    [
        ([["N", 3, "H", "W"]], {"input_size": (8, 9)}, (3, 8, 9)),
        ([["N", 3, "H", "W"]], {"axes": {"H": 8, "W": 9}}, (3, 8, 9)),
        ([["N", "H", "W", 3]], {"input_size": (8, 9)}, (3, 8, 9)),
        ([["N", 3, 8, 9]], {"input_size": (8, 9)}, None),
        ([["N", 3, "H", "W"], ["N", 4]], {"input_size": (8, 9)}, None),
        ([["N", 4]], {}, None),
    ],
)
def test_image_size_for_the_reader(inputs: list[Shape], settings: dict[str, object], expected: object) -> None:
    found = fill(declared(*inputs), Settings(**settings), place="m")
    assert filled_size(found) == expected


sizes = st.integers(1, 64)


@pytest.mark.properties
@given(st.lists(st.one_of(sizes, st.sampled_from("abc"), st.none()), max_size=3), st.tuples(sizes, sizes, sizes))
def test_every_axis_is_what_it_claims(shape: Shape, by_name: tuple[int, int, int]) -> None:
    """A fixed axis stays, a name is one size wherever it stands, and an axis without a name goes by its number."""
    axes = dict(zip("abc", by_name, strict=True))
    axes |= {f"x:{index}": index + 1 for index, size in enumerate(shape) if size is None}
    (found,) = shapes(declared(shape), axes=axes)
    for index, size in enumerate(shape):
        if isinstance(size, str):
            assert found[index] == axes[size]
        else:
            assert found[index] == (size or index + 1)


@pytest.mark.abuse
def test_sizes_below_one() -> None:
    with pytest.raises(InvalidConfig) as caught:
        Settings(axes={"W": 0}, input_size=(0, 5))
    assert [problem.place for problem in caught.value.problems] == ["bench.axes.W", "bench.input_size"]
