"""Whether a scene is like the training data, and that the user hears of it when it is not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from local_export import BANDS, SmallExport, linked_export, model_info, write_raster

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.errors import ModelError
from landcover_tf.rasters.nodata import keep_apart
from serving.applicability import alike_fractions, assess
from serving.predict import main
from serving.sampling import lattice, lattice_step

FLAGS = ("--min-object-size", "0", "--engine", "tensorflow", "--no-picture")


def training(seed: int = 0, shift: float = 0.0, bands: tuple[str, ...] = BANDS) -> np.ndarray:
    """Returns stored values of a normal population, uint16 [pixels, bands]."""
    values = np.random.default_rng(seed).normal(2500 + shift, 400, (40_000, len(bands)))
    return values.astype(np.uint16)


def informed(pixels: np.ndarray, bands: tuple[str, ...] = BANDS):
    return model_info(statistics=BandStatistics.from_pixels(pixels, bands).to_dict())


def test_another_sample_of_the_same_population_is_applicable() -> None:
    found = assess([training(1)[:100], training(1)[100:]], informed(training(0)))
    assert found is not None
    assert found.pixels == 40_000
    assert found.applicable
    assert max(found.stability_index.values()) < 0.01
    # 0.02 % of each of four independent bands.
    assert found.outside_fraction == pytest.approx(0.0008, abs=0.0005)


def test_a_forgotten_offset_is_not_applicable() -> None:
    found = assess([training(1, shift=1000)], informed(training(0)))
    assert found is not None
    assert not found.applicable
    # 1000 is 2.5 standard deviations; the upper percentile lies 3.72 above the mean, so 11 %
    # of a band's pixels and 1 - 0.89**4 = 37 % of all are outside.
    assert found.outside_fraction == pytest.approx(0.37, abs=0.05)
    assert "scene is outside of what the model was trained on" in found.warning("scene")
    assert f"{100 * found.outside_fraction:.0f} % of its pixels" in found.warning("scene")


def test_no_training_scene_is_outside_however_homogeneous_and_rare() -> None:
    """One population of 100 is of snow alone, brighter than all others, another of water."""
    levels = np.linspace(1500, 3500, 98)
    scenes = [np.full((400, len(BANDS)), level) for level in (1050, *levels, 9000)]
    noise = np.random.default_rng(0).normal(0, 30, (len(scenes), 400, len(BANDS)))
    stored = (np.stack(scenes) + noise).astype(np.uint16)
    info = informed(stored.reshape(-1, len(BANDS)))
    found = [assess([scene], info) for scene in stored]
    assert min(one.median_stability_index for one in found if one) > 0.25
    assert max(one.outside_fraction for one in found if one) < 0.06
    assert all(one and one.applicable for one in found)
    darker = assess([stored[0] - 500], info)
    brighter = assess([stored[-1] + 500], info)
    for one in (darker, brighter):
        assert one is not None
        assert one.outside_fraction == 1
        assert not one.applicable


def test_nothing_is_said_without_statistics_or_pixels() -> None:
    assert assess([training(1)], model_info()) is None
    assert assess([training(1)[:0]], informed(training(0))) is None
    assert assess([], informed(training(0))) is None


def test_statistics_of_other_bands_are_refused() -> None:
    info = informed(training(0), ("B02", "B03", "B04", "B11"))
    with pytest.raises(ModelError, match=r"statistics of model 'small' are of bands .*B11"):
        assess([training(1)], info)


@settings(max_examples=50)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    step=st.integers(1, 9),
    cut=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_parts_sample_the_pixels_that_the_whole_samples(
    height: int, width: int, step: int, cut: tuple[int, int]
) -> None:
    raster = np.arange(height * width).reshape(height, width)
    row, col = min(cut[0], height), min(cut[1], width)
    parts = [
        lattice(raster[rows, cols], rows.start, cols.start, step).ravel()
        for rows in (slice(0, row), slice(row, height))
        for cols in (slice(0, col), slice(col, width))
    ]
    expected = np.sort(lattice(raster, 0, 0, step).ravel())
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), expected)


def test_a_full_tile_gives_about_a_million_pixels() -> None:
    step = lattice_step(10980, 10980)
    assert 10980**2 / step**2 == pytest.approx(1e6, rel=0.1)
    assert lattice_step(100, 100) == 1
    # Most are where the step just stays 1.
    assert (lattice_step(1500, 1499), lattice_step(1501, 1500)) == (1, 2)


def test_prediction_writes_the_flag_and_warns(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_raster(tmp_path / "scene.tif", 90, 70, nodata_columns=10)
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        profile, scales, offsets = dataset.profile, dataset.scales, dataset.offsets
    with rasterio.open(tmp_path / "bright.tif", "w", **profile) as dataset:
        dataset.write(np.where(image > 0, image + 6000, 0).astype(np.uint16))
        dataset.descriptions, dataset.scales, dataset.offsets = BANDS, scales, offsets
    pixels = image[:, :, 10:].reshape(len(BANDS), -1).T
    statistics = BandStatistics.from_pixels(pixels, BANDS).to_dict()
    info = replace(small_export.info, statistics=statistics)
    export = linked_export(small_export, info, tmp_path / "export" / "1").folder

    blend = ("--mode", "blend", "--patch-size", "64", "--patch-overlap", "32")
    for name, mode in (("scene", ()), ("scene", blend), ("bright", ())):
        out = tmp_path / name / "map.tif"
        paths = ("--input-image", str(tmp_path / f"{name}.tif"), "--output-map", str(out))
        flags = (*FLAGS, *mode, "--overwrite")
        assert main(["--model-path", str(export), *paths, *flags]) == 0
        error = capsys.readouterr().err
        found = json.loads((tmp_path / name / "applicability.json").read_text())
        item = json.loads((tmp_path / name / "map.json").read_text())
        assert found["pixels"] == 90 * 60
        assert list(found["stability_index"]) == list(BANDS)
        assert found["applicable"] == item["properties"]["landcover:applicable"]
        assert item["assets"]["applicability"]["href"] == "./applicability.json"
        if name == "scene":
            # Every pixel of the scene is a training pixel.
            assert max(found["stability_index"].values()) == 0
            assert found["applicable"]
            assert "warning" not in error
        else:
            assert found["outside_fraction"] > 0.9
            assert "warning: bright is outside of what the model was trained on" in error


def test_prediction_tells_of_many_pixels_with_one_value_in_all_bands(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_raster(tmp_path / "counts.tif", 90, 70)
    reflectance = image.astype(np.float32) * 1e-4 - 0.1
    reflectance[:, :, 60:] = 0  # A void of 10 of 70 columns.
    with rasterio.open(tmp_path / "counts.tif") as dataset:
        profile = dataset.profile | {"dtype": "float32", "nodata": None}
    with rasterio.open(tmp_path / "floats.tif", "w", **profile) as dataset:
        dataset.write(reflectance)
        dataset.descriptions = BANDS
    for name in ("counts", "floats"):
        paths = ("--input-image", str(tmp_path / f"{name}.tif"))
        flags = ("--output-map", str(tmp_path / name / "map.tif"), *FLAGS)
        assert main(["--model-path", str(small_export.folder), *paths, *flags]) == 0
        told = "warning: 14.3% of the pixels of floats that have a class hold the reflectance 0 in"
        assert (told in capsys.readouterr().err) == (name == "floats")


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_values_moved_from_the_models_no_data_are_told(dtype: str) -> None:
    info = model_info(
        dtype=dtype, bands=tuple(BandInfo(name=b, scale=1e-4, offset=0.0) for b in BANDS)
    )
    pixels = np.random.default_rng(0).integers(200, 4000, (1000, 4)).astype(dtype)
    moved = np.zeros((1, 4), dtype)
    keep_apart(moved[None], 0, 1e-4)
    assert moved.any()
    pixels[:30] = moved
    pixels[30:40] = 4000  # One in a hundred is not above the limit.
    assert alike_fractions([pixels], info) == {0.0: pytest.approx(0.03)}
    assert alike_fractions([pixels[:0]], info) == {}
