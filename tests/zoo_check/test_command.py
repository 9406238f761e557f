"""Golden: the command and its tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_export import facts_of

import zoo_check.__main__ as command
from zoo_check.architectures import planned
from zoo_check.checked import Checked
from zoo_check.checking import state_of_sources
from zoo_check.report import Row, by_kind, disagreements, document, missed, reasons, unhelpful

pytestmark = pytest.mark.golden

PLANNED = [export for export in planned() if export.architecture.family == "mixnet"]
GOOD = Checked("good", "read", count="right", last_map="right", several="unknown", state="s")
REFUSED = Checked("bad", "refused", "Gather works on [N, 512], not 'x'", "bad.onnx: n", "export again", state="s")


def row(checked: Checked, **changes: object) -> Row:
    return Row(facts_of(label=checked.label, architecture=checked.label, **changes), checked)


def kept(folder: Path, checked: Checked) -> None:
    facts_of(label=checked.label).write(folder)
    checked.write(folder)


ROWS = [
    row(GOOD),
    row(REFUSED),
    row(replace(REFUSED, label="bad2", message="Gather works on [N, 9, 9], not 'image'", advice="")),
    row(
        replace(GOOD, label="off", count="wrong", trainable=1234, last_map="none", pyramid=[[1, 2, 3]], several="wrong")
    ),
    row(replace(GOOD, label="vit"), kind="transformer"),
]


def test_the_table_counts_what_is_all_right() -> None:
    lines = by_kind(ROWS).splitlines()
    assert lines[2] == "| cnn | 4 | 4 | 2 | 2 |  |  |  | 1/2 | 1/2 | 0/1 | 1 (25.0%) | 98% |"
    assert lines[3] == "| transformer | 1 | 1 | 1 |  |  |  |  | 1/1 | 1/1 |  | 1 (100.0%) | 90% |"
    assert lines[4].startswith("| **all** | 5 | 5 | 3 | 2 |")


def test_refusals_are_gathered_by_reason() -> None:
    (line,) = reasons(ROWS)
    assert line == (
        "- **refused, 2**: Gather works on [N, 512], not 'x' at `bad.onnx: n`. Advice: export again. bad, bad2."
    )
    assert list(unhelpful(ROWS)) == ["- bad2: the refusal lacks advice"]


def test_disagreements_say_what_is_right() -> None:
    (line,) = disagreements(ROWS)
    assert line.startswith("- off: 1,234 parameters train, torch counts ")
    assert "the map is none, right is 12×3×4; the pyramid is 1×2×3, right is 8×6×8 12×3×4" in line


def test_a_missed_target_is_told() -> None:
    assert missed(ROWS) == ["cnn: 1 (25.0%) are all right; the target is 98%"]
    assert missed(ROWS[:1]) == []
    assert missed([row(replace(GOOD, verdict="wrong", label="off")), *ROWS[:1] * 99]) == ["off: wrong"]


def test_the_page_names_versions_states_and_failures() -> None:
    made, used = {"torch": "9.1"}, {"onnx": "8.2"}
    rows = [row(replace(GOOD, versions=used), versions=made), row(replace(REFUSED, state="t"))]
    page = document(rows, [facts_of(label="lost", error="no symbolic\nfor it.")], ROWS[:1])
    assert "Exported with torch 9.1; read with onnx 8.2. Results are of 2 states of the sources" in page
    assert "- lost: no symbolic for it\n" in page


def test_results_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = PLANNED[0].label
    kept(tmp_path, replace(GOOD, label=label))
    assert command.main(["--folder", str(tmp_path), "--only", "mixnet", "--step", "check", "--json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert found["cnn"]["exports"] == 1
    assert [result["label"] for result in found["results"]] == [label]


@pytest.mark.parametrize(
    ("again", "due"), [("changed", ["off", "old"]), ("failed", ["off"]), ("all", ["new", "off", "old"])]
)
def test_what_is_checked_again(again: str, due: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``new`` is of these sources; ``old`` was right with others, ``off`` was not."""
    kept(tmp_path, replace(GOOD, label="new", state=state_of_sources()))
    kept(tmp_path, replace(GOOD, label="old"))
    kept(tmp_path, replace(GOOD, label="off", count="wrong"))
    asked: list[str] = []
    monkeypatch.setattr(command, "_chosen", lambda *_: ["new", "off", "old"])
    monkeypatch.setattr(command, "check_all", lambda wanted, _: asked.extend(facts.label for facts in wanted) or [])
    command.main(["--folder", str(tmp_path), "--step", "check", "--again", again])
    assert asked == due


def test_a_sample_is_spread_and_repeatable() -> None:
    """A sample is spread and the same each time."""
    some = command._chosen(None, 30)
    assert some == command._chosen(None, 30)
    assert len({label.split("-")[0] for label in some}) >= 3
    assert len({label.split("-")[1][:3] for label in some}) >= 15


def test_a_missing_environment_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is missing; `make zoo-check` sets it up"):
        command.main(["--folder", str(tmp_path), "--only", "mixnet", "--python", str(tmp_path / "python")])


def test_an_interrupt_ends_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_check", stopped)
    assert command.main(["--folder", str(tmp_path), "--step", "check"]) == 130
    assert "start it again" in capsys.readouterr().err


def test_only_the_whole_table_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is written for the whole table only."""
    page = tmp_path / "zoo.md"
    monkeypatch.setattr(command, "PAGE", page)
    kept(tmp_path, replace(GOOD, label=PLANNED[0].label))
    command.main(["--folder", str(tmp_path), "--step", "page", "--only", "mixnet"])
    assert not page.exists()
    assert "| cnn | 1 | 1 | 1 |" in capsys.readouterr().out
    assert command.main(["--folder", str(tmp_path), "--step", "page"]) == 0
    assert "| cnn | 1 | 1 | 1 |" in page.read_text()
