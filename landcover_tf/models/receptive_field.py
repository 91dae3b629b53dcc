"""How far the network looks, read off the Keras graph.

For every pixel phase of every layer the reach into the input is computed exactly, with integers.
One number per layer, as textbooks give it, is not enough behind a decoder: there the reach
depends on where a pixel lies within the stride.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from landcover_tf.errors import ModelError

# Layers whose output pixel depends on the input pixel at the same place only.
_POINTWISE = {
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Rescaling", "Normalization"),
    *("BatchNormalization", "LayerNormalization", "Dropout", "SpatialDropout2D", "Identity"),
    *("GaussianNoise", "GaussianDropout", "ReflectanceNormalizer", "SizeMultiple"),
}
_MERGES = {"Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"}


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """How an output pixel depends on the input; the larger of both axes."""

    field_px: int
    """Width of the input square that can influence an output pixel, at the worst phase."""
    stride_px: int
    """Origins of windows must differ by multiples of this, or strided layers fall on other
    pixels and the outputs differ however wide the margin is."""
    margin_px: int
    """Cut this much or more off the sides of a window on the stride grid, and what is kept
    equals the prediction of the whole image."""


def receptive_field(model: keras.Model, layer: str | None = None) -> ReceptiveField:
    """Returns the receptive field of a model's output, or of one layer's.

    Args:
        model: A functional model with one image input [batch, height, width, channels] and one
            node per layer. Sizes are taken to be multiples of the total stride.
        layer: Name of the layer whose output is asked for; the model's output by default.

    Raises:
        ModelError: A layer's reach is unknown or unbounded (pooling over the whole image), or
            there is no such layer.
    """
    if layer is not None and layer not in {one.name for one in model.layers}:
        raise ModelError(f"model {model.name!r} has no layer {layer!r}")
    if layer is not None:
        model = keras.Model(model.input, model.get_layer(layer).output)
    axes = [_axis_field(model, axis) for axis in (0, 1)]
    return ReceptiveField(
        field_px=max(a.field_px for a in axes),
        stride_px=max(a.stride_px for a in axes),
        margin_px=max(a.margin_px for a in axes),
    )


@dataclass(frozen=True)
class _Reach:
    """First and last input pixel of each pixel of one period along one axis.

    Pixel j + len(first) reaches `period` input pixels farther than pixel j does.
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    period: int

    @property
    def stride(self) -> int:
        """Input pixels per pixel of this level."""
        return self.period // len(self.first)

    def at(self, pixel: int) -> tuple[int, int]:
        """Returns the first and last input pixel of any pixel."""
        turns, phase = divmod(pixel, len(self.first))
        return (
            self.first[phase] + turns * self.period,
            self.last[phase] + turns * self.period,
        )

    def through(self, count: int, taps: Callable[[int], range]) -> "_Reach":
        """Returns the reach of a layer of `count` pixels per period.

        Args:
            count: Output pixels per period.
            taps: The pixels of this level that an output pixel reads.
        """
        reached = [[self.at(pixel) for pixel in taps(j)] for j in range(count)]
        return _Reach(
            tuple(min(first for first, _ in pixels) for pixels in reached),
            tuple(max(last for _, last in pixels) for pixels in reached),
            self.period,
        )


def _axis_field(model: keras.Model, axis: int) -> ReceptiveField:
    period = _total_stride(model, axis)
    image = _Reach(tuple(range(period)), tuple(range(period)), period)
    reaches = {id(model.input): image}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            inputs = [reaches[id(tensor)] for tensor in _inputs(layer)]
            reaches[id(layer.output)] = _layer_reach(layer, inputs, axis)
    reach = reaches[id(model.output)]
    pairs = list(zip(reach.first, reach.last, strict=True))
    return ReceptiveField(
        field_px=max(last - first + 1 for first, last in pairs),
        stride_px=period,
        margin_px=_margin(reach),
    )


def _margin(reach: _Reach) -> int:
    """Returns how far from a window's edge the last pixel lies that reaches beyond the edge.

    Only whole periods of shift matter: of the pixels of one phase, those in the first n periods
    of a window reach out of it, where n periods just cover the reach beyond the own period.
    """
    step, count = reach.stride, len(reach.first)
    margin = 0
    for j, (first, last) in enumerate(zip(reach.first, reach.last, strict=True)):
        before, after = -first, last - (reach.period - 1)
        for beyond, pixels_to_edge in ((before, j), (after, count - 1 - j)):
            if beyond > 0:
                periods = math.ceil(beyond / reach.period) - 1
                margin = max(margin, periods * reach.period + (pixels_to_edge + 1) * step)
    return margin


