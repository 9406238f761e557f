"""Properties of joins: what they read and when, whose weights they use, and what goes on behind them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from backbones import BACKBONES
from hypothesis import given, settings
from hypothesis import strategies as st
from method_work import THREE
from torch import Tensor

from trunkline.bench.parts import part_of
from trunkline.export.exporter import export_model
from trunkline.fragments.joins.base import Inputs, JoinKind, JoinSettings, reading
from trunkline.fragments.layers import batch_norm
from trunkline.graph.graph import PART_KEY, TASKS_KEY, Graph, name_of
from trunkline.graph.roles import STATISTICS
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import BackboneWeight, FragmentWeight
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

TASKS = ("a", "b", "c")


def columns(backbone: Backbone, joins: Sequence[Join], tasks: Sequence[str] = TASKS) -> SharingPlan:
    """Each task has a column of its own, instance t, and joins stand between them."""
    row = {task: TASKS.index(task) for task in tasks}
    units = {name: dict(row) for name in backbone.table("block").names}
    return make_plan(backbone, tasks, units, granularity="block", joins=tuple(joins))


def sites_of(backbone: Backbone) -> tuple[str, ...]:
    return tuple(unit.output for unit in backbone.table("block").units)


def mix(name: str, site: str, task: str, reads: Sequence[Read], starts: Sequence[float], **more: object) -> Join:
    """A weighted sum."""
    content = {"name": name, "kind": "mix", "site": site, "task": task, "reads": tuple(reads)}
    return Join.model_validate({**content, "settings": {"starts": list(starts)}, **more})


def weights_of(lowered: Lowered, seed: int = 0) -> dict[str, Tensor]:
    """Columns that are apart; what joins store stays as it starts."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, tensor in Twin(lowered.graph, seed=2).weights().items():
        noise = 0.1 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        of_join = isinstance(lowered.origin[name], FragmentWeight)
        found[name] = tensor.double() + (0 if of_join else noise)
    return found


