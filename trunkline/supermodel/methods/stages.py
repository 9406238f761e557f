"""The stages of a backbone: where columns meet, and the maps that attention beside a column reads.

1. Of a block counts the map that it hands on, or what it pools or resizes in the end: that leads to the next stage.
2. A stage is a run of blocks whose maps have one shape. Behind a pooling another begins, also where it keeps the size.
3. No stage is inside an inverted bottleneck: one or two single layers, the widening and the depthwise one, whose map
   is narrowed by what follows, no finer than it.
4. Before is the map of the block before the last. Where a run has one block, it is what the last layer in it reads.
5. What has no such map of its own size is a stem, or the way down alone, and no stage; but the last feature map is
   always the end of one, because heads read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.errors import InvalidConfig
from trunkline.fragments.map_size import map_size
from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.graph import name_of, shape_of
from trunkline.graph.maps.feature_map import Maps
from trunkline.sharing.backbone import Backbone
from trunkline.supermodel.methods.block_maps import BlockMap, block_maps, is_map
from trunkline.text import quoted


@dataclass(frozen=True, slots=True)
class Stage:
    """Maps of a stage, ``[N, C, h, w]``, by their names in the backbone.

    Attributes:
        before: The map before the last block, of the size of ``after``. Where there is none, it is ``after`` itself.
        after: The stage's map.
        gives: What the next stage reads: ``after``, or what it was pooled or resized to.
    """

    before: str
    after: str
    gives: str


def find_stages(backbone: Backbone) -> list[Stage]:
    """Return the stages of a backbone by the rules above; the last one ends in the last feature map.

    Raises:
        InvalidConfig: The backbone does not end in a map.

    >>> from trunkline.ingest.read import read
    >>> for stage in find_stages(Backbone(read("zoo:tiny"))):
    ...     print(stage.before, stage.after)
    stage1_block1_relu2 stage1_block2_relu2
    stage2_block1_relu2 stage2_block2_relu2
    stage3_block1_relu2 stage3_block2_relu2
    """
    return [stage for stage, _ in _staged_runs(backbone)]


def block_ends(backbone: Backbone) -> list[str]:
    """Return what every block hands on, by name and in order, and in the end the last feature map.

    What comes behind that, such as a decoder towards finer maps, is not run for a head that reads it alone.

    Raises:
        InvalidConfig: The backbone does not end in a map.
    """
    return [name_of(block.gives) for block in block_maps(backbone, Maps(backbone.graph))]


def stage_ends(backbone: Backbone) -> list[str]:
    """Return what every stage hands on, by name and in order: where columns meet.

    Raises:
        InvalidConfig: The backbone does not end in a map.

    >>> from trunkline.ingest.read import read
    >>> stage_ends(Backbone(read("zoo:tiny")))
    ['stage1_block2_relu2', 'stage2_block2_relu2', 'stage3_block2_relu2']
    """
    found = _staged_runs(backbone)
    if len(found) > 1:
        (_, before), (_, (last, *_)) = found[-2:]
        # A last map that is only pooled is what the stage before it hands on, and no stage of its own.
        follows = before[-1].number == last.number - 1 and not before[-1].is_pooled
        if follows and last.is_pooled and before[-1].size == map_size(shape_of(last.pooled)):
            del found[-2]
    return [stage.gives for stage, _ in found]


def stages_ending_with(backbone: Backbone, ends: Sequence[str]) -> list[Stage]:
    """Return the stages that end with these blocks, given by name or number, and a last one that ends as the backbone.

    Raises:
        InvalidConfig: There is no such block, or it hands on no map, or lies behind the last feature map; or the
            backbone does not end in a map.

    >>> from trunkline.ingest.read import read
    >>> stages_ending_with(Backbone(read("zoo:tiny")), ["2"])[0]
    Stage(before='stage1_block1_relu2', after='stage1_block2_relu2', gives='stage1_block2_relu2')
    """
    maps, table = Maps(backbone.graph), backbone.table("block")
    blocks = block_maps(backbone, maps)
    numbers = sorted({table.number(end) for end in ends} | {len(blocks) - 1})
    stages = []
    start = 0
    for number in numbers:
        if number >= len(blocks):
            text = f"block {quoted(table.names[number])} lies behind the last feature map, and no head reads it"
            raise InvalidConfig(text, advice="end stages with blocks before it")
        if not blocks[number].is_map:
            text = f"block {quoted(table.names[number])} hands on no map [N, C, h, w], so no stage ends there"
            raise InvalidConfig(text, advice="`inspect` lists the blocks and their shapes")
        group = blocks[start : number + 1]
        stages.append(_stage(_before(group, backbone, maps), group[-1]))
        start = number + 1
    return stages


def _staged_runs(backbone: Backbone) -> list[tuple[Stage, list[BlockMap]]]:
    """Return the stages by the rules above, each with its blocks."""
    maps = Maps(backbone.graph)
    runs = [run for run in _runs(block_maps(backbone, maps)) if run[0].is_map]
    found = []
    for number, run in enumerate(runs):
        is_last = number == len(runs) - 1
        before = _before(run, backbone, maps)
        if is_last or (before is not None and not _is_inner(runs[number:])):  # rules 3 and 5
            found.append((_stage(before, run[-1]), run))
    return found


def _runs(blocks: Sequence[BlockMap]) -> list[list[BlockMap]]:
    """Rule 2."""
    runs: list[list[BlockMap]] = []
    for block in blocks:
        before = runs[-1][-1] if runs else None
        goes_on = before is not None and not before.is_pooled and _alike(before, block)
        if goes_on:
            runs[-1].append(block)
        else:
            runs.append([block])
    return runs


def _alike(one: BlockMap, other: BlockMap) -> bool:
    both_maps = one.is_map and other.is_map
    return one.size == other.size if both_maps else one.is_map == other.is_map


def _stage(before: ir.Value | None, last: BlockMap) -> Stage:
    return Stage(name_of(last.map if before is None else before), name_of(last.map), name_of(last.gives))


def _before(blocks: Sequence[BlockMap], backbone: Backbone, maps: Maps) -> ir.Value | None:
    """Return the last map before that of the last block and as large as it, if there is one: rule 4."""
    last = blocks[-1]
    for value in [*(block.map for block in blocks[-2:-1]), *_read_inside(last)]:
        if value is backbone.graph.input or not is_map(value, maps):
            continue
        if map_size(shape_of(value))[1:] == last.size[1:]:
            return value
    return None


def _read_inside(block: BlockMap) -> Iterator[ir.Value]:
    """Yield what the layers of a block read, the last one's first."""
    for node in reversed(block.layers):
        yield from image_inputs_of(node)


def _is_inner(runs: Sequence[Sequence[BlockMap]]) -> bool:
    """Whether the first of these runs is what an inverted bottleneck has widened: rule 3."""
    first, *behind = runs
    channels, rows, columns = first[0].size
    if len(first) > 2 or any(len(block.layers) != 1 for block in first):
        return False
    for run in behind:
        narrower, *size = run[0].size
        # Its depthwise convolution keeps the width, and may be a run of its own where it goes down.
        if narrower != channels:
            return narrower < channels and size[0] <= rows and size[1] <= columns
    return False
