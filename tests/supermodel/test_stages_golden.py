"""Stages: which maps attention reads, rule by rule, on networks of every kind."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import pytest
from backbones import BACKBONES, two_taps, unit
from decoders import decoded, doubled, pyramid

from trunkline.errors import InvalidConfig
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.ingest.read import read
from trunkline.sharing.backbone import Backbone
from trunkline.supermodel.methods.stages import find_stages, stage_ends, stages_ending_with

pytestmark = pytest.mark.golden

Pairs = list[tuple[str, str]]


def pairs(graph: Graph, ends: Sequence[str] = ()) -> Pairs:
    backbone = Backbone(graph)
    stages = stages_ending_with(backbone, ends) if ends else find_stages(backbone)
    return [(stage.before, stage.after) for stage in stages]


def pool(b: GraphBuilder, x: ir.Value, name: str, stride: int = 2) -> ir.Value:
    pads = [0] * 4 if stride == 2 else [0, 0, 1, 1]
    attributes = {"kernel_shape": [2, 2], "strides": [stride] * 2, "pads": pads, "dilations": [1, 1], "ceil_mode": 0}
    return b.node("MaxPool", [x], name=name, attributes=attributes)


def vgg(last_is_pooled: bool = False) -> Graph:
    """Two layers of 4 channels, two of 6, three of 8, with a pooling behind each."""
    b = GraphBuilder("vgg")
    x = b.image("image", (3, 32, 32))
    for stage, (channels, count) in enumerate([(4, 2), (6, 2), (8, 3)]):
        for number in range(count):
            x = unit(b, x, f"c{stage}{number}", channels)
        if stage < 2 or last_is_pooled:
            x = pool(b, x, f"pool{stage}")
    return b.finish([x])


def test_stages_of_a_chain_end_before_pooling() -> None:
    """As beside SegNet: the pooling leads to the next stage."""
    assert pairs(vgg()) == [
        ("c00_relu", "c01_relu"),
        ("c10_relu", "c11_relu"),
        ("c21_relu", "c22_relu"),
    ]


def test_the_last_map_ends_a_stage() -> None:
    """It is what heads read, pooled or not. Where nothing of its size comes before, the mask is made of itself."""
    assert pairs(vgg(last_is_pooled=True))[2:] == [("c20_relu", "c21_relu"), ("pool2", "pool2")]


def test_columns_meet_behind_the_poolings() -> None:
    """Of a VGG, as in Cross-Stitch and NDDR-CNN; the third pooling is the third stage's, and no fourth."""
    assert stage_ends(Backbone(vgg())) == ["pool0", "pool1", "c22_relu"]
    assert stage_ends(Backbone(vgg(last_is_pooled=True))) == ["pool0", "pool1", "pool2"]
    for dilated in (False, True):
        assert stage_ends(Backbone(vgg16(dilated))) == [f"pool{number}" for number in range(1, 6)]


def test_a_stage_before_a_last_layer_is_kept() -> None:
    """It is as large as what the last layer pools, but another is between them."""
    b = GraphBuilder("kept")
    x = unit(b, b.image("image", (3, 32, 32)), "stem", 8, stride=2)
    for name, channels in (("a0", 8), ("a1", 8), ("a2", 8), ("wide", 16), ("last", 8)):
        x = unit(b, x, name, channels)
    assert stage_ends(Backbone(b.finish([pool(b, x, "pool")]))) == ["a2_relu", "pool"]


def vgg16(dilated: bool) -> Graph:
    """VGG16's convolutions, narrower: the fourth and the fifth stage are as wide as each other.

    Args:
        dilated: Whether the last two poolings keep the size, as in DeepLab's, which NDDR-CNN trains.
    """
    b = GraphBuilder("vgg16")
    x = b.image("image", (3, 64, 64))
    for stage, (channels, count) in enumerate([(4, 2), (8, 2), (12, 3), (16, 3), (16, 3)], start=1):
        for number in range(count):
            x = unit(b, x, f"c{stage}{number}", channels)
        x = pool(b, x, f"pool{stage}", 1 if dilated and stage > 3 else 2)
    return b.finish([x])


