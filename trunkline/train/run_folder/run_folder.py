"""A run is a folder that one process at a time may use.

* ``config.json``: all settings that decide the result.
* ``sessions.json``: for each start, the process's command, the seed, the versions of the libraries that compute, and
  the platform.
* ``metrics.jsonl``: see :mod:`trunkline.train.run_folder.metrics_log`.
* ``checkpoints/``: see :mod:`trunkline.train.run_folder.checkpoint_store`.
* ``result.json``: the result, once there is one.
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trunkline.errors import InvalidConfig
from trunkline.files.write import atomic_write, json_bytes, write_error
from trunkline.train.run_folder.changed_settings import changed_settings, flat
from trunkline.train.run_folder.checkpoint_store import CheckpointStore
from trunkline.train.run_folder.metrics_log import MetricsLog

CONFIG, SESSIONS, METRICS, RESULT, CHECKPOINTS = (
    "config.json",
    "sessions.json",
    "metrics.jsonl",
    "result.json",
    "checkpoints",
)
_PACKAGES = {name: (name,) for name in ("trunkline", "torch", "onnx", "numpy")} | {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu")
}
"""What computes, and the distributions that bring it."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The parts of an open run folder; make one with :func:`open_run`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as path, open_run(path, {"steps": 10}, seed=0) as folder:
    ...     folder.log.append({"kind": "step", "phase": "train", "step": 1})
    ...     sorted(path.name for path in folder.path.iterdir() if path.suffix)
    ['config.json', 'metrics.jsonl', 'sessions.json']
    """

    path: Path

    @property
    def log(self) -> MetricsLog:
        """The log of losses and metrics."""
        return MetricsLog(self.path / METRICS)

    @property
    def checkpoints(self) -> CheckpointStore:
        """The checkpoints of all phases."""
        return CheckpointStore(self.path / CHECKPOINTS)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Replace ``result.json``."""
        atomic_write(self.path / RESULT, json_bytes(result, indent=2))

    def read_result(self) -> dict[str, Any] | None:
        """Return the content of ``result.json``, in which NaN is None; None where there is no such file.

        Raises:
            InvalidConfig: It is no JSON object.
        """
        return _read_json(self.path / RESULT) if (self.path / RESULT).is_file() else None


@contextmanager
def open_run(path: Path | str, config: Mapping[str, Any], *, seed: int) -> Iterator[RunFolder]:
    """Open a run folder, new or to be resumed, for this process alone.

    Args:
        path: The folder; made if it does not exist.
        config: Everything that decides the result, as plain JSON content.
        seed: The run's seed.

    Raises:
        InvalidConfig: Another process uses the folder, or the folder holds a run with another configuration.
        WorkFailed: The folder cannot be written.
    """
    folder = Path(path).absolute()
    # The system's own lock, not the mere file: it ends with its process, however that dies.
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InvalidConfig(
            "another process is using this run folder", place=str(path), advice="wait for it, or use another folder"
        ) from error
    except FileExistsError as error:
        raise InvalidConfig("is a file, expected a folder", place=str(path)) from error
    except OSError as error:
        raise write_error(error, folder, 0) from error
    try:
        _write_config(folder, config)
        _add_session(folder, seed)
        yield RunFolder(folder)
    finally:
        lock.release()


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    data = json_bytes(config, indent=2)
    path = folder / CONFIG
    if not path.exists():
        atomic_write(path, data)
        return
    # Through JSON on both sides: a tuple of ours would differ from the list that was read.
    old, new = flat(_read_json(path)), flat(json.loads(data))
    advice = f"use another run folder, or set it back to {folder / CONFIG}"
    problems = changed_settings(old, new, advice)
    if problems:
        raise InvalidConfig(problems)


def _add_session(folder: Path, seed: int) -> None:
    path = folder / SESSIONS
    sessions = _read_json(path).get("sessions") if path.exists() else []
    if not isinstance(sessions, list):
        advice = "remove the file: nothing is computed from it"
        raise InvalidConfig("is not what Trunkline writes: it has no list of sessions", place=str(path), advice=advice)
    session = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "seed": seed,
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
    }
    atomic_write(path, json_bytes({"sessions": [*sessions, session]}, indent=2))


def _command() -> str:
    """Return what was typed; nothing where another process started this one, as a comparison starts its jobs."""
    program = Path(sys.argv[0])
    if program.name == "-c":
        return ""
    # `python -m trunkline` is the same command.
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def _versions() -> dict[str, str]:
    return {name: _version(distributions) for name, distributions in _PACKAGES.items()}


def _version(distributions: Sequence[str]) -> str:
    for name in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return "not installed"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidConfig(
            f"cannot be read as JSON: {error}", place=str(path), advice="use another run folder"
        ) from error
    if not isinstance(content, dict):
        raise InvalidConfig("is not a JSON object", place=str(path), advice="use another run folder")
    return content
