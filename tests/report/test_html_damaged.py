"""A run's JSON with any part replaced by something else: a page, or an error that names the file; never a traceback."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reported_run import reported_comparison, reported_run

from trunkline.errors import TrunklineError
from trunkline.report.html import data_uri, policy_parts, sharing_parts, training_parts
from trunkline.report.html.sources import comparison
from trunkline.report.html.write import write_html

pytestmark = pytest.mark.abuse

OTHERS: list[Any] = [None, True, -1, 0, 1e308, float("nan"), "", "<b>", [], [[]], {}, {"a": {}}, [None], {"name": []}]


@cache
def whole(kind: str) -> tuple[Path, tuple[str, ...]]:
    """A run or comparison that nobody changes, and its JSON files."""
    make = {"run": reported_run, "comparison": reported_comparison}[kind]
    run = make(Path(tempfile.mkdtemp(prefix="trunkline-")) / "run")
    return run, tuple(sorted(str(path.relative_to(run)) for path in run.rglob("*.json*")))


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every part of a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places_in(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    found = copy.deepcopy(value)
    part = found
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = other
    return found


def damaged(text: str, data: st.DataObject) -> str:
    """One line of a file with one part replaced."""
    lines = text.splitlines() if text.count("\n{") else [text]
    number = data.draw(st.integers(0, len(lines) - 1))
    value = json.loads(lines[number])
    path = data.draw(st.sampled_from(list(places_in(value))))
    lines[number] = json.dumps(replaced(value, path, data.draw(st.sampled_from(OTHERS))))
    return "\n".join(lines) + "\n"


def without_pictures(draw: Any) -> str:
    return "data:image/png;base64,AAAA"


@pytest.mark.parametrize(
    ("examples", "drawn"),
    [
        (25, False),
        pytest.param(2000, False, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
        pytest.param(100, True, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_a_page_or_an_error(kind: str, examples: int, drawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time, so most of the examples leave it out."""
    if not drawn:
        for module in (data_uri, policy_parts, sharing_parts, training_parts, comparison):
            monkeypatch.setattr(module, "drawn_uri", without_pictures)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        run, names = whole(kind)
        name = data.draw(st.sampled_from(names))
        content = damaged((run / name).read_text(), data)
        with tempfile.TemporaryDirectory() as folder:
            other = Path(folder) / "run"
            shutil.copytree(run, other)
            (other / name).write_text(content)
            try:
                write_html([other], Path(folder) / "report.html")
            except TrunklineError as error:
                assert all(problem.place for problem in error.problems)
                assert not (Path(folder) / "report.html").exists()

    check()


@pytest.mark.parametrize("end", ["low", "high"])
def test_an_interval_with_one_end_is_none(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by damaging comparisons: half an interval was compared with a number."""
    monkeypatch.setattr(comparison, "drawn_uri", without_pictures)
    folder, _ = whole("comparison")
    other = Path(shutil.copytree(folder, tmp_path / "compared"))
    content = json.loads((other / "compare.json").read_text())
    content["methods"][1]["delta"]["mean"][end] = None
    (other / "compare.json").write_text(json.dumps(content))
    assert write_html([other], tmp_path / "report.html").path.is_file()
