"""Rasters and flags that do not fit are refused or told."""

import dataclasses
import re
from functools import partial

import numpy as np
import pytest
import rasterio
from builder_inputs import arguments, contents, fails, rewrite, write_pairs
from fakes.prepare_program import product as safe_product
from fakes.prepare_program import run as prepare
from fakes.prepare_program import write_labels

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import DatasetError
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.preflight import check
from landcover_tf.upsampling import Upsampling
from tfrecords_builder.__main__ import main
from tfrecords_builder.checks import dataset_upsampling
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.planning import understand


def swapped(values, code):
    """Gives the pixels of class 10 another code."""
    return np.where(values == 10, code, values).astype(np.uint8)


def test_unknown_label_codes_name_every_file(broken, tmp_path, capsys):
    for name, code in (("s0", 77), ("s2", 78)):
        rewrite(broken / "labels" / f"{name}.tif", partial(swapped, code=code))
    message = fails(broken, tmp_path, capsys)
    assert "s0.tif has codes 77, which the legend landcover9 does not know" in message
    assert "s2.tif has codes 78, " in message
    assert main(arguments(broken, tmp_path / "p", "--unknown-labels", "ignore")) == 0
    assert 10 in DatasetInfo.load(tmp_path / "p").legend.codes


def test_labels_that_a_threshold_drops_are_told(broken, tmp_path, capsys):
    def sparse(values):
        # Two columns of patches of 40 px keep all labels, three have them in 18 rows of 40.
        rows, cols = np.indices(values.shape[1:])
        return np.where((cols < 80) | (rows % 40 < 18), values, 0).astype(np.uint8)

    for name in ("s0", "s1", "s2"):
        rewrite(broken / "labels" / f"{name}.tif", sparse)
    flags = ("--patch-size", 40, "--patch-overlap", 0, "--gap-px", 0, "--min-labelled-fraction")
    assert main(arguments(broken, tmp_path / "o", *flags, 0.5)) == 0
    told = capsys.readouterr()
    # 15 x 18 x 40 pixels of these and 10 x 40 x 40, less 20 x 30 without data.
    assert "45 patches: too few labelled pixels (41% of the labelled pixels)" in told.out
    assert (
        "warning: 41% of the labelled pixels lie in patches that are dropped (too few labelled "
        "pixels); lower --min-labelled-fraction, or" in told.err
    )
    assert main(arguments(broken, tmp_path / "p", *flags, 0)) == 0
    told = capsys.readouterr()
    assert "of the labelled pixels" not in told.out + told.err
    for name in ("s0", "s1", "s2"):
        rewrite(broken / "labels" / f"{name}.tif", np.zeros_like)
    message = fails(broken, tmp_path / "none", capsys)
    assert "; lower --min-labelled-fraction, or look at the labels" in message
    assert "--min-valid-fraction" not in message


def test_an_image_instead_of_labels_is_one_short_sentence(broken, tmp_path, capsys):
    ramp = np.arange(200 * 200, dtype=np.uint16).reshape(1, 200, 200) % 4000 + 1000
    rewrite(broken / "labels" / "s1.tif", lambda v: ramp)
    message = fails(broken, tmp_path, capsys)
    assert (
        "s1.tif has codes 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009 and" in message
    )
    assert "3990 more (more than a legend has; is it an image?), which the legend" in message


def test_bands_and_types_that_differ_are_all_named(broken, tmp_path, capsys):
    rewrite(broken / "images" / "s1.tif", lambda v: v[:3])
    rewrite(broken / "images" / "s2.tif", lambda v: v.astype(np.int16))
    message = fails(broken, tmp_path, capsys)
    assert "s1.tif has bands B02, B03, B04, most have B02, B03, B04, B08" in message
    assert "s2.tif has data type int16, most have uint16" in message


def test_a_scene_without_data_is_named(broken, tmp_path, capsys):
    rewrite(broken / "images" / "s1.tif", lambda v: v * 0)
    message = fails(broken, tmp_path, capsys)
    assert "s1.tif has no usable pixel: all are no data or masked\n" in message