def _inputs(layer: Any) -> list[Any]:
    return list(layer.input) if isinstance(layer.input, list | tuple) else [layer.input]


def _total_stride(model: keras.Model, axis: int) -> int:
    """Returns the largest stride of any level relative to the input along `axis`."""
    strides: dict[int, float] = {id(model.input): 1.0}
    largest = 1.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        kind = type(layer).__name__
        factor = 1.0
        if kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", *_POOLS):
            factor = float(layer.strides[axis])
        elif kind == "Conv2DTranspose":
            factor = 1 / layer.strides[axis]
        elif kind == "UpSampling2D":
            factor = 1 / layer.size[axis]
        strides[id(layer.output)] = strides[id(_inputs(layer)[0])] * factor
        largest = max(largest, strides[id(layer.output)])
    return round(largest)


_POOLS = ("MaxPooling2D", "AveragePooling2D")


def _layer_reach(layer: Any, inputs: list[_Reach], axis: int) -> _Reach:
    """Returns the reach of a layer's output from those of its inputs."""
    kind, reach = type(layer).__name__, inputs[0]
    count = len(reach.first)
    if kind in _POINTWISE:
        return reach
    if kind in _MERGES:
        return _Reach(
            tuple(min(values) for values in zip(*(r.first for r in inputs), strict=True)),
            tuple(max(values) for values in zip(*(r.last for r in inputs), strict=True)),
            reach.period,
        )
    if kind == "ZeroPadding2D":
        before = layer.padding[axis][0]
        return reach.through(count, lambda j: range(j - before, j - before + 1))
    if kind == "Cropping2D":
        before = layer.cropping[axis][0]
        return reach.through(count, lambda j: range(j + before, j + before + 1))
    if kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
        dilation = layer.dilation_rate[axis]
        return _sliding(reach, layer, layer.kernel_size[axis], dilation, axis)
    if kind in _POOLS:
        return _sliding(reach, layer, layer.pool_size[axis], 1, axis)
    if kind == "LocalStatistics":
        edge = max(layer.widths) // 2
        return reach.through(count, lambda j: range(j - edge, j + edge + 1))
    if kind == "Conv2DTranspose":
        return _transposed(reach, layer, axis)
    if kind == "UpSampling2D":
        return _upsampled(reach, layer, axis)
    raise ModelError(f"the reach of layer {layer.name!r} ({kind}) is unknown or unbounded")


def _sliding(reach: _Reach, layer: Any, kernel: int, dilation: int, axis: int) -> _Reach:
    """Returns the reach behind a convolution or a pooling."""
    stride = layer.strides[axis]
    width = (kernel - 1) * dilation + 1
    # For sizes that are multiples of the stride, "same" adds width - stride pixels in all.
    before = max(width - stride, 0) // 2 if layer.padding == "same" else 0
    return reach.through(
        len(reach.first) // stride,
        lambda j: range(j * stride - before, j * stride - before + width, dilation),
    )


def _transposed(reach: _Reach, layer: Any, axis: int) -> _Reach:
    """Returns the reach behind a transposed convolution; its output j sees i if 0 <= k < K."""
    kernel, stride = layer.kernel_size[axis], layer.strides[axis]
    if layer.padding == "valid" and kernel > stride:
        raise ModelError(
            f"layer {layer.name!r} grows the image by its kernel, so levels do not align; "
            'use padding="same"'
        )
    cut = max(kernel - stride, 0) // 2
    return reach.through(
        len(reach.first) * stride,
        # An output between two kernels (kernel < stride) still lies at the pixel below it.
        lambda j: range(
            min(-((kernel - 1 - j - cut) // stride), (j + cut) // stride), (j + cut) // stride + 1
        ),
    )


def _upsampled(reach: _Reach, layer: Any, axis: int) -> _Reach:
    size = layer.size[axis]
    if layer.interpolation == "nearest":
        return reach.through(len(reach.first) * size, lambda j: range(j // size, j // size + 1))
    if layer.interpolation == "bilinear":
        # Half-pixel centres: output j lies at (j + 0.5) / size - 0.5 between two pixels.
        def taps(j: int) -> range:
            below = math.floor((2 * j + 1 - size) / (2 * size))
            return range(below, below + 2)

        return reach.through(len(reach.first) * size, taps)
    raise ModelError(f"the reach of {layer.interpolation} in layer {layer.name!r} is unknown")
