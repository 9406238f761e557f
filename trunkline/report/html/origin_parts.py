"""What a page says of where a result comes from: commands, sessions, software and the pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trunkline.report.html.page import Figures, Listing, Part, Prose
from trunkline.report.run_files import json_if_any, sessions_of
from trunkline.report.tables import Table

Json = Mapping[str, Any]
_MOST_LINES = 400


def origin_parts(folder: Path, stages: Sequence[str], advice: str) -> list[Part]:
    """Return the commands that made a folder, its sessions, and what its pipeline says.

    Args:
        folder: The folder.
        stages: Folders in it that have sessions and a configuration; an empty name is the folder itself.
        advice: What makes such a folder, in a sentence, for one whose sessions have no command.
    """
    sessions = [(stage, session) for stage in stages for session in sessions_of(folder / stage)]
    parts: list[Part] = []
    commands = list(dict.fromkeys(session["command"] for _, session in sessions if session.get("command")))
    if commands:
        parts.append(Listing("Commands", tuple(str(command) for command in commands)))
    else:
        parts.append(Prose((f"The commands were not written down when this was made. {advice}",)))
    if sessions:
        parts.append(Figures(_session_table(sessions), folded=True))
    configuration = next((found for stage in stages if (found := json_if_any(folder / stage / "config.json"))), None)
    if configuration:
        lines = json.dumps(configuration, indent=2, ensure_ascii=False).splitlines()
        left = len(lines) - _MOST_LINES
        shown = [*lines[:_MOST_LINES], f"… {left} more lines"] if left > 0 else lines
        parts.append(Listing("Everything that the pipeline decides", tuple(shown), folded=True))
    return parts


def _session_table(sessions: Sequence[tuple[str, Json]]) -> Table:
    rows = []
    for stage, session in sessions:
        versions = session.get("versions") or {}
        software = ", ".join(f"{name} {version}" for name, version in versions.items())
        started, platform = str(session.get("started", "–")), str(session.get("platform", "–"))
        rows.append((stage or "all", started, str(session.get("seed", "–")), software, platform))
    columns = ("stage", "started", "seed", "software", "platform")
    return Table("Sessions", columns, tuple(rows))
