"""pytorchcv: many published networks whose authors' code is no longer kept."""

from __future__ import annotations

from typing import Final

from zoo_check.plan import Architecture, family

_P: Final = "pytorchcv"
# Classifiers for ImageNet end in a pooling of 7 x 7 and fit one size.
_IMAGENET = (224, 224)
_CIFAR = (32, 32)
_SCENE = (128, 192)

ARCHITECTURES: tuple[Architecture, ...] = (
    *family("scnet", "cnn", _P, "scnet50", size=_IMAGENET),
    *family("resattnet", "cnn", _P, "resattnet56", size=_IMAGENET),
    *family("octave", "cnn", _P, "octresnet10_ad2", size=_IMAGENET),
    *family("resnet", "cnn", _P, "resnet10 preresnet10", size=_IMAGENET),
    *family("senet", "cnn", _P, "senet16", size=_IMAGENET),
    *family("ibn", "cnn", _P, "ibn_resnet50", size=_IMAGENET),
    *family("airnet", "cnn", _P, "airnet50_1x64d_r2", size=_IMAGENET),
    *family("attention modules", "cnn", _P, "bam_resnet18 cbam_resnet18", size=_IMAGENET),
    *family("dianet", "cnn", _P, "diaresnet10", size=_IMAGENET),
    *family("dianet", "cnn", _P, "diaresnet20_cifar10", size=_CIFAR),
    *family("revnet", "cnn", _P, "revnet38", size=_IMAGENET),
    *family("shakeshake", "cnn", _P, "shakeshakeresnet20_2x16d_cifar10", size=_CIFAR),
    *family("cifar", "cnn", _P, "nin_cifar10 resnet20_cifar10 pyramidnet110_a48_cifar10", size=_CIFAR),
    *family("cifar", "cnn", _P, "densenet40_k12_bc_cifar10", size=_CIFAR),
    *family("diracnet", "cnn", _P, "diracnet18v2", size=_IMAGENET),
    *family("densenet", "cnn", _P, "condensenet74_c4_g4 peleenet", size=_IMAGENET),
    *family("drn", "cnn", _P, "drnc26", size=_IMAGENET),
    *family("darknet", "cnn", _P, "darknet19", size=_IMAGENET),
    *family("bagnet", "cnn", _P, "bagnet9", size=_IMAGENET),
    *family("espnet", "cnn", _P, "espnetv2_wd2", size=_IMAGENET),
    *family("dicenet", "cnn", _P, "dicenet_wd5", size=_IMAGENET),
    *family("hardnet", "cnn", _P, "hardnet39ds", size=_IMAGENET),
    *family("bninception", "cnn", _P, "bninception", size=_IMAGENET),
    *family("squeezenet", "cnn", _P, "squeezenet_v1_0 sqnxt23_w1", size=_IMAGENET),
    *family(
        "shufflenet",
        "cnn",
        _P,
        " shufflenet_g3_wd4 shufflenetv2_wd2 shufflenetv2b_wd2",
        size=_IMAGENET,
    ),
    *family("shufflenet", "cnn", _P, "menet108_8x1_g3", size=_IMAGENET),
    *family("mobilenet", "cnn", _P, "mobilenet_wd4 igcv3_wd4", size=_IMAGENET),
    *family("search", "cnn", _P, "darts fbnet_cb", size=_IMAGENET),
    *family("nasnet", "cnn", _P, "nasnet_4a1056", size=_IMAGENET),
    *family("channelnet", "cnn", _P, "channelnet", size=_IMAGENET),
    # Pyramid pooling to 6 x 6: an exporter by tracing wants maps that 6 divides.
    *family("scenes", "cnn", _P, "pspnet_resnetd50b_cityscapes icnet_resnetd50b_cityscapes", size=(192, 288)),
    *family("scenes", "cnn", _P, "fastscnn_cityscapes bisenet_resnet18_celebamaskhq cgnet_cityscapes", size=_SCENE),
    *family("scenes", "cnn", _P, "lednet_cityscapes erfnet_cityscapes linknet_cityscapes", size=_SCENE),
    *family("scenes", "cnn", _P, "sinet_cityscapes", size=(128, 256)),
    *family("scenes", "hybrid", _P, "danet_resnetd50b_cityscapes", size=_SCENE, only_by="torchscript"),
    *family("poses", "cnn", _P, "simplepose_resnet18_coco", size=(128, 96)),
    *family("poses", "cnn", _P, "lwopenpose2d_mobilenet_cmupan_coco", size=(128, 96)),
    *family("detectors", "cnn", _P, "centernet_resnet18_voc lffd20x5s320v2_widerface", size=(128, 128)),
)
