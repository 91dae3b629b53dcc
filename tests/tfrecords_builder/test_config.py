from pathlib import Path

import pytest

from landcover_tf.errors import ConfigError
from landcover_tf.validity import ValidityBit
from tfrecords_builder.config import BuildConfig


def config(**changes):
    return BuildConfig(data_dir=Path("in"), output_dir=Path("out"), **changes)


def test_pixels_without_data_are_never_usable():
    assert config(invalid=("cloud",)).invalid_bits == ValidityBit.NODATA | ValidityBit.CLOUD
    assert config(invalid=()).invalid_bits == ValidityBit.NODATA
    assert config(invalid=("nodata", "snow")).invalid_bits == 1 | 64


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_an_offset_is_finite(value):
    with pytest.raises(ConfigError, match=f"--offset must be finite, got {value}"):
        config(offset=value)
    assert config(offset=-0.1).offset == -0.1


def test_no_data_may_be_a_whole_number():
    assert config(nodata=0).nodata == 0
    with pytest.raises(ConfigError, match="--nodata must be one of none, a number, got zero"):
        config(nodata="zero")
