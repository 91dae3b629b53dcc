"""The receptive field against brute force: gradients, changed pixels and cropped windows."""

import keras
import numpy as np
import pytest
from keras import layers

from landcover_tf.bands import BAND_NAMES
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ModelError
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models.layers import LocalStatistics
from landcover_tf.models.receptive_field import receptive_field
from landcover_tf.models.unet import build_unet


def network(encoder: str, skip_connections: int = 4, depth: int = 5) -> keras.Model:
    """Returns a narrow U-Net on two bands."""
    bands = BAND_NAMES[:2]
    normalizer = Normalizer(
        kind="reflectance",
        bands=bands,
        clip_min=(0.0, 0.0),
        clip_max=(1.0, 1.0),
        shift=(0.0, 0.0),
        factor=(1.0, 1.0),
    )
    return build_unet(
        ModelSpec(
            encoder=encoder,
            encoder_depth=depth,
            band_names=bands,
            class_codes=(1, 2),
            normalizer=normalizer,
            skip_connections=skip_connections,
            decoder_filters=(4, 4, 4, 4, 4),
        )
    )


# Hand count for ResNet-50 v1.5, stride of the input before each 3x3 in brackets: 7 (stem),
# +2*2 pool, layer1 +3*2*4, layer2 +2*4+3*2*8, layer3 +2*8+5*2*16, layer4 +2*16+2*2*32.
LEVELS_RESNET50 = {
    "encoder_relu": (7, 2),
    "encoder_maxpool": (11, 4),
    "encoder_layer1_2_relu": (35, 4),
    "encoder_layer2_3_relu": (91, 8),
    "encoder_layer3_5_relu": (267, 16),
    "encoder_layer4_2_relu": (427, 32),
}


def test_levels_of_resnet50_equal_the_hand_count():
    model = network("resnet50")
    for layer, (field_px, stride_px) in LEVELS_RESNET50.items():
        found = receptive_field(model, layer)
        assert (found.field_px, found.stride_px) == (field_px, stride_px), layer


@pytest.mark.parametrize("skip_connections", [0, 5])
def test_unet_field_and_margin(skip_connections):
    found = receptive_field(network("resnet50", skip_connections))
    # The decoder adds 4 pixels at 1/16, 1/8, 1/4, 1/2 and 1/1, so 4 * (16 + 8 + 4 + 2 + 1), at
    # most: a 2x2 up-convolution reads one pixel, so some phases lie inside what they read.
    assert 427 < found.field_px <= 427 + 4 * 31 + 4
    assert found.stride_px == 32
    assert found.field_px / 2 < found.margin_px <= found.field_px / 2 + 32


def test_shallow_encoder_reaches_less_far():
    # ResNet-50's layer1 sees 35 pixels at stride 4; two 3x3 at 1/2 and at 1/1 add 8 and 4.
    found = receptive_field(network("resnet50", depth=2))
    assert 35 < found.field_px <= 35 + 4 * 3 + 4
    assert found.stride_px == 4


def test_local_statistics_reach_as_far_as_their_widest_window():
    image = keras.Input((None, None, 2))
    found = receptive_field(keras.Model(image, LocalStatistics((5, 11))(image)))
    assert (found.field_px, found.stride_px, found.margin_px) == (11, 1, 5)


@pytest.mark.parametrize("kernel", [(1, 5), (5, 1)])
def test_the_axis_that_reaches_farther_decides(kernel):
    image = keras.Input((None, None, 1))
    model = keras.Model(image, layers.Conv2D(1, kernel, padding="same")(image))
    found = receptive_field(model)
    assert (found.field_px, found.margin_px) == (5, 2)


