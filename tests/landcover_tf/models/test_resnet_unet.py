"""The network's shape, names, precision, size checks and freezing."""

import keras
import numpy as np
import pytest
from fakes.default_loss import segmentation_loss

from landcover_tf.bands import BAND_NAMES
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ModelError
from landcover_tf.model_spec import ModelSpec, joined_skips
from landcover_tf.models.layers import LocalStatistics, ReflectanceNormalizer
from landcover_tf.models.unet import (
    build_unet,
    encoder_layer_names,
    encoder_stages,
    freeze_encoder,
)


def normalizer(count: int, log_offset: float | None = None) -> Normalizer:
    """Returns a normalizer whose bands all differ."""
    return Normalizer(
        kind="standardize",
        bands=BAND_NAMES[:count],
        clip_min=tuple(0.01 * i for i in range(count)),
        clip_max=tuple(0.9 - 0.02 * i for i in range(count)),
        shift=tuple(0.1 + 0.01 * i for i in range(count)),
        factor=tuple(3.0 + i for i in range(count)),
        log_offset=log_offset,
    )


def spec(**changes) -> ModelSpec:
    """Returns a narrow resnet18 U-Net for 4 bands and 3 classes."""
    values = {
        "encoder": "resnet18",
        "band_names": BAND_NAMES[:4],
        "class_codes": (10, 20, 30),
        "normalizer": normalizer(4),
        "decoder_filters": (8, 8, 8, 4, 4),
    }
    return ModelSpec(**values | changes)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_unet(spec())


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).random((2, 64, 96, 4), np.float32)


@pytest.mark.parametrize("log_offset", [None, 0.02])
def test_normalizer_layer_equals_numpy_and_survives_serialization(image, log_offset):
    expected = normalizer(4, log_offset).apply(image)
    layer = ReflectanceNormalizer.of(normalizer(4, log_offset), name="normalizer")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    for one in (layer, again):
        np.testing.assert_allclose(np.asarray(one(image)), expected, rtol=1e-6, atol=1e-6)


def test_normalizer_layer_keeps_float32_under_mixed_precision(image):
    layer = ReflectanceNormalizer.of(normalizer(4), dtype="mixed_float16")
    assert keras.backend.standardize_dtype(layer(image).dtype) == "float32"


def test_local_statistics_equal_those_of_each_window(image):
    layer = LocalStatistics((3, 11), name="local_statistics")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    for one in (layer, again):
        out = np.asarray(one(image))
        assert out.shape == (2, 64, 96, 20)
        np.testing.assert_array_equal(out[..., :4], image)
        for row, col in ((0, 0), (1, 95), (40, 50), (63, 3)):
            for first, edge in ((4, 1), (12, 5)):
                rows = slice(max(row - edge, 0), row + edge + 1)
                window = image[:, rows, max(col - edge, 0) : col + edge + 1]
                found = out[:, row, col]
                expected = window.mean(axis=(1, 2)), window.std(axis=(1, 2))
                np.testing.assert_allclose(found[:, first : first + 4], expected[0], rtol=1e-4)
                np.testing.assert_allclose(found[:, first + 4 : first + 8], expected[1], rtol=1e-2)


def test_local_statistics_of_a_flat_image_have_a_slope():
    layer = LocalStatistics((3,))
    assert np.isfinite(np.asarray(layer(np.full((1, 32, 32, 2), 0.3, np.float32)))).all()


# Parameters of torchvision's networks without fc: 11.176512 M, 21.284672 M, 23.508032 M and
# 42.500160 M for 3 bands; a further band adds 7 * 7 * 64 to the stem. Batch statistics, which
# PyTorch does not count, are not trainable here.
@pytest.mark.parametrize(
    ("encoder", "trainable"),
    [
        ("resnet18", 11_176_512),
        ("resnet34", 21_284_672),
        ("resnet50", 23_508_032),
        ("resnet101", 42_500_160),
    ],
)
def test_encoder_has_the_parameters_of_torchvision(encoder, trainable):
    unet = build_unet(spec(encoder=encoder))
    layers = [unet.get_layer(name) for name in encoder_layer_names(unet)]
    found = sum(int(np.prod(v.shape)) for layer in layers for v in layer.trainable_variables)
    assert found == trainable + 7 * 7 * 64


def test_output_has_the_input_size_and_skips_run_from_coarse_to_fine(image):
    for skips in (0, 3, 5):
        unet = build_unet(spec(skip_connections=skips))
        assert unet.input.name == "image"
        assert unet.layers[-1].name == "logits"
        joined = [layer.name for layer in unet.layers if layer.name.endswith("_skip")]
        assert joined == [f"decoder_{number}_skip" for number in range(1, skips + 1)]
    assert unet(image).shape == (2, 64, 96, 3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_a_float32_head(policy, image):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        unet = build_unet(spec())
    finally:
        keras.config.set_dtype_policy(before)
    assert unet.get_layer("encoder_conv1").compute_dtype == policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(unet(image).dtype) == "float32"


def test_wrong_sizes_are_refused_in_words(model):
    with pytest.raises(ModelError, match="multiples of 32, got 50x64"):
        model(np.zeros((1, 50, 64, 4), np.float32))


def test_saved_model_gives_the_same(model, image, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(image)), np.asarray(model(image)))


