"""timm: stages of convolutions and stages of attention in one network."""

from __future__ import annotations

from typing import Final

from zoo_check.plan import Architecture, family

_T: Final = "timm"

ARCHITECTURES: tuple[Architecture, ...] = (
    *family("byoanet", "hybrid", _T, "botnet26t_256 eca_botnext26ts_256 sebotnet33ts_256", size=(128, 128)),
    *family("byoanet", "hybrid", _T, "lambda_resnet26t", size=(128, 128)),
    *family("byoanet", "hybrid", _T, "bat_resnext26ts", size=(256, 256)),
    *family("byoanet", "hybrid", _T, "halonet26t lamhalobotnet50ts_256", size=(256, 256), only_by="dynamo"),
    *family("levit", "hybrid", _T, "levit_128s levit_conv_128s", size=(224, 224)),
    *family("mobilevit", "hybrid", _T, "mobilevit_xxs mobilevitv2_050", size=(64, 128)),
    *family("tiny_vit", "hybrid", _T, "tiny_vit_5m_224", size=(224, 224)),
    *family("efficientvit", "hybrid", _T, "efficientvit_b0 efficientvit_l1", size=(64, 96)),
    *family("efficientvit", "hybrid", _T, "efficientvit_m0", size=(224, 224)),
    *family("coat", "hybrid", _T, "coat_lite_tiny coat_tiny", size=(64, 64)),
    *family("edgenext", "hybrid", _T, "edgenext_xx_small"),
    *family("efficientformer", "hybrid", _T, "efficientformer_l1 efficientformerv2_s0", size=(224, 224)),
    *family("fastvit", "hybrid", _T, "fastvit_sa12"),
    *family("maxxvit", "hybrid", _T, "coatnet_pico_rw_224 coatnet_rmlp_nano_rw_224", size=(128, 128)),
    *family("maxxvit", "hybrid", _T, "maxvit_rmlp_pico_rw_256 maxxvit_rmlp_nano_rw_256", size=(128, 128)),
    *family("metaformer", "hybrid", _T, "caformer_s18"),
    *family("mobilenet", "hybrid", _T, "mobilenetv4_hybrid_medium"),
    *family("nextvit", "hybrid", _T, "nextvit_small"),
    *family("swiftformer", "hybrid", _T, "swiftformer_xs", size=(224, 224)),
    *family("shvit", "hybrid", _T, "shvit_s1"),
    *family("visformer", "hybrid", _T, "visformer_tiny", size=(224, 224)),
    *family("vit hybrid", "hybrid", _T, "vit_tiny_r_s16_p8_224", size=(224, 224)),
    *family("iformer", "hybrid", _T, "iformer_t"),
    *family("sequencer", "hybrid", _T, "sequencer2d_s", size=(64, 64)),
)
