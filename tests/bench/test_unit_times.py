"""Times of units: each part computes what its unit computes, and the table holds what the clock said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from cost_backbones import COSTLY
from open_joins import space_with

from trunkline.bench.parts import part_of, skip_of
from trunkline.bench.settings import Settings
from trunkline.bench.unit_times import measure_units
from trunkline.export.passes import optimise
from trunkline.graph.features import cut_graph
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.sharing.cost_table import check_table
from trunkline.sharing.skip import skips_of
from trunkline.sharing.units import find_units

if TYPE_CHECKING:
    from tests.bench.conftest import FakeClock, FakeSession


QUICK = Settings(minimum_samples=11, minimum_seconds=0.0, warm_up_seconds=0.0)


class FakeRuntime:
    """Hands out sessions that take 2 ms for each node and 1 ms besides, which is all that doing nothing takes."""

    def __init__(self, session: Callable[[float], object]) -> None:
        self.session = session
        self.parts: list[Graph] = []

    def prepare(self, model: Graph, settings: Settings) -> object:
        self.parts.append(model)
        return self.session(1.0 if model.name == "nothing" else 1.0 + 2 * len(model.nodes))


def run(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    content = ir.to_proto(graph.model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    needed = {item.name: feeds[item.name] for item in session.get_inputs()}
    return dict(zip(names, session.run(names, needed), strict=True))


@pytest.mark.parity
@pytest.mark.parametrize("name", COSTLY)
def test_parts_compute_what_their_units_compute(name: str) -> None:
    """On the values that the whole backbone computes, with normalisation folded as it is for the measurement."""
    backbone = COSTLY[name]()
    revealed = backbone.copy()
    known = set(map(name_of, revealed.outputs))
    revealed.model.graph.outputs.extend(
        value for node in revealed.nodes for value in node.outputs if name_of(value) not in known
    )
    image = np.random.default_rng(0).standard_normal((2, *shape_of(backbone.input)[1:])).astype(np.float32)
    values = {name_of(backbone.input): image}
    values |= run(revealed, values)
    parts = [(unit.nodes, unit.output) for unit in find_units(backbone)]
    inside = {node for nodes, _ in parts for node in nodes}
    parts += [((name_of(n),), name_of(n.outputs[0])) for n in backbone.nodes if name_of(n) not in inside]
    for nodes, output in parts:
        found = run(optimise(part_of(backbone, nodes, "part")), values)
        np.testing.assert_allclose(found[output], values[output], rtol=1e-4, atol=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["shrinking", "residual"])
def test_skip_part_has_the_units_shapes(name: str) -> None:
    backbone = COSTLY[name]()
    units = find_units(backbone)
    shapes = {name_of(value): value.shape for node in backbone.nodes for value in node.outputs}
    shapes[name_of(backbone.input)] = backbone.input.shape
    kinds = set()
    for unit, skip in zip(units, skips_of(backbone, units), strict=True):
        if skip is not None and not skip.is_identity:
            part = skip_of(backbone, unit, skip, "skip")
            kinds.add(skip.kind)
            assert part.input.shape == shapes[unit.input]
            assert part.outputs[0].shape == shapes[unit.output]
            assert any(node.op_type == "Conv" for node in part.nodes) == bool(skip.weight_shape)
    assert kinds


@pytest.mark.golden
@pytest.mark.parametrize("name", COSTLY)
def test_measured_table_fits_its_backbone(name: str, clock: FakeClock, session: Callable[..., FakeSession]) -> None:
    """Every unit, skip that runs, and product between units is there, less what a model that does nothing takes."""
    backbone = COSTLY[name]()
    runtime = FakeRuntime(session)
    result = measure_units(backbone, QUICK, runtime, clock=clock)
    table = result.table
    check_table(table, backbone)
    assert table.backbone.name == name
    assert all(time.stable for time in table.units.values())
    assert set(table.nodes) == {"attention": {"scores", "mixed"}, "non_local": {"affinity", "gathered"}}.get(
        name, set()
    )
    assert "fake 1.0" in table.device
    assert not result.unstable
    assert len(result.latencies) == len(runtime.parts)


@pytest.mark.properties
@pytest.mark.parametrize("name", COSTLY)
def test_units_add_up_to_the_network(name: str, clock: FakeClock, session: Callable[..., FakeSession]) -> None:
    """Up to the end of each block; within a block a unit has the share that it has of all its units alone."""
    backbone = COSTLY[name]()
    table = measure_units(backbone, QUICK, FakeRuntime(session), clock=clock).table
    alone = {unit.name: 2 * len(optimise(part_of(backbone, unit.nodes, "u")).nodes) for unit in find_units(backbone)}
    alone |= dict.fromkeys(table.nodes, 2)
    total = 0.0
    for block in find_units(backbone, "block"):
        inside = [node for node in block.nodes if node in alone]
        total += sum(table.node_ms[node] for node in inside)
        assert total == pytest.approx(2 * len(optimise(cut_graph(backbone, [block.output])).nodes), abs=1e-4)
        assert len({round(table.node_ms[node] / alone[node], 4) for node in inside}) == 1
    assert total == pytest.approx(sum(table.node_ms.values()))


@pytest.mark.golden
def test_joins_are_measured_with_all_reads_and_with_one(clock: FakeClock, session: Callable[..., FakeSession]) -> None:
    """Joins of three tasks at a site are one part; where nothing is open, nothing is measured."""
    space = space_with("chain", "each", fragment="project")
    runtime = FakeRuntime(session)
    result = measure_units(space.backbone, QUICK, runtime, joins=space.joins, clock=clock)
    table = result.table
    check_table(table, space.backbone, space.joins)
    names = [latency.name for latency in result.latencies if latency.name.startswith(("join ", "own "))]
    assert names == ["join a.0", "own a.0", "join a.1", "own a.1"]
    assert [*table.joins] == [f"{task}.{site}" for site in range(2) for task in "abc"]
    # The kernel's parts are put together once: what is left are Concat and Conv, or Conv alone.
    assert {(time.ms, time.own_ms, time.reads) for time in table.joins.values()} == {(4.0, 2.0, 3)}
    closed = [replace(join, open="none") for join in space.joins]
    assert not measure_units(space.backbone, QUICK, runtime, joins=closed, clock=clock).table.joins


@pytest.mark.golden
def test_unsteady_joins(clock: FakeClock, session: Callable[..., FakeSession]) -> None:
    """A join is as steady as the less steady of its two times."""
    space = space_with("chain", "each", fragment="project")

    class Drifting(FakeRuntime):
        def prepare(self, model: Graph, settings: Settings) -> object:
            reads_one = model.name == "project" and len(model.model.graph.inputs) == 1
            times = (2.0 + (count > 140) for count in range(10_000)) if reads_one else 2.0
            return self.session(times)

    settings = Settings(minimum_samples=100, minimum_seconds=0.0)
    table = measure_units(space.backbone, settings, Drifting(session), joins=space.joins, clock=clock).table
    assert all(time.stable for time in table.units.values())
    assert not any(time.stable for time in table.joins.values())


@pytest.mark.golden
def test_unstable_parts_are_marked(clock: FakeClock, session: Callable[..., FakeSession]) -> None:
    """A unit whose samples drift is marked in the table and listed; the others are not."""
    backbone = COSTLY["chain"]()
    drifting = (1.0 + (count > 140) for count in range(10_000))
    sessions = iter([session(1.0), session(drifting), *(session(2.0) for _ in range(20))])
    runtime = FakeRuntime(lambda _: next(sessions))
    result = measure_units(backbone, Settings(minimum_samples=100, minimum_seconds=0.0), runtime, clock=clock)
    assert [latency.name for latency in result.unstable] == ["unit conv0"]
    assert [entry.stable for entry in result.table.units.values()] == [False, True, True, True]


@pytest.mark.abuse
def test_table_is_of_one_image(session: Callable[..., FakeSession]) -> None:
    with pytest.raises(ValueError, match="one image"):
        measure_units(COSTLY["chain"](), Settings(batch=2), FakeRuntime(session))
