"""No-data values that no image declares are told before they are trained on."""

import re

import numpy as np
import pytest
from builder_inputs import arguments, rewrite, write_pairs
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.rasters.nodata import undeclared
from tfrecords_builder.__main__ import main


@pytest.fixture
def built_with(tmp_path, capsys):
    """Returns a function that builds two scenes with a border of a value and gives its warnings."""

    def build(value, dtype, *flags, bands=slice(None), columns=20, nodata=None, scale=None):
        data = write_pairs(tmp_path / "data", scenes=2)

        def change(values):
            changed = (values * (0.01 if dtype == "uint8" else 1)).astype(dtype)
            changed[:, :20, :30] = changed[:, 40:60, 40:70]  # Without the 0 of `write_pairs`.
            changed[bands, :, :columns] = value
            return changed

        for number in range(2):
            path = data / "images" / f"s{number}.tif"
            rewrite(path, change, nodata=nodata)
        scale = scale or (1e-2 if dtype == "uint8" else 1e-4)
        flags = ("--scale", scale, "--offset", 0, "--gap-px", 0, *flags)
        wanted = arguments(data, tmp_path / "o", *flags)
        assert main(wanted) == 0
        said = capsys.readouterr().err
        return [line for line in re.split(r"[\r\n]", said) if line.startswith("warning: ")]

    return build


@pytest.mark.parametrize(
    ("value", "dtype", "flag"),
    [
        (-9999, "int16", "-9999"),
        (0, "int16", "0"),
        (0, "float32", "0"),
        (-32768, "float32", "-32768"),
        (255, "uint8", "255"),
        (65535, "uint16", "65535"),
    ],
)
def test_a_border_of_one_value_is_told_with_its_share_and_flag(
    built_with, tmp_path, value, dtype, flag
):
    [line] = built_with(value, dtype)
    first = tmp_path / "data" / "images" / "s0.tif"
    assert line == (  # 20 of 200 columns.
        f"warning: 10.0% of the pixels of 2 images, {first} first, hold {flag} in all bands; if "
        f"that is no data, give --nodata {flag}"
    )


def test_the_advised_flag_is_taken_and_the_warning_is_gone(built_with):
    assert built_with(-3.4028235e38, "float32", "--nodata", "-3.40282347e+38") == []


def test_beside_a_declared_value_a_mask_is_advised(built_with):
    [line] = built_with(255, "uint8", nodata=0)
    assert line.endswith(
        "if that is no data too, mask these pixels in the file, for --nodata 255 would take the "
        "place of the declared 0"
    )


@pytest.mark.parametrize(
    ("value", "dtype", "values"),
    [
        (65535, "uint16", {"bands": slice(0, 3)}),  # Saturated, but not in all bands.
        (-9999, "int16", {"columns": 2}),  # 1 %.
        (-9999, "int16", {"nodata": -9999}),
    ],
)
def test_other_pixels_are_not_told(built_with, value, dtype, values):
    assert built_with(value, dtype, **values) == []


def test_who_says_that_all_is_data_is_not_warned(built_with):
    assert built_with(-9999, "int16", "--nodata", "none") == []


@settings(max_examples=60)
@given(
    bands=st.integers(1, 3),
    dtype=st.sampled_from(["uint8", "int16", "float32"]),
    seed=st.integers(0, 10**6),
)
def test_undeclared_values_are_those_of_a_count_by_pixel(bands, dtype, seed):
    random = np.random.default_rng(seed)
    low = 0 if dtype == "uint8" else -2
    planes = random.integers(low, 2, (bands, 4, 5)).astype(dtype)
    missing = random.random((4, 5)) < random.choice([0, 0.3, 1])
    seen = [tuple(planes[:, row, col]) for row, col in np.argwhere(~missing)]
    firsts = [pixel[0] for pixel in seen]
    expected = {}
    for value in {0.0, float(min(firsts)), float(max(firsts))} if seen else ():
        count = sum(all(v == value for v in pixel) for pixel in seen)
        if count and (bands > 1 or value < 0):
            expected[value] = count
    found = {value: int(where.sum()) for value, where in undeclared(planes, missing).items()}
    assert found == expected
