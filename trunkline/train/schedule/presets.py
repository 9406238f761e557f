"""Phases with the papers' numbers, by name, and where each number comes from.

``paper-*``: Table 7 and Appendix B of Zhang, Liu, Guan, "AutoMTL" (arXiv 2110.13076): steps, learning rates and their
decay, λ_reg, and one summed loss (Eq. 3). The paper gives no optimiser kinds, betas, weight decay or alternation;
those are the authors' release's.

``release-*``: what the release does where that differs: one step per task instead of a summed loss, another
learning rate while the policy is trained, no decay before post-training, a policy learning rate that falls to a
tenth after 10,000 steps, and the numbers of its notebooks.

``small`` and ``demo`` are ours: the same three phases in little time.

The temperature belongs to the model, not to the phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.recipe import Count, Mode, NotNegative, Optimiser, Phase, Positive, Schedule, Turn
from trunkline.train.tasks.registry import KindName

REGULARIZATION = "regularization"
CONSTANT = Schedule()
HALVED = Schedule(kind="step", size=4_000, gamma=0.5)


@dataclass(frozen=True, slots=True)
class Preset:
    """The numbers that differ between presets; see :class:`~trunkline.recipe.Phase` for their meaning.

    Attributes:
        steps: Steps of pre-training, policy training and post-training.
        alternate: Steps of the policy, then steps of the weights, in one cycle of policy training.
        regularization: λ_reg of the paper's Eq. 3.
        loss_weights: λ by kind of task, in all phases but those of ``search_loss_weights``.
        weight_lr: Learning rate of the weights in pre-training and post-training.
        search_lr: The same in policy training.
        search_kind: Optimiser of the weights in policy training.
        policy_lr: Learning rate of the policy.
        policy_decay: Schedule of the policy's learning rate.
        decay: Schedule of the weights' learning rate.
        decay_everywhere: False: only in post-training.
        joint: Whether tasks are summed before a step.
        search_loss_weights: λ by kind while the policy is trained, where different.
        batch_size: Samples per step.
        eval_every: Steps between two evaluations.
        checkpoint_every: Steps between two checkpoints.
        clip_norm: Greatest L2 norm of a turn's gradient; none for no clipping.
    """

    steps: tuple[Count, Count, Count]
    alternate: tuple[Count, Count]
    regularization: NotNegative
    loss_weights: Mapping[KindName, NotNegative]
    weight_lr: Positive = 1e-3
    search_lr: Positive = 1e-3
    search_kind: Literal["adam", "sgd"] = "sgd"
    policy_lr: Positive = 1e-2
    policy_decay: Schedule = CONSTANT
    decay: Schedule = HALVED
    decay_everywhere: bool = True
    joint: bool = True
    search_loss_weights: Mapping[KindName, NotNegative] | None = None
    batch_size: Count = 16
    eval_every: Count = 200
    checkpoint_every: Count = 200
    clip_norm: Positive | None = None


_CITYSCAPES: Mapping[str, float] = {"segmentation": 1.0, "depth": 1.0}
_NYUV2: Mapping[str, float] = {"segmentation": 5.0, "normals": 20.0, "depth": 5.0}
_TASKONOMY: Mapping[str, float] = {"segmentation": 1.0, "normals": 3.0, "depth": 2.0, "keypoints": 7.0, "edges": 7.0}


def _policy_drop(after: int) -> Schedule:
    """The release sets the policy's rate from 0.01 to 0.001 at step 10,000; ``after`` is that in policy steps."""
    return Schedule(kind="step", size=after, gamma=0.1, floor=0.1)


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "paper-cityscapes": Preset((10_000, 20_000, 30_000), (100, 400), 5e-4, _CITYSCAPES),
        "paper-nyuv2": Preset((10_000, 20_000, 30_000), (50, 50), 1e-3, _NYUV2),
        "paper-taskonomy": Preset(
            (20_000, 30_000, 50_000),
            (100, 400),
            5e-4,
            _TASKONOMY,
            weight_lr=1e-4,
            search_lr=1e-4,
            decay=Schedule(kind="step", size=10_000, gamma=0.3),
        ),
        "release-cityscapes": Preset(
            (10_000, 20_000, 30_000),
            (100, 400),
            5e-4,
            _CITYSCAPES,
            search_lr=1e-4,
            policy_decay=_policy_drop(2_000),
            decay_everywhere=False,
            joint=False,
        ),
        "release-nyuv2": Preset(
            (10_000, 20_000, 30_000),
            (50, 50),
            3e-3,
            _NYUV2,
            policy_decay=_policy_drop(5_000),
            decay_everywhere=False,
            joint=False,
            search_loss_weights={"segmentation": 3.0, "normals": 20.0, "depth": 3.0},
        ),
        "release-taskonomy": Preset(
            (10_000, 50_000, 30_000),
            (100, 400),
            5e-4,
            _TASKONOMY,
            search_lr=1e-4,
            policy_decay=_policy_drop(2_000),
            decay_everywhere=False,
            joint=False,
        ),
        "small": Preset(
            (500, 1_500, 2_000),
            (20, 60),
            1e-3,
            {},
            search_kind="adam",
            policy_lr=3e-2,
            decay=Schedule(kind="poly"),
            decay_everywhere=False,
            batch_size=8,
        ),
        "demo": Preset(
            (40, 120, 160),
            (10, 20),
            1e-3,
            {},
            search_kind="adam",
            policy_lr=1e-1,
            decay=Schedule(kind="poly"),
            decay_everywhere=False,
            batch_size=4,
            eval_every=80,
            checkpoint_every=40,
        ),
    }
)