def test_names_and_stages_follow_torchvision(model):
    stages = encoder_stages(model)
    assert list(stages) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert stages["stem"] == ["encoder_conv1", "encoder_bn1"]
    assert sorted(stages["layer2"]) == sorted(
        [f"encoder_layer2_{i}_{kind}{j}" for i in (0, 1) for j in (1, 2) for kind in ("conv", "bn")]
        + ["encoder_layer2_0_downsample_0", "encoder_layer2_0_downsample_1"]
    )
    # layer1 of resnet18 changes neither size nor width, so its shortcut is the identity.
    assert not any("downsample" in name for name in stages["layer1"])


def test_shallow_encoder_keeps_the_finest_levels(image):
    """Two stages: the stem at 1/2 and layer1 at 1/4; names are those of the deep network."""
    unet = build_unet(spec(encoder_depth=2, skip_connections=5, decoder_filters=(1, 1, 1, 6, 4)))
    assert list(encoder_stages(unet)) == ["stem", "layer1"]
    assert unet.get_layer("encoder_layer1_1_relu").output.shape[-1] == 64
    joined = [layer.name for layer in unet.layers if layer.name.endswith("_skip")]
    assert joined == ["decoder_4_skip", "decoder_5_skip"]
    assert unet.get_layer("decoder_4_skip").output.shape[-1] == 6 + 64
    assert unet.get_layer("decoder_5_skip").output.shape[-1] == 4 + 4
    assert unet(image).shape == (2, 64, 96, 3)
    freeze_encoder(unet, trainable_stages=1)
    assert not unet.get_layer("encoder_conv1").trainable
    assert unet.get_layer("encoder_layer1_0_conv1").trainable
    with pytest.raises(ModelError, match=r"trainable_stages must be in \[0, 2\], got 3"):
        freeze_encoder(unet, trainable_stages=3)


@pytest.mark.parametrize(("depth", "skips", "count"), [(2, 3, 0), (2, 4, 1), (3, 5, 3), (5, 4, 4)])
def test_the_skips_that_are_told_are_those_that_are_joined(depth, skips, count):
    unet = build_unet(spec(encoder_depth=depth, skip_connections=skips))
    joined = [layer.name for layer in unet.layers if layer.name.endswith("_skip")]
    assert len(joined) == joined_skips(skips, depth) == count


def test_all_stages_can_be_unfrozen_again(model):
    freeze_encoder(model)
    assert not any(model.get_layer(name).trainable for name in encoder_layer_names(model))
    freeze_encoder(model, trainable_stages=5)
    assert all(model.get_layer(name).trainable for name in encoder_layer_names(model))


def test_training_learns_and_leaves_the_frozen_encoder_alone():
    """Two classes told apart by brightness, which the skips carry past the frozen stages."""
    rng = np.random.default_rng(2)
    labels = np.kron(rng.integers(0, 2, (2, 2, 2)), np.ones((1, 32, 32))).astype(np.uint8)
    image = np.repeat(labels[..., None], 4, axis=-1) * 0.5 + rng.random((2, 64, 64, 4)) * 0.1
    keras.utils.set_random_seed(0)
    unet = build_unet(spec(class_codes=(1, 2), encoder_depth=2))
    freeze_encoder(unet, trainable_stages=1)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    # Compiling with XLA would take longer than the training.
    unet.compile(
        keras.optimizers.Adam(2e-2), segmentation_loss(), metrics=[accuracy], jit_compile=False
    )
    before = {v.path: keras.ops.convert_to_numpy(v) for v in unet.variables}
    history = unet.fit(image.astype(np.float32), labels, epochs=15, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["accuracy"][-1] > 0.95
    for variable in unet.variables:
        frozen = variable.path.startswith("encoder_") and "layer1" not in variable.path
        same = np.array_equal(before[variable.path], keras.ops.convert_to_numpy(variable))
        assert same == frozen, variable.path


def test_an_unknown_encoder_is_refused():
    with pytest.raises(ModelError, match="expected an encoder out of resnet18, resnet34"):
        build_unet(spec(encoder="resnet51"))


def test_other_models_have_no_encoder():
    image = keras.Input((32, 32, 1))
    other = keras.Model(image, keras.layers.Conv2D(1, 1)(image), name="other")
    with pytest.raises(ModelError, match="'other' has no ResNet encoder"):
        encoder_stages(other)