def test_columns_meet_behind_runs_of_inverted_bottlenecks() -> None:
    """No widened map between two of them: the ends are those of MobileNetV2's own seven stages, and the last layer."""
    ends = stage_ends(Backbone(read("zoo:mobilenetv2")))
    assert ends == [after for _, after in pairs(read("zoo:mobilenetv2"))] and len(ends) == 8


def test_stages_of_residual_networks() -> None:
    """Four of a ResNet-34, as in the papers that put attention beside one: its stem is none."""
    assert pairs(read("zoo:deeplab_resnet34")) == [
        (f"stage{stage}_block{last - 1}_relu2", f"stage{stage}_block{last}_relu2")
        for stage, last in ((1, 3), (2, 4), (3, 6), (4, 3))
    ]


def test_a_block_alone_is_read_inside() -> None:
    """What its last layer reads, of the map's own size."""
    assert pairs(BACKBONES["residual"]()) == [("stem_relu", "a_relu"), ("b1_relu", "b_relu")]
    assert pairs(two_taps()) == [("stem_relu", "low"), ("b1_relu", "high")]


def test_no_stage_inside_inverted_bottlenecks() -> None:
    """MobileNetV2 has a stage for each run of its blocks, and the last convolution."""
    found = pairs(read("zoo:mobilenetv2"))
    assert [after for _, after in found] == [
        "stage1_block1_project_bn",
        *("stage2_block2_add", "stage3_block3_add", "stage4_block4_add", "stage5_block3_add", "stage6_block3_add"),
        *("stage7_block1_project_bn", "conv_last_relu"),
    ]
    assert found[1][0] == "stage2_block1_project_bn" and found[6][0] == "stage7_block1_depthwise_relu"


def test_a_narrower_layer_ends_nothing() -> None:
    """Three layers are a stage though what follows is narrower, and so are blocks of several layers."""
    b = GraphBuilder("narrow")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 4, stride=2)
    for number in range(3):
        x = unit(b, x, f"wide{number}", 8)
    x = unit(b, x, "narrow", 6)
    y = unit(b, unit(b, x, "b1", 6), "b2", 6, relu=False)
    x = b.node("Add", [x, y], name="sum")
    assert pairs(b.finish([unit(b, x, "last", 5)])) == [
        ("wide1_relu", "wide2_relu"),
        ("narrow_relu", "sum"),
        ("sum", "last_relu"),
    ]


def test_one_size_is_not_one_shape() -> None:
    """Stages of a dilated network differ in channels alone."""
    assert [after for _, after in pairs(read("zoo:tiny"))] == [f"stage{number}_block2_relu2" for number in (1, 2, 3)]


def channels_last() -> Graph:
    """A layer on [N, H, W, C] between convolutions."""
    b = GraphBuilder("turned")
    x = b.image("image", (3, 12, 12))
    for name in ("c0", "c1", "c2"):
        x = unit(b, x, name, 12)
    x = b.node("Transpose", [x], name="there", attributes={"perm": [0, 2, 3, 1]})
    for name in ("m0", "m1"):
        kernel = b.weight(f"{name}.weight", (12, 12), Filler("msra"))
        x = b.node("Relu", [b.node("MatMul", [x, kernel], name=name)], name=f"{name}_relu")
    x = b.node("Transpose", [x], name="back", attributes={"perm": [0, 3, 1, 2]})
    return b.finish([unit(b, unit(b, x, "c3", 12), "c4", 12)])


def test_only_maps_with_channels_first_count() -> None:
    """All sizes are alike here, and only the axes tell: behind c2, and in the middle, maps are [N, H, W, C]."""
    assert pairs(channels_last()) == [("c0_relu", "c1_relu"), ("c3_relu", "c4_relu")]


def test_stages_of_a_decoder() -> None:
    """A resize leads to the next stage, as a pooling does. That is narrower, but finer, so no bottleneck."""
    b = GraphBuilder("decoder")
    x = unit(b, unit(b, b.image("image", (3, 16, 16)), "c0", 8, stride=2), "c1", 8)
    for name in ("d0", "d1"):
        x = doubled(b, x, f"{name}_up") if name == "d0" else x
        x = unit(b, x, name, 6)
    assert pairs(b.finish([x])) == [("c0_relu", "c1_relu"), ("d0_relu", "d1_relu")]


