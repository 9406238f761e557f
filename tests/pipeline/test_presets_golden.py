"""Presets: pipeline files under the user's own; those of the paper and the release hold its numbers."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import invoke, pipeline, refused

from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import PipelineConfig, parse_config
from trunkline.pipeline.preset import presets
from trunkline.pipeline.project import Project
from trunkline.recipe import Optimiser, Phase, Schedule
from trunkline.supermodel.methods.registry import methods

pytestmark = pytest.mark.golden

NAMES = {
    *(f"automtl-{source}-{data}" for source in ("paper", "release") for data in ("cityscapes", "nyuv2", "taskonomy")),
    *("small", "demo"),
}
CITYSCAPES = {"segmentation": 1.0, "depth": 1.0}
NYUV2 = {"segmentation": 5.0, "normals": 20.0, "depth": 5.0}
TASKONOMY = {"segmentation": 1.0, "normals": 3.0, "depth": 2.0, "keypoints": 7.0, "edges": 7.0}
TABLE: dict[str, tuple[list[int], list[int], float, list[float], bool, dict[str, float]]] = {
    "automtl-paper-cityscapes": ([10_000, 20_000, 30_000], [100, 400], 5e-4, [1e-3, 1e-3, 1e-2], True, CITYSCAPES),
    "automtl-paper-nyuv2": ([10_000, 20_000, 30_000], [50, 50], 1e-3, [1e-3, 1e-3, 1e-2], True, NYUV2),
    "automtl-paper-taskonomy": ([20_000, 30_000, 50_000], [100, 400], 5e-4, [1e-4, 1e-4, 1e-2], True, TASKONOMY),
    "automtl-release-cityscapes": ([10_000, 20_000, 30_000], [100, 400], 5e-4, [1e-3, 1e-4, 1e-2], False, CITYSCAPES),
    "automtl-release-nyuv2": ([10_000, 20_000, 30_000], [50, 50], 3e-3, [1e-3, 1e-3, 1e-2], False, NYUV2),
    "automtl-release-taskonomy": ([10_000, 50_000, 30_000], [100, 400], 5e-4, [1e-3, 1e-4, 1e-2], False, TASKONOMY),
    "small": ([500, 1_500, 2_000], [20, 60], 1e-3, [1e-3, 1e-3, 3e-2], True, {}),
    "demo": ([40, 120, 160], [10, 20], 1e-3, [1e-3, 1e-3, 1e-1], True, {}),
}
"""Steps of the three phases, alternation, λ_reg, rates of pre-training, weights, policy; whether joint; λ by kind."""


class Asked(Exception):
    """Ends a method once it has said what it would train."""


class Recorder:
    """Work that notes the phases of the first training."""

    def fit(self, name: str, model: object, phases: Sequence[Phase]) -> None:
        self.phases = list(phases)
        raise Asked


def project(**content: Any) -> Project:
    """A run of this pipeline on a few small scenes."""
    tasks = {kind: {} for kind in TABLE.get(content.get("preset", ""), ([], [], 0, [], True, {}))[5] or CITYSCAPES}
    scenes = {"kind": "scenes", "size": [32, 32], "length": 4, "val_length": 1}
    return Project(parse_config({"data": scenes, "tasks": tasks, **content}), Path("nowhere"))


def phases_of(given: Project) -> list[Phase]:
    """Pre-training, policy training and post-training."""
    work = Recorder()
    with pytest.raises(Asked):
        given.method.find(work)
    return [*work.phases, given.setup.phase]


def test_the_presets_that_there_are() -> None:
    """Each begins with a line that says whose it is, and is called after its method."""
    assert set(presets()) >= NAMES
    for name, text in presets().items():
        assert text.startswith("# ")
        method = tomllib.loads(text).get("search", {}).get("method", "")
        assert name in ("small", "demo") or (method and name.startswith(method))


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_a_pipeline(name: str) -> None:
    """Merged under nothing, and written as a file of one's own: both are the same run."""
    merged = parse_config({"preset": name})
    own = parse_config(tomllib.loads(presets()[name]))
    assert merged.preset == name
    assert merged.model_copy(update={"preset": None}) == own


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_preset_has_its_numbers(name: str) -> None:
    """Those of Table 7, Appendix B and the release, as they were before presets were files."""
    steps, alternate, regularization, rates, joint, weights = TABLE[name]
    given = project(preset=name)
    pre, search, post = phases_of(given)
    assert [phase.steps for phase in (pre, search, post)] == steps
    assert [phase.mode for phase in (pre, search, post)] == ["average", "sample", "argmax"]
    policy, moving = search.turns
    assert [policy.steps, moving.steps] == alternate
    assert policy.terms == {"regularization": regularization}
    assert (policy.data.share, moving.data.share, pre.turns[0].data.is_all) == ((0.0, 0.2), (0.2, 1.0), True)
    found = [turn.moves[0].optimiser.lr for turn in (pre.turns[0], moving, policy, post.turns[0])]
    assert found == [*rates, rates[0]]
    assert {turn.joint for phase in (pre, search, post) for turn in phase.turns} == {joint}
    assert {task.name: task.weight for task in given.losses} == (weights or CITYSCAPES)
    assert given.config.train.batch_size == {"small": 8, "demo": 4}.get(name, 16)
    assert {phase.eval_every for phase in (pre, search, post)} == {80 if name == "demo" else 200}
    assert {phase.checkpoint_every for phase in (pre, search, post)} == {40 if name == "demo" else 200}
    assert {phase.clip_norm for phase in (pre, search, post)} == {None}