def run(lowered: Lowered, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    twin = Twin(lowered.graph, seed=2).double().eval()
    twin.load_weights(weights)
    with torch.no_grad():
        return twin(image())


def image() -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Naive:
    """Columns and joins by their definition: block by block, each task by itself, mixes as sums."""

    def __init__(self, backbone: Backbone, lowered: Lowered, weights: Mapping[str, Tensor]) -> None:
        self.backbone = backbone
        self.weights: dict[tuple[str, int], Tensor] = {}
        for name, origin in lowered.origin.items():
            if isinstance(origin, BackboneWeight):
                self.weights[origin.name, origin.instance] = weights[name]

    def run(self, joins: Sequence[Join], tasks: Sequence[str] = TASKS) -> dict[str, Tensor]:
        start = name_of(self.backbone.graph.input)
        self.now = dict.fromkeys(tasks, image())
        self.left = {(start, task): image() for task in tasks}
        self.joined: dict[str, Tensor] = {}
        self.taps: dict[str, Tensor] = {}
        self.join_at(start, joins)
        for unit in self.backbone.table("block").units:
            part = part_of(self.backbone.graph, unit.nodes, unit.name)
            for task in tasks:
                twin = Twin(part, seed=0).double().eval()
                twin.load_weights({name: self.weights[name, TASKS.index(task)] for name in twin.weights()})
                with torch.no_grad():
                    (self.now[task],) = twin(self.now[task]).values()
                self.left[unit.output, task] = self.now[task]
            self.join_at(unit.output, joins)
        return {task: self.taps.get(task, value) for task, value in self.now.items()}

    def join_at(self, site: str, joins: Sequence[Join]) -> None:
        for join in (join for join in joins if join.site == site):
            value = sum(join.settings["starts"][number] * self.read(read) for number, read in join.taken.items())
            assert isinstance(value, Tensor)
            self.joined[join.name] = value
            if join.gives == "site":
                self.now[join.task] = value
            elif join.gives == "tap":
                self.taps[join.task] = value

    def read(self, read: Read) -> Tensor:
        """A column is read as its unit left it, whatever joins have put there."""
        return self.joined[read.join] if read.join else self.left[str(read.at), str(read.task)]


def random_joins(backbone: Backbone, seed: int) -> list[Join]:
    """Mixes at any site, of columns, of earlier values and of other joins of one shape."""
    rng = random.Random(seed)
    places = (name_of(backbone.graph.input), *sites_of(backbone))
    shapes = backbone.shapes
    joins: list[Join] = []
    given: set[tuple[str, str]] = set()
    for site in places:
        for task in rng.sample(TASKS, len(TASKS)):
            if rng.random() < 0.4:
                continue
            fitting = [at for at in places[: places.index(site) + 1] if shapes[at] == shapes[site]]
            choices = [Read.column(at, other) for at in fitting for other in TASKS]
            choices += [Read.of(join.name) for join in joins if shapes[join.site] == shapes[site]]
            reads = rng.sample(choices, rng.randint(1, min(3, len(choices))))
            left_out = (rng.randrange(len(reads)),) if len(reads) > 1 and rng.random() < 0.3 else ()
            gives = rng.choice(["site", "site", "joins", "tap"])
            target = (task, site if gives == "site" else "")
            if shapes[site] != shapes[places[-1]] and gives == "tap" or target in given:
                gives = "joins"
            given.add((task, {"site": site, "tap": ""}.get(gives, f"none {len(joins)}")))
            starts = [rng.randint(-64, 64) / 64 for _ in reads]  # exact in float32
            joins.append(mix(f"j{len(joins)}", site, task, reads, starts, gives=gives, left_out=left_out))
    return joins


@pytest.mark.parametrize("name", THREE)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_joined_columns_compute_their_definition(name: str, seed: int) -> None:
    """Whatever joins read, and in whatever order they stand: the lowered model is the naive one."""
    backbone = Backbone(BACKBONES[name]())
    joins = random_joins(backbone, seed)
    # Joins and what they alone need are dead where no output reads them, so weights come from the plain columns.
    plain = lower(columns(backbone, []), backbone, {})
    weights = weights_of(plain)
    expected = Naive(backbone, plain, weights).run(joins)
    lowered = lower(columns(backbone, joins), backbone, {})
    own = {
        name: weights[next(key for key, found in plain.origin.items() if same_place(found, origin))]
        for name, origin in lowered.origin.items()
        if isinstance(origin, BackboneWeight)
    }
    found = run(lowered, {**weights_of(lowered), **own})
    for task in TASKS:
        torch.testing.assert_close(found[task], expected[task], rtol=1e-9, atol=1e-9)


def same_place(one: object, other: object) -> bool:
    """Each column has an instance of its own, so instances tell statistics apart too."""
    assert isinstance(one, BackboneWeight)
    assert isinstance(other, BackboneWeight)
    return (one.name, one.instance) == (other.name, other.instance)


@pytest.mark.parametrize("name", THREE)
def test_columns_change_places(name: str) -> None:
    """Every task goes on with what the next one *had*: all joins read before any of them replaces a value."""
    backbone = Backbone(BACKBONES[name]())
    site = sites_of(backbone)[-1]
    source = dict(zip(TASKS, ("b", "c", "a"), strict=True))
    joins = [mix(f"to.{task}", site, task, [Read.column(site, source[task])], [1.0]) for task in TASKS]
    plain, swapped = (lower(columns(backbone, some), backbone, {}) for some in ([], joins))
    weights = weights_of(plain)
    expected = run(plain, weights)
    found = run(swapped, {**weights_of(swapped), **weights})
    for task in TASKS:
        torch.testing.assert_close(found[task], expected[source[task]], rtol=0, atol=0)


@pytest.mark.parametrize("name", THREE)
def test_the_order_of_joins_is_free(name: str) -> None:
    """The order of joins of a site does not matter."""
    backbone = Backbone(BACKBONES[name]())
    site = sites_of(backbone)[1]
    reads = [Read.column(site, task) for task in TASKS]
    joins = [mix(f"to.{task}", site, task, reads, [0.5, 0.25, 0.125]) for task in TASKS]
    orders = [lower(columns(backbone, some), backbone, {}) for some in (joins, joins[::-1])]
    weights = weights_of(orders[0])
    first, second = (run(lowered, weights) for lowered in orders)
    for task in TASKS:
        torch.testing.assert_close(first[task], second[task], rtol=0, atol=0)


@pytest.mark.parametrize("name", THREE)
def test_an_identity_mix_is_plain_columns(name: str) -> None:
    """A mix of a task's own value, times 1, and nothing of the others."""
    backbone = Backbone(BACKBONES[name]())
    reads = [Read.column(site, task) for site in sites_of(backbone)[:1] for task in TASKS]
    joins = [
        mix(f"to.{task}", sites_of(backbone)[0], task, reads, [float(other == task) for other in TASKS])
        for task in TASKS
    ]
    plain, joined = (lower(columns(backbone, some), backbone, {}) for some in ([], joins))
    weights = weights_of(joined)
    expected = run(plain, {name: weights[name] for name in plain.origin})
    found = run(joined, weights)
    for task in TASKS:
        torch.testing.assert_close(found[task], expected[task], rtol=0, atol=0)


@pytest.mark.parametrize("name", THREE)
def test_joined_columns_become_a_file(name: str, tmp_path: Path) -> None:
    """With parity, and with joins that say so in the file's metadata."""
    backbone = Backbone(BACKBONES[name]())
    lowered = lower(columns(backbone, random_joins(backbone, 5)), backbone, {})
    assert "join" in {node.metadata_props[PART_KEY] for node in lowered.graph.nodes}
    weights = {key: tensor.float().numpy() for key, tensor in weights_of(lowered).items()}
    assert export_model(lowered.graph, weights, tmp_path / "model.onnx", parity_inputs=4).parity.passed


class Normalised(JoinKind):
    """Σ x_k, normalised, as a join with weights and statistics."""

    name = "normalised"

    def make(self, inputs: Inputs, settings: JoinSettings) -> Graph:
        """Return the fragment."""
        builder, values = reading(self.name, inputs)
        total, *others = values.values()
        for number, value in enumerate(others):
            total = builder.node("Add", [total, value], name=f"add{number}")
        return builder.finish([batch_norm(builder, total, "norm")])


def test_one_owner_shares_weights_not_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scale and offset are one, and running statistics belong to what each of them reads."""
    monkeypatch.setattr("trunkline.fragments.registry.join_kinds", lambda: {"normalised": Normalised})
    backbone = Backbone(BACKBONES["residual"]())
    site = sites_of(backbone)[1]
    reads = {"a": ("a", "b"), "b": ("b", "c"), "c": ("a", "b")}
    joins = [
        Join(
            name=f"to.{task}",
            kind="normalised",
            owner="norm",
            site=site,
            task=task,
            reads=tuple(Read.column(site, source) for source in reads[task]),
        )
        for task in TASKS
    ]
    lowered = lower(columns(backbone, joins), backbone, {})
    norms = [node for node in lowered.graph.nodes if name_of(node).startswith("join.norm.norm")]
    # Tasks a and c read the same and have one owner, so theirs is one computation.
    assert [node.metadata_props[TASKS_KEY] for node in norms] == ["a,c", "b"]
    assert len({name_of(node.inputs[1]) for node in norms}) == 1
    assert len({name_of(node.inputs[position]) for node in norms for position in STATISTICS}) == 2 * len(STATISTICS)


def test_joins_of_one_column_have_statistics_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two joins of a task with one owner: they read different values, so a pooled mean would fit neither."""
    monkeypatch.setattr("trunkline.fragments.registry.join_kinds", lambda: {"normalised": Normalised})
    backbone = Backbone(BACKBONES["residual"]())
    joins = [
        Join(name=f"at.{site}", kind="normalised", owner="norm", site=site, task="a", reads=(Read.column(site, "a"),))
        for site in sites_of(backbone)[:2]
    ]
    lowered = lower(columns(backbone, joins), backbone, {})
    norms = [node for node in lowered.graph.nodes if name_of(node).startswith("join.norm.norm")]
    assert len({name_of(node.inputs[1]) for node in norms}) == 1
    assert len({name_of(node.inputs[position]) for node in norms for position in STATISTICS}) == 2 * len(STATISTICS)


def test_an_unread_join_is_not_written() -> None:
    """A join that nobody reads is not written."""
    backbone = Backbone(BACKBONES["residual"]())
    site = sites_of(backbone)[0]
    lost = mix("lost", site, "a", [Read.column(site, task) for task in TASKS], [0.3, 0.3, 0.4], gives="joins")
    lowered = lower(columns(backbone, [lost]), backbone, {})
    assert {node.metadata_props[PART_KEY] for node in lowered.graph.nodes} == {"backbone"}


def test_a_plan_with_joins_survives_its_file(tmp_path: Path) -> None:
    """Joins, reads that are left out, and settings; a plan without joins does not speak of them."""
    backbone = Backbone(BACKBONES["mobile"]())
    site = sites_of(backbone)[0]
    left_out = mix("left", site, "b", [Read.column(site, task) for task in TASKS], [0.5, 0.1, 0.5], left_out=(1,))
    plan = columns(backbone, [left_out, mix("last", site, "c", [Read.of("left")], [1.0], gives="joins")])
    plan.save(tmp_path / "plan.json")
    assert SharingPlan.load(tmp_path / "plan.json") == plan
    assert "joins" not in columns(backbone, []).to_json()


def test_a_plan_of_version_1_is_read(tmp_path: Path) -> None:
    """Written before there were joins and views."""
    backbone = Backbone(BACKBONES["residual"]())
    plan = columns(backbone, [])
    (tmp_path / "plan.json").write_text(plan.to_json().replace('"version": 2', '"version": 1'))
    found = SharingPlan.load(tmp_path / "plan.json")
    assert (found, found.version) == (plan, 2)
