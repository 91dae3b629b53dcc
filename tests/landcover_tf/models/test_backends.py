"""The same network, loss and confusion matrix on another Keras backend."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Runs once on each backend, in its own process, because Keras binds a backend at import.
PROGRAM = """
import sys
from pathlib import Path
import keras
import numpy as np
from landcover_tf.bands import BAND_NAMES
from landcover_tf.loss_settings import LOSS_KINDS
from landcover_tf.losses import SegmentationLoss
from landcover_tf.metrics import confusion
from landcover_tf.model_spec import ModelSpec
from landcover_tf.models.receptive_field import receptive_field
from landcover_tf.models.unet import build_unet
from landcover_tf.models.weights import load_encoder_weights
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.training.config import TrainConfig

weights, result, train = sys.argv[1], sys.argv[2], sys.argv[3] == "train"
bands = BAND_NAMES[:3]
limits = {"clip_min": (0.0,) * 3, "clip_max": (1.0,) * 3}
normalizer = Normalizer(
    kind="standardize", bands=bands, shift=(0.3, 0.4, 0.5), factor=(2.0, 3.0, 4.0), **limits
)
model = build_unet(
    ModelSpec(
        encoder="resnet18", band_names=bands, class_codes=(1, 2, 3), normalizer=normalizer,
        skip_connections=5, decoder_filters=(8, 8, 8, 4, 4),
    )
)
if train:
    model.save_weights(weights)
model.load_weights(weights)
assert load_encoder_weights(model, weights, bands).mean_bands == ()
random = np.random.default_rng(0)
image = random.random((2, 64, 96, 3), np.float32)
labels = random.integers(0, 3, (2, 64, 96)).astype("uint8")
labels[:, :10] = 255
def loss(weights=None, **settings):
    config = TrainConfig(data_dir=Path(), output_dir=Path(), **settings)
    return SegmentationLoss(config.loss_settings(weights))
model.compile(keras.optimizers.SGD(0.01), loss=loss())
logits = model.predict(image, verbose=0)
losses = [
    float(loss((1, 2, 3), loss=kind, boundary_weight=1)(labels, logits)[()]) for kind in LOSS_KINDS
]
counts = keras.ops.convert_to_numpy(confusion(labels, logits, 3))
trained = model.train_on_batch(image, labels)
field = receptive_field(model).field_px
np.savez(result, logits=logits, losses=losses, counts=counts, trained=trained, field=field)
"""


def run(backend: str, weights: Path, mode: str) -> dict[str, np.ndarray]:
    """Returns the program's numbers on a backend; mode "train" makes the weights first."""
    result = weights.with_name(f"{backend}.npz")
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(weights), str(result), mode],
        check=True,
        timeout=300,
        env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""},
    )
    return dict(np.load(result))


@pytest.fixture(scope="module")
def tensorflow_numbers(tmp_path_factory):
    weights = tmp_path_factory.mktemp("backends") / "w.weights.h5"
    return weights, run("tensorflow", weights, "train")


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
            ),
        )
        for name in ("torch", "jax")
    ],
)
def test_backend_gives_the_numbers_of_tensorflow(backend, tensorflow_numbers):
    weights, expected = tensorflow_numbers
    found = run(backend, weights, "read")
    assert set(found) == {"logits", "losses", "counts", "trained", "field"}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
