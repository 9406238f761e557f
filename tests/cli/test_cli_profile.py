"""``bench --profile``: a cost table that the recommender takes, and layouts that say what it is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import invoke, refused
from documented_json import check_keys, only_json

from trunkline.bench.environment import Environment
from trunkline.bench.protocol import measure
from trunkline.bench.runtimes.inputs import FedInput
from trunkline.graph.graph import Graph
from trunkline.ingest.read import read
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.cost_table import CostTable

pytestmark = pytest.mark.golden


class Clock:
    """Stands still but for what is run."""

    now = 0

    def __call__(self) -> int:
        return self.now


class Session:
    """Takes 10 µs, and what its nodes take: each as long as its name says, wherever it stands."""

    region, provider, threads, spinning, start_up_ms, device_ms = "fake", "cpu", 1, None, 0.0, None
    inputs: tuple[FedInput, ...] = ()

    def __init__(self, clock: Clock, graph: Graph, noise: float) -> None:
        self.clock = clock
        # An output that serves several tasks has a name for each.
        nodes = [str(node.name).partition("@")[0] for node in graph.nodes if node.op_type != "Identity"]
        self.ns = 10_000 + sum(1_000 * (5 + sum(map(ord, name)) % 40) for name in nodes)
        self.ns = round(self.ns * (1 + noise * (len(nodes) % 5)))

    def feed(self, index: int) -> None: ...

    def run(self) -> None:
        self.clock.now += self.ns

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        return {}

    def describe(self) -> dict[str, str]:
        return {"runtime": "fake 1.0"}

    def close(self) -> None: ...


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Time stands still but for models whose nodes take what they take; how far layouts are off it can be chosen."""

    def choose(noise: float, slower: int = 1) -> None:
        clock = Clock()

        class Runtime:
            name = "onnxruntime"

            def prepare(self, model: Path | Graph, settings: object) -> Session:
                is_layout = isinstance(model, Path)  # parts of the backbone are no files
                session = Session(clock, read(model) if is_layout else model, noise if is_layout else 0.0)
                session.ns *= slower if is_layout else 1
                return session

        def clocked(*arguments: Any, **options: Any) -> Any:
            return measure(*arguments, **{**options, "clock": clock, "environment": Environment(cpu="fake")})

        monkeypatch.setattr("trunkline.verbs.profile.runtime_named", lambda *_: Runtime())
        monkeypatch.setattr("trunkline.bench.compare.measure", clocked)
        monkeypatch.setattr("trunkline.bench.unit_times.measure", clocked)

    return choose


COMMAND = ("bench", "--profile", "zoo:tiny", "--input-size", "32,48", "--samples", 11, "--limit", 0.05)


def test_what_follows_the_table_is_predicted_exactly(timed: Any) -> None:
    """Where a node takes the same time in every model, half of nothing is off; and the table's times are the nodes'."""
    timed(0.0)
    found = only_json(invoke(*COMMAND, "--layouts", 6, "--plot", "p.png", "--json"))
    check_keys("profile", found)
    assert len(found["layouts"]) == 6 and len({json.dumps(each["layout"]) for each in found["layouts"]}) == 6
    for each in found["layouts"]:
        assert each["predicted_ms"] == pytest.approx(each["measured_ms"], rel=1e-4)
        assert each["pace"] == pytest.approx(1, rel=1e-4)
    assert found["median_error_percent"] < 0.01 and found["agreement"]["spearman"]["value"] == 1
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    table = CostTable.load(Path("costs.json"), Backbone(read("zoo:tiny", input_size=(32, 48))))
    assert json.loads(table.model_dump_json()) == found["table"]
    shown = invoke(*COMMAND, "--layouts", 2, "--out", "other.json")
    assert "rank correlation 1.000" in shown.out and "median error 0.0 %, 2 layouts" in shown.out
    assert Path("other.json").read_bytes() == Path("costs.json").read_bytes()


def test_a_slower_machine_is_no_error(timed: Any) -> None:
    """All of it takes twice as long when layouts are measured: that is the pace, and no fault of the table."""
    timed(0.0, slower=2)
    found = only_json(invoke(*COMMAND, "--layouts", 3, "--json"))
    assert [each["pace"] for each in found["layouts"]] == pytest.approx([2] * 3, rel=1e-3)
    assert found["median_error_percent"] < 0.1


def test_what_does_not_is_told(timed: Any) -> None:
    """Layouts that take longer than their parts: by how much is what the error says."""
    timed(0.1)
    found = only_json(invoke(*COMMAND, "--layouts", 5, "--json"))
    errors = [100 * (each["predicted_ms"] * each["pace"] / each["measured_ms"] - 1) for each in found["layouts"]]
    assert [each["error_percent"] for each in found["layouts"]] == pytest.approx(errors)
    assert found["median_error_percent"] == pytest.approx(sorted(map(abs, errors))[2]) and max(map(abs, errors)) > 5


def test_a_real_table_is_taken_by_the_recommender() -> None:
    """Measured on this machine, whatever it says."""
    found = only_json(invoke(*COMMAND, "--layouts", 3, "--tasks", "x,y", "--json"))
    assert found["tasks"] == ["x", "y"] and all(each["measured_ms"] > 0 for each in found["layouts"])
    rows = ["task,partner,branch_point,relative_performance_percent"]
    rows += [f"{task},{other},{point},{-point}" for task, other in ("xy", "yx") for point in range(8)]
    Path("table.csv").write_text("\n".join(rows) + "\n")
    ranked = only_json(
        invoke(
            "recommend",
            "table.csv",
            "--backbone",
            "zoo:tiny",
            "--input-size",
            "32,48",
            "--costs",
            "costs.json",
            "--budget-ms",
            1e6,
            "--json",
        )
    )
    whole = sum(unit["ms"] for unit in found["table"]["units"].values())
    assert ranked["layouts"][0]["ms"] == pytest.approx(2 * whole, rel=1e-3)  # parted at once, as the table wants it
    none = only_json(invoke(*COMMAND, "--layouts", 0, "--json"))
    assert none["layouts"] == [] and none["agreement"] is None and none["median_error_percent"] is None


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ((), ("--profile: a cost table is of one backbone",)),
        (("zoo:tiny", "zoo:mnasnet"), ("--profile: a cost table is of one backbone",)),
        (("zoo:tiny", "--batch", 2), ("one image",)),
        (("zoo:tiny", "--runtime", "onnxruntime", "--runtime", "openvino"), ("one runtime",)),
        (("zoo:tiny", "--tasks", "a,b", "--layouts", 99), ("layouts: 99 layouts are to be drawn", "8 over 7 blocks")),
        (("zoo:tiny", "--layouts", -1), ("--layouts: -1 layouts",)),
        (("zoo:tiny", "--csv", "b.csv"), ("--profile: --csv is for measuring models",)),
        (("zoo:tiny", "--strict"), ("--profile: --strict is for",)),
        (("zoo:tiny", "--share-until", "1"), ("--profile: --share-until is for",)),
        (("zoo:tinny",), ("tiny",)),
    ],
)
def test_what_has_no_table(arguments: tuple[object, ...], fragments: tuple[str, ...]) -> None:
    refused(invoke("bench", "--profile", *arguments), *fragments)
    assert not Path("costs.json").exists()
