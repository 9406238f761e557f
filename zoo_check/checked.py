"""What came of one export, or of one module, as it is kept and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from zoo_check.bounded import Json

Verdict = Literal["read", "refused", "not written", "wrong", "crash"]
Agreement = Literal["right", "none", "wrong", "unknown"]

CHECK = ".check"


@dataclass(frozen=True, slots=True)
class Checked:
    """One network, read and compared.

    Attributes:
        label: The export's, or the architecture's.
        verdict: ``read`` with parity; ``refused`` by one of our errors; ``not written``, where `convert` gives up on
            what was read; ``wrong`` numbers; ``crash``: any other exception, or a bound passed.
        message: The first problem, or the difference, or the exception.
        place: Where the first problem is.
        advice: What to do about it.
        names_file: Whether the whole message says which file it is about.
        error: Largest difference from what the file itself computes, as a part of the output's largest magnitude.
        float32_error: What the file itself is off by in float32, where that is too much for a comparison; ``error`` is
            the twin's in float64 then.
        trainable: How many numbers train.
        count: Whether that is torch's own count; ``unknown`` where the exporter has changed weights.
        features: The default feature ``[C, H, W]`` that was found; empty where none was.
        last_map: Whether it is the right one; ``none``, where there is one and none was found.
        pyramid: The maps for a head of several that were found.
        several: Whether they are the right ones.
        cpu_s: Processor time of all of it.
        peak_bytes: Most memory held.
        state: Tells the sources it was read with.
        versions: Of the packages it was read with.
    """

    label: str
    verdict: Verdict
    message: str = ""
    place: str = ""
    advice: str = ""
    names_file: bool = True
    error: float = 0.0
    float32_error: float = 0.0
    trainable: int = 0
    count: Agreement = "unknown"
    features: list[int] = field(default_factory=list)
    last_map: Agreement = "unknown"
    pyramid: list[list[int]] = field(default_factory=list)
    several: Agreement = "unknown"
    cpu_s: float = 0.0
    peak_bytes: int = 0
    state: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether it was read with parity, with torch's count and the right features wherever these are known."""
        agreements = (self.count, self.last_map, self.several)
        return self.verdict == "read" and all(agreement in ("right", "unknown") for agreement in agreements)

    def to_json(self) -> Json:
        """Return it as plain JSON types."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Keep it beside the export."""
        temporary = folder / f".{self.label}.check.tmp"
        temporary.write_text(json.dumps(self.to_json(), indent=1))
        temporary.replace(folder / f"{self.label}{CHECK}")


def read_checked(folder: Path) -> Iterator[Checked]:
    """Yield what is kept in ``folder``, by name."""
    for path in sorted(folder.glob(f"*{CHECK}")):
        yield Checked(**json.loads(path.read_text()))
