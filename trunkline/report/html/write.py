"""Write a report as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.errors import InvalidConfig, Problem, WorkFailed
from trunkline.files.staging import why_no_file
from trunkline.files.write import atomic_write
from trunkline.report.html.overview import overview
from trunkline.report.html.page import Chapter, Figures, Section
from trunkline.report.html.render import render
from trunkline.report.html.sources.base import ReportSource
from trunkline.report.run_files import in_form
from trunkline.report.tables import Table
from trunkline.scan import kinds_in
from trunkline.version import __version__

MOST_BYTES = 5_000_000
"""A file that mail servers take."""


@dataclass(frozen=True, slots=True)
class HtmlReport:
    """A written page.

    Attributes:
        path: The HTML file.
        size_bytes: Its size.
        tables: The tables that it shows at once, in order.
        summary: What it says in plain words, by chapter.
    """

    path: Path
    size_bytes: int
    tables: tuple[Table, ...]
    summary: dict[str, tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return path and tables as plain data, as those of a report in Markdown; its pictures are inside."""
        return {"report": str(self.path), "pictures": [], "tables": [asdict(table) for table in self.tables]}


def write_html(sources: Sequence[Path], out: Path, command: str = "") -> HtmlReport:
    """Write one page about runs, comparisons and measurements.

    Args:
        sources: Folders of runs and comparisons, and JSON files of measurements.
        out: The HTML file.
        command: The command that asks for it, which the page shows; empty for none.

    Raises:
        InvalidConfig: There is nothing at a path, or what lies there is not what Trunkline writes.
        WorkFailed: The page would be too large, or the disk is full.
    """
    if found := why_no_file(out.absolute()):
        raise InvalidConfig(f"{out} {found}", place="--out", advice="give the path of a file in a folder that exists")
    kinds = _kinds_of(sources)
    titles = _titles(sources)
    chapters = [_chapter(kind, path, title) for kind, path, title in zip(kinds, sources, titles, strict=True)]
    table = overview(chapters)
    content = render(
        "page.html", chapters=chapters, overview=table, command=command, version=__version__, title=_title(titles)
    ).encode()
    if len(content) > MOST_BYTES:
        text = f"the page would be {len(content) / 1e6:.1f} MB, and is to stay under {MOST_BYTES / 1e6:.0f} MB"
        raise WorkFailed(text, place=str(out), advice="give fewer folders, and write several pages")
    atomic_write(out, content)
    parts = [part for chapter in chapters for section in chapter.sections for part in section.parts]
    tables = [part.table for part in parts if isinstance(part, Figures) and not part.folded]
    summary = {chapter.title: chapter.summary for chapter in chapters}
    return HtmlReport(out, len(content), (*([table] if table else []), *tables), summary)


def _chapter(kind: type[ReportSource], path: Path, title: str) -> Chapter:
    # Each file is named where it is read; this is for what only shows when two of them do not fit each other.
    # A number that nothing can be computed with, as 1e308, is an error too, not a warning.
    with in_form(path), np.errstate(over="raise"):
        return _without_empty(kind.read(path, title))


def _kinds_of(sources: Sequence[Path]) -> list[type[ReportSource]]:
    """Return what each of the sources is; refuses all at once that are nothing."""
    kinds = kinds_in("trunkline.report.html.sources", ReportSource)  # type: ignore[type-abstract]  # only its subclasses are made
    found, problems = [], []
    for path in sources:
        fitting = [kind for kind in kinds.values() if kind.takes(path)]
        if fitting:
            found.append(fitting[0])
        else:
            expected = "; ".join(kind.expected for kind in kinds.values())
            what = "no report can be made of this" if path.exists() else "there is no such file or folder"
            problems.append(Problem(what, str(path), f"give {expected}"))
    if problems:
        raise InvalidConfig(problems)
    return found


def _titles(sources: Sequence[Path]) -> list[str]:
    """Return a short title for each source, as long as it takes to tell them apart."""
    parts = [path.resolve().parts for path in sources]
    # The folder of a seed says nothing without whose it is.
    lengths = [2 if each[-1].startswith("seed-") else 1 for each in parts]
    titles = ["/".join(each[-length:]) for each, length in zip(parts, lengths, strict=True)]
    while len(set(titles)) < len({tuple(each) for each in parts}) and max(lengths) < 20:
        twice = {title for title in titles if titles.count(title) > 1}
        lengths = [length + (title in twice) for length, title in zip(lengths, titles, strict=True)]
        titles = ["/".join(each[-length:]) for each, length in zip(parts, lengths, strict=True)]
    return titles


def _title(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else f"{titles[0]} and {len(titles) - 1} more"


def _without_empty(chapter: Chapter) -> Chapter:
    kept: tuple[Section, ...] = tuple(section for section in chapter.sections if section.parts)
    return Chapter(chapter.title, chapter.kind, chapter.place, chapter.summary, kept, chapter.models, chapter.facts)