@pytest.mark.parametrize("missing", [np.nan, -9999])
def test_a_band_that_lacks_what_others_have_is_named(tmp_path, capsys, missing):
    """Three good bands were lost to a mask of clouds that is NaN where there are none."""

    def of_bands(name, kept_rows):
        def change(dn):
            image = np.full_like(dn, missing, np.float32)
            image[[0, 1, 3]], image[2, kept_rows] = dn[[0, 1, 3]], dn[2, kept_rows]
            return image

        data = write_pairs(tmp_path / name, scenes=2)
        for n in range(2):
            rewrite(data / "images" / f"s{n}.tif", change, nodata=missing)
        return data

    message = fails(of_bands("none", slice(0)), tmp_path, capsys)
    assert re.search(
        r"all are no data or masked; band B04 has no data in 100% of the pixels of \S+s0\.tif, ot"
        r"her bands lack fewer, and a pixel needs all bands; leave it out with --bands\n",
        message,
    )
    named = r"band B04 has no data in (\d+)% of the pixels of 2 images, \S+s0\.tif first, other"
    data = of_bands("quarter", slice(None, None, 4))
    message = fails(data, tmp_path, capsys, "--min-valid-fraction", 0.5)
    assert re.search(r"none of \d+ patches is good enough: .*; " + named, message)
    flags = ("--min-valid-fraction", 0.1, "--val-fraction", 0, "--test-fraction", 0)
    assert main(arguments(data, tmp_path / "o", *flags)) == 0
    assert re.search("warning: " + named, capsys.readouterr().err)[1] == "75"
    flags = ("--bands", "B02", "B03", "B08")
    assert main(arguments(data, tmp_path / "three", *flags)) == 0
    assert "lack fewer" not in capsys.readouterr().err


def test_a_band_that_lacks_data_does_not_hide_that_labels_are_few(tmp_path, capsys):
    def without_30_rows_of_b04(dn):
        image = dn.astype(np.float32)
        image[2, :30] = np.nan
        return image

    data = write_pairs(tmp_path / "data")
    for name in ("s0", "s1", "s2"):
        rewrite(data / "images" / f"{name}.tif", without_30_rows_of_b04, nodata=np.nan)
        rewrite(data / "labels" / f"{name}.tif", lambda v: v * (np.indices(v.shape)[1] < 10))
    message = fails(data, tmp_path, capsys, "--min-labelled-fraction", 0.5)
    assert "; lower --min-labelled-fraction, or look at the labels; band B04 has no da" in message


def test_too_few_patches_for_the_splits_say_what_to_do(tmp_path, capsys):
    # Four patches, whose centres lie in two blocks.
    message = fails(write_pairs(tmp_path / "data", scenes=1, size=56), tmp_path, capsys)
    assert "need at least 3 blocks, but the patches lie in 2; use a smaller --patch-size" in message


def test_a_dataset_that_cannot_be_trained_is_told(pairs, tmp_path, capsys):
    assert main(arguments(pairs, tmp_path / "o", "--val-fraction", "0")) == 0
    said = capsys.readouterr()
    assert "no validation split, which landcover train needs; give" in said.err
    assert "next:" not in said.out
    with pytest.raises(DatasetError, match="build it with a --val-fraction above 0"):
        check(TrainConfig(data_dir=tmp_path / "o", output_dir=tmp_path / "run"))


def test_stored_values_taken_for_reflectance_are_refused(broken, tmp_path, capsys):
    message = fails(broken, tmp_path, capsys, "--scale", 1, "--offset", 0)
    assert "which is no reflectance; give --scale" in message


def reflectance_with(folder, change, number=0):
    """Writes pairs whose images are reflectance as float32, one of them with a change."""
    data = write_pairs(folder, scenes=3)
    for n in range(3):
        path = data / "images" / f"s{n}.tif"
        rewrite(path, lambda dn: np.where(dn, dn * 1e-4 - 0.1, np.nan).astype(np.float32))
        with rasterio.open(path, "r+") as raster:
            raster.scales, raster.offsets, raster.nodata = (1,) * 4, (0,) * 4, np.nan
        if n == number:
            rewrite(path, change)
    return data


def decibels(image):
    image[2:] = 10 * np.log10(np.maximum(image[2:], 0.01))
    return image


def z_scores(image):
    return (image - np.nanmean(image)) / np.nanstd(image)


