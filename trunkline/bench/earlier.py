"""A measurement that was kept as JSON: read, checked, and held against what is measured now.

It is what ``bench --json`` or ``sweep --json`` printed, the ``bench.json`` of a run or of a comparison, or what the
program of a bundle wrote. Only a name, a median and its interval are needed of a model; of the rest, what is there must
agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trunkline.bench.environment import Environment
from trunkline.bench.settings import Settings
from trunkline.bench.statistics import Estimate
from trunkline.errors import InvalidConfig, problems_of
from trunkline.files.read import read_own
from trunkline.text import escaped

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Ends = tuple[Positive, Positive]
_ADVICE = "give what `trunkline bench --json` printed"
_PROVIDERS = {"CPUExecutionProvider": "cpu"}
"""What the program of a bundle calls a provider, as it has it from onnxruntime."""


class _Table(BaseModel):
    # Strict: a time in quotes, or a truth value for one, was not written by us. More keys than these are.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class EarlierInput(_Table):
    """An input as it was measured."""

    shape: list[int]


class EarlierModel(_Table):
    """A model as it was measured."""

    name: str
    p50_ms: Positive
    p50_ci_ms: Annotated[Ends, Field(strict=False)]
    provider: str | None = None
    threads: int | None = None
    stable: bool = True
    reason: str = ""
    inputs: list[EarlierInput] = []
    macs: int | None = None

    @model_validator(mode="after")
    def _ordered(self) -> EarlierModel:
        if not self.p50_ci_ms[0] <= self.p50_ms <= self.p50_ci_ms[1]:
            raise ValueError("p50_ms is not inside p50_ci_ms")
        return self

    @property
    def estimate(self) -> Estimate:
        """Its median."""
        return Estimate(self.p50_ms, *self.p50_ci_ms, count=0)


class EarlierRatio(_Table):
    """A model against the first one of its measurement."""

    name: str
    against: str
    ratio: Positive
    ci: Annotated[Ends, Field(strict=False)]

    @model_validator(mode="after")
    def _ordered(self) -> EarlierRatio:
        if not self.ci[0] <= self.ratio <= self.ci[1]:
            raise ValueError("ratio is not inside ci")
        return self

    @property
    def estimate(self) -> Estimate:
        """Median of the paired ratios."""
        return Estimate(self.ratio, *self.ci, count=0)


class EarlierSettings(_Table):
    """How it was measured."""

    batch: int | None = None
    provider: str | None = None
    precision: str | None = None
    threads: int | None = None
    spinning: bool | None = None


class EarlierEnvironment(_Table):
    """Where it was measured."""

    cpu: str | None = None
    gpu: str | None = None
    versions: dict[str, str] = {}


class EarlierMeasurement(_Table):
    """Models that took turns."""

    models: list[EarlierModel] = Field(min_length=1)
    ratios: list[EarlierRatio] = []
    settings: EarlierSettings = EarlierSettings()
    environment: EarlierEnvironment = EarlierEnvironment()
    runtime: str | None = None
    further: list[EarlierMeasurement] = []

    @model_validator(mode="after")
    def _names_once(self) -> EarlierMeasurement:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError("two models have the same name")
        return self

    def model(self, name: str) -> EarlierModel | None:
        """Return a model by its name."""
        return next((model for model in self.models if model.name == name), None)

    def ratio(self, name: str, against: str) -> EarlierRatio | None:
        """Return the ratio of a model to the first one."""
        return next((each for each in self.ratios if (each.name, each.against) == (name, against)), None)

    def differences(self, runtime: str, settings: Settings, environment: Environment) -> list[str]:
        """Return in words in what it was measured otherwise than now; what it does not say cannot differ."""
        first = self.models[0]
        is_gpu = settings.provider != "cpu"
        # The program of a bundle has no settings: it writes with each model what they were.
        then = self.settings
        pairs: list[tuple[str, object, object]] = [
            ("processor", self.environment.cpu, environment.cpu),
            # On a processor it does not matter which GPUs there are.
            ("GPU", self.environment.gpu if is_gpu else None, environment.gpu),
            ("runtime", self.runtime, runtime),
            ("provider", then.provider or _PROVIDERS.get(first.provider or ""), settings.provider),
            ("precision", then.precision, settings.precision),
            ("batch", then.batch, settings.batch),
            ("threads", then.threads or first.threads, settings.threads),
            ("spinning", then.spinning, settings.spinning),
        ]
        return [
            f"{what} {escaped(str(old))} then, {escaped(str(new))} now"
            for what, old, new in pairs
            if old is not None and old != new
        ]


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a file holds.

    Attributes:
        path: The file.
        measurements: All of its measurements.
    """

    path: Path
    measurements: tuple[EarlierMeasurement, ...]

    def comparable(self, runtime: str, settings: Settings, environment: Environment) -> list[EarlierMeasurement]:
        """Return the measurements that were made as this one would be.

        Raises:
            InvalidConfig: There is none; it says in what the most alike differs.
        """
        differences = [each.differences(runtime, settings, environment) for each in self.measurements]
        found = [each for each, other in zip(self.measurements, differences, strict=True) if not other]
        if not found:
            nearest = min(differences, key=len)
            text = f"this was measured otherwise: {'; '.join(nearest)}"
            raise InvalidConfig(text, place=str(self.path), advice="measure both alike, on the same machine")
        return found


def read_earlier(path: Path) -> Earlier:
    """Read a measurement that was kept.

    Raises:
        InvalidConfig: It is missing, no JSON, no measurement, or holds impossible numbers.
    """
    try:
        content = json.loads(read_own(path, "earlier measurement"))
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"this is not JSON: {escaped(str(error))}", place=str(path), advice=_ADVICE) from error
    if not isinstance(content, Mapping):
        raise InvalidConfig("this is no measurement", place=str(path), advice=_ADVICE)
    found = [each for table, part in _parts(content) for each in _checked(part, path, table)]
    if not found:
        raise InvalidConfig("there is no measurement in this", place=str(path), advice=_ADVICE)
    return Earlier(path, tuple(found))


def _parts(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the measurements of a file and where they stand: it is one, has one as ``bench``, or several."""
    several = content.get("measurements")
    if isinstance(several, Sequence):
        yield from ((f"measurements.{number}", each) for number, each in enumerate(several))
    elif "bench" in content:
        yield "bench", content["bench"]
    else:
        yield "", content


def _checked(content: Any, path: Path, table: str) -> list[EarlierMeasurement]:
    """Return a measurement and all further ones, which were made on the same machine."""
    try:
        first = EarlierMeasurement.model_validate(content)
    except ValidationError as error:
        raise InvalidConfig(problems_of(error, EarlierMeasurement, str(path), table)) from error
    others = [each.model_copy(update={"environment": first.environment}) for each in first.further]
    return [first, *others]
