"""The tables of a pipeline file. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from trunkline.bench.runtimes.registry import DEFAULT_RUNTIME, runtime_class
from trunkline.errors import InvalidConfig
from trunkline.export.fusion import FuseMode
from trunkline.graph.branching_rule import Branching, MergeDirection
from trunkline.recipe import Move, NotNegative, Optimiser, Phase, Positive, Schedule, Turn
from trunkline.supermodel.methods.registry import baseline_named
from trunkline.train.data.config import ConfigTable

Count = Annotated[int, Field(ge=1)]
Precision = Literal["float16", "bfloat16", "int8"]
"""What a file may compute in besides float32."""
INT8: Precision = "int8"
FREE_SIZE_IN_FULL = "only float32 files can have a free image size; leave out free_size, or the other precisions"
POST = "post"
"""The phase that trains a model whose sharing is decided."""


class BranchingConfig(ConfigTable):
    """``[branching]``: where tasks may part; see :class:`trunkline.graph.branching.Branching`.

    Attributes:
        merge: Which neighbour takes in what has no layers: ``previous`` or ``next``.
        after: Values or nodes after which tasks may part too.
        not_after: Values or nodes after which they may not.
    """

    merge: MergeDirection = "previous"
    after: tuple[str, ...] = ()
    not_after: tuple[str, ...] = ()

    @property
    def rule(self) -> Branching:
        """The rule that the table describes."""
        return Branching(self.merge, self.after, self.not_after)


class TaskConfig(ConfigTable):
    """``[tasks.NAME]``: a task of the data set, its head and its loss.

    Attributes:
        head: ``light``, ``aspp``, ``deeplabv3plus``, ``fpn``, ``linear`` or a model file; the pipeline's if absent.
        weight: λ of its loss; that of ``[train] loss_weights``, else 1, if absent.
        options: What the task's kind lets one choose, such as ``{space = "paper"}`` for normals.
    """

    head: str | None = None
    weight: NotNegative | None = None
    options: dict[str, Any] = Field(default_factory=dict)


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Turn our error into the kind that pydantic locates."""
    try:
        yield
    except InvalidConfig as error:
        # pydantic passes on one text only, so the advice goes into it.
        first = error.problems[0]
        raise ValueError(f"{first.message}; {first.advice}" if first.advice else first.message) from error


def _baseline(name: str) -> str:
    with _as_value_error():
        baseline_named(name)
    return name


class TrainConfig(ConfigTable):
    """``[train]``: how a model whose sharing is decided is trained, the found one in the same way as every baseline.

    Attributes:
        steps: Number of steps.
        batch_size: Samples per step, in searches too.
        optimiser: Kind, learning rate and other numbers of the optimiser.
        schedule: How the learning rate falls.
        per_user: Whether a weight's learning rate is divided by the number of tasks that use it.
        joint: One step on the summed loss; false: one step a task.
        loss_weights: λ by task, or by kind of task; 1 where neither is named.
        clip_norm: Greatest L2 norm of a gradient, in searches too; none for no clipping.
        eval_every: Steps between two evaluations, in searches too.
        checkpoint_every: Steps between two checkpoints, in searches too.
        start: ``scratch`` starts with the backbone's weights and draws all others, heads too; ``search`` goes on from
            the weights that the method ended with. If absent, the method decides.
        baselines: Fixed methods to compare with, trained in the same way: ``single-task``, ``multi-task``,
            ``share-until:BLOCK``, ``random:DRAW``, ``layout:FILE``, ``plan:FILE``.
        best_by: Keep the weights that were best in this: ``TASK.METRIC`` or ``relative``; the last ones if absent.
    """

    steps: Count = 2_000
    batch_size: Count = 8
    optimiser: Optimiser = Optimiser(lr=1e-3, betas=(0.5, 0.999), weight_decay=1e-4)
    schedule: Schedule = Schedule(kind="poly")
    per_user: bool = False
    joint: bool = True
    loss_weights: dict[str, NotNegative] = Field(default_factory=dict)
    clip_norm: Positive | None = None
    eval_every: Count = 200
    checkpoint_every: Count = 200
    start: Literal["scratch", "search"] | None = None
    baselines: tuple[Annotated[str, AfterValidator(_baseline)], ...] = ()
    best_by: str | None = None

    def phase(self, eval_split: str | None) -> Phase:
        """Return the phase that these settings amount to."""
        move = Move(optimiser=self.optimiser, schedule=self.schedule, per_user=self.per_user)
        return Phase(
            name=POST,
            steps=self.steps,
            turns=(Turn(moves=(move,), joint=self.joint),),
            clip_norm=self.clip_norm,
            eval_every=self.eval_every,
            eval_split=eval_split,
            checkpoint_every=self.checkpoint_every,
            best_by=self.best_by,
        )


