"""The same models on several runtimes and at several batch sizes, each measured by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trunkline.bench.agreement import ReferenceOutputs
from trunkline.bench.compare import Comparison
from trunkline.bench.models import bench_groups, named_groups
from trunkline.bench.protocol import Progress
from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.registry import DEFAULT_RUNTIME, runtime_class
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig
from trunkline.limits import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class BenchedOn:
    """On what models are measured.

    Attributes:
        runtimes: Names of runtimes. Outputs of all but onnxruntime on the CPU are compared with onnxruntime's there,
            where that can run the files.
        provider: What they run on; each runtime's own where not given.
        batches: Images a run; those of the settings where none are given.
        footprint: Measure start-up and memory too, at the first batch size.
    """

    runtimes: Sequence[str] = (DEFAULT_RUNTIME,)
    provider: str | None = None
    batches: Sequence[int] = ()
    footprint: bool = False

    def kinds(self, settings: Settings) -> list[type[Runtime]]:
        """Return the runtimes.

        Raises:
            InvalidConfig: One is unknown or does not run on the provider, or something is asked for twice.
        """
        _require_once(self.runtimes, "bench.runtime")
        _require_once(self.batches or (settings.batch,), "bench.batch")
        kinds = [runtime_class(name) for name in self.runtimes]
        # All of them before the first is measured: a mistake in the last would else be told after minutes.
        for kind in kinds:
            kind.require(self.settings_for(kind, settings))
        return kinds

    def settings_for(self, kind: type[Runtime], settings: Settings) -> Settings:
        """Return the settings for one runtime."""
        return replace(settings, provider=self.provider or kind.providers[0])


ONCE = BenchedOn()


def bench_runtimes(
    models: Sequence[str | Path],
    settings: Settings | None = None,
    on: BenchedOn = ONCE,
    *,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Comparison:
    """Measure model files on each runtime at each batch size, against the first model there.

    Args:
        models: Each a file, or several joined by ``+``.
        settings: How; its ``provider`` is replaced.
        on: On what.
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
    on.kinds(settings)
    return bench_groups_on(named_groups(models), settings, on, limits=limits, progress=progress)


def bench_groups_on(
    groups: Mapping[str, Sequence[Path]],
    settings: Settings,
    on: BenchedOn,
    *,
    optional: Collection[str] = (),
    finish: Callable[[Comparison], Comparison] = lambda compared: compared,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Comparison:
    """Measure named candidates, each one file or several, on each runtime at each batch size.

    Candidates take turns within a runtime, not across: the threads of two runtimes would get in each other's way.

    Args:
        groups: Files by name; what all others are compared with comes first.
        settings: How; its ``provider`` is replaced.
        on: On what.
        optional: Names that are left out of a measurement, with the reason, where a runtime cannot load them.
        finish: Adds to each measurement what is known besides.
        limits: What a file may ask for.
        progress: Called with the rounds done and those to do, of each measurement.

    Raises:
        InvalidConfig: As :func:`bench_runtimes`.
        InvalidModel: A file cannot be loaded.
        WorkFailed: A runtime is not installed, or cannot run a model.
    """
    kinds = on.kinds(settings)
    batches = tuple(on.batches) or (settings.batch,)
    found: list[Comparison] = []
    for batch in batches:
        at_batch = replace(settings, batch=batch)
        reference = ReferenceOutputs(at_batch, limits)
        for kind in kinds:
            mine = on.settings_for(kind, at_batch)
            is_reference = kind.name == DEFAULT_RUNTIME and mine.provider == "cpu"
            compared = bench_groups(
                groups,
                mine,
                runtime=kind(limits),
                limits=limits,
                reference=None if is_reference else reference,
                footprint=on.footprint and batch == batches[0],
                optional=optional,
                progress=progress,
            )
            found.append(finish(compared))
    return replace(found[0], further=tuple(found[1:]))


def _require_once(given: Sequence[object], place: str) -> None:
    if not given:
        raise InvalidConfig("nothing is asked for", place=place, advice="give at least one")
    twice = [str(each) for number, each in enumerate(given) if each in given[:number]]
    if twice:
        raise InvalidConfig(f"{', '.join(twice)} is asked for twice", place=place, advice="give it once")
