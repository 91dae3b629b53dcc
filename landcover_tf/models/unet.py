"""The U-Net: a ResNet encoder, a decoder of transposed convolutions, and skips between them."""

from typing import Any

import keras
from keras import layers

from landcover_tf.errors import ModelError
from landcover_tf.model_spec import DECODER_BLOCKS, MIN_DEPTH, SIZE_MULTIPLE, ModelSpec
from landcover_tf.models import resnet
from landcover_tf.models.layers import LocalStatistics, ReflectanceNormalizer, SizeMultiple


def build_unet(spec: ModelSpec, *, synchronized: bool = False) -> keras.Model:
    """Returns the untrained network that `spec` describes.

    Args:
        spec: Encoder, bands, classes, normalization and decoder.
        synchronized: Share batch statistics among the replicas of a distribution strategy.

    Returns:
        A functional model from `image`, reflectance float32 [batch, height, width, bands] with
        height and width multiples of 32, to `logits`, float32 [batch, height, width, classes]
        under every precision policy.

    Raises:
        ModelError: The encoder is unknown.
    """
    image = keras.Input((None, None, len(spec.band_names)), name="image", dtype="float32")
    x = SizeMultiple(SIZE_MULTIPLE, name="size_multiple", dtype="float32")(image)
    x = ReflectanceNormalizer.of(spec.normalizer, name="normalizer")(x)
    depth = spec.encoder_depth
    levels = resnet.encode(x, spec.encoder, depth=depth, synchronized=synchronized)
    # Skips from coarse to fine: 1/16, 1/8, 1/4, 1/2, and the normalized image itself.
    if spec.local_statistics:
        x = LocalStatistics(spec.local_statistics, name="local_statistics")(x)
    skips = [*reversed(levels[:-1]), x]
    y = levels[-1]
    # Blocks keep their numbers, so that a skip is named alike at every depth of the encoder.
    first = DECODER_BLOCKS - depth + 1
    for number, skip in enumerate(skips, start=first):
        filters = spec.decoder_filters[number - 1]
        skip = skip if number <= spec.skip_connections else None
        y = _decoder_block(y, skip, filters, f"decoder_{number}", synchronized)
    # Float32 also under mixed precision: losses, softmax and thresholds need the digits.
    logits = layers.Conv2D(len(spec.class_codes), 1, dtype="float32", name="logits")(y)
    return keras.Model(image, logits, name=f"{spec.encoder}_unet")


def encoder_layer_names(model: keras.Model) -> list[str]:
    """Returns the names of the encoder's layers that have variables, from the image down."""
    return [name for names in encoder_stages(model).values() for name in names]


def encoder_stages(model: keras.Model) -> dict[str, list[str]]:
    """Returns the names of the layers with variables in each stage, from the image down.

    Unfreezing stage by stage starts at the end: layer4, layer3, ..., stem.

    Raises:
        ModelError: `model` has no encoder of this package.
    """
    stages: dict[str, list[str]] = {}
    for layer in model.layers:
        stage = resnet.stage_of(layer.name)
        if stage and layer.variables:
            stages.setdefault(stage, []).append(layer.name)
    if len(stages) < MIN_DEPTH:
        raise ModelError(f"model {model.name!r} has no ResNet encoder built by build_unet")
    return stages


def freeze_encoder(model: keras.Model, *, trainable_stages: int = 0) -> None:
    """Makes the deepest `trainable_stages` stages of the encoder trainable and freezes the rest.

    A frozen stage's batch normalization runs in inference mode, so that its statistics do not
    drift either. Compile the model afterwards.

    Args:
        model: A model of `build_unet`.
        trainable_stages: 0 freezes the whole encoder, as many as it has none of it.
    """
    stages = encoder_stages(model)
    if not 0 <= trainable_stages <= len(stages):
        raise ModelError(f"trainable_stages must be in [0, {len(stages)}], got {trainable_stages}")
    for number, names in enumerate(stages.values()):
        trainable = number >= len(stages) - trainable_stages
        for name in names:
            model.get_layer(name).trainable = trainable


def _decoder_block(x: Any, skip: Any | None, filters: int, name: str, synchronized: bool) -> Any:
    """Returns `x` at twice its size, joined with `skip` and convolved twice."""
    # A 2x2 kernel at stride 2 does not overlap itself and so draws no checkerboard.
    x = layers.Conv2DTranspose(filters, 2, 2, "valid", name=f"{name}_up")(x)
    if skip is not None:
        x = layers.Concatenate(name=f"{name}_skip")([x, skip])
    for index in (1, 2):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_conv{index}",
        )(x)
        x = layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, synchronized=synchronized, name=f"{name}_bn{index}"
        )(x)
        x = layers.ReLU(name=f"{name}_relu{index}")(x)
    return x
