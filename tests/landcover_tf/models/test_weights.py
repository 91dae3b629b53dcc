"""Placing pretrained weights: parity with PyTorch, bands, normalization."""

import functools
import hashlib
import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from landcover_tf.bands import BAND_NAMES
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ModelError
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models import pretrained
from landcover_tf.models.unet import build_unet
from landcover_tf.models.weights import (
    LoadedWeights,
    adapt_first_kernel,
    encoder_of,
    load_encoder_weights,
)

GOLDENS = Path(__file__).parents[2] / "goldens"
_spec = importlib.util.spec_from_file_location("parity", GOLDENS / "make_resnet_parity.py")
parity = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parity)

LEVELS = {
    "resnet18": ("relu", "layer1_1_relu", "layer2_1_relu", "layer3_1_relu", "layer4_1_relu"),
    "resnet50": ("relu", "layer1_2_relu", "layer2_3_relu", "layer3_5_relu", "layer4_2_relu"),
}


def spec(
    encoder="resnet18", bands=BAND_NAMES, *, depth=5, shift=0.0, factor=1.0, log_offset=None
) -> ModelSpec:
    """Returns a narrow U-Net whose normalizer clips nothing the tests use."""
    per_band = {"shift": shift, "factor": factor, "clip_min": -9.0, "clip_max": 9.0}
    values = {k: tuple(np.broadcast_to(v, len(bands)).tolist()) for k, v in per_band.items()}
    bands = tuple(bands)
    return ModelSpec(
        encoder=encoder,
        encoder_depth=depth,
        band_names=bands,
        class_codes=(1, 2),
        normalizer=Normalizer(kind="standardize", bands=bands, **values, log_offset=log_offset),
        decoder_filters=(4, 4, 4, 4, 4),
    )


@functools.cache
def network(encoder: str = "resnet18") -> keras.Model:
    """Returns a 13-band network that tests share; what they load replaces all its weights."""
    return build_unet(spec(encoder))


@functools.cache
def made_tensors(encoder: str) -> dict[str, np.ndarray]:
    """Returns the weights of the parity script for every tensor of an encoder."""
    tensors = {}
    for layer in network(encoder).layers:
        if not layer.name.startswith("encoder_") or not layer.variables:
            continue
        key = layer.name.removeprefix("encoder_").replace("_", ".")
        if isinstance(layer, keras.layers.Conv2D):
            h, w, i, o = layer.kernel.shape
            tensors[f"{key}.weight"] = parity.tensor(f"{key}.weight", (o, i, h, w))
        else:
            for part in ("weight", "bias", "running_mean", "running_var"):
                name = f"{key}.{part}"
                tensors[name] = parity.tensor(name, tuple(layer.gamma.shape))
    return tensors