def test_the_papers_optimisers() -> None:
    """Rates fall in every phase; the policy's does not."""
    pre, search, post = phases_of(project(preset="automtl-paper-cityscapes"))
    policy, weights = (turn.moves[0] for turn in search.turns)
    halved = Schedule(kind="step", size=4_000, gamma=0.5)
    adam = Optimiser(lr=1e-3, betas=(0.5, 0.999), weight_decay=1e-4)
    assert pre.turns[0].moves == post.turns[0].moves
    assert (post.turns[0].moves[0].optimiser, post.turns[0].moves[0].schedule) == (adam, halved)
    assert policy.optimiser == Optimiser(lr=1e-2, weight_decay=5e-4) and policy.schedule == Schedule()
    assert weights.optimiser == Optimiser(kind="sgd", lr=1e-3, momentum=0.9, weight_decay=1e-4)
    rates = [post.rates(step)["weights"] for step in (0, 3_999, 4_000, 8_000)]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])
    taskonomy = project(preset="automtl-paper-taskonomy").setup.phase
    assert [taskonomy.rates(step)["weights"] for step in (9_999, 10_000)] == pytest.approx([1e-4, 3e-5])


def test_the_release_differs_where_it_does() -> None:
    """Another L_reg and other loss weights in policy training, a rate that falls to a tenth, no decay before."""
    given = project(preset="automtl-release-nyuv2")
    pre, search, post = phases_of(given)
    assert search.loss_weights == {"segmentation": 3.0, "normals": 20.0, "depth": 3.0}
    assert (given.method.options.slope, given.method.options.second_sample) == (6.0, True)
    assert pre.loss_weights == post.loss_weights == {}
    assert {search.turn_at(step).name for step in (9_900, 10_000, 19_900)} == {"policy"}
    rates = [search.rates(step)["policy"] for step in (9_900, 10_000, 19_900)]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-3])
    assert [pre.turns[0].moves[0].schedule.kind, post.turns[0].moves[0].schedule.kind] == ["constant", "step"]


@pytest.mark.parametrize(("data", "end"), [("cityscapes", 1.246), ("nyuv2", 0.147)])
@pytest.mark.parametrize("source", ["paper", "release"])
def test_a_temperature_falls_by_policy_steps(source: str, data: str, end: float) -> None:
    """The release decays it after every 100 of them, so half as many steps between them cool it as far sooner."""
    given = project(preset=f"automtl-{source}-{data}")
    _, search, _ = phases_of(given)
    assert given.method.options.temperature.at(search.moment(search.steps - 1)) == pytest.approx(end, abs=1e-3)


def test_no_preset_means_small() -> None:
    """As the preset's own text says."""
    assert parse_config({"preset": "small"}).model_copy(update={"preset": None}) == PipelineConfig()


