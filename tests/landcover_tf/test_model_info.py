"""What makes two exports the same model."""

from dataclasses import replace

import pytest
from fakes.small_export import small_info

from landcover_tf.legend import load_legend
from landcover_tf.model_info import Calibration, ModelInfo

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


def test_a_shallow_encoder_is_told_by_its_stages():
    assert replace(INFO, encoder="resnet50").encoder_title == "resnet50"
    assert (
        replace(INFO, encoder="resnet50", encoder_depth=2).encoder_title == "resnet50 of 2 stages"
    )
    assert replace(INFO, encoder="", encoder_depth=2).encoder_title == ""
