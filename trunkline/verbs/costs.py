"""``costs``: measure what each unit of a pipeline's backbone takes, for a search that pays in milliseconds."""

from __future__ import annotations

from pathlib import Path

from trunkline.bench.protocol import Progress
from trunkline.bench.unit_times import UnitTimes, measure_units
from trunkline.errors import InvalidConfig
from trunkline.pipeline.project import Project
from trunkline.supermodel.methods.registry import method_named
from trunkline.text import quoted
from trunkline.verbs.bench import runtime_named, settings_of


def costs(project: Project, path: Path, *, progress: Progress | None = None) -> UnitTimes:
    """Measure the pipeline's backbone with the settings of its table ``[bench]``, and write the cost table to ``path``.

    Where the pipeline's method chooses what joins read, the joins are measured with it.

    Raises:
        InvalidConfig: ``[bench]`` asks for a runtime or batch with which no cost table is measured.
        WorkFailed: The runtime or provider is not there, or a unit does not run or repeat on it.
    """
    config = project.config.bench
    if config.runtime != "onnxruntime":
        text = f"is {quoted(config.runtime)}; units are measured with onnxruntime, which runs them by themselves"
        raise InvalidConfig(text, place="bench.runtime", advice="leave it out")
    if config.batch != 1:
        text = f"is {config.batch}; a cost table holds the time of one image"
        raise InvalidConfig(text, place="bench.batch", advice="leave it out")
    settings = settings_of(config)
    runtime = runtime_named(config.runtime, project.limits)
    # The method itself is not made: it may want the very table that is to be measured.
    search = project.config.search
    joins = method_named(search.method).open_joins(project.setup, search.options)
    result = measure_units(project.backbone, settings, runtime, joins=joins, progress=progress)
    result.table.save(path)
    return result
