"""The folder of a run, with whatever stages it has finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from trunkline.graph.graph import FUSED_KEY
from trunkline.report.document import PREDICTIONS
from trunkline.report.front_picture import FrontMark
from trunkline.report.html.executed import executed_of
from trunkline.report.html.executed_drawing import executed_drawing
from trunkline.report.html.origin_parts import origin_parts
from trunkline.report.html.page import Chapter, Figures, Part, Prose, Section
from trunkline.report.html.policy_parts import correlation_part, policy_parts, settling_parts
from trunkline.report.html.run_models import device_of, models_of_run
from trunkline.report.html.run_summary import run_summary
from trunkline.report.html.sharing_parts import sharing_parts
from trunkline.report.html.sources.base import ReportSource
from trunkline.report.html.trade_off_drawing import trade_off_drawing
from trunkline.report.html.training_parts import curve_parts, predictions_part
from trunkline.report.loss_picture import read_records
from trunkline.report.run_files import RunFiles, in_form, read_run
from trunkline.report.trade_off import FOUND

_MODEL = "model.onnx"
_STAGES = ("search", "train")
_SIDE_BY_SIDE = (
    "Parallel nodes of several tasks are fused in this file. So what serves several tasks here may be shared, or may "
    "be their own work side by side in one node; the plan above says which."
)


class RunFolderSource(ReportSource):
    """A run: what it found, trained, exported and measured."""

    name: ClassVar[str] = "run"
    expected: ClassVar[str] = "the folder of a run, as `trunkline run --out` makes it"

    @classmethod
    def takes(cls, path: Path) -> bool:
        """Return whether it is a folder that is no comparison's."""
        return path.is_dir() and not (path / "compare.json").is_file()

    @classmethod
    def read(cls, path: Path, title: str) -> Chapter:
        """Return the chapter of a run."""
        files = read_run(path)
        models = models_of_run(files)
        sections = (
            Section("What sharing saves and costs", _trade_off(files)),
            Section("Figures", tuple(Figures(table) for table in files.tables())),
            Section("Who shares what", _sharing(files)),
            Section("What is executed", _executed(path)),
            Section("What the search learned", _policy(files)),
            Section("Training", _curves(path)),
            Section("Predictions", _predictions(files)),
            Section("How this was made", _origin(files)),
        )
        return Chapter(title, cls.name, str(path), run_summary(files), sections, models, _facts(files))


def _trade_off(files: RunFiles) -> tuple[Part, ...]:
    if not files.compared:
        return ()
    with in_form(files.folder / "bench.json"):
        marks = []
        for way in files.compared:
            p50, is_cut, steady = way.latency["p50_ms"], way.name != FOUND, bool(way.latency["stable"])
            ends = (way.change, way.change)
            marks.append(FrontMark(way.name, p50, way.interval_ms, way.change, ends, is_cut, steady, way.alike))
        drawn = trade_off_drawing("Accuracy against latency", marks, "latency, median (ms)")
    return (drawn,) if drawn else ()


def _sharing(files: RunFiles) -> tuple[Part, ...]:
    plan = files.found["plan"]
    if not plan:
        return ()
    with in_form(files.folder / "plan.json"):
        sites, shares = (files.found["search"] or {}).get("sites"), (files.found["train"] or {}).get("shares")
        return tuple(sharing_parts(plan, sites or {}, shares or {}))


def _executed(folder: Path) -> tuple[Part, ...]:
    path = folder / _MODEL
    if not path.is_file():
        return ()
    from trunkline.ingest.read import read

    graph = read(path)
    executed = executed_of(graph)
    if executed is None:
        return (Prose((f"The nodes of {_MODEL} do not record which tasks they are for.",)),)
    drawing = executed_drawing(executed, [str(output.name) for output in graph.outputs])
    if any(FUSED_KEY in node.metadata_props for node in graph.nodes):
        return (Prose((_SIDE_BY_SIDE,)), drawing)
    return (drawing,)


def _policy(files: RunFiles) -> tuple[Part, ...]:
    policy = files.found["policy"]
    if not policy:
        return ()
    with in_form(files.folder / "policy.json"):
        parts = policy_parts(policy)
        alike = correlation_part(policy)
    with in_form(files.folder / "search" / "metrics.jsonl"):
        parts += settling_parts(list(read_records(files.folder / "search" / "metrics.jsonl")))
    return (*parts, alike) if alike else tuple(parts)


def _curves(folder: Path) -> tuple[Part, ...]:
    with in_form(folder / "*" / "metrics.jsonl"):
        records: list[dict[str, Any]] = []
        for stage in _STAGES:
            records += read_records(folder / stage / "metrics.jsonl")
        return tuple(curve_parts(records))


def _predictions(files: RunFiles) -> tuple[Part, ...]:
    plan = files.found["plan"] or {}
    picture = predictions_part(files.folder / PREDICTIONS, list(plan.get("tasks", [])))
    return (picture,) if picture else ()


def _origin(files: RunFiles) -> tuple[Part, ...]:
    baselines = sorted(path.name for path in files.folder.glob("train-*") if path.is_dir())
    advice = "Such a folder is made by: trunkline run PIPELINE.toml --out FOLDER"
    parts = origin_parts(files.folder, [*_STAGES, *baselines], advice)
    trained = files.trained()
    return (Prose(tuple(_without_markup(line) for line in trained)), *parts) if trained else tuple(parts)


def _without_markup(text: str) -> str:
    # The sentences are Markdown; what they quote was escaped for it.
    for shown, mark in (("**", ""), ("\\|", "|"), ("`", ""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(shown, mark)
    return text


def _facts(files: RunFiles) -> dict[str, str]:
    plan, bench = files.found["plan"], files.found["bench"]
    facts: dict[str, str] = {}
    if plan:
        with in_form(files.folder / "plan.json"):
            tasks = ", ".join(plan["tasks"])
            facts |= {"backbone": str(plan["backbone"]["name"]), "method": str(plan["method"]), "tasks": tasks}
    if bench:
        with in_form(files.folder / "bench.json"):
            facts["measured on"] = device_of(bench)
    return facts
