"""What a network may look like, and what makes two exports the same model."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.small_export import small_info

from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ConfigError, ModelError
from landcover_tf.legend import load_legend
from landcover_tf.model_info import Calibration, ModelInfo, ModelSpec
from landcover_tf.system.files import read_json, write_json
from landcover_tf.training.config import TrainConfig

INFO = small_info(weights_sha256="0" * 64, normalizer={"kind": "reflectance"})


@pytest.mark.parametrize(
    "changes",
    [
        {"weights_sha256": "1" * 64},
        {"calibration": Calibration(method="temperature", scale=(0.5,))},
        {"bands": INFO.bands[::-1]},
        {"dtype": "int16"},
        {"nodata": 1},
        {"normalizer": {"kind": "log"}},
        {"class_codes": INFO.class_codes[::-1]},
        {"legend": load_legend("worldcover")},
        {"resolution_m": 20.0},
    ],
)
def test_all_that_decides_a_map_belongs_to_the_identity(changes):
    assert replace(INFO, **changes).identity != INFO.identity


def test_what_describes_a_model_does_not():
    changes = {"name": "other", "version": 2, "metrics": {"iou": 0.5}, "software": {"keras": "3"}}
    assert replace(INFO, **changes).identity == INFO.identity


def test_the_identity_survives_the_file(tmp_path):
    INFO.save(tmp_path)
    assert ModelInfo.load(tmp_path).identity == INFO.identity
    unknown = replace(INFO, weights_sha256="")
    assert unknown.identity != replace(unknown, data_hash="a").identity


def test_a_shallow_encoder_is_told_by_its_stages():
    assert replace(INFO, encoder="resnet50").encoder_title == "resnet50"
    assert (
        replace(INFO, encoder="resnet50", encoder_depth=2).encoder_title == "resnet50 of 2 stages"
    )
    assert replace(INFO, encoder="", encoder_depth=2).encoder_title == ""


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
