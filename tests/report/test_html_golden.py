"""A report as one HTML page: what it says, of what was given, and that it is the same each time."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reported_run import exported, measured, reported_comparison, reported_run

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.report.html import write as writing
from trunkline.report.html.data_uri import MOST_IMAGE_BYTES, image_uri
from trunkline.report.html.overview import overview
from trunkline.report.html.page import Chapter, Model
from trunkline.report.html.write import MOST_BYTES, HtmlReport, write_html

pytestmark = pytest.mark.golden


class Outline(HTMLParser):
    """The headings of a page and the elements that it is made of."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self._in_heading = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag in ("h2", "h3", "h4"):
            self._in_heading = True
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h2", "h3", "h4"):
            self._in_heading = False

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings[-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.attributes if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> HtmlReport:
    """The page of a whole run."""
    folder = tmp_path_factory.mktemp("html")
    return write_html([reported_run(folder / "mine")], folder / "report.html", "trunkline report mine")


def only(run: Path, *stages: str) -> Path:
    """Take away what other stages have left."""
    for path in run.glob("*.json"):
        if path.stem not in stages:
            path.unlink()
    return run


def test_a_run_has_all_that_was_found(written: HtmlReport) -> None:
    """Each stage that is done has its section, each picture its text, each picture of data its numbers."""
    page = Outline(written.path)
    for heading in (
        *("In plain words", "All models: accuracy, latency and size", "Accuracy against latency", "Who shares what"),
        *("Which task uses which operator", "Where tasks part", "How probable each option is"),
        *(
            "How the probability of what won changed",
            "How undecided the search was",
            "How alike the tasks' policies are",
        ),
        *("Losses", "Metrics of the evaluations", "Predictions beside what is true", "How this was made", "Commands"),
    ):
        assert heading in page.headings, heading
    assert all(len(image["alt"] or "") > 40 for image in page.of("img"))
    assert len(page.of("details")) >= len(page.of("img")) - 1  # predictions are no numbers
    text = written.path.read_text(encoding="utf-8")
    assert text.count("trunkline run net") == 1  # both stages were one command
    assert "trunkline report mine" in text
    assert len(text.encode()) == written.size_bytes < MOST_BYTES


def test_a_summary_is_in_plain_words(written: HtmlReport) -> None:
    """What a run saves and costs, with every reason to doubt it."""
    said = " ".join(written.summary["mine"])
    assert "One model does 2 tasks: depth and seg." in said
    assert "It executes 50 % of the multiply-accumulates of 2 separate models, and stores 50 %" in said
    assert "It takes 3.33 ms an image (median; cpu, 1 thread), 3.00 times as fast as single-task" in said
    assert "(99 % interval 2.73 to 3.33)" in said
    assert "not steady, so do not rely on it: net was disturbed" in said
    assert "2.0 % worse than single-task models" in said
    assert "one training with one seed" in said
    assert "The exported file of 1.25 MB computes what was trained" in said


def test_a_failed_parity_is_said_first_thing(tmp_path: Path) -> None:
    run = only(reported_run(tmp_path / "mine"), "export", "search")
    for stage in ("search", "train"):
        (run / stage / "metrics.jsonl").unlink()
    content = json.loads((run / "export.json").read_text())
    content["parity"]["passed"] = False
    (run / "export.json").write_text(json.dumps(content))
    said = write_html([run], tmp_path / "report.html").summary["mine"]
    assert "FAILED parity" in said[0] and len(said) == 2
    assert not any("computes what was trained: on" in line for line in said)


def test_a_half_finished_run_shows_what_there_is(tmp_path: Path) -> None:
    """A plan alone is a page; nothing is said of what is not there."""
    run = only(reported_run(tmp_path / "mine"), "plan")
    page = Outline(write_html([run], tmp_path / "report.html").path)
    assert "Which task uses which operator" in page.headings
    assert not {"Accuracy against latency", "Figures", "What the search learned"} & set(page.headings)
    assert "All models: accuracy, latency and size" not in page.headings


def test_a_run_from_before_says_what_is_not_known(tmp_path: Path) -> None:
    """Runs of earlier versions wrote neither policies over time nor commands."""
    run = only(reported_run(tmp_path / "mine"), "policy")
    log = run / "search" / "metrics.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if '"policy"' not in line))
    for path in run.glob("*/sessions.json"):
        path.write_text(json.dumps({"sessions": [{"started": "2026-01-01"}]}))
    text = write_html([run], tmp_path / "report.html").path.read_text(encoding="utf-8")
    assert "how this one changed is not known" in text
    assert "The commands were not written down" in text
    assert "How undecided the search was" not in text


def test_equal_runs_give_equal_pages(written: HtmlReport, tmp_path: Path) -> None:
    """No time and no chance is in it, and the folder is only read."""
    run = written.path.parent / "mine"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    again = write_html([run], tmp_path / "again.html", "trunkline report mine")
    assert again.path.read_bytes() == written.path.read_bytes()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_measurement_of_elsewhere_needs_names_and_medians(tmp_path: Path) -> None:
    """A small program on another device writes as little as that; whatever else is known is shown."""
    (tmp_path / "board.json").write_text(json.dumps({"models": [{"name": "int8.onnx", "p50_ms": 4.5}]}))
    whole = measured(["a", "b"])
    (tmp_path / "both.json").write_text(json.dumps({"measurements": [whole, whole]}))
    written = write_html([tmp_path / "board.json", tmp_path / "both.json"], tmp_path / "report.html")
    table = written.tables[0]
    column = {name: table.columns.index(name) for name in ("model", "p50 (ms)", "from")}
    cells = [[row[place] for place in column.values()] for row in table.rows]
    assert cells[0] == ["int8.onnx", "4.50", "board.json"]
    assert [row[0] for row in cells] == ["int8.onnx", "a", "b", "a", "b"]
    assert cells[2][1] == "5.00 [4.50, 6.00] ?"
    assert any("different devices" in note for note in table.notes)
    assert "1 model measured on a device that is not named." in written.summary["board.json"]


def test_a_comparison_says_best_and_cheapest(tmp_path: Path) -> None:
    """With intervals, and without what was not trained like the others; the plans of the front are drawn."""
    folder = reported_comparison(tmp_path / "compared", names=("single-task", "share-until:2", "multi-task", "mine"))
    written = write_html([folder], tmp_path / "report.html")
    said = " ".join(written.summary["compared"])
    assert "4 ways of sharing the backbone net between 1 tasks, with up to 2 seeds each: 5 of 6 runs are done." in said
    assert "most accurate way that was trained like the others is single-task, with Δ +0.0 %" in said
    assert "The cheapest on the front is multi-task, with Δ -2.0 % (95 % interval -2.5 to -1.5) at 50 % of" in said
    assert "The fastest takes 5.00 ms an image (median): multi-task." in said
    assert "1 were not trained like the others" in said
    page = Outline(written.path)
    drawn = [heading for heading in page.headings if heading.endswith(", seed-0")]
    assert drawn == ["multi-task, seed-0", "share-until:2, seed-0", "single-task, seed-0"]
    cells = dict(zip(written.tables[0].columns, written.tables[0].rows[3], strict=True))
    assert cells["Δ mean (%)"] == "-3.00 ± 0.50 (not alike)"
    assert (cells["p50 (ms)"], cells["file (MB)"]) == ("3.00", "1.00")


def test_recommended_layouts_are_drawn(tmp_path: Path) -> None:
    """Trees with their scores, in words too; nothing of it was measured, so the first table has nothing of it."""
    entry = {"index": 4, "score": 1.25, "score_error": None, "estimates": {"a": 2.0, "b": 0.5}, "macs_percent": -25.0}
    entry |= {"parameters_percent": -20.0, "layout": [[["a", "b"]], [["a"], ["b"]]]}
    content = {"tasks": ["a", "b"], "blocks": [{"name": "conv1"}, {"name": "conv2"}], "count": 3, "feasible": 2}
    content |= {"layouts": [entry], "proved": True, "explanations": [["before conv2: a | b"]]}
    (tmp_path / "layouts.json").write_text(json.dumps(content))
    written = write_html([tmp_path / "layouts.json"], tmp_path / "report.html")
    said = " ".join(written.summary["layouts.json"])
    assert "2 tasks can share 2 blocks in 3 ways, of which 2 are within the budgets." in said
    assert "come to +1.25 % against single-task models and changes the MACs of their backbones by -25 %." in said
    text = written.path.read_text(encoding="utf-8")
    assert "from conv1 on a, b; from conv2 on a | b" in text
    assert "before conv2: a | b" in text
    assert "All models" not in text


def test_titles_tell_sources_apart(tmp_path: Path) -> None:
    """The folder of a seed says whose it is; equal names get their folders' before them."""
    paths = [tmp_path / name for name in ("x/seed-0", "y/seed-0", "one/run", "two/run", "alone")]
    for path in paths:
        path.mkdir(parents=True)
        (path / "export.json").write_text(json.dumps(exported(["depth"])))
    written = write_html(paths, tmp_path / "report.html")
    assert list(written.summary) == ["x/seed-0", "y/seed-0", "one/run", "two/run", "alone"]


def test_columns_that_say_nothing_are_left_out() -> None:
    chapter = Chapter("c", "run", "c", (), (), (Model("a", latency_ms=2.0), Model("b")))
    table = overview([chapter])
    assert table is not None
    assert table.columns == ("model", "p50 (ms)")
    assert table.rows == (("a", "2.00"), ("b", "–"))
    assert overview([Chapter("c", "run", "c", (), ())]) is None


def test_large_pictures_are_made_small(tmp_path: Path) -> None:
    """Predictions on camera images would be tens of megabytes."""
    noise = np.random.default_rng(0).integers(0, 255, (1500, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "predictions.png")
    assert (tmp_path / "predictions.png").stat().st_size > 10 * MOST_IMAGE_BYTES
    uri = image_uri(tmp_path / "predictions.png")
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < 2 * MOST_IMAGE_BYTES


@pytest.mark.abuse
def test_a_page_that_would_be_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_BYTES", 10_000)
    with pytest.raises(WorkFailed, match="give fewer folders"):
        write_html([only(reported_run(tmp_path / "mine"), "export")], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "this is not JSON"),
        ("[1]", "no report can be made of this"),
        ('{"points": []}', "no report can be made of this"),
        ('{"models": 3}', "is not what Trunkline writes"),
        ('{"measurements": [3]}', "is not what Trunkline writes"),
        ('{"layouts": [3]}', "is not what Trunkline writes"),
        ('{"models": [{"name": "a"}]}', "is not what Trunkline writes"),
        ('{"models": [{"name": "a", "p50_ms": "fast"}]}', "is not what Trunkline writes"),
        ('{"models": [{"name": "a", "p50_ms": 1, "p50_ci_ms": [1]}]}', "is not what Trunkline writes"),
    ],
)
def test_a_wrong_measurement_is_named(content: str, message: str, tmp_path: Path) -> None:
    """The file, what is wrong, and no page."""
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(InvalidConfig, match=message) as caught:
        write_html([path], tmp_path / "report.html")
    assert caught.value.problems[0].place == str(path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.abuse
@pytest.mark.parametrize("name", ["plan", "policy", "search", "train", "export", "bench", "delta"])
@pytest.mark.parametrize("content", ["{", "[3]", '{"models": [7], "tasks": 3}'])
def test_a_torn_file_of_a_run_is_named(name: str, content: str, tmp_path: Path) -> None:
    run = reported_run(tmp_path / "mine")
    (run / f"{name}.json").write_text(content)
    with pytest.raises(InvalidConfig) as caught:
        write_html([run], tmp_path / "report.html")
    assert str(run) in caught.value.problems[0].place
    assert not (tmp_path / "report.html").exists()


@pytest.mark.abuse
def test_a_torn_log_ends_where_it_was_torn(tmp_path: Path) -> None:
    """A kill leaves half a line, which a resumed run writes anew."""
    run = only(reported_run(tmp_path / "mine"), "policy")
    log = run / "search" / "metrics.jsonl"
    log.write_bytes(log.read_bytes() + b'{"kind": "policy", "pha')
    write_html([run], tmp_path / "report.html")
