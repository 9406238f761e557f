"""The weights at the end of a training: those of the last step, or each component's best ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trunkline.train.loop.evaluate import Metrics
from trunkline.train.loop.phase_state import PhaseState
from trunkline.train.loop.runner import Outcome
from trunkline.train.run_folder.checkpoint_file import read_checkpoint
from trunkline.twins.twin import Twin


@dataclass(frozen=True, slots=True)
class Kept:
    """The origin of a trained model's weights.

    Attributes:
        checkpoints: By task, the checkpoint whose weights its component has.
        steps: By task, the steps completed at that checkpoint.
        metrics: By task, the metrics at that checkpoint; empty where nothing was evaluated.
    """

    checkpoints: Mapping[str, Path]
    steps: Mapping[str, int]
    metrics: Metrics


def keep_best(twin: Twin, outcome: Outcome) -> Kept:
    """Give each component of ``twin`` the weights of its best checkpoint, where the phase has a ``best_by``.

    Components share nothing, so their weights fit together whatever steps they are from. A single-task model that is
    one of several in a Graph keeps what it would keep if it were trained alone.

    Args:
        twin: With the weights of the last step; changed in place.
        outcome: What its training came to.

    Raises:
        CorruptCheckpoint: A best checkpoint is not what was written.
    """
    checkpoints = dict.fromkeys(twin.output_names, outcome.checkpoint)
    steps = dict.fromkeys(twin.output_names, outcome.steps)
    metrics = dict(outcome.metrics)
    for component in twin.components():
        path = outcome.best.get(component.tasks[0])
        if path is None:
            continue
        best = read_checkpoint(path)
        own = {name: tensor for name, tensor in best.model.items() if name in component.weights}
        # Not strict: the other components' weights are those of other checkpoints.
        twin.load_weights(own, strict=False)
        state = PhaseState.from_state(best.state)
        for task in component.tasks:
            checkpoints[task], steps[task], metrics[task] = path, state.step, state.metrics[task]
    return Kept(checkpoints, steps, metrics)
