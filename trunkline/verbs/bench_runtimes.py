"""The same models on several runtimes and at several batch sizes, each measured by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trunkline.bench.agreement import ReferenceOutputs
from trunkline.bench.compare import Comparison
from trunkline.bench.models import bench_files
from trunkline.bench.protocol import Progress
from trunkline.bench.runtimes.registry import DEFAULT_RUNTIME, runtime_class
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig
from trunkline.limits import DEFAULT_LIMITS, Limits


def bench_runtimes(
    models: Sequence[str | Path],
    settings: Settings | None = None,
    *,
    runtimes: Sequence[str] = (DEFAULT_RUNTIME,),
    provider: str | None = None,
    batches: Sequence[int] = (),
    footprint: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Comparison:
    """Measure model files on each runtime at each batch size, against the first model there.

    Candidates take turns within a runtime, not across: the threads of two runtimes would get in each other's way.

    Args:
        models: Each a file, or several joined by ``+``.
        settings: How; its ``batch`` is for where ``batches`` is empty, and its ``provider`` is replaced.
        runtimes: Names of runtimes. Outputs of all but onnxruntime on the CPU are compared with onnxruntime's there,
            where that can run the files.
        provider: What they run on; each runtime's own where not given.
        batches: Images a run.
        footprint: Measure start-up and memory too, at the first batch size.
        limits: What a file may ask for.
        progress: Called with the rounds done and those to do, of each measurement.

    Returns:
        The first measurement, with the others in ``further``.

    Raises:
        InvalidConfig: A runtime is unknown or does not run on the provider, or something is asked for twice.
        InvalidModel: A file is missing or cannot be loaded.
        WorkFailed: A runtime is not installed, or cannot run a model.
    """
    settings = settings or Settings()
    batches = tuple(batches) or (settings.batch,)
    _require_once(runtimes, "bench.runtime")
    _require_once(batches, "bench.batch")
    kinds = [runtime_class(name) for name in runtimes]
    # All of them before the first is measured: a mistake in the last would else be told after minutes.
    for kind in kinds:
        kind.require(replace(settings, provider=provider or kind.providers[0]))
    found: list[Comparison] = []
    for batch in batches:
        at_batch = replace(settings, batch=batch)
        reference = ReferenceOutputs(at_batch, limits)
        for kind in kinds:
            mine = replace(at_batch, provider=provider or kind.providers[0])
            is_reference = kind.name == DEFAULT_RUNTIME and mine.provider == "cpu"
            compared = bench_files(
                models,
                mine,
                runtime=kind(limits),
                limits=limits,
                reference=None if is_reference else reference,
                footprint=footprint and batch == batches[0],
                progress=progress,
            )
            found.append(compared)
    return replace(found[0], further=tuple(found[1:]))


def _require_once(given: Sequence[object], place: str) -> None:
    if not given:
        raise InvalidConfig("nothing is asked for", place=place, advice="give at least one")
    twice = [str(each) for number, each in enumerate(given) if each in given[:number]]
    if twice:
        raise InvalidConfig(f"{', '.join(twice)} is asked for twice", place=place, advice="give it once")