@pytest.mark.parametrize(
    ("change", "listed"),
    [
        (lambda image: image * 10_000, r"s0\.tif: B02 100%, B03 100%, B04 100%, B08 100%\n"),
        (lambda image: image * 100, r"s0\.tif: B02 100%, B03"),
        (decibels, r"s0\.tif: B04 100%, B08 100%\n"),
        (z_scores, r"s0\.tif: B02 \d\d%, B03"),
    ],
)
def test_an_image_of_other_units_is_refused_by_name(tmp_path, capsys, change, listed):
    data = reflectance_with(tmp_path / "data", change)
    message = fails(data, tmp_path, capsys)
    assert "bands of 1 of 3 images have much of their training pixels below -0.1 or" in message
    assert re.search(listed, message)
    flags = ("--normalizer", "standardize")
    assert main(arguments(data, tmp_path / "standardized", *flags)) == 0


def water_and_snow(image):
    """Makes noise about 0, as water has after an offset, of two bands, and up to 1.5 of two."""
    return np.concatenate([image[:2] - 0.13, image[2:] * 6.8])


def test_reflectance_about_0_and_above_1_is_none_of_other_units(tmp_path, capsys):
    data = reflectance_with(tmp_path / "data", water_and_snow)
    assert main(arguments(data, tmp_path / "o")) == 0
    assert "warning" not in capsys.readouterr().err


def test_data_that_are_darker_than_land_are_warned_of(tmp_path, capsys):
    data = write_pairs(tmp_path / "data", scenes=2)
    flags = ("--scale", "1e-6", "--offset", "0")
    assert main(arguments(data, tmp_path / "o", *flags)) == 0
    assert "have a reflectance of 0.0031 at most, as hardly" in capsys.readouterr().err


def test_scenes_of_another_sharpening_do_not_mix(tmp_path, capsys):
    truth = write_labels(tmp_path / "truth.tif", np.full((240, 240), 10))
    for satellite, flags in (("2A", ("--sharpening", "glp")), ("2B", ())):
        root = safe_product(tmp_path / satellite, satellite=satellite)
        scenes = ("--ground-truth", truth, *flags)
        assert prepare(root, tmp_path / "scenes", *scenes) == 0
    message = fails(tmp_path / "scenes", tmp_path, capsys)
    assert "has 20 m and 60 m bands made with --resampling bicubic --sharpening" in message
    config = BuildConfig(data_dir=tmp_path / "scenes", output_dir=tmp_path / "o")
    fine = dataclasses.replace(config, bands=("B02", "B08"))
    assert dataset_upsampling(understand(fine).rasters) is None
    (scene,) = (tmp_path / "scenes").glob("S2A*")
    alone = dataclasses.replace(config, data_dir=scene)
    assert dataset_upsampling(understand(alone).rasters) == Upsampling(sharpening="glp")


def test_a_taken_output_folder_is_left_alone(pairs, built, tmp_path, capsys):
    before = contents(built)
    assert main(arguments(pairs, built)) == 2
    assert "holds a finished dataset already" in capsys.readouterr().err
    assert contents(built) == before
    (tmp_path / "notes.txt").write_text("mine")
    assert main(arguments(pairs, tmp_path)) == 2
    assert "is not empty; choose another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--patch-overlap", "32"], r"patch_overlap must be in \[0, patch_size=32\), got 32"),
        (["--val-fraction", "0.6", "--test-fraction", "0.5"], "leave a share for training"),
        (["--split", "zones"], "--split zones and --zones FILE need each other"),
        (["--band-indexes", "1"], "--band-indexes has 1 numbers for 0 --bands"),
        (["--bands", "B02", "B03", "B02"], "--bands names B02 more than once"),
        (["--nodata", "nan"], "--nodata must be a finite number or none, got nan"),
        (["--seed", "-1"], "--seed must not be negative, got -1"),
        (["--legend", "nolegend"], "no legend 'nolegend'"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers at tcp://127.0.0.1:9"),
    ],
)
def test_bad_flags_are_one_sentence(pairs, tmp_path, capsys, flags, message, monkeypatch):
    import re

    monkeypatch.setattr("landcover_tf.system.executors.CONNECT_SECONDS", 1)
    assert main(arguments(pairs, tmp_path / "o", *flags)) == 2
    assert re.search(message, capsys.readouterr().err)