def preset(name: str, replaced: Mapping[str, Any] | None = None) -> Preset:
    """Return the preset called ``name``, some of its numbers replaced.

    Raises:
        InvalidConfig: There is no such preset or number, or a number is out of range; all of them at once.
    """
    if name not in PRESETS:
        advice = did_you_mean(name, PRESETS) or f"known: {', '.join(PRESETS)}"
        raise InvalidConfig(f'there is no training preset "{name}"', place="preset", advice=advice)
    return _replaced(PRESETS[name], replaced) if replaced else PRESETS[name]


def _replaced(numbers: Preset, replaced: Mapping[str, Any]) -> Preset:
    known = [field.name for field in fields(Preset)]
    unknown = [
        Problem("unknown key", f"numbers.{key}", did_you_mean(key, known) or f"known keys: {', '.join(known)}")
        for key in replaced
        if key not in known
    ]
    if unknown:
        raise InvalidConfig(unknown)
    try:
        return TypeAdapter(Preset).validate_python({**{key: getattr(numbers, key) for key in known}, **replaced})
    except ValidationError as error:
        raise InvalidConfig(
            [Problem(item["msg"], ".".join(["numbers", *map(str, item["loc"])])) for item in error.errors()]
        ) from error


def search_phases(numbers: Preset, *, cost_weight: float = 0.0) -> list[Phase]:
    """Return "pre" and "policy" with these numbers.

    Args:
        numbers: Of a preset.
        cost_weight: λ of the term "cost", the expected executed cost, while the policy is trained. No paper has it.
    """
    pre, policy, _ = numbers.steps
    weights = Turn(optimiser=_adam(numbers), schedule=numbers.decay if numbers.decay_everywhere else CONSTANT)
    return [
        _phase(numbers, "pre", "average", pre, (weights,)),
        _phase(numbers, "policy", "sample", policy, (_policy_turn(numbers, cost_weight), _search_weights(numbers))),
    ]


def plain_phase(numbers: Preset, phase: str) -> Phase:
    """Return the phase that trains a model whose sharing is fixed, with these numbers.

    The paper trains its baselines with the settings of post-training, from scratch.
    """
    turn = Turn(optimiser=_adam(numbers), schedule=numbers.decay)
    return _phase(numbers, phase, "argmax", numbers.steps[2], (turn,))


def _phase(numbers: Preset, name: str, mode: Mode, steps: int, turns: tuple[Turn, ...]) -> Phase:
    return Phase(
        name=name,
        mode=mode,
        steps=steps,
        turns=turns,
        joint=numbers.joint,
        eval_every=numbers.eval_every,
        checkpoint_every=numbers.checkpoint_every,
        clip_norm=numbers.clip_norm,
    )


def _adam(numbers: Preset) -> Optimiser:
    return Optimiser(kind="adam", lr=numbers.weight_lr, betas=(0.5, 0.999), weight_decay=1e-4)


def _policy_turn(numbers: Preset, cost_weight: float) -> Turn:
    terms = {REGULARIZATION: numbers.regularization}
    return Turn(
        name="policy",
        steps=numbers.alternate[0],
        split="train2",
        group="policy",
        optimiser=Optimiser(kind="adam", lr=numbers.policy_lr, weight_decay=5e-4),
        schedule=numbers.policy_decay,
        terms={**terms, "cost": cost_weight} if cost_weight else terms,
    )


def _search_weights(numbers: Preset) -> Turn:
    optimiser = _adam(numbers).model_copy(update={"lr": numbers.search_lr})
    if numbers.search_kind == "sgd":
        optimiser = Optimiser(kind="sgd", lr=numbers.search_lr, momentum=0.9, weight_decay=1e-4)
    return Turn(
        name="weights",
        steps=numbers.alternate[1],
        split="train1",
        optimiser=optimiser,
        schedule=numbers.decay if numbers.decay_everywhere else CONSTANT,
    )
