"""MTAN (Liu et al. 2019): one shared backbone, and beside it for each task attention that picks what it needs of it.

At stage s of the backbone let b_s be the map before its last block and u_s the one behind it. Task t has

    a_1^t = m_1^t · u_1                    m_1^t = att_1^t(b_1)
    a_s^t = m_s^t · u_s                    m_s^t = att_s^t([b_s, r_{s-1}(a_{s-1}^t)])

where att is 1×1 convolution, BatchNormalization, ReLU, 1×1 convolution, BatchNormalization, sigmoid, and the task's
head reads the last a_s^t. The refinement r_s is one for all tasks: its weights are shared, though each task gives it
another map, for which it has running statistics of its own. Nothing is searched, and the backbone is run once.
"""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field

from trunkline.fragments.joins.refine import Form
from trunkline.fragments.layers import Rectifier
from trunkline.fragments.map_size import Size, map_size
from trunkline.sharing.join import Join, Read
from trunkline.sharing.layouts.plans import all_shared
from trunkline.supermodel.methods.base import Method, MethodOptions
from trunkline.supermodel.methods.columns import joined_plan
from trunkline.supermodel.methods.stages import Stage, find_stages, stages_ending_with
from trunkline.supermodel.work import Found, Work

QUARTER = 4
"""What the hidden channels are divided by beside networks of bottlenecks."""


class MtanOptions(MethodOptions):
    """What can be set about MTAN."""

    stages: tuple[str, ...] = Field((), description="blocks that stages end with, by name or number; found if absent")
    refinement: Form = Field("plain", description="a 3x3 convolution, or a bottleneck as in a ResNet")
    reduction: int | None = Field(
        None, ge=1, description="divides a mask's hidden channels; 1 for plain, 4 for bottleneck if absent"
    )
    separable: bool = Field(False, description="refine by depthwise separable 3x3 convolutions, as for MobileNetV2")
    rectifier: Rectifier = Field("relu", description="or relu6, as for MobileNetV2")
    mask_start: Annotated[float, Field(allow_inf_nan=False)] = Field(
        0.0, description="the masks start around the sigmoid of this; the larger, the more like multi-task"
    )


class Mtan(Method[MtanOptions]):
    """One backbone with attention beside it; see the module's text."""

    name = "mtan"
    kind = "soft"
    units = "blocks"
    needs = "nothing beside the final training, in which backbone and attention learn together"
    decides = "nothing: where each task looks is trained with the weights"
    yields = "one backbone, and attention beside it for each task"
    source = "Liu, Johns, Davison: End-to-End Multi-Task Learning with Attention (CVPR 2019)"
    Options = MtanOptions

    def find(self, work: Work) -> Found:
        """Put attention beside one shared backbone."""
        setup = self.setup
        return Found(joined_plan(all_shared(setup.backbone, setup.tasks), setup.backbone, self.joins(), self.name))

    def joins(self) -> list[Join]:
        """Return the attention of each stage and task, and the refinements between; a single task has none."""
        tasks, stages = self.setup.tasks, self._stages()
        if len(tasks) == 1:
            return []
        joins = []
        for number, (stage, following) in enumerate(itertools.zip_longest(stages, stages[1:])):
            joins += [self._attention(number, stage, task, is_last=following is None) for task in tasks]
            if following is not None:
                joins += [self._refinement(number, stage, following, task) for task in tasks]
        return joins

    def _stages(self) -> list[Stage]:
        ends, backbone = self.options.stages, self.setup.backbone
        return stages_ending_with(backbone, ends) if ends else find_stages(backbone)

    def _attention(self, number: int, stage: Stage, task: str, *, is_last: bool) -> Join:
        reads = [Read.column(stage.after, task), Read.column(stage.before, task)]
        if number:
            reads.append(Read.of(_refined(number - 1, task)))
        channels, _, _ = self._size(stage)
        return Join(
            name=f"attention{number}.{task}",
            kind="attention",
            settings={
                "hidden": max(1, channels // self._reduction),
                "rectifier": self.options.rectifier,
                "start": self.options.mask_start,
            },
            site=stage.after,
            task=task,
            reads=tuple(reads),
            gives="tap" if is_last else "joins",
        )

    def _refinement(self, number: int, stage: Stage, following: Stage, task: str) -> Join:
        channels, height, width = self._size(following)
        return Join(
            name=_refined(number, task),
            kind="refine",
            settings={
                "channels": channels,
                "size": [height, width],
                "form": self.options.refinement,
                "separable": self.options.separable,
                "rectifier": self.options.rectifier,
            },
            owner=f"refine{number}",  # of all tasks: one set of weights between two stages
            site=stage.after,
            task=task,
            reads=(Read.of(f"attention{number}.{task}"),),
            gives="joins",
        )

    @property
    def _reduction(self) -> int:
        if self.options.reduction is not None:
            return self.options.reduction
        return 1 if self.options.refinement == "plain" else QUARTER

    def _size(self, stage: Stage) -> Size:
        return map_size(self.setup.backbone.shapes[stage.after])


def _refined(number: int, task: str) -> str:
    return f"refine{number}.{task}"
