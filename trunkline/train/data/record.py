"""``data.json`` in a run's folder: the content of its data, so that the run goes on only with the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem
from trunkline.text import escaped
from trunkline.train.data.base import DataSet, DataSets
from trunkline.train.data.check import raise_all
from trunkline.train.data.inventory import Facts, Inventory, take_inventory
from trunkline.train.data.splits import Subset

DATA = "data.json"
_ADVICE = "put back what the run began with, or use another run folder: its models are to be trained on the same data"


def inventory_of_run(data: DataSets, folder: Path) -> Inventory:
    """Return the content of the data's files; only files that have changed since the last start are read again.

    Raises:
        InvalidConfig: Files cannot be read, labels have values without a meaning, or the run in ``folder`` began with
            other data; every file is named, up to 20.
    """
    record = _record_if_any(folder / DATA)
    known = {name: Facts.from_json(content) for name, content in record.get("files", {}).items()}
    files = {split: samples.files for split, samples in data.parts.items()}
    inventory = take_inventory({split: found for split, found in files.items() if found is not None}, known)
    if record:
        _check_same(inventory, {split: found["sha256"] for split, found in record["parts"].items()}, known)
    return inventory


def record_of(data: DataSets, inventory: Inventory) -> dict[str, Any]:
    """Return the content of ``data.json``: size, origin and SHA-256 of each split, and the facts of every file."""
    digests = inventory.digests()
    splits = {
        name: {**part_json(data, name), "indices": _indices(samples), "sha256": digests.get(name)}
        for name, samples in data.parts.items()
    }
    return {"parts": splits, "files": {name: facts.to_json() for name, facts in sorted(inventory.facts.items())}}


def part_json(data: DataSets, name: str) -> dict[str, Any]:
    """Return name, size and origin of a split, as plain JSON content."""
    return {"split": name, "samples": len(data.parts[name]), "from": data.origin.get(name, "")}


def _indices(samples: DataSet) -> list[int] | None:
    """Return the sample numbers of a split that was cut out of a data set; None for a whole one."""
    return list(samples.indices) if isinstance(samples, Subset) else None


def _check_same(inventory: Inventory, before: Mapping[str, str | None], known: Mapping[str, Facts]) -> None:
    digests = inventory.digests()
    # A split that is no longer there counts too; splits that are generated have no digest, before or now.
    others = [split for split in {**before, **digests} if digests.get(split) != before.get(split)]
    if not others:
        return
    root, facts = _root(inventory), inventory.facts
    changed = [name for name in facts if name in known and facts[name].sha256 != known[name].sha256]
    found = [(name, "its content has changed since the run began") for name in changed]
    found += [(name, "was not there when the run began") for name in facts if name not in known]
    found += [(name, "the run began with it, and it is no longer used") for name in known if name not in facts]
    # Each file is as it was, so it is their choice or their order that has changed.
    if not found:
        splits = ", ".join(others)
        found = [("", f"the samples of {splits} are others than the run began with: by other lists, fractions or seed")]
    problems = [Problem(message, str(root / name)) for name, message in found]
    # One advice for all, under the first: a list of twenty would repeat it twenty times.
    raise_all([Problem(problems[0].message, problems[0].place, _ADVICE), *problems[1:]])


def _root(inventory: Inventory) -> Path:
    """Return the folder that holds all files of the data; an empty path where there are none."""
    return next((files.root for files in inventory.parts.values()), Path())


def _record_if_any(path: Path) -> dict[str, Any]:
    """Return a run's record; empty where there is none yet."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
        record = {"files": dict(content["files"]), "parts": dict(content["parts"])}
        # Tried here, where the file can be named: later a wrong type would be a traceback.
        for facts in record["files"].values():
            Facts.from_json(facts)
        if any("sha256" not in split for split in record["parts"].values()):
            raise KeyError("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        advice = "remove it: it is made again, from the data as it is now"
        found = escaped(repr(error))
        raise InvalidConfig(f"is not what Trunkline writes ({found})", place=str(path), advice=advice) from error
    return record
