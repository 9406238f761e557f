"""The folder of a comparison: ways of sharing over several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from trunkline.report.comparison_tables import (
    accuracy_table,
    cost_table,
    effort_table,
    judged_table,
    metrics_table,
    rankings_table,
)
from trunkline.report.front_picture import AXES, FrontMark, front_of, marks_of
from trunkline.report.html.data_uri import drawn_uri
from trunkline.report.html.origin_parts import origin_parts
from trunkline.report.html.page import Chapter, Figures, Model, Part, Picture, Section
from trunkline.report.html.run_models import device_of
from trunkline.report.html.sharing_parts import plan_picture
from trunkline.report.html.sources.base import ReportSource
from trunkline.report.html.trade_off_drawing import trade_off_drawing
from trunkline.report.ranking_picture import draw_rankings
from trunkline.report.run_files import in_form, json_if_any
from trunkline.report.style import short

Json = Mapping[str, Any]
_CONTENT = "compare.json"
_MOST_LAYOUTS = 6


class ComparisonSource(ReportSource):
    """A comparison: every way of sharing as a mean over seeds."""

    name: ClassVar[str] = "comparison"
    expected: ClassVar[str] = "the folder of a comparison, as `trunkline compare --out` makes it"

    @classmethod
    def takes(cls, path: Path) -> bool:
        """Return whether it is a folder with a comparison's numbers."""
        return path.is_dir() and (path / _CONTENT).is_file()

    @classmethod
    def read(cls, path: Path, title: str) -> Chapter:
        """Return the chapter of a comparison."""
        content = json_if_any(path / _CONTENT)
        with in_form(path / _CONTENT):
            return _chapter(content, path, title)


def _chapter(content: Json, path: Path, title: str) -> Chapter:
    sections = (
        Section("What sharing saves and costs", tuple(_trade_offs(content))),
        Section("Figures", tuple(_tables(content))),
        Section("Layouts of what lies on the front", tuple(_layouts(content, path)), side_by_side=True),
        Section("How good rankings of trees were", tuple(_rankings(content))),
        Section("How this was made", tuple(_origin(path))),
    )
    models = tuple(_model(method, content["rows"]) for method in content["methods"])
    facts = {"backbone": content["backbone"], "tasks": ", ".join(content["tasks"])}
    device = _device(path)
    facts |= {"measured on": device} if device else {}
    return Chapter(title, ComparisonSource.name, str(path), tuple(_summary(content)), sections, models, facts)


def _summary(content: Json) -> Iterator[str]:
    methods, runs = content["methods"], content["runs"]
    seeds = max((method["macs"]["seeds"] for method in methods), default=0)
    yield (
        f"{len(methods)} ways of sharing the backbone {content['backbone']} between {len(content['tasks'])} tasks, "
        f"with up to {seeds} seed{'' if seeds == 1 else 's'} each: {runs['done']} of {runs['all']} runs are done."
    )
    marks = marks_of(methods, AXES["macs"].key)
    alike = [mark for mark in marks if mark.alike]
    if alike:
        best = max(alike, key=lambda mark: mark.change)
        yield f"The most accurate way that was trained like the others is {_said(best)}."
        front = front_of(marks)
        yield f"The cheapest on the front is {_said(front[0])}. No way on it is beaten in accuracy and work by another."
    timed = [mark for mark in marks_of(methods, AXES["latency"].key) if mark.alike]
    if timed:
        first = min(timed, key=lambda mark: mark.cost)
        yield f"The fastest takes {first.cost:.2f} ms an image (median): {short(first.name)}."
    if len(alike) < len(marks):
        yield f"{len(marks) - len(alike)} were not trained like the others: their Δ is not due to sharing alone."
    if seeds == 1:
        yield "One seed has no interval: how far Δ moves from seed to seed is not known."


def _said(mark: FrontMark) -> str:
    low, high = mark.change_ends
    interval = f" (95 % interval {low:+.1f} to {high:+.1f})" if low != high else ""
    return f"{short(mark.name)}, with Δ {mark.change:+.1f} %{interval} at {100 * mark.cost:.0f} % of the MACs"


def _trade_offs(content: Json) -> Iterator[Part]:
    for axis in AXES.values():
        drawn = trade_off_drawing(axis.title.partition(":")[0], marks_of(content["methods"], axis.key), axis.label)
        if drawn is not None:
            yield drawn


def _tables(content: Json) -> Iterator[Part]:
    yield Figures(accuracy_table(content))
    yield Figures(cost_table(content))
    yield Figures(effort_table(content), folded=True)
    yield Figures(metrics_table(content), folded=True)
    judged = judged_table(content)
    if judged is not None:
        yield Figures(judged)


def _rankings(content: Json) -> Iterator[Part]:
    table = rankings_table(content)
    if table is None:
        return
    uri = drawn_uri(partial(draw_rankings, content.get("rankings", [])))
    if uri is not None:
        text = "What each ranking of trees expected, and what the trained models came to."
        yield Picture("Scores of trees against what they came to", text, uri, table)
    else:
        yield Figures(table)


def _layouts(content: Json, path: Path) -> Iterator[Part]:
    """Draw the plans on the front of accuracy and work, of the first seed that each has."""
    for mark in front_of(marks_of(content["methods"], AXES["macs"].key))[:_MOST_LAYOUTS]:
        plans = sorted(path.glob(f"runs/{_folder_of(mark.name)}/seed-*/plan.json"))
        if plans:
            plan = json_if_any(plans[0])
            with in_form(plans[0]):
                yield plan_picture(plan, f"{short(mark.name)}, {plans[0].parent.name}")


def _folder_of(name: str) -> str:
    # Variants have their names; what names a baseline or a plan has a colon, which becomes a hyphen.
    method, _, argument = name.partition(":")
    folder = f"{method}-{Path(argument).name}" if argument else method
    return "".join(char if char not in "*?[]" else f"[{char}]" for char in folder)


def _origin(path: Path) -> list[Part]:
    return origin_parts(path, ("",), "Such a folder is made by: trunkline compare PIPELINE.toml --out FOLDER")


def _ends(change: Json) -> tuple[float, float] | None:
    """Return the interval of a mean over seeds; of one seed there is none."""
    low, high = change["low"], change["high"]
    return None if low is None or high is None else (float(low), float(high))


def _model(method: Json, rows: Sequence[Json]) -> Model:
    sizes = [row["file_bytes"] for row in rows if row["method"] == method["method"] and row["file_bytes"]]
    change = method["delta"] and method["delta"]["mean"]
    return Model(
        name=short(method["method"]),
        form="ONNX, fp32",
        change=change["mean"] if change else None,
        change_ends=_ends(change) if change else None,
        alike=bool(method["alike"]),
        latency_ms=_mean(method["latency_ms"]),
        stable=method["stable"] is not False,
        speed_up=_mean(method["speed_up"]),
        macs_share=_mean(method["macs_share"]),
        file_bytes=round(sum(sizes) / len(sizes)) if sizes else None,
    )


def _mean(value: Json | None) -> float | None:
    return None if value is None else value["mean"]


def _device(path: Path) -> str:
    bench = json_if_any(path / "bench.json")
    if not bench or not bench.get("measurements"):
        return ""
    return device_of(bench["measurements"][0])
