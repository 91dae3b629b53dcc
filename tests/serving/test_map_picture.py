"""Labels that are drawn beside a map."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fakes.full_disks import full_disk
from fakes.tiny_safe import write_safe
from local_export import BANDS, model_info, predict_options, write_raster
from rasterio.transform import from_origin

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.errors import RasterError
from landcover_tf.legend import load_legend
from serving.inputs import open_source
from serving.map_picture import check_reference, image_picture, read_reference

LEGEND = load_legend("landcover9")


def write_reference(path: Path, codes: np.ndarray, **changes: Any) -> Path:
    """Writes labels, by default on the grid of `write_raster`."""
    height, width = codes.shape
    with rasterio.open(path.parent / "scene.tif") as dataset:
        grid = {"crs": dataset.crs, "transform": dataset.transform}
    shape = {"count": 1, "height": height, "width": width, "dtype": codes.dtype}
    with rasterio.open(path, "w", **shape | grid | {"driver": "GTiff"} | changes) as dataset:
        dataset.write(codes, 1)
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[rasterio.DatasetReader]:
    write_raster(tmp_path / "scene.tif", 40, 40)
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        yield dataset


@pytest.mark.parametrize("offset", [None, -1000, 0])
def test_clouds_do_not_darken_the_ground(tmp_path: Path, offset: int | None) -> None:
    rng = np.random.default_rng(0)
    # Reflectance 0.05 to 0.15 of all bands, so that 0.1 is in the middle.
    trained = BandStatistics.from_pixels(rng.uniform(1500, 2500, (5000, 4)).astype("u2"), BANDS)
    info = model_info(statistics=trained.to_dict())
    stored = rng.uniform(1500, 2500, (60, 60)).astype(np.uint16)
    stored[:12] = 8000
    if offset is None:
        path = tmp_path / "scene.tif"
        write_raster(path, 60, 60)
        with rasterio.open(path, "r+") as raster:
            raster.write(np.repeat(stored[None], 4, axis=0))
    else:  # A product, of today or of before 2022.
        dn = dict.fromkeys(("B02", "B03", "B04"), stored - np.uint16(1000 + offset))
        path = write_safe(tmp_path, size_px=60, dn=dn, offsets=(offset,) * 13)
    source = open_source(path, info, predict_options().source)
    picture = image_picture(source, (60, 60), info)
    assert np.median(picture[12:]) == pytest.approx(255 * 0.5**0.8, abs=8)
    assert (picture[:12] == 255).all()
    # Without the model's training data the clouds take the whole range.
    assert np.median(image_picture(source, (60, 60), model_info())[12:]) < 50


def test_no_data_does_not_count_for_ground_such_as_the_model_saw(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    trained = BandStatistics.from_pixels(rng.uniform(1500, 2500, (5000, 4)).astype("u2"), BANDS)
    info = model_info(statistics=trained.to_dict())
    # Desert brighter than that in all bands, two rows of water, and no data.
    stored = rng.uniform(4500, 7000, (100, 100)).astype(np.uint16)
    stored[58:60] = 1500
    stored[60:] = 0
    write_raster(tmp_path / "scene.tif", 100, 100)
    with rasterio.open(tmp_path / "scene.tif", "r+") as raster:
        raster.write(np.repeat(stored[None], 4, axis=0))
    source = open_source(tmp_path / "scene.tif", info, predict_options().source)
    picture = image_picture(source, (100, 100), info)
    assert (picture[60:] == 0).all()
    assert (picture[:58] == 255).mean() < 0.1


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("uint8", 255)])
def test_truth_may_have_any_no_data_value(
    tmp_path: Path, scene: rasterio.DatasetReader, dtype: str, nodata: float
) -> None:
    labels = np.full((40, 40), 20).astype(dtype)
    labels[:10] = nodata
    for name, height in (("same.tif", 40), ("short.tif", 30)):  # Taken as it is, and placed.
        truth = write_reference(tmp_path / name, labels[:height], nodata=nodata)
        check_reference(truth, LEGEND)
        found = read_reference(truth, scene, (40, 40), LEGEND)
        expected = np.zeros((40, 40), np.uint8)
        expected[10:height] = 20
        assert found is not None and found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


def test_a_picture_is_without_truth_that_the_disk_has_no_room_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = np.random.default_rng(0).choice(np.array([10, 20, 30], np.uint8), (300, 300))
    profile = {"driver": "GTiff", "count": 1, "height": 300, "width": 300, "dtype": "uint8",
               "crs": "EPSG:32634", "transform": from_origin(5e5, 4e6, 10, 10)}  # fmt: skip
    for name in ("scene.tif", "truth.tif"):
        with rasterio.open(tmp_path / name, "w", **profile) as raster:
            raster.write(codes, 1)
    with rasterio.open(tmp_path / "scene.tif") as large, full_disk(15_000):  # It takes 26 kB.
        assert read_reference(tmp_path / "truth.tif", large, (30, 30), LEGEND) is None
    assert "is the disk full?" in capsys.readouterr().out


def test_a_folder_of_references_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match=r"--reference-map .* is a folder; give one raster"):
        check_reference(tmp_path, LEGEND)


def test_finer_truth_is_that_of_a_comparison(tmp_path: Path, scene: rasterio.DatasetReader) -> None:
    # Of 25 labels in a pixel, the middle one is 20 and the others are 30.
    fine = np.full((200, 200), 30, np.uint8)
    fine[2::5, 2::5] = 20
    transform = scene.transform @ rasterio.Affine.scale(0.2)
    truth = write_reference(tmp_path / "fine.tif", fine, transform=transform)
    found = read_reference(truth, scene, (40, 40), LEGEND)
    assert found is not None and (found == 30).all()


def test_truth_of_the_same_size_elsewhere_is_not_drawn(
    tmp_path: Path, scene: rasterio.DatasetReader, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = np.full((40, 40), 20, np.uint8)
    away = scene.transform @ rasterio.Affine.translation(10_000, 0)
    truth = write_reference(tmp_path / "away.tif", codes, transform=away)
    assert read_reference(truth, scene, (40, 40), LEGEND) is None
    said = capsys.readouterr().out
    assert "scene.tif is without --reference-map: " in said
    assert "away.tif does not overlap the map" in said
    # One that has no place at all is that of the map.
    plain = write_reference(tmp_path / "plain.png", codes, driver="PNG", crs=None, transform=None)
    found = read_reference(plain, scene, (40, 40), LEGEND)
    assert found is not None and (found == 20).all()


def test_truth_of_a_map_without_a_place_is_that_of_its_size(tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40)
    codes = np.full((40, 40), 20, np.uint8)
    truth = write_reference(tmp_path / "truth.tif", codes)  # This one has a place.
    plain = write_reference(tmp_path / "map.png", codes, driver="PNG", crs=None, transform=None)
    smaller = write_reference(tmp_path / "smaller.tif", codes[1:])
    with rasterio.open(plain) as scene:
        found = read_reference(truth, scene, (40, 40), LEGEND)
        assert found is not None and (found == 20).all()
        assert read_reference(smaller, scene, (40, 40), LEGEND) is None


def test_truth_of_floats_holds_whole_codes(tmp_path: Path, scene: rasterio.DatasetReader) -> None:
    codes = np.full((40, 40), 20, np.float32)
    codes[:5] = np.nan
    truth = write_reference(tmp_path / "truth.tif", codes)
    check_reference(truth, LEGEND)
    found = read_reference(truth, scene, (40, 40), LEGEND)
    np.testing.assert_array_equal(found, np.nan_to_num(codes))
    truth = write_reference(tmp_path / "truth.tif", codes + 0.5)
    with pytest.raises(
        RasterError, match=r"--reference-map: .*truth\.tif holds 20\.5; class codes are"
    ):
        check_reference(truth, LEGEND)


def test_strange_codes_of_the_truth_do_not_wrap_to_known_ones(
    tmp_path: Path, scene: rasterio.DatasetReader
) -> None:
    truth = write_reference(tmp_path / "truth.tif", np.full((40, 40), 256 + 20, np.uint16))
    with pytest.raises(RasterError, match=r"truth.tif has codes 276, which the model's legend"):
        check_reference(truth, LEGEND)
    found = read_reference(truth, scene, (40, 40), LEGEND)
    assert found is not None and (found == LEGEND.nodata).all()


def test_truth_with_overviews_of_any_kind_is_read_from_its_own_pixels(tmp_path: Path) -> None:
    """GDAL fills the overviews of a COG by cubic splines, with codes that nobody wrote."""
    size = 1800
    codes = np.random.default_rng(0).choice(np.array([10, 20, 60], np.uint8), (size, size))
    profile = {
        "driver": "COG", "height": size, "width": size, "count": 1, "dtype": "uint8",
        "crs": "EPSG:32634", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    }  # fmt: skip
    path = tmp_path / "truth.tif"
    with rasterio.open(path, "w", overview_resampling="cubic", **profile) as dataset:
        dataset.write(codes, 1)
    with rasterio.open(path) as dataset:
        assert len(np.unique(dataset.read(1, out_shape=(900, 900)))) > 3
    check_reference(path, LEGEND)
    with rasterio.open(path) as grid:
        found = read_reference(path, grid, (900, 900), LEGEND)
    assert found is not None and set(np.unique(found)) <= {10, 20, 60}


def test_truth_of_another_legend_is_remapped(
    tmp_path: Path, scene: rasterio.DatasetReader, capsys: pytest.CaptureFixture[str]
) -> None:
    # 40 is cropland in WorldCover, 10 in landcover9; it was drawn as urban areas.
    codes = np.full((40, 40), 40, np.uint8)
    named = write_reference(tmp_path / "ESA_WorldCover_10m_2021_v200_N36E021_Map.tif", codes)
    tagged = write_reference(tmp_path / "tagged.tif", codes)
    with rasterio.open(tagged, "r+") as raster:
        raster.update_tags(legend="worldcover")
    for truth in (named, tagged):
        check_reference(truth, LEGEND)
        assert "drawn by the crosswalk worldcover -> landcover9" in capsys.readouterr().out
        found = read_reference(truth, scene, (40, 40), LEGEND)
        assert found is not None and (found == 10).all()
        with pytest.raises(RasterError, match="has codes of legend worldcover, as its tag, "):
            check_reference(truth, load_legend("esri"))
    with rasterio.open(named, "r+") as raster:
        raster.update_tags(legend="landcover9")
    found = read_reference(named, scene, (40, 40), LEGEND)
    assert found is not None and (found == 40).all()
