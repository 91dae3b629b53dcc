"""The ResNet v1.5 encoder, number for number the one of torchvision and timm.

Pretrained multispectral weights exist only for this layout: the stride of a bottleneck sits in
its 3x3 convolution, convolutions have no bias, and padding is symmetric. `keras.applications`
has the older v1, which gives other numbers with the same weights.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from landcover_tf.errors import ModelError

PREFIX = "encoder_"
"""Every encoder layer's name starts so; the rest is the torchvision name with _ for dots."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The depth of one ResNet; He et al. 2016, table 1 (arXiv 1512.03385)."""

    blocks: tuple[int, int, int, int]
    """Residual blocks in layer1 to layer4."""
    bottleneck: bool
    """Blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3."""

    @property
    def expansion(self) -> int:
        """Output channels of a block per unit of its width."""
        return 4 if self.bottleneck else 1


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": Architecture(blocks=(2, 2, 2, 2), bottleneck=False),
    "resnet34": Architecture(blocks=(3, 4, 6, 3), bottleneck=False),
    "resnet50": Architecture(blocks=(3, 4, 6, 3), bottleneck=True),
    "resnet101": Architecture(blocks=(3, 4, 23, 3), bottleneck=True),
}
STAGES: tuple[str, ...] = ("stem", "layer1", "layer2", "layer3", "layer4")
"""Parts of the encoder from the image down, the order in which levels are returned."""


def architecture(encoder: str) -> Architecture:
    """Returns the depth of an encoder by name.

    Raises:
        ModelError: There is no such encoder.
    """
    if encoder not in ARCHITECTURES:
        raise ModelError(f"expected an encoder out of {', '.join(ARCHITECTURES)}; got {encoder!r}")
    return ARCHITECTURES[encoder]


def encode(image: Any, encoder: str, *, depth: int = 5, synchronized: bool = False) -> list[Any]:
    """Returns the feature levels of a ResNet laid on `image`.

    Args:
        image: Keras tensor [batch, height, width, bands].
        encoder: A key of `ARCHITECTURES`.
        depth: Number of stages, from the stem, that are laid.
        synchronized: Share batch statistics among the replicas of a distribution strategy.

    Returns:
        `depth` Keras tensors, of those at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input size: after
        the stem's ReLU, then after layer1 to layer4.
    """
    shape = architecture(encoder)
    net = _Builder(shape.bottleneck, synchronized)
    x = net.convolution(image, 64, "conv1", kernel=7, stride=2)
    x = net.relu(net.normalization(x, "bn1"), "relu")
    levels = [x]
    # Zeros equal PyTorch's minus infinity here, because the input has passed a ReLU.
    x = layers.ZeroPadding2D(1, name=f"{PREFIX}maxpool_pad")(x)
    x = layers.MaxPooling2D(3, 2, "valid", name=f"{PREFIX}maxpool")(x)
    for number, count in enumerate(shape.blocks[: depth - 1], start=1):
        width = 64 * 2 ** (number - 1)
        for index in range(count):
            stride = 2 if number > 1 and index == 0 else 1
            projected = index == 0 and (stride > 1 or width * shape.expansion != x.shape[-1])
            x = net.block(x, width, stride, projected, f"layer{number}_{index}")
        levels.append(x)
    return levels


def stage_of(layer_name: str) -> str | None:
    """Returns the stage of an encoder layer by its name, None for other layers."""
    if not layer_name.startswith(PREFIX):
        return None
    first = layer_name.removeprefix(PREFIX).split("_")[0]
    return first if first in STAGES else "stem"


class _Builder:
    """Lays named layers; `conv1` of block 0 of layer1 becomes `encoder_layer1_0_conv1`."""

    def __init__(self, bottleneck: bool, synchronized: bool) -> None:
        self.bottleneck = bottleneck
        self.synchronized = synchronized

    def block(self, x: Any, width: int, stride: int, projected: bool, name: str) -> Any:
        """Returns one residual block: the branch plus the (projected) shortcut, then ReLU."""
        out_channels = width * (4 if self.bottleneck else 1)
        # Channels, kernel size and stride of each convolution of the branch.
        branch = (
            [(width, 1, 1), (width, 3, stride), (out_channels, 1, 1)]
            if self.bottleneck
            else [(width, 3, stride), (width, 3, 1)]
        )
        shortcut, y = x, x
        for index, (channels, kernel, step) in enumerate(branch, start=1):
            y = self.convolution(y, channels, f"{name}_conv{index}", kernel=kernel, stride=step)
            y = self.normalization(y, f"{name}_bn{index}")
            if index < len(branch):
                y = self.relu(y, f"{name}_relu{index}")
        if projected:
            shortcut = self.convolution(
                x, out_channels, f"{name}_downsample_0", kernel=1, stride=stride
            )
            shortcut = self.normalization(shortcut, f"{name}_downsample_1")
        return self.relu(layers.Add(name=f"{PREFIX}{name}_add")([y, shortcut]), f"{name}_relu")

    def convolution(self, x: Any, channels: int, name: str, *, kernel: int, stride: int) -> Any:
        """Returns a convolution without bias and with PyTorch's symmetric zero padding."""
        padding = "same" if stride == 1 else "valid"
        if stride > 1 and kernel > 1:
            # With a stride, "same" would pad the lower right side only and shift every level.
            x = layers.ZeroPadding2D(kernel // 2, name=f"{PREFIX}{name}_pad")(x)
        return layers.Conv2D(
            channels,
            kernel,
            stride,
            padding,
            use_bias=False,
            # Fan-out scaling keeps the variance of gradients through ReLU (He et al. 2015).
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, "fan_out", "untruncated_normal"
            ),
            name=f"{PREFIX}{name}",
        )(x)

    def normalization(self, x: Any, name: str) -> Any:
        """Returns batch normalization with PyTorch's epsilon and running average."""
        return layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, synchronized=self.synchronized, name=f"{PREFIX}{name}"
        )(x)

    def relu(self, x: Any, name: str) -> Any:
        """Returns the rectified input."""
        return layers.ReLU(name=f"{PREFIX}{name}")(x)