def test_the_users_keys_come_first() -> None:
    """Key by key, in nested tables too; what is not said is the preset's."""
    search = {"steps": [1, 2], "policy_optimiser": {"lr": 0.5}}
    train = {"optimiser": {"kind": "sgd"}, "loss_weights": {"depth": 9.0}}
    config = parse_config({"preset": "automtl-paper-nyuv2", "search": search, "train": train})
    options = config.search.options.model_dump()
    assert options["steps"] == (1, 2)
    assert options["alternate"] == (50, 50)
    assert (options["policy_optimiser"]["lr"], options["policy_optimiser"]["weight_decay"]) == (0.5, 5e-4)
    assert (config.train.optimiser.kind, config.train.optimiser.lr) == ("sgd", 1e-3)
    assert config.train.loss_weights == {**NYUV2, "depth": 9.0}
    assert config.train.steps == 30_000


@pytest.mark.parametrize("method", sorted({*methods()} - {"automtl"}))
def test_another_methods_search_is_dropped(method: str) -> None:
    """A preset's ``[search]`` is its own method's; its ``[train]`` counts for all."""
    needed = {"share-until": {"block": "2"}, "layout": {"file": "a.json"}, "plan": {"file": "a.json"}}
    search = {"method": method, **needed.get(method, {})}
    config = parse_config({"preset": "automtl-paper-nyuv2", "search": search})
    assert config.search.method == method
    assert config.search == parse_config({"search": search}).search
    assert config.train.steps == 30_000


def test_the_methods_own_name_keeps_it() -> None:
    """Naming the preset's method changes nothing."""
    named = parse_config({"preset": "demo", "search": {"method": "automtl"}})
    assert named == parse_config({"preset": "demo"})


@pytest.mark.abuse
@pytest.mark.parametrize("name", ["automtl-paper-citiscapes", "paper-cityscapes"])
def test_an_unknown_preset_is_guessed(name: str, tmp_path: Path) -> None:
    """In the file, by the key's place."""
    path = pipeline(tmp_path, ('preset = "demo"', f'preset = "{name}"'))
    said = invoke("search", path, "--out", "run")
    refused(said, f'pipeline.toml: preset: there is no preset "{name}"', 'did you mean "automtl-paper-cityscapes"?')


@pytest.mark.abuse
@pytest.mark.parametrize("name", [3, True, ["demo"], {"name": "demo"}])
def test_a_preset_is_a_name(name: object) -> None:
    """Whatever else TOML can say is refused."""
    with pytest.raises(InvalidConfig, match="preset"):
        parse_config({"preset": name})


def test_an_inner_table_changes_what_it_names() -> None:
    """A new rate switches neither weight decay nor betas off, whether a preset, or the method, says them."""
    config = parse_config(
        {
            "data": {"kind": "scenes"},
            "tasks": {"depth": {}},
            "search": {"policy_optimiser": {"lr": 0.01}},
            "train": {"optimiser": {"lr": 0.02}},
        }
    )
    policy = config.search.options.policy_optimiser  # type: ignore[attr-defined]  # AutoMTL's
    assert (policy.lr, policy.weight_decay) == (0.01, 5e-4)
    optimiser = config.train.optimiser
    assert (optimiser.lr, optimiser.betas, optimiser.weight_decay) == (0.02, (0.5, 0.999), 1e-4)


def test_a_table_of_another_kind_takes_nothing_over() -> None:
    """DEN's preset has SGD at 0.1 and drops: Adam at that rate, or steps by that factor, was asked for by nobody."""
    search = {"weight_optimiser": {"kind": "adam"}, "stage_schedule": {"kind": "step", "size": 7}}
    options = parse_config({"preset": "den", "search": search}).search.options.model_dump()
    assert options["weight_optimiser"] == Optimiser().model_dump()
    assert options["stage_schedule"] == Schedule(kind="step", size=7).model_dump()
    same = parse_config({"preset": "den", "search": {"weight_optimiser": {"kind": "sgd", "lr": 0.5}}}).search.options
    assert same.model_dump()["weight_optimiser"]["momentum"] == 0.9


def test_presets_name_the_kinds_of_their_tables() -> None:
    """A file's table of another kind can only be told from one that names its own."""
    for text in presets().values():
        for table in tomllib.loads(text).values():
            for key, value in table.items() if isinstance(table, dict) else ():
                assert not key.endswith(("optimiser", "schedule")) or "kind" in value


def test_no_preset_is_the_small_one() -> None:
    content = {"data": {"kind": "scenes"}, "tasks": {"depth": {}}}
    assert parse_config(content).train == parse_config({**content, "preset": "small"}).train
