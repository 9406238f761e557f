"""What is asked of a network can be given as one value or by name, to every function that reads one."""

from __future__ import annotations

from dataclasses import fields

import pytest

import trunkline
from trunkline.errors import InvalidModel
from trunkline.graph.graph import name_of, shape_of
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read
from trunkline.ingest.read_options import ReadKeywords, ReadOptions
from trunkline.limits import Limits

pytestmark = pytest.mark.golden


def test_options_and_keywords_have_the_same_names() -> None:
    assert {field.name for field in fields(ReadOptions)} == set(ReadKeywords.__annotations__)


def test_keywords_take_the_place_of_options() -> None:
    options = ReadOptions(input_size=(32, 48), features=("a",), limits=Limits(macs=7))
    assert options.but({}) == options
    assert options.but({"features": ("b",)}) == ReadOptions((32, 48), ("b",), limits=Limits(macs=7))
    assert options.but({"limits": None}).limits == Limits()


@pytest.mark.parametrize("reading", [read, read_backbone])
def test_both_ways_read_the_same(reading) -> None:
    one = reading("zoo:tiny", options=ReadOptions(input_size=(32, 48)))
    other = reading("zoo:tiny", input_size=(32, 48))
    assert shape_of(one.input) == shape_of(other.input) == (None, 3, 32, 48)
    assert [name_of(node) for node in one.nodes] == [name_of(node) for node in other.nodes]


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="inptu_size"):
        read("zoo:tiny", inptu_size=(32, 48))  # type: ignore[call-arg]


def test_limits_hold_as_option_and_by_name() -> None:
    for given in ({"options": ReadOptions(limits=Limits(nodes=3))}, {"limits": Limits(nodes=3)}):
        with pytest.raises(InvalidModel, match="nodes=") as caught:
            trunkline.inspect("zoo:tiny", **given)
        assert "--allow" in str(caught.value)