@pytest.fixture(scope="session")
def resnet18_file(tmp_path_factory) -> Path:
    """A safetensors file with 13 channels, as one would download it."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    tensors = made_tensors("resnet18")
    save_file(tensors | {"fc.weight": np.zeros((1000, 512), np.float32)}, path)
    return path


def levels(model: keras.Model, encoder: str, image: np.ndarray) -> list[np.ndarray]:
    outputs = [model.get_layer(f"encoder_{name}").output for name in LEVELS[encoder]]
    return [np.asarray(level) for level in keras.Model(model.input, outputs)(image)]


@pytest.mark.parametrize("encoder", parity.CASES)
def test_levels_equal_the_stored_ones_of_pytorch(tmp_path, encoder):
    save_file(made_tensors(encoder), tmp_path / "w.safetensors")
    model = network(encoder)
    load_encoder_weights(model, str(tmp_path / "w.safetensors"), BAND_NAMES)
    golden = np.load(GOLDENS / "resnet_parity.npz")
    for number, level in enumerate(levels(model, encoder, parity.image(parity.CASES[encoder]))):
        expected = golden[f"{encoder}_{number}"]
        found = parity.sampled(level)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * expected[-1])


def test_every_value_equals_pytorchs(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(parity.state_dict("resnet50"), tmp_path / "w.pth")
    model = network("resnet50")
    load_encoder_weights(model, str(tmp_path / "w.pth"), BAND_NAMES)
    image = parity.image(parity.CASES["resnet50"])
    theirs = parity.levels("resnet50")
    for ours, expected in zip(levels(model, "resnet50", image), theirs, strict=True):
        assert ours.shape == expected.shape
        assert np.abs(ours - expected).max() < 1e-5 * np.abs(expected).max()


def test_shallow_encoder_takes_its_stages_of_the_weights(resnet18_file):
    shallow, deep = build_unet(spec(depth=3)), network()
    for model in (shallow, deep):
        load_encoder_weights(model, str(resnet18_file), BAND_NAMES)
    image = np.random.default_rng(0).random((1, 64, 64, 13), np.float32)
    found, expected = (
        np.asarray(keras.Model(m.input, m.get_layer("encoder_layer2_1_relu").output)(image))
        for m in (shallow, deep)
    )
    np.testing.assert_array_equal(found, expected)


def test_loading_says_what_was_placed(resnet18_file):
    bands = ("B04", "B03", "XYZ")
    model = build_unet(spec(bands=bands))
    loaded = load_encoder_weights(model, str(resnet18_file), bands)
    assert loaded.mean_bands == ("XYZ",)
    assert "B02" in loaded.unused_bands
    assert loaded.sha256 == hashlib.sha256(resnet18_file.read_bytes()).hexdigest()
    assert "mean filter for XYZ" in loaded.summary
    kernel = made_tensors("resnet18")["conv1.weight"]
    found = np.asarray(model.get_layer("encoder_conv1").kernel)
    np.testing.assert_allclose(found[:, :, 0], kernel[:, 3].transpose(1, 2, 0) * 13 / 3, rtol=1e-6)
    np.testing.assert_allclose(
        found[:, :, 2], kernel.mean(axis=1).transpose(1, 2, 0) * 13 / 3, rtol=1e-5, atol=1e-7
    )


def test_bands_of_common_names_take_the_filters_that_they_stand_for(resnet18_file):
    bands = ("blue", "red", "VV")
    model, same = build_unet(spec(bands=bands)), build_unet(spec(bands=("B02", "B04", "VV")))
    loaded = load_encoder_weights(model, str(resnet18_file), bands)
    load_encoder_weights(same, str(resnet18_file), ("B02", "B04", "VV"))
    for layer in ("encoder_conv1", "encoder_bn1"):
        for own, other in zip(
            model.get_layer(layer).variables, same.get_layer(layer).variables, strict=True
        ):
            np.testing.assert_array_equal(own, other)
    assert loaded.synonyms == ("blue as B02", "red as B04")
    assert loaded.mean_bands == ("VV",) and "B04" not in loaded.unused_bands
    assert "taken: blue as B02, red as B04; mean filter for VV" in loaded.summary


def test_weights_of_a_photograph_fit_bands_called_red_green_and_blue():
    kernel = np.arange(3, dtype=np.float32)[None, :, None, None]
    found = adapt_first_kernel(kernel, ("B04", "B03", "B02"), ("blue", "green", "red"), "file")
    assert found.ravel().tolist() == [2, 1, 0]
    published = LoadedWeights(
        source="imagenet", file="w.pth", sha256="", url="https://host/w.pth", license="",
        mean_bands=(), unused_bands=(), synonyms=("red as B04",),
    )  # fmt: skip
    assert "taken: red as B04, in reflectance as published weights expect it" in published.summary


def test_band_order_of_the_model_does_not_matter(resnet18_file):
    image = parity.image(64)
    order = np.random.default_rng(0).permutation(13)
    shuffled = tuple(BAND_NAMES[i] for i in order)
    results = []
    for bands, pixels in ((BAND_NAMES, image), (shuffled, image[..., order])):
        model = build_unet(spec(bands=bands))
        load_encoder_weights(model, str(resnet18_file), bands)
        results.append(levels(model, "resnet18", pixels)[-1])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_grey_images_excite_a_network_for_more_bands_as_before():
    kernel = parity.tensor("conv1.weight", (64, 3, 7, 7))
    wider = adapt_first_kernel(kernel, ("B04", "B03", "B02"), BAND_NAMES, "file")
    assert wider.shape == (64, 13, 7, 7)
    np.testing.assert_allclose(wider.sum(axis=1), kernel.sum(axis=1), atol=1e-5)
    np.testing.assert_allclose(wider[:, BAND_NAMES.index("B04")], kernel[:, 0] * 3 / 13, rtol=1e-6)


def test_same_features_under_another_normalizer(resnet18_file, tmp_path):
    """SoftCon's way: the file expects standardized input, the model normalizes otherwise."""
    softcon = pretrained.find("sentinel2-softcon", "resnet50")
    mean, std = np.array(softcon.mean), np.array(softcon.std)
    image = parity.image(64)
    rng = np.random.default_rng(0)
    results = []
    for shift, factor in ((mean, 1 / std), (0.0, 1.0), (rng.random(13), 1 + 5 * rng.random(13))):
        one = spec(shift=shift, factor=factor)
        model = build_unet(one)
        # A run folder's weights come with their normalizer: here that of SoftCon.
        run = tmp_path / "run"
        if not results:
            load_encoder_weights(model, str(resnet18_file), BAND_NAMES)
            run.mkdir()
            model.save_weights(run / "best.weights.h5")
            one.save(run / "model_spec.json")
        else:
            load_encoder_weights(model, str(run / "best.weights.h5"), BAND_NAMES)
        results.append(levels(model, "resnet18", image)[0])
    # Zero padding reaches 3 input pixels in, that is 2 pixels of the first level.
    inner = np.s_[:, 2:-2, 2:-2]
    for other in results[1:]:
        np.testing.assert_allclose(results[0][inner], other[inner], rtol=1e-4, atol=1e-4)


