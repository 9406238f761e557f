"""timm: networks of convolutions."""

from __future__ import annotations

from typing import Final

from zoo_check.plan import Architecture, family

_T: Final = "timm"
_FEATURES = {"features_only": True}
# NASNet-A (4 @ 1056), the mobile one; the packaged large one has 89 million parameters.
_NASNET = {"stem_size": 32, "num_features": 1056, "channel_multiplier": 2}

ARCHITECTURES: tuple[Architecture, ...] = (
    *family("convnext", "cnn", _T, "convnext_atto convnext_pico_ols convnext_tiny convnextv2_atto convnextv2_pico"),
    *family("convnext", "cnn", _T, "convnext_atto", variant="features", arguments=_FEATURES),
    *family("poolformer", "cnn", _T, "poolformer_s12 convformer_s18"),
    *family("mambaout", "cnn", _T, "mambaout_femto mambaout_kobe"),
    *family("rdnet", "cnn", _T, "rdnet_tiny"),
    *family("inceptionnext", "cnn", _T, "inception_next_atto"),
    *family("hrnet", "cnn", _T, "hrnet_w18_small hrnet_w18_small_v2"),
    *family("hrnet", "cnn", _T, "hrnet_w18_small hrnet_w18_ssld", variant="features", arguments=_FEATURES),
    *family("vgg", "cnn", _T, "vgg11 vgg13_bn", size=(224, 224), arguments={"mlp_ratio": 0.0625}),
    *family("resnet", "cnn", _T, "resnet18 resnet26t resnet50 resnetblur18 resnet50_gn"),
    *family("resnet", "cnn", _T, "resnet18 resnet50", variant="features", arguments=_FEATURES),
    *family("resnet", "cnn", _T, "resnet33ts resnet50_clip", size=(64, 64)),
    *family("resnext", "cnn", _T, "resnext50_32x4d"),
    *family("senet", "cnn", _T, "seresnet18 seresnext26d_32x4d"),
    *family("sknet", "cnn", _T, "skresnet18"),
    *family("resnest", "cnn", _T, "resnest14d"),
    *family("res2net", "cnn", _T, "res2net50_26w_4s"),
    *family("resnetv2", "cnn", _T, "resnetv2_18 resnetv2_50x1_bit resnetv2_50d_gn resnetv2_50d_evos"),
    *family("regnet", "cnn", _T, "regnety_002 regnetz_005 regnetz_b16"),
    *family("efficientnet", "cnn", _T, "efficientnet_b0 efficientnet_lite0"),
    *family("efficientnet", "cnn", _T, "tf_efficientnet_b0 tf_efficientnetv2_b0 tinynet_e"),
    *family("efficientnet", "cnn", _T, "efficientnetv2_rw_t"),
    *family("efficientnet", "cnn", _T, "efficientnet_cc_b0_4e", only_by="torchscript"),
    *family("efficientnet", "cnn", _T, "efficientnet_b0", variant="features", arguments=_FEATURES),
    *family("mixnet", "cnn", _T, "mixnet_s tf_mixnet_s"),
    *family("mobilenet", "cnn", _T, "mobilenetv1_100 mobilenetv2_100 mobilenetv3_small_100"),
    *family("mobilenet", "cnn", _T, "mobilenetv3_large_100 tf_mobilenetv3_small_minimal_100"),
    *family("mobilenet", "cnn", _T, "mobilenetv4_conv_small mobilenetv4_conv_aa_medium"),
    *family("mobilenet", "cnn", _T, "mobilenetv3_large_100", variant="features", arguments=_FEATURES),
    *family("ghostnet", "cnn", _T, "ghostnet_100 ghostnetv3_100"),
    *family("mnasnet", "cnn", _T, "mnasnet_100 semnasnet_075"),
    *family("fbnet", "cnn", _T, "fbnetc_100 fbnetv3_b"),
    *family("hardcorenas", "cnn", _T, "hardcorenas_a"),
    *family("lcnet", "cnn", _T, "lcnet_050"),
    *family("rexnet", "cnn", _T, "rexnet_100"),
    *family("dla", "cnn", _T, "dla34 dla60_res2net"),
    *family("dpn", "cnn", _T, "dpn48b dpn68"),
    *family("densenet", "cnn", _T, "densenet121"),
    *family("inception", "cnn", _T, "inception_v3 inception_v4", size=(96, 128)),
    *family("xception", "cnn", _T, "legacy_xception xception41"),
    *family("nasnet", "cnn", _T, "nasnetalarge", arguments=_NASNET),
    *family("nfnet", "cnn", _T, "nfnet_l0 eca_nfnet_l0 nf_regnet_b0 test_nfnet"),
    *family("nfnet", "cnn", _T, "dm_nfnet_f0", size=(64, 64)),
    *family("selecsls", "cnn", _T, "selecsls42b"),
    *family("vovnet", "cnn", _T, "ese_vovnet19b_dw vovnet39a"),
    *family("repvgg", "cnn", _T, "repvgg_a0"),
    *family("mobileone", "cnn", _T, "mobileone_s0"),
    *family("fastvit", "cnn", _T, "fastvit_t8"),
    *family("repvit", "cnn", _T, "repvit_m0_9"),
    *family("repghost", "cnn", _T, "repghostnet_050"),
    *family("starnet", "cnn", _T, "starnet_s1"),
    *family("fasternet", "cnn", _T, "fasternet_t0"),
    *family("hgnet", "cnn", _T, "hgnet_tiny hgnetv2_b0"),
    *family("cspnet", "cnn", _T, "cspresnet50 cspdarknet53 cs3darknet_s"),
    *family("gernet", "cnn", _T, "gernet_s"),
    *family("tresnet", "cnn", _T, "tresnet_m"),
    *family("convmixer", "cnn", _T, "convmixer_768_32"),
)
