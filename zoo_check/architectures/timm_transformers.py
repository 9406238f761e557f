"""timm: networks that work on tokens or windows throughout."""

from __future__ import annotations

from typing import Final

from zoo_check.plan import Architecture, family

_T: Final = "timm"
_WIDE = (64, 96)
_SQUARE = (64, 64)
_FEATURES = {"features_only": True}
# The packaged sizes start at 86 million parameters; four narrow blocks are built of the same code.
_SMALL = {"depth": 4, "embed_dim": 192, "num_heads": 3}

ARCHITECTURES: tuple[Architecture, ...] = (
    *family("pvt_v2", "transformer", _T, "pvt_v2_b0", size=_WIDE),
    *family("pvt_v2", "transformer", _T, "pvt_v2_b2_li", size=_WIDE, only_by="dynamo"),
    *family("swin", "transformer", _T, "swin_tiny_patch4_window7_224 swin_s3_tiny_224", size=(224, 224)),
    *family("swin", "transformer", _T, "swin_tiny_patch4_window7_224", variant="small", size=(112, 112)),
    *family("swin", "transformer", _T, "swinv2_tiny_window8_256", size=(128, 128)),
    *family("swin", "transformer", _T, "swinv2_cr_tiny_224", size=(112, 112)),
    *family("deit", "transformer", _T, "deit_tiny_patch16_224 deit_tiny_distilled_patch16_224", size=_SQUARE),
    *family("deit", "transformer", _T, "deit3_small_patch16_224", size=_SQUARE),
    *family("vit", "transformer", _T, "vit_tiny_patch16_224 vit_small_patch32_224 flexivit_small", size=_WIDE),
    *family("vit", "transformer", _T, "vit_wee_patch16_reg1_gap_256", size=_SQUARE),
    *family("vit", "transformer", _T, "vit_small_patch14_reg4_dinov2", size=(56, 84)),
    *family("vit", "transformer", _T, "vit_base_patch16_siglip_224", size=_SQUARE, arguments=_SMALL),
    *family("vit", "transformer", _T, "vit_tiny_patch16_224", variant="features", size=_WIDE, arguments=_FEATURES),
    *family("vit relpos", "transformer", _T, "vit_relpos_small_patch16_224", size=(96, 96)),
    *family("sam", "transformer", _T, "samvit_base_patch16_224", size=(96, 96), arguments=_SMALL),
    *family("cait", "transformer", _T, "cait_xxs24_224", size=_SQUARE),
    *family("xcit", "transformer", _T, "xcit_nano_12_p16_224", size=_WIDE),
    *family("pit", "transformer", _T, "pit_ti_224", size=(96, 96)),
    *family("twins", "transformer", _T, "twins_pcpvt_small", size=(224, 224)),
    *family("twins", "transformer", _T, "twins_svt_small", size=(224, 224), only_by="torchscript"),
    *family("nest", "transformer", _T, "nest_tiny", size=(224, 224)),
    *family("crossvit", "transformer", _T, "crossvit_9_dagger_240", size=(240, 240)),
    *family("convit", "transformer", _T, "convit_tiny", size=_SQUARE),
    *family("gcvit", "transformer", _T, "gcvit_xxtiny", size=(224, 224)),
    *family("davit", "transformer", _T, "davit_tiny", size=(224, 224)),
    *family("focalnet", "transformer", _T, "focalnet_tiny_srf", size=_WIDE),
    *family("hiera", "transformer", _T, "hiera_tiny_224", size=(128, 128), only_by="torchscript"),
    *family("hiera", "transformer", _T, "hieradet_small", size=(128, 128)),
    *family("volo", "transformer", _T, "volo_d1_224", size=(128, 128), first_opset=18),
    *family("beit", "transformer", _T, "beit_base_patch16_224", size=_SQUARE, arguments=_SMALL, only_by="torchscript"),
    *family("eva", "transformer", _T, "eva02_tiny_patch14_224", size=(56, 84), only_by="dynamo"),
    *family("eva", "transformer", _T, "vit_small_patch16_dinov3", size=_WIDE, only_by="dynamo"),
    *family("mvitv2", "transformer", _T, "mvitv2_tiny", size=(128, 128)),
    *family("tnt", "transformer", _T, "tnt_s_patch16_224", size=_SQUARE),
    *family("mixer", "transformer", _T, "mixer_s32_224 resmlp_12_224 gmlp_ti16_224", size=(96, 96)),
    *family("vitamin", "transformer", _T, "vitamin_small_224", size=(128, 128)),
)
