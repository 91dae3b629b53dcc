"""What a network may look like."""

from dataclasses import replace
from pathlib import Path

import pytest

from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ConfigError, ModelError
from landcover_tf.model_spec import ModelSpec
from landcover_tf.system.files import read_json, write_json
from landcover_tf.training.config import TrainConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_depth": 1}, r"--encoder-depth must be in \[2, 5\], got 1"),
        ({"encoder_depth": 6}, r"--encoder-depth must be in \[2, 5\], got 6"),
        ({"skip_connections": 6}, r"--skip-connections must be in \[0, 5\], got 6"),
        (
            {"decoder_filters": (8, 8)},
            r"--decoder-filters expects five numbers above 0, got \(8, 8",
        ),
        ({"decoder_filters": (8, 8, 8, 8, 0)}, "expects five numbers above 0"),
        ({"local_statistics": (5,)}, "need --skip-connections 5, got 4"),
        ({"local_statistics": (4, 5), "skip_connections": 5}, "odd numbers above 1, got 4 5"),
        ({"local_statistics": (1,), "skip_connections": 5}, "odd numbers above 1, got 1"),
    ],
)
def test_a_network_that_cannot_be_is_refused_wherever_it_stands(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(data_dir=Path(), output_dir=Path(), **changes)
    one = {"clip_min": (0.0,), "clip_max": (1.0,), "shift": (0.0,), "factor": (1.0,)}
    spec = ModelSpec(
        encoder="resnet18", band_names=("B02",), class_codes=(1, 2),
        normalizer=Normalizer(kind="reflectance", bands=("B02",), **one),
    )  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        replace(spec, **changes)
    path = tmp_path / "model_spec.json"
    spec.save(path)
    assert ModelSpec.load(path) == spec
    write_json(path, read_json(path) | changes)
    with pytest.raises(ModelError, match=f"{path} is not a model specification: .*{message}"):
        ModelSpec.load(path)
