"""What made a run, in words that hold on any machine: a bundle goes to others."""

from __future__ import annotations

import shlex
from pathlib import Path, PureWindowsPath
from typing import Any

from trunkline.pipeline.project import SEARCH, TRAIN
from trunkline.report.run_files import in_form, sessions_of
from trunkline.version import __version__

RUN = "RUN"
"""Stands for the folder that a command wrote to, wherever that was."""
_OUT = "--out"


def made_by(out: Path) -> dict[str, Any]:
    """Return the commands that were typed for a run, each once and in order, and the software that they ran with.

    Args:
        out: The run's folder.

    Returns:
        ``trunkline``, the version that is asked; ``commands``; ``versions`` by package, of the last start.

    Raises:
        InvalidConfig: A list of sessions is not what Trunkline writes.
    """
    with in_form(out / "*" / "sessions.json"):
        sessions = [session for stage in (SEARCH, TRAIN) for session in sessions_of(out / stage)]
        sessions.sort(key=lambda session: str(session.get("started", "")))
        commands = [portable(str(session["command"])) for session in sessions if session.get("command")]
        # Whatever writes a model opens the folder of its training first.
        trained = sessions_of(out / TRAIN)
        versions = dict(trained[-1].get("versions") or {}) if trained else {}
    return {"trunkline": __version__, "commands": list(dict.fromkeys(commands)), "versions": versions}


def portable(command: str) -> str:
    """Return a command without the folders of the machine that it was typed on.

    Equal runs in two folders are equal bundles then, and nobody's home is told to strangers. The folder that was
    written to is :data:`RUN`, and of every other path its last part is left.

    >>> portable("trunkline run /home/lena/nets/three.toml --out ../runs/7 --quiet")
    'trunkline run three.toml --out RUN --quiet'
    """
    words = shlex.split(command)
    return shlex.join(_portable(word, before) for before, word in zip(["", *words], words, strict=False))


def _portable(word: str, before: str) -> str:
    if before == _OUT:
        return RUN
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    if equals and option == _OUT:
        return f"{option}{equals}{RUN}"
    # Its paths have both separators.
    is_path = "/" in value or "\\" in value
    return f"{option}{equals}{PureWindowsPath(value).name if is_path else value}"