def pair_unet(image):
    """Returns two levels with a skip, the shape of a U-Net."""
    fine = layers.Conv2D(1, 3, padding="same")(image)
    x = layers.ZeroPadding2D(1)(fine)
    x = layers.Conv2D(1, 3, 2)(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(1, 3, padding="same")(x)
    x = layers.Conv2DTranspose(1, 2, 2)(layers.Conv2DTranspose(1, 2, 2)(x))
    return layers.Conv2D(1, 3, padding="same")(layers.Concatenate()([x, fine]))


def stack(*parts):
    """Returns a function that lays the layers on each other."""

    def lay(image):
        for part in parts:
            image = part(image)
        return image

    return lay


NETWORKS = {
    "same": stack(layers.Conv2D(1, 5, padding="same"), layers.Conv2D(1, 3, padding="same")),
    "strided same": stack(layers.Conv2D(1, 3, 2, padding="same"), layers.UpSampling2D(2)),
    "dilated": stack(layers.Conv2D(1, 3, dilation_rate=3, padding="same")),
    "transposed": stack(
        layers.ZeroPadding2D(2),
        layers.Conv2D(1, 5, 4),
        layers.Conv2D(1, 3, padding="same"),
        layers.Conv2DTranspose(1, 6, 4, padding="same"),
    ),
    "bilinear": stack(layers.AveragePooling2D(4), layers.UpSampling2D(4, interpolation="bilinear")),
    "cropped": stack(
        layers.ZeroPadding2D(3), layers.Conv2D(1, 3, padding="same"), layers.Cropping2D(3)
    ),
    "gaps": stack(layers.AveragePooling2D(4), layers.Conv2DTranspose(1, 3, 4, padding="same")),
    "u-net": pair_unet,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_field_and_margin_equal_the_extent_of_gradients(name):
    size = 48
    image = keras.Input((size, size, 1))
    model = keras.Model(image, NETWORKS[name](image))
    for variable in model.variables:  # Positive weights, so that no gradient cancels out.
        variable.assign(np.ones(variable.shape))
    found = receptive_field(model)
    seen = {row: reach_of_pixel(model, row) for row in range(size)}
    inner = [seen[row] for row in range(16, 32) if seen[row].size]
    assert found.field_px == max(rows.max() - rows.min() + 1 for rows in inner)
    # A window that starts at row 16 (a multiple of each stride here) lacks the rows above.
    spoiled = [row - 16 + 1 for row in range(16, size) if (seen[row] < 16).any()]
    spoiled += [32 - row for row in range(32) if (seen[row] >= 32).any()]
    assert found.margin_px == max(spoiled, default=0)


def reach_of_pixel(model: keras.Model, row: int) -> np.ndarray:
    """Returns the input rows that output pixel (row, row) has a gradient to."""
    import tensorflow as tf

    values = tf.Variable(np.ones((1, *model.input_shape[1:]), np.float32))
    with tf.GradientTape() as tape:
        output = model(values)[0, row, row, 0]
    gradient = np.asarray(tape.gradient(output, values))[0, :, :, 0]
    return np.nonzero(gradient.any(axis=1))[0]


def test_margin_of_the_unet_equals_the_extent_of_changes():
    """Max pooling has no gradient to pixels below the maximum, so pixels are changed instead."""
    model = network("resnet18")
    for layer in model.layers:
        if hasattr(layer, "kernel"):  # Positive, so that no change cancels out.
            layer.kernel.assign(np.full(layer.kernel.shape, 1 / np.prod(layer.kernel.shape[:3])))
    edge, height = 640, 1280
    images = np.zeros((2, height, 32, 2), np.float32)
    images[0, :edge] = 1.0
    images[1, edge:] = 1.0
    changed = np.abs(model.predict(images, verbose=0)).max(axis=(2, 3)) > 0
    after = np.nonzero(changed[0])[0].max() + 1 - edge
    before = edge - np.nonzero(changed[1])[0].min()
    assert receptive_field(model).margin_px == max(before, after)


def test_cropped_window_equals_the_whole_beyond_the_margin_and_not_before():
    model = network("resnet18")
    found = receptive_field(model)
    rng = np.random.default_rng(1)
    image = rng.random((1, 1024, 64, 2), np.float32)
    whole = model.predict(image, verbose=0)[0]
    # A window from row 320 on, which lies on the stride grid of 32.
    part = model.predict(image[:, 320:], verbose=0)[0]
    difference = np.abs(part - whole[320:]).max(axis=(1, 2))
    assert difference[found.margin_px :].max() < 1e-5 * np.abs(whole).max()
    assert difference[:64].max() > 1e-4 * np.abs(whole).max()


def test_unbounded_and_unknown_layers_are_refused():
    image = keras.Input((32, 32, 1))
    model = keras.Model(image, layers.GlobalAveragePooling2D(name="all")(image))
    with pytest.raises(ModelError, match=r"layer 'all' \(GlobalAveragePooling2D\)"):
        receptive_field(model)
    with pytest.raises(ModelError, match="no layer 'nowhere'"):
        receptive_field(network("resnet18"), "nowhere")