class ExportConfig(ConfigTable):
    """``[export]``: how the file is written.

    Attributes:
        fold: Whether BatchNormalization is folded into convolutions, and computed weights are stored.
        fuse: Whether parallel convolutions become one: ``off``, ``on``, or ``measure``: where that proves faster here.
        parity_inputs: Number of random inputs on which the file must compute what the trained model does.
        free_size: Whether the image's height and width stay free in the file, where the network allows it.
        precisions: Other precisions to write too, each a file of its own beside the float32 one; not with a free size.
        calibration_images: Training images by which ``int8`` finds ranges.
        ranges: How: ``minmax``, ``entropy`` or ``percentile``.
        percentile: Of ``percentile``: how much of what is seen lies within, in percent.
        activations: ``unsigned`` for processors, ``signed`` for TensorRT, with biases in float32.
        max_drop: What a task's metrics may lose in ``int8``, in percent; what costs more stays in float32.
        keep: Parts that stay in float32: units of the backbone, or ``head of TASK``.
    """

    fold: bool = True
    fuse: FuseMode = "off"
    parity_inputs: Count = 32
    free_size: bool = False
    precisions: tuple[Precision, ...] = ()
    calibration_images: Count = 200
    ranges: Literal["minmax", "entropy", "percentile"] = "minmax"
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    activations: Literal["unsigned", "signed"] = "unsigned"
    max_drop: NotNegative = 1.0
    keep: tuple[str, ...] = ()

    @field_validator("precisions")
    @classmethod
    def _is_of_one_size(cls, precisions: tuple[Precision, ...], found: ValidationInfo) -> tuple[Precision, ...]:
        if precisions and found.data.get("free_size"):
            raise ValueError(FREE_SIZE_IN_FULL)
        return precisions


class BenchConfig(ConfigTable):
    """``[bench]``: how latency is measured; :class:`trunkline.bench.settings.Settings` says more.

    Attributes:
        runtime: What runs the models; docs/runtimes.md lists them.
        provider: Hardware that it uses; there is no silent fall-back to another.
        threads: Threads inside one operator.
        batch: Images in one run of a model.
        spinning: Whether idle threads burn cycles while they wait.
        samples: Rounds to measure at least.
        limit_s: Seconds after which no further round begins.
    """

    runtime: str = DEFAULT_RUNTIME
    # The default too is checked: not every runtime has a CPU.
    provider: Annotated[Literal["cpu", "cuda", "tensorrt"], Field(validate_default=True)] = "cpu"
    threads: Count = 1
    batch: Count = 1
    spinning: bool = False
    samples: Annotated[int, Field(ge=11)] = 100  # a median needs 11, as statistics.minimum_samples computes
    limit_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0

    @field_validator("runtime")
    @classmethod
    def _is_one(cls, name: str) -> str:
        with _as_value_error():
            runtime_class(name)
        return name

    @field_validator("provider")
    @classmethod
    def _is_of_the_runtime(cls, provider: str, found: ValidationInfo) -> str:
        # A runtime that is none is a problem of its own.
        if "runtime" in found.data:
            with _as_value_error():
                runtime_class(found.data["runtime"]).require_provider(provider)
        return provider
