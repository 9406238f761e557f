"""A backbone is asked for its units, skips and fingerprint once, however many plans are made and lowered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from trunkline.graph.graph import Graph
from trunkline.pipeline.config import parse_config
from trunkline.sharing import backbone as asked
from trunkline.verbs.build import Sharing, build
from trunkline.verbs.run import run

pytestmark = pytest.mark.golden

QUESTIONS = ("find_units", "skips_of", "fingerprint", "unit_of_nodes")


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, ...]]:
    """How often each question was asked, with the granularity where there is one."""
    found: Counter[tuple[str, ...]] = Counter()
    for name in QUESTIONS:
        answer = getattr(asked, name)

        def counting(*given: Any, _name: str = name, _answer: Any = answer) -> Any:
            words = tuple(item for item in given if isinstance(item, str))
            found[_name, *words] += 1
            return _answer(*given)

        monkeypatch.setattr(asked, name, counting)
    return found


def test_build_asks_each_question_once(counts: Counter[tuple[str, ...]], tmp_path: Path) -> None:
    build("zoo:tiny", tmp_path / "m.onnx", tasks={"a": 2, "b": 1}, sharing=Sharing(share_until="1"))
    assert counts == {
        ("find_units", "block"): 1,
        ("skips_of", "block"): 1,
        ("unit_of_nodes",): 1,
        ("fingerprint",): 1,
    }


def test_run_asks_each_question_once(counts: Counter[tuple[str, ...]], tmp_path: Path) -> None:
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
    for granularity in ("operator", "block"):
        assert counts["find_units", granularity] == 1
        assert counts["skips_of", granularity] == 1
    assert counts["unit_of_nodes",] == 2
    assert counts["fingerprint",] == 1


def test_a_backbone_is_not_wrapped_twice() -> None:
    from trunkline.ingest.read import read

    graph: Graph = read("zoo:tiny")
    once = asked.Backbone(graph)
    assert asked.Backbone.of(once) is once
    assert once.table("block") is once.table("block")
    assert once.table("operator") is not once.table("block")
