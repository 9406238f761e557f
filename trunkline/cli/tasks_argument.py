"""Tasks as a user names them on the command line: ``segmentation,depth`` or ``seg:19,flow:2``."""

from __future__ import annotations

import re

from trunkline.errors import InvalidConfig
from trunkline.sharing.plan import check_task_names
from trunkline.text import quoted
from trunkline.train.tasks.registry import task_kinds

_CHANNELS = re.compile(r"[0-9]{1,5}")


def parse_tasks(text: str) -> dict[str, int]:
    """Return output channels by task from ``name[:channels],…``.

    Raises:
        InvalidConfig: No task is named, a name is odd or repeated, or a number of channels is none.

    >>> parse_tasks("depth,seg:19")
    {'depth': 1, 'seg': 19}
    """
    pairs = [part.strip().partition(":") for part in text.split(",") if part.strip()]
    if not pairs:
        raise InvalidConfig("no task is named", advice="give at least one, for example --tasks segmentation,depth")
    # Names become names of ONNX outputs and prefixes of weights, so a plan's rules hold for them here already.
    check_task_names([name for name, _, _ in pairs])
    return {name: _channels(name, given) for name, _, given in pairs}


def usual_channels(name: str) -> int:
    """Return the output channels of a task that is called by its kind; any other task has one."""
    kind = task_kinds().get(name)
    return 1 if kind is None else kind.usual_channels


def _channels(name: str, given: str) -> int:
    if not given:
        return usual_channels(name)
    if not _CHANNELS.fullmatch(given) or not 0 < int(given) <= 65536:
        advice = "give a whole number from 1 to 65536"
        raise InvalidConfig(
            f"task {quoted(name)} has {quoted(given[:40])} output channels", place="--tasks", advice=advice
        )
    return int(given)
