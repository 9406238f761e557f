"""What a page shows, as data: chapters of what was given, their sections, and the parts of a section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from trunkline.report.tables import Table


@dataclass(frozen=True, slots=True)
class Prose:
    """Paragraphs.

    Attributes:
        paragraphs: Their text.
    """

    kind: ClassVar[str] = "prose"
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """A table that can be sorted.

    Attributes:
        table: What it shows.
        folded: Whether it is shown only on demand.
    """

    kind: ClassVar[str] = "figures"
    table: Table
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a data URI.

    Attributes:
        title: What stands above it.
        text: What it shows, for who does not see it.
        uri: Its content.
        data: The numbers that it shows, where it shows numbers.
    """

    kind: ClassVar[str] = "picture"
    title: str
    text: str
    uri: str
    data: Table | None = None


@dataclass(frozen=True, slots=True)
class Legend:
    """What a colour of a drawing means.

    Attributes:
        colour: The colour, as ``#rrggbb``.
        meaning: What it stands for.
    """

    colour: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing whose marks tell more on demand, by pointer or keyboard.

    Attributes:
        title: What stands above it.
        text: What it shows, for who does not see it.
        svg: The SVG element. What comes from files is escaped in it.
        data: What its marks tell, as a table.
        legend: What its colours mean.
    """

    kind: ClassVar[str] = "drawing"
    title: str
    text: str
    svg: Markup
    data: Table
    legend: tuple[Legend, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Text to be copied, line by line.

    Attributes:
        title: What it is.
        lines: The lines.
        folded: Whether it is shown only on demand.
    """

    kind: ClassVar[str] = "listing"
    title: str
    lines: tuple[str, ...]
    folded: bool = False


Part = Prose | Figures | Picture | Drawing | Listing


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it.

    Attributes:
        title: The heading.
        parts: What it shows; a section without any is left out.
        side_by_side: Whether small parts stand beside each other.
    """

    title: str
    parts: tuple[Part, ...]
    side_by_side: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the overview: a model that was trained, measured, or both. What is not known is ``None``.

    Attributes:
        name: Its name within its chapter.
        form: In what form the file is, such as ``ONNX``.
        change: Mean Δ in percent against single-task models.
        change_ends: Interval of it at 95 %, where there are several seeds.
        alike: Whether it was trained as those were.
        latency_ms: Median latency.
        latency_ends: Interval of it at 99 %.
        stable: Whether its latency can be relied on.
        speed_up: How many times faster than the first model of its measurement.
        macs_share: Executed MACs as a share of independent models'.
        file_bytes: Size of its files.
        where: Runtime, provider and threads.
        note: What a reader should know of it besides; empty for most.
    """

    name: str
    form: str = "–"
    change: float | None = None
    change_ends: tuple[float, float] | None = None
    alike: bool = True
    latency_ms: float | None = None
    latency_ends: tuple[float, float] | None = None
    stable: bool = True
    speed_up: float | None = None
    macs_share: float | None = None
    file_bytes: int | None = None
    where: str = "–"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """What the page says of one thing that was given.

    Attributes:
        title: What it is called.
        kind: What it is, in a word or two.
        place: Where it was read from.
        summary: What was found, in plain words.
        sections: The rest.
        models: Its rows of the overview.
        facts: Short facts by name, such as the backbone.
    """

    title: str
    kind: str
    place: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    models: tuple[Model, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
