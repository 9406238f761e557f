"""Well-known networks as torch modules, written from their papers in the styles people write them in.

``NETS`` holds a small version of each, for parity; ``PUBLISHED`` the full ones whose parameter counts are published.
"""

from torch_nets.attention import Coordinates, Recurrent, Tokens, Windows
from torch_nets.classic import VGG, AlexNet, SqueezeNet
from torch_nets.mobile import efficientnet_b0, mobilenet_v2, mobilenet_v3
from torch_nets.modern import ConvNeXt, Odd, UNet
from torch_nets.residual import DenseNet, ResNet, ShuffleNetV2

NETS = {
    "alexnet": (lambda: AlexNet(4, 16, 5), 224),
    "vgg": (lambda: VGG(4, 16, 1, 5), 32),
    "squeezenet": (lambda: SqueezeNet(2, 5), 64),
    "resnet-basic": (lambda: ResNet((1, 2, 1, 1), 1, 4, 5), 64),
    "resnet-bottleneck": (lambda: ResNet((1, 1, 2, 1), 4, 4, 5), 64),
    "densenet": (lambda: DenseNet((2, 1, 2), 4, 5), 64),
    "shufflenet-v2": (lambda: ShuffleNetV2((4, 8, 16, 24, 32), 5), 64),
    "mobilenet-v2": (lambda: mobilenet_v2(0.25, 5), 64),
    "mobilenet-v3": (lambda: mobilenet_v3(0.25, 5), 64),
    "efficientnet": (lambda: efficientnet_b0(0.25, 5), 64),
    "convnext": (lambda: ConvNeXt((8, 8, 16, 16), (1, 1, 1, 1)), 64),
    "unet": (lambda: UNet(4), 36),
    "odd": (Odd, 32),
    "tokens": (Tokens, 32),
    "windows": (Windows, 32),
    "coordinates": (Coordinates, 32),
    "recurrent": (Recurrent, 32),
}
PUBLISHED = {
    "SqueezeNet 1.1": (SqueezeNet, 1_235_496),
    "ResNet-18": (lambda: ResNet((2, 2, 2, 2), 1), 11_689_512),
    "ResNet-50": (lambda: ResNet((3, 4, 6, 3), 4), 25_557_032),
    "DenseNet-121": (DenseNet, 7_978_856),
    "ShuffleNet v2 1.0x": (ShuffleNetV2, 2_278_604),
    "MobileNet v2": (mobilenet_v2, 3_504_872),
    "MobileNet v3-Large": (mobilenet_v3, 5_483_032),
    "EfficientNet-B0": (efficientnet_b0, 5_288_548),
    "ConvNeXt-T": (ConvNeXt, 28_589_128),
    "AlexNet": (AlexNet, 61_100_840),
    "VGG-16": (VGG, 138_357_544),
}
