"""Layouts by chance are layouts, all different, the same for a seed, and any that there is may be drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.counting import count_layouts
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.random_layouts import random_layouts

pytestmark = pytest.mark.properties


@given(tasks=st.integers(1, 5), depth=st.integers(1, 12), seed=st.integers(0, 2**32), data=st.data())
def test_they_are_layouts(tasks: int, depth: int, seed: int, data: st.DataObject) -> None:
    names = [f"t{number}" for number in range(tasks)]
    count = data.draw(st.integers(0, max(1, min(count_layouts(tasks, depth) // 3, 12))))
    found = random_layouts(names, depth, count, seed)
    assert len(set(found)) == len(found) == count
    assert found == random_layouts(names, depth, count, seed)
    for layout in found:
        # `of` refuses what is no tree of all tasks.
        assert Layout.of(names, layout.blocks) == layout and len(layout.blocks) == depth


@pytest.mark.parametrize(("tasks", "depth"), [(1, 4), (2, 5), (3, 3), (4, 2)])
def test_any_may_be_drawn(tasks: int, depth: int) -> None:
    names = [f"t{number}" for number in range(tasks)]
    there_are = count_layouts(tasks, depth)
    assert len(set(random_layouts(names, depth, there_are, 0))) == there_are
    with pytest.raises(InvalidConfig, match=f"layouts: {there_are + 1} layouts are to be drawn"):
        random_layouts(names, depth, there_are + 1, 0)
