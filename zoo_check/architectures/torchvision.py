"""torchvision: classifiers, segmentation networks, and the backbones of its detectors."""

from __future__ import annotations

from typing import Final

from zoo_check.plan import Architecture, family

_TV: Final = "torchvision"
_RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
_SMALL_VIT = {"image_size": 64, "patch_size": 16, "num_layers": 4, "num_heads": 3, "hidden_dim": 192, "mlp_dim": 768}

ARCHITECTURES: tuple[Architecture, ...] = (
    *family("alexnet", "cnn", _TV, "alexnet", size=(224, 224), last="features"),
    # Its first linear layer has 103 million weights; a narrow one behind the same convolutions does as well.
    *family("vgg", "cnn", _TV, "vgg11_bn vgg16", size=(224, 224), last="features", arguments={"narrow": 256}),
    *family("squeezenet", "cnn", _TV, "squeezenet1_0 squeezenet1_1", last="features"),
    *family("resnet", "cnn", _TV, "resnet18 resnet50", last="layer4", stages=_RESNET_STAGES),
    *family("resnext", "cnn", _TV, "resnext50_32x4d", last="layer4", stages=_RESNET_STAGES),
    *family("densenet", "cnn", _TV, "densenet121", last="features"),
    *family("googlenet", "cnn", _TV, "googlenet", last="inception5b"),
    *family("inception", "cnn", _TV, "inception_v3", size=(96, 128), last="Mixed_7c"),
    *family("mobilenet", "cnn", _TV, "mobilenet_v2 mobilenet_v3_small mobilenet_v3_large", last="features"),
    *family("mnasnet", "cnn", _TV, "mnasnet0_5 mnasnet1_0", last="layers"),
    *family("shufflenet", "cnn", _TV, "shufflenet_v2_x0_5 shufflenet_v2_x1_0", last="conv5"),
    *family("efficientnet", "cnn", _TV, "efficientnet_b0 efficientnet_v2_s", last="features"),
    *family("regnet", "cnn", _TV, "regnet_x_400mf regnet_y_400mf", last="trunk_output"),
    *family("convnext", "cnn", _TV, "convnext_tiny", last="features"),
    *family("swin", "transformer", _TV, "swin_t swin_v2_t", last="permute"),
    *family("maxvit", "hybrid", _TV, "maxvit_t", size=(224, 224), last="blocks.3"),
    *family("vit", "transformer", _TV, "VisionTransformer", size=(64, 64), arguments=_SMALL_VIT),
    *family("torchvision segmentation", "cnn", _TV, "lraspp_mobilenet_v3_large fcn_resnet50"),
    *family("torchvision segmentation", "cnn", _TV, "deeplabv3_mobilenet_v3_large deeplabv3_resnet50"),
    *family("detection backbone", "cnn", _TV, "resnet_fpn_backbone", arguments={"backbone_name": "resnet18"}),
    *family(
        "detection backbone", "cnn", _TV, "mobilenet_backbone", arguments={"backbone_name": "mobilenet_v2", "fpn": True}
    ),
)
