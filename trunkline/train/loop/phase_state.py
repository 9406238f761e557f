"""How far a phase has come: the content of a checkpoint's ``state.json``, and whether a run may go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.recipe import Phase
from trunkline.train.loop.evaluate import Metrics, metrics_from_json
from trunkline.train.run_folder.changed_settings import changed_settings

_WITHOUT_EFFECT = {"log_every", "checkpoint_every", "keep"}
"""Settings that may change at a resume: they alter no number."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best evaluation of a component.

    Attributes:
        step: Steps completed at it.
        score: See :class:`~trunkline.train.loop.evaluate.BestMetric`.
    """

    step: int
    score: float


@dataclass(frozen=True, slots=True)
class PhaseState:
    """How far a phase has come.

    Attributes:
        step: Steps completed.
        evaluated: Steps completed at the last evaluation; 0 for none yet.
        metrics: The metrics of the last evaluation.
        best: The best evaluation by component; empty where nothing is compared.
    """

    step: int = 0
    evaluated: int = 0
    metrics: Metrics = field(default_factory=dict)
    best: Mapping[str, Best] = field(default_factory=dict)

    def to_state(self, phase: Phase, seed: int) -> dict[str, Any]:
        """Return plain JSON content."""
        return {
            "phase": phase.name,
            "seed": seed,
            "settings": phase.model_dump(mode="json"),
            "step": self.step,
            "evaluated": self.evaluated,
            "metrics": self.metrics,
            "best": {component: asdict(best) for component, best in self.best.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PhaseState:
        """Return what :meth:`to_state` wrote; metrics that were NaN are NaN again."""
        best = {component: Best(**content) for component, content in state["best"].items()}
        return cls(state["step"], state["evaluated"], metrics_from_json(state["metrics"]), best)


def require_same_run(state: Mapping[str, Any], phase: Phase, seed: int, place: str, *, needs_total: bool) -> None:
    """Refuse to go on from a checkpoint of a run with other settings.

    Args:
        state: What :meth:`PhaseState.to_state` wrote.
        phase: The phase as it is set now.
        seed: The run's seed now.
        place: The checkpoint's path, for the message.
        needs_total: Whether a step depends on how many there will be. Otherwise more are allowed than before.

    Raises:
        InvalidConfig: Every setting that differs.
    """
    free = set(_WITHOUT_EFFECT)
    # With a schedule over all steps (`poly`, `cosine`, a temperature that falls to the end), those done so far would
    # have had other rates, or another temperature.
    if not needs_total and state["step"] <= phase.steps:
        free.add("steps")
    old = {**state["settings"], "seed": state["seed"]}
    new = {**phase.model_dump(mode="json"), "seed": seed}
    advice = f"set it back, or use another run folder (checkpoint: {place})"
    problems = changed_settings(old, new, advice, prefix=f"{phase.name}.", free=free)
    if problems:
        raise InvalidConfig(problems)
