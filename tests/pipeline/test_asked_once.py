"""A backbone is asked for its units, skips, costs and fingerprint once, however many plans are made and lowered."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trunkline.graph.cost import node_costs
from trunkline.graph.fingerprint import fingerprint
from trunkline.graph.graph import Graph
from trunkline.pipeline.config import parse_config
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.skip import skips_of
from trunkline.sharing.units import find_units, unit_of_nodes
from trunkline.verbs.build import Sharing, build
from trunkline.verbs.run import run

pytestmark = pytest.mark.golden

QUESTIONS = (find_units, skips_of, fingerprint, unit_of_nodes, node_costs)


class Questions:
    """Who was asked what: the question and its granularity, by the Graph or the list that it was asked of."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, tuple[str, ...]]] = Counter()
        self._seen: dict[int, Any] = {}

    def note(self, name: str, asked: Any, *given: Any) -> None:
        self._seen[id(asked)] = asked  # kept, so that no other object gets its number
        self._counts[id(asked), (name, *(item for item in given if isinstance(item, str)))] += 1

    def of_backbones(self) -> dict[tuple[str, ...], int]:
        """How often each was asked of a Graph of which units were; of heads and lowered models it may be asked too."""
        backbones = {number for number, question in self._counts if question[0] == "find_units"}
        found: Counter[tuple[str, ...]] = Counter()
        for (number, question), count in self._counts.items():
            if number in backbones or not isinstance(self._seen[number], Graph):
                found[question] += count
        return dict(found)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Questions:
    """Counted wherever they are asked from: each name is replaced in every module that has imported it."""
    found = Questions()

    def counted(answer: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*given: Any, **more: Any) -> Any:
            found.note(answer.__name__, *given)
            return answer(*given, **more)

        return counting

    for question in QUESTIONS:
        replaced = counted(question)
        for module in [module for name, module in sys.modules.items() if name.startswith("trunkline")]:
            if getattr(module, question.__name__, None) is question:
                monkeypatch.setattr(module, question.__name__, replaced)
    return found


def test_build_asks_each_question_once(counts: Questions, tmp_path: Path) -> None:
    build("zoo:tiny", tmp_path / "m.onnx", tasks={"a": 2, "b": 1}, sharing=Sharing(share_until="1"))
    assert counts.of_backbones() == {
        ("find_units", "block"): 1,
        ("skips_of", "block"): 1,
        ("unit_of_nodes",): 1,
        ("fingerprint",): 1,
        ("node_costs",): 1,
    }


def test_run_asks_each_question_once(counts: Questions, tmp_path: Path) -> None:
    """A search by operators, many draws, baselines by blocks, export and bench: two granularities, two answers."""
    config = parse_config(
        {
            "preset": "demo",
            "data": {"kind": "scenes", "size": [32, 48], "length": 8, "val_length": 2},
            "tasks": {"segmentation": {}, "depth": {}},
            "search": {"steps": [1, 2], "alternate": [1, 1], "sampling": {"kind": "best", "draws": 8}},
            "train": {"steps": 1, "batch_size": 2, "baselines": ["single-task", "share-until:1"]},
            "export": {"parity_inputs": 2},
            "bench": {"samples": 11, "limit_s": 0.05},
        }
    )
    run(config, tmp_path / "run", quiet=True)
    asked = counts.of_backbones()
    for granularity in ("operator", "block"):
        assert asked.pop(("find_units", granularity)) == 1
        assert asked.pop(("skips_of", granularity)) == 1
    assert asked == {("unit_of_nodes",): 2, ("fingerprint",): 1, ("node_costs",): 1}


def test_a_backbone_is_not_wrapped_twice() -> None:
    from trunkline.ingest.read import read

    graph: Graph = read("zoo:tiny")
    once = Backbone(graph)
    assert Backbone.of(once) is once
    assert once.table("block") is once.table("block")
    assert once.table("operator") is not once.table("block")
