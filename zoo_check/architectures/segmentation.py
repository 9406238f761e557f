"""segmentation-models-pytorch: its decoders, each with several encoders."""

from __future__ import annotations

from typing import Final

from zoo_check.plan import Architecture, Kind, family

_S: Final = "segmentation"


def _with(encoder: str, decoders: str, kind: Kind = "cnn", **settings: object) -> list[Architecture]:
    arguments = {"encoder_name": encoder}
    chosen = {"size": (64, 96), "variant": encoder, "arguments": arguments, **settings}
    return family("segmentation models", kind, _S, decoders, **chosen)  # type: ignore[arg-type]


ARCHITECTURES: tuple[Architecture, ...] = (
    *_with("resnet18", "Unet UnetPlusPlus FPN DeepLabV3Plus UPerNet MAnet Linknet"),
    *_with("resnet18", "PSPNet", size=(96, 144)),
    *_with("resnet18", "PAN", size=(128, 192)),
    *_with("mobilenet_v2", "Unet DeepLabV3 FPN"),
    *_with("efficientnet-b0", "UnetPlusPlus DeepLabV3Plus"),
    *_with("densenet121", "Unet"),
    *_with("tu-convnext_atto", "FPN UPerNet"),
    *_with("tu-mobilenetv3_small_100", "Linknet"),
    *_with("mit_b0", "Unet Segformer", kind="transformer"),
)
