from pathlib import Path

from landcover_tf.sentinel2.validity import ValidityBit
from tfrecords_builder.config import BuildConfig


def config(**changes):
    return BuildConfig(data_dir=Path("in"), output_dir=Path("out"), **changes)


def test_pixels_without_data_are_never_usable():
    assert config(invalid=("cloud",)).invalid_bits == ValidityBit.NODATA | ValidityBit.CLOUD
    assert config(invalid=()).invalid_bits == ValidityBit.NODATA
    assert config(invalid=("nodata", "snow")).invalid_bits == 1 | 64
