"""Writes the packaged backbones from their tables: ``python -m trunkline.ingest.zoo.make``."""

from __future__ import annotations

import os
from pathlib import Path

from trunkline.ingest.zoo.sheet import Sheet
from trunkline.ingest.zoo.tables import NETS, InvertedNet, InvertedStage, ResidualNet


def text_of(net: ResidualNet | InvertedNet) -> str:
    """Return the prototxt of one architecture."""
    return _residual(net) if isinstance(net, ResidualNet) else _inverted(net)


def main(folder: Path = Path(__file__).parent) -> None:
    """Write every backbone into ``folder``, each file replaced in one step."""
    for net in NETS:
        target = folder / f"{net.name}.prototxt"
        scratch = target.with_suffix(".tmp")
        with scratch.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text_of(net))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(target)


def _residual(net: ResidualNet) -> str:
    sheet = Sheet(net.name, net.image)
    channels, kernel = net.stem
    sheet.conv("conv1", channels, kernel, stride=2)
    sheet.activation("conv1_relu", "ReLU")
    if net.pooled:
        sheet.max_pool("pool1", kernel=3, stride=2, pad=1)
    for number, stage in enumerate(net.stages, 1):
        for block in range(stage.blocks):
            stride = stage.stride if block == 0 else 1
            _basic_block(sheet, f"stage{number}_block{block + 1}", stage.channels, stride, stage.dilation)
    return sheet.text()


def _basic_block(sheet: Sheet, name: str, channels: int, stride: int, dilation: int) -> None:
    """He et al. 2016, figure 5 left; where the shape changes the shortcut is a 1x1 convolution (option B)."""
    start, width = sheet.blob, sheet.channels
    shortcut = start
    if stride != 1 or channels != width:
        sheet.conv(f"{name}_shortcut", channels, kernel=1, stride=stride)
        shortcut = sheet.blob
        sheet.blob = start  # the block's own convolutions read the same input
    sheet.conv(f"{name}_conv1", channels, kernel=3, stride=stride, dilation=dilation)
    sheet.activation(f"{name}_relu1", "ReLU")
    sheet.conv(f"{name}_conv2", channels, kernel=3, dilation=dilation)
    sheet.add(f"{name}_add", shortcut)
    sheet.activation(f"{name}_relu2", "ReLU")


def _inverted(net: InvertedNet) -> str:
    sheet = Sheet(net.name, net.image)
    sheet.conv("conv1", net.stem, kernel=3, stride=2)
    sheet.activation("conv1_relu", net.activation)
    for number, stage in enumerate(net.stages, 1):
        for block in range(stage.blocks):
            stride = stage.stride if block == 0 else 1
            _inverted_block(sheet, f"stage{number}_block{block + 1}", stage, stride, net.activation)
    sheet.conv("conv_last", net.last, kernel=1)
    sheet.activation("conv_last_relu", net.activation)
    return sheet.text()


def _inverted_block(sheet: Sheet, name: str, stage: InvertedStage, stride: int, activation: str) -> None:
    """Sandler et al. 2018, figure 4d: the input is added where the block keeps its shape."""
    start, width = sheet.blob, sheet.channels
    hidden = width * stage.expansion
    if stage.expansion != 1:
        sheet.conv(f"{name}_expand", hidden, kernel=1)
        sheet.activation(f"{name}_expand_relu", activation)
    sheet.conv(f"{name}_depthwise", hidden, stage.kernel, stride, group=hidden)
    sheet.activation(f"{name}_depthwise_relu", activation)
    sheet.conv(f"{name}_project", stage.channels, kernel=1)  # without an activation: a linear bottleneck
    if stride == 1 and stage.channels == width:
        sheet.add(f"{name}_add", start)


if __name__ == "__main__":
    main()
