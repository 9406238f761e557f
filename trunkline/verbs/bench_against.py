"""``bench --against``: the models that were measured now against a measurement that was kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trunkline.bench.compare import Comparison
from trunkline.bench.earlier import Earlier, EarlierMeasurement, EarlierModel, read_earlier
from trunkline.bench.environment import read_environment
from trunkline.bench.latency import Latency
from trunkline.bench.regression import Change, Compared, judged, ratio_of_independent
from trunkline.bench.settings import Settings
from trunkline.bench.statistics import Estimate
from trunkline.errors import InvalidConfig
from trunkline.text import escaped, quoted, shape_text
from trunkline.verbs.bench_runtimes import BenchedOn


def read_against(path: Path, settings: Settings, on: BenchedOn) -> Earlier:
    """Read a measurement, and refuse one that was made otherwise than the one to come, before that takes minutes.

    Args:
        path: What ``bench --json`` printed, or another of the forms that :mod:`trunkline.bench.earlier` names.
        settings: How models are to be measured.
        on: On what.

    Raises:
        InvalidConfig: It is no measurement, or was made on another processor, runtime, batch, …
    """
    earlier, environment = read_earlier(path), read_environment()
    for kind in on.kinds(settings):
        for batch in on.batches or (settings.batch,):
            own = on.settings_for(kind, replace(settings, batch=batch))
            earlier.comparable(kind.name, own, environment)
    return earlier


@dataclass(frozen=True, slots=True)
class Against:
    """A measurement with what changed.

    Attributes:
        result: The measurement; its ``against`` has a row for each model that is in both.
        notes: What could not be compared, and what else differs.
    """

    result: Comparison
    notes: tuple[str, ...]


def against(result: Comparison, earlier: Earlier, margin: float) -> Against:
    """Compare a measurement with an earlier one, model by model, by their names.

    Args:
        result: With its ``further`` ones.
        earlier: What was read.
        margin: What may differ between two days without being called a change; 0.05 for 5 %.

    Raises:
        InvalidConfig: Nothing has the same name, or a model was fed with images of another size.
    """
    changes: list[Change] = []
    notes = list(_versions(result, earlier))
    for one in (result, *result.further):
        old = earlier.comparable(one.runtime, one.settings, result.environment)
        found = _changes(one, old, margin, earlier.path)
        changes += found
        names = {change.name for change in found}
        missing = [latency.name for latency in one.latencies if latency.name not in names]
        where = f"{one.runtime}, batch {one.settings.batch}"
        notes += [f"{name} ({where}) is not in {earlier.path}" for name in missing]
    if not changes:
        there = dict.fromkeys(escaped(model.name) for each in earlier.measurements for model in each.models)
        text = "no model has the same name then and now"
        raise InvalidConfig(text, place=str(earlier.path), advice=f"it has {', '.join(there)}")
    notes += [_of_baseline(change) for change in changes if change.baseline and change.verdict != "same"]
    return Against(replace(result, against=tuple(changes)), tuple(notes))


def require_margin(percent: float) -> float:
    """Return a margin as a fraction.

    Raises:
        InvalidConfig: It is negative, or no number.
    """
    if not 0 <= percent < math.inf:
        raise InvalidConfig(f"--margin is {percent:g}", advice="give percent, 0 or more; 5 is usual")
    return percent / 100


def _changes(one: Comparison, old: Sequence[EarlierMeasurement], margin: float, path: Path) -> list[Change]:
    """Return what changed of each model of a measurement that is in one of the old ones."""
    found = []
    for latency in one.latencies:
        holding = [each for each in old if each.model(latency.name)]
        if holding:
            # Of several, one in which it took turns with the same baseline says more.
            measured = next((each for each in holding if _has_baseline(each, one)), holding[0])
            found.append(_change(one, latency, measured, margin, path))
    first = one.latencies[0].name
    is_baseline = any(change.compared != "latency" for change in found)
    return [replace(change, baseline=is_baseline and change.name == first) for change in found]


def _change(one: Comparison, latency: Latency, measured: EarlierMeasurement, margin: float, path: Path) -> Change:
    then = measured.model(latency.name)
    assert then is not None
    _require_same_inputs(latency, then, path)
    steady: dict[str, Latency | EarlierModel] = {"now": latency, "then": then}
    old, new = then.estimate, Estimate(latency.p50_ms, *latency.p50_ci_ms, count=len(latency.samples_ms))
    compared: Compared = "latency"
    ratios = _ratios(measured, one, latency.name)
    if ratios is not None:
        compared, (old, new) = "ratio to baseline", ratios
        first = one.latencies[0]
        steady |= {f"{first.name} now": first, f"{first.name} then": measured.models[0]}
    ratio = ratio_of_independent(old, new)
    reason = "; ".join(f"{when}: {each.reason or 'not steady'}" for when, each in steady.items() if not each.stable)
    return Change(
        name=latency.name,
        runtime=one.runtime,
        batch=one.settings.batch,
        old_ms=then.p50_ms,
        new_ms=latency.p50_ms,
        ratio=ratio.value,
        ci=ratio.interval,
        compared=compared,
        margin=margin,
        verdict=judged(ratio, margin, reason),
        reason=reason,
    )


def _has_baseline(measured: EarlierMeasurement, one: Comparison) -> bool:
    """Tell whether the first model of both is one and the same, as far as its name and work tell."""
    first, then = one.latencies[0], measured.models[0]
    now = one.macs.get(first.name)
    return then.name == first.name and (now is None or then.macs is None or now.total == then.macs)


def _ratios(measured: EarlierMeasurement, one: Comparison, name: str) -> tuple[Estimate, Estimate] | None:
    """Return a model's ratio to the baseline then and now; ``None`` where they have none in common, or it is that."""
    then = measured.ratio(name, one.latencies[0].name)
    now = next((ratio for ratio in one.ratios if ratio.name == name), None)
    if then is None or now is None or not _has_baseline(measured, one):
        return None
    return then.estimate, Estimate(now.ratio, *now.ci, count=0)


def _require_same_inputs(latency: Latency, then: EarlierModel, path: Path) -> None:
    old, new = [tuple(one.shape) for one in then.inputs], [one.shape for one in latency.inputs]
    if old and old != new:
        texts = (", ".join(shape_text(shape) for shape in shapes) for shapes in (old, new))
        text = "{} was fed with {} then, {} now".format(quoted(latency.name), *texts)
        raise InvalidConfig(text, place=str(path), advice="measure both at the same size")


def _versions(result: Comparison, earlier: Earlier) -> Iterator[str]:
    """Yield what software changed: that may be what made a model slower, so it is no reason to refuse."""
    old, new = earlier.measurements[0].environment, result.environment
    if old.cpu is None:
        yield f"{earlier.path} does not say on which processor it was measured"
    for package, version in old.versions.items():
        if new.versions.get(package, version) != version:
            yield f"{escaped(package)} {escaped(version)} then, {new.versions[package]} now"


def _of_baseline(change: Change) -> str:
    low, high = change.ci
    return (
        f"{change.name}, which ratios are to, takes {change.ratio:.2f} [{low:.2f}, {high:.2f}] times what it did: "
        "the machine is in another state, or it has changed itself"
    )
