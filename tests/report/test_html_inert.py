"""Names come from files of strangers; a page shows them and obeys none."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from reported_run import HOSTILE, measured, reported_run

from trunkline.report.html.executed import Executed, ExecutedPart
from trunkline.report.html.executed_drawing import executed_drawing
from trunkline.report.html.page import Chapter, Figures, Listing, Prose, Section
from trunkline.report.html.render import render
from trunkline.report.html.svg import element, mark
from trunkline.report.html.write import MOST_BYTES, write_html
from trunkline.report.tables import Table
from trunkline.text import printable, shortened

LONG = "x" * 10_000
ALLOWED_LINKS = re.compile(r"#[a-z0-9-]+|data:,|data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+")


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def check_inert(content: str) -> None:
    """One script, which is ours; no handler, no address outside, and nothing that a renderer would obey."""
    page = Elements(content)
    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == tags.count("style") == 1
    assert not {"iframe", "object", "embed", "form", "base"} & set(tags)
    for tag, attributes in page.found:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag  # the page's policy would drop it
            if name in ("src", "href", "xlink:href", "action"):
                assert ALLOWED_LINKS.fullmatch(value or ""), value
    assert "http://" not in content.replace("http-equiv", "")
    assert not [char for char in content if not char.isprintable() and char != "\n"]


@pytest.mark.abuse
def test_hostile_names_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    """In every place that a run has for a name, and of any length."""
    tasks = (f"depth{HOSTILE}", f"seg{LONG}")
    run = reported_run(tmp_path / "run", tasks=tasks, name=HOSTILE, others=(f"multi{HOSTILE}",))
    written = write_html([run], tmp_path / "report.html", f"trunkline report {HOSTILE}")
    content = written.path.read_text(encoding="utf-8")
    check_inert(content)
    assert written.size_bytes < MOST_BYTES
    assert "&lt;script&gt;" in content
    assert "\\x1b[31mred" in content
    assert "abc\\u202egpj.exe" in content


@pytest.mark.abuse
def test_hostile_units_of_a_model_are_inert() -> None:
    """What is executed is drawn from an ONNX file, which may call its nodes anything."""
    parts = (ExecutedPart(0, (HOSTILE, "b"), HOSTILE, {HOSTILE: 2}, None), ExecutedPart(1, ("b",), "0", {"Conv": 1}, 5))
    drawn = executed_drawing(Executed((HOSTILE, "b"), (HOSTILE, LONG), parts, ((0, 1),)), ["b", HOSTILE])
    chapter = Chapter("c", "run", "c", (), (Section(HOSTILE, (drawn,)),))
    check_inert(page_of(chapter))


@pytest.mark.abuse
def test_a_measurement_may_say_anything(tmp_path: Path) -> None:
    import json

    content = measured([HOSTILE, LONG], reason=HOSTILE)
    content["environment"] = {HOSTILE: {HOSTILE: HOSTILE}, "cpu": HOSTILE}
    (tmp_path / "b.json").write_text(json.dumps(content))
    check_inert(write_html([tmp_path / "b.json"], tmp_path / "report.html").path.read_text(encoding="utf-8"))


def page_of(chapter: Chapter) -> str:
    return render("page.html", chapters=[chapter], overview=None, command="", version="0", title=chapter.title)


@pytest.mark.properties
@given(text=st.text(max_size=60))
def test_any_text_stays_text(text: str) -> None:
    """A name reads on the page as it reads in a terminal, wherever it stands."""
    shown = printable(text)
    table = Table(text, (text, "n"), ((text, "1"),), (text,))
    parts = (Prose((text,)), Figures(table), Listing(text, (text,)))
    content = page_of(Chapter(text, text, text, (text,), (Section(text, parts),), facts={text: text}))
    check_inert(content)
    page = Elements(content)
    # A parser drops what is white at the ends of a line of the template, nothing else.
    assert [found.strip() for found in page.text].count(shown.strip()) >= 8 or not shown.strip()


@pytest.mark.properties
@given(text=st.text(max_size=500))
def test_marks_tell_what_they_are_given(text: str) -> None:
    """An attribute holds the whole text, up to a length, and closes where it should."""
    page = Elements(mark(text, [element("text", text, x=1.0)]))
    (_, group), (_, inner) = page.found
    assert group["aria-label"] == group["data-tip"] == printable(shortened(text, 400))
    assert inner == {"x": "1"}
    assert "".join(page.text) == printable(text)


@pytest.mark.abuse
def test_only_pictures_are_put_in_unescaped() -> None:
    from trunkline.report.html.render import shown, uri

    assert isinstance(uri("data:image/png;base64,AAAA"), Markup)
    with pytest.raises(AssertionError):
        uri('data:image/png;base64,AA"><script>')
    assert not isinstance(shown("<b>"), Markup)
