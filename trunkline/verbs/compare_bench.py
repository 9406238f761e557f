"""The latency of all models of a comparison, measured in turns when all training is over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trunkline.bench.models import bench_groups
from trunkline.errors import InvalidConfig
from trunkline.files.write import atomic_write, json_bytes
from trunkline.pipeline.project import BENCH, Project
from trunkline.report.trade_off import SINGLE_TASK
from trunkline.verbs.bench import runtime_named, settings_of, sized, write_single_task

AT_ONCE_BYTES = 2**30
"""Size of all files that take turns in one measurement, besides the single-task ones: they are in memory together."""
PER_LIMIT = 12
"""Models that the pipeline's `limit_s` is for; more have as much more time."""
Json = Mapping[str, Any]


def latencies_of(project: Project, models: Mapping[str, Path]) -> dict[str, Json]:
    """Return latency and speed-up by structure, and of the single-task models by their name.

    Every model takes turns with the single-task ones, one file a task, so that its speed-up is paired. A measurement of
    the same structures is read instead of made again.

    Args:
        project: Any run of the comparison.
        models: A file for each structure.

    Raises:
        WorkFailed: The runtime or provider is not there; there is no silent fall-back.
    """
    path = project.out / BENCH
    asked = {"structures": sorted(models), "settings": project.config.bench.model_dump(mode="json")}
    found = _read(path)
    if found is None or found["asked"] != asked:
        found = {"asked": asked, "measurements": _measured(project, models)}
        atomic_write(path, json_bytes(found, indent=2))
    return _by_name(found["measurements"])


def _measured(project: Project, models: Mapping[str, Path]) -> list[dict[str, Any]]:
    folder = project.out / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    alone = write_single_task(project, folder)
    config = project.config.bench
    found = []
    for names in in_turns({name: path.stat().st_size for name, path in models.items()}, AT_ONCE_BYTES):
        groups = {SINGLE_TASK: alone, **{name: [models[name]] for name in names}}
        limit_s = config.limit_s * max(1.0, len(names) / PER_LIMIT)
        settings = settings_of(config.model_copy(update={"limit_s": limit_s}))
        runtime = runtime_named(config.runtime, project.limits)
        result = bench_groups(groups, sized(project, settings), runtime=runtime, limits=project.limits)
        found.append(result.to_json())
    return found


def in_turns(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """Return names in groups whose sizes add up to at most ``most``, in order; one that is larger is alone.

    >>> in_turns({"a": 2, "b": 2, "c": 5, "d": 1}, 4)
    [['a', 'b'], ['c'], ['d']]
    """
    groups: list[list[str]] = [[]]
    total = 0
    for name, size in sizes.items():
        if groups[-1] and total + size > most:
            groups.append([])
            total = 0
        groups[-1].append(name)
        total += size
    return groups


def _by_name(measurements: Sequence[Json]) -> dict[str, Json]:
    """Return the rows of all measurements; that of the single-task models is the first one's."""
    found: dict[str, Json] = {}
    for measurement in measurements:
        speed_ups = {ratio["name"]: ratio["speed_up"] for ratio in measurement["ratios"]}
        for model in measurement["models"]:
            row = {
                "latency_ms": model["p50_ms"],
                "interval_ms": model["p50_ci_ms"],
                "speed_up": speed_ups.get(model["name"], 1.0),
                "stable": model["stable"],
            }
            found.setdefault(model["name"], row)
    return found


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        advice = "delete the file; it is measured again"
        raise InvalidConfig(f"this is not JSON: {error}", place=str(path), advice=advice) from error
    # Another form is that of a run: a comparison must not be put into its folder.
    return found if isinstance(found, dict) and {"asked", "measurements"} <= found.keys() else None