def test_logarithms_fit_weights_of_logarithms_only(tmp_path):
    one = spec(shift=-1.5, factor=2.0, log_offset=0.02)
    model = build_unet(one)
    model.save_weights(tmp_path / "best.weights.h5")
    one.save(tmp_path / "model_spec.json")
    image = np.random.default_rng(0).random((1, 32, 32, 13), np.float32)
    expected = levels(model, "resnet18", image)[0]
    other = build_unet(spec(shift=0.2, factor=3.0, log_offset=0.02))
    load_encoder_weights(other, str(tmp_path / "best.weights.h5"), BAND_NAMES)
    inner = np.s_[:, 2:-2, 2:-2]
    found = levels(other, "resnet18", image)[0]
    np.testing.assert_allclose(found[inner], expected[inner], rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match=r"expect its logarithm, but .* gives reflectance"):
        load_encoder_weights(network(), str(tmp_path / "best.weights.h5"), BAND_NAMES)


def broken(change) -> dict[str, np.ndarray]:
    tensors = dict(made_tensors("resnet18"))
    change(tensors)
    return tensors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layer3.0.bn1.bias"), r"lacks layer3\.0\.bn1\.bias"),
        (lambda t: t.update(extra=np.ones(1, np.float32)), "has unexpected extra"),
        (
            lambda t: t.update({"bn1.weight": np.ones(65, np.float32)}),
            r"has bn1\.weight of shape \(65,\), expected \(64,\)",
        ),
        (
            lambda t: t.update({"conv1.weight": np.ones((64, 13, 3, 3), np.float32)}),
            r"has conv1\.weight of shape \(64, 13, 3, 3\)",
        ),
        (
            lambda t: t.update({"conv1.weight": np.ones((64, 5, 7, 7), np.float32)}),
            "is for 5 bands without names, the model has 13",
        ),
    ],
)
def test_files_that_do_not_fit_change_nothing(tmp_path, change, message):
    save_file(broken(change), tmp_path / "w.safetensors")
    model = network()
    before = [np.asarray(v.value) for v in model.variables]
    with pytest.raises(ModelError, match=message):
        load_encoder_weights(model, str(tmp_path / "w.safetensors"), BAND_NAMES)
    assert all(np.array_equal(a, v.value) for a, v in zip(before, model.variables, strict=True))


def test_weights_of_another_depth_are_refused(resnet18_file):
    model = network("resnet34")
    with pytest.raises(ModelError, match=r"does not fit resnet34: .* never loaded in part"):
        load_encoder_weights(model, str(resnet18_file), BAND_NAMES)


def test_no_common_band_is_refused(resnet18_file):
    model = build_unet(spec(bands=("VV", "VH")))
    with pytest.raises(ModelError, match="13 bands without names, the model has 2: VV, VH"):
        load_encoder_weights(model, str(resnet18_file), ("VV", "VH"))
    with pytest.raises(ModelError, match=r"none of the model's bands \(VV\)"):
        adapt_first_kernel(np.ones((1, 1, 1, 1)), ("B02",), ("VV",), "file")
    with pytest.raises(ModelError, match=r"--bands B04 B03 B02 .* or take --encoder-weights none"):
        adapt_first_kernel(np.ones((1, 1, 1, 1)), ("B02",), ("band 1",), "file")


def test_none_loads_nothing():
    assert load_encoder_weights(network(), "none", BAND_NAMES) is None


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34", "resnet50"])
def test_depth_is_recognised(encoder):
    assert encoder_of(network(encoder)) == encoder


@pytest.mark.parametrize("encoder", ["resnet50", "resnet101"])
def test_depth_is_recognised_without_the_stages_that_tell(encoder):
    assert encoder_of(build_unet(spec(encoder, depth=2))) == encoder


def test_local_file_of_a_published_name_is_hash_checked(tmp_path):
    weights = pretrained.find("sentinel2-moco", "resnet18")
    (tmp_path / weights.file_name).write_bytes(b"something else")
    with pytest.raises(ModelError, match="damaged or not the published file"):
        load_encoder_weights(network(), str(tmp_path / weights.file_name), BAND_NAMES)