def test_a_stem_is_no_stage() -> None:
    """Neither where it goes down, nor where it reads the image at its own size."""
    for stride in (1, 2):
        b = GraphBuilder("stem")
        x = unit(b, b.image("image", (3, 16, 16)), "stem", 4, stride=stride)
        graph = b.finish([unit(b, unit(b, x, "c0", 6, stride=2), "c1", 6)])
        assert pairs(graph) == [("c0_relu", "c1_relu")]


def test_the_last_layer_of_a_block_counts() -> None:
    """Of a bottleneck that is alone, what its third layer reads; the shortcut's is the first one here."""
    b = GraphBuilder("bottleneck")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 4, stride=2)
    short = unit(b, x, "short", 8, stride=2, relu=False)
    y = unit(b, unit(b, x, "r1", 4, stride=2), "r2", 4)
    graph = b.finish([b.node("Add", [short, unit(b, y, "r3", 8, relu=False)], name="sum")])
    assert pairs(graph) == [("r2_relu", "sum")]


def test_what_follows_the_last_map_is_no_stage() -> None:
    """Attention ends where the heads read, and a stage cannot be asked for behind it."""
    assert pairs(decoded()) == [("c0_relu", "c1_relu"), ("c2_relu", "c3_relu")]
    with pytest.raises(InvalidConfig, match='block "fine" lies behind the last feature map'):
        pairs(decoded(), ["fine"])


def test_layers_behind_the_last_map_count_not() -> None:
    """A pyramid goes on from it within the block: nothing of that is there when the stage ends."""
    assert pairs(pyramid()) == [("c0_relu", "c1_relu"), ("c2_relu", "c3_relu")]


def test_stages_that_are_asked_for() -> None:
    """By name or number, in any order; the last map always ends one."""
    for ends in (["stage2_block2_conv1", "1"], ["1", "4"], ["4", "1", "1"], ["1", "4", "6"]):
        assert pairs(read("zoo:tiny"), ends) == [
            ("conv1_relu", "stage1_block1_relu2"),
            ("stage2_block1_relu2", "stage2_block2_relu2"),
            ("stage3_block1_relu2", "stage3_block2_relu2"),
        ]
    # A block alone is read inside, whatever was before it.
    assert pairs(read("zoo:tiny"), ["1", "2"])[1] == ("stage1_block2_relu1", "stage1_block2_relu2")
    # A stem is a stage if it is asked for: nothing comes before it, so its mask is made of itself.
    assert pairs(read("zoo:tiny"), ["0"])[0] == ("conv1_relu", "conv1_relu")


def test_a_pooling_beside_a_branch() -> None:
    """A block whose layers make a map for heads alone hands on what it pools of the block before."""
    b = GraphBuilder("branch")
    x = unit(b, unit(b, b.image("image", (3, 16, 16)), "c0", 4), "c1", 4)
    side = unit(b, x, "side", 5)
    x = pool(b, x, "pool")
    found = pairs(b.finish([side, unit(b, unit(b, x, "c2", 6), "c3", 6)]))
    assert found == [("c0_relu", "c1_relu"), ("c2_relu", "c3_relu")]


@pytest.mark.abuse
def test_a_vector_has_no_mask() -> None:
    b = GraphBuilder("vector")
    x = unit(b, b.image("image", (3, 16, 16)), "c0", 4)
    x = b.node("GlobalAveragePool", [x], name="mean")
    graph = b.finish([b.node("Flatten", [x], name="flat", attributes={"axis": 1})])
    with pytest.raises(InvalidConfig, match=r'the last feature map .*, and "flat" is \[N, 4\]'):
        pairs(graph)


@pytest.mark.abuse
def test_stages_that_cannot_be() -> None:
    with pytest.raises(InvalidConfig, match='the backbone has no block "stage2_block2"\n  did you mean'):
        pairs(read("zoo:tiny"), ["stage2_block2"])
    with pytest.raises(InvalidConfig, match='block "m0" hands on no map'):
        pairs(channels_last(), ["m0"])
