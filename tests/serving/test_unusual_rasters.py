"""Rasters that say in other ways where their pixels lie and which of them hold data."""

import csv
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from local_export import (
    BANDS,
    RAW,
    SmallExport,
    arguments,
    linked_export,
    model_info,
    predict_options,
    write_raster,
)
from rasterio import Affine
from rasterio.enums import ColorInterp

from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.errors import RasterError
from landcover_tf.grid import Window
from serving.inputs import open_source
from serving.predict import main


def all_pixels(path: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns values and validity bits of a whole raster as the model gets them."""
    source = open_source(path, model_info(), predict_options(**options).source)
    grid = source.grid
    found = source.read(Window(row_off=0, col_off=0, height=grid.height, width=grid.width))
    source.close()
    return found


def write(path: Path, image: np.ndarray, **profile: Any) -> None:
    """Writes a raster of named bands with pixels of 10 m, [bands, height, width]."""
    count, height, width = image.shape
    defaults = {"crs": "EPSG:32634", "transform": Affine(10, 0, 600_000, 0, -10, 4_200_000)}
    shape = {"count": count, "height": height, "width": width, "dtype": image.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **defaults | profile) as dataset:
        dataset.write(image)
        dataset.descriptions = BANDS


@pytest.mark.parametrize("internal", ["YES", "NO"])
def test_resampling_keeps_the_mask_of_a_raster(tmp_path: Path, internal: str) -> None:
    path = tmp_path / "scene.tif"
    mask = np.full((40, 60), 255, np.uint8)
    mask[:, :20] = 0
    write(
        path,
        np.full((4, 40, 60), 0.2, np.float32),
        transform=Affine(20, 0, 600_000, 0, -20, 4_200_000),
    )
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(path, "r+") as dataset,
    ):
        dataset.write_mask(mask)
    assert (tmp_path / "scene.tif.msk").exists() == (internal == "NO")
    found, validity = all_pixels(path, resample=True)
    assert found.shape == (80, 120, 4)
    # 20 masked columns of 20 m are 40 of 10 m; interpolation may take the pixel beside the edge.
    assert (validity[:, :39] & 1).all()
    assert not (validity[:, 41:] & 1).any()
    assert (found[:, :39] == 0).all()
    assert (found[:, 41:] == 3000).all()  # (0.2 + 0.1) / 1e-4
    source = open_source(path, model_info(), predict_options(resample=True).source)
    np.testing.assert_array_equal(source.preview((40, 60))[2], mask > 0)


def test_web_mercator_has_the_pixels_and_hectares_of_the_ground(
    tmp_path: Path, small_export: SmallExport, capsys: pytest.CaptureFixture[str]
) -> None:
    # At 60 degrees north, 8,399,738 m there, a metre of the projection is half a metre.
    mercator: dict[str, Any] = {"crs": "EPSG:3857", "origin": (1_000_000.0, 8_399_738.0)}
    names = {"fine": 10.0, "fit": 20.0}
    for name, pixel_m in names.items():
        write_raster(tmp_path / f"{name}.tif", 40, 40, pixel_m=pixel_m, **mercator)
    with pytest.raises(RasterError, match=r"has pixels of 5\.01\d* x 5\.00\d* m, .* on 10 m"):
        open_source(tmp_path / "fine.tif", model_info(), predict_options().source)

    out = tmp_path / "out" / "map.tif"
    flags = (*RAW, "--vector")
    assert main(arguments(small_export, [tmp_path / "fit.tif"], out, *flags)) == 0
    with (out.parent / "areas.csv").open() as file:
        table = sum(float(row["area_ha"]) for row in csv.DictReader(file))
    with sqlite3.connect(out.with_suffix(".gpkg")) as connection:
        (polygons,) = connection.execute("SELECT sum(area_ha) FROM land_cover").fetchone()
    # Radii of curvature of the ellipsoid at that latitude: 0.5013 across, 0.5004 up.
    assert table == pytest.approx(40 * 40 * 0.04 * 0.5013 * 0.5004, rel=1e-3)
    assert polygons == pytest.approx(table, abs=1e-3)
    assert "hectares" not in capsys.readouterr().out


def test_a_map_whose_pixels_differ_on_the_ground_has_no_hectares(
    tmp_path: Path, small_export: SmallExport, capsys: pytest.CaptureFixture[str]
) -> None:
    info = replace(small_export.info, resolution_m=None)
    export = linked_export(small_export, info, tmp_path / "export" / "1")
    # 200 km from north to south.
    mercator: dict[str, Any] = {"crs": "EPSG:3857", "origin": (1_000_000.0, 8_399_738.0)}
    write_raster(tmp_path / "wide.tif", 40, 40, pixel_m=10_000.0, **mercator)
    out = tmp_path / "out" / "map.tif"
    assert main(arguments(export, [tmp_path / "wide.tif"], out, *RAW)) == 0
    assert "wide.tif gets no hectares: its pixels have no one area" in capsys.readouterr().out
    with (out.parent / "areas.csv").open() as file:
        assert {row["area_ha"] for row in csv.DictReader(file)} == {""}


def test_an_alpha_band_of_floats_is_a_mask(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    image = np.full((5, 20, 30), 0.2, np.float32)
    image[4] = 255
    image[4, :, :10] = 0
    transform = Affine(10, 0, 600_000, 0, -10, 4_200_000)
    shape = {"count": 5, "height": 20, "width": 30, "dtype": "float32"}
    grid = {"crs": "EPSG:32634", "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **shape, **grid) as dataset:
        dataset.colorinterp = (*dataset.colorinterp[:4], ColorInterp.alpha)
        dataset.write(image)
        dataset.descriptions = (*BANDS, None)
    found, validity = all_pixels(path)
    np.testing.assert_array_equal(validity & 1, np.repeat([[1] * 10 + [0] * 20], 20, axis=0))
    assert found.shape == (20, 30, 4)


@pytest.mark.parametrize(
    ("across", "down"), [((0, 1), (-1, 0)), ((0.6, 0.8), (0.8, -0.6)), ((1, 0), (0, 1))]
)
def test_a_turned_raster_has_the_pixel_size_of_its_sides(
    tmp_path: Path, across: tuple[float, float], down: tuple[float, float]
) -> None:
    image = np.full((4, 40, 60), 2000, np.uint16)
    for side in (10, 20):
        # The columns of the matrix are the steps to the next column and the next row.
        turned = Affine(
            across[0] * side, down[0] * side, 600_000, across[1] * side, down[1] * side, 4_200_000
        )
        write(tmp_path / f"{side}.tif", image, transform=turned)
    assert (
        open_source(tmp_path / "10.tif", model_info(), predict_options().source).grid.height == 40
    )
    with pytest.raises(RasterError, match="has pixels of 20 m"):
        open_source(tmp_path / "20.tif", model_info(), predict_options().source)
    found, validity = all_pixels(tmp_path / "20.tif", resample=True)
    assert found.shape == (80, 120, 4)
    assert not validity.any()
    assert (found == 2000).all()


def test_oblong_pixels_are_told_and_resampled_along_both_axes(tmp_path: Path) -> None:
    oblong = Affine(20, 0, 600_000, 0, -10, 4_200_000)
    write(tmp_path / "scene.tif", np.full((4, 40, 60), 2000, np.uint16), transform=oblong)
    with pytest.raises(RasterError, match="has pixels of 20 x 10 m"):
        open_source(tmp_path / "scene.tif", model_info(), predict_options().source)
    found, _ = all_pixels(tmp_path / "scene.tif", resample=True)
    assert found.shape == (40, 120, 4)


def test_pixels_as_unlike_as_those_of_one_dataset_are_taken(tmp_path: Path) -> None:
    """The builder takes images whose pixels differ by 5 % from the usual ones."""
    path = tmp_path / "scene.tif"
    image = write_raster(path, 20, 20, pixel_m=10.4)
    np.testing.assert_array_equal(all_pixels(path)[0], np.moveaxis(image, 0, -1))
    write_raster(path, 20, 20, pixel_m=10.6)
    with pytest.raises(RasterError, match=r"pixels of 10\.6 m, the model was trained on 10 m"):
        all_pixels(path)


@pytest.mark.parametrize("missing", [-9999.0, np.nan])
def test_a_band_without_data_leaves_the_pixel_without(tmp_path: Path, missing: float) -> None:
    image = np.full((4, 20, 30), 0.2, np.float32)
    image[2, :, :10] = missing
    write(tmp_path / "scene.tif", image, nodata=missing)
    found, validity = all_pixels(tmp_path / "scene.tif")
    np.testing.assert_array_equal(validity & 1, np.repeat([[1] * 10 + [0] * 20], 20, axis=0))
    assert (found[:, :10] == 0).all()
    assert (found[:, 10:] == 3000).all()


def test_zeros_in_one_band_of_counts_are_dark_pixels(tmp_path: Path) -> None:
    image = np.full((4, 20, 30), 2000, np.uint16)
    image[2, :, :10] = 0
    write(tmp_path / "scene.tif", image, nodata=0)
    assert not all_pixels(tmp_path / "scene.tif")[1].any()


def test_the_preview_is_reflectance(tmp_path: Path) -> None:
    image = np.linspace(0.05, 0.4, 4 * 20 * 30, dtype=np.float32).reshape(4, 20, 30)
    write(tmp_path / "scene.tif", image)
    source = open_source(tmp_path / "scene.tif", model_info(), predict_options().source)
    picture, names, valid = source.preview((20, 30))
    assert names == ("B04", "B03", "B02")
    assert valid.all()
    # To one of the model's steps.
    np.testing.assert_allclose(picture, np.moveaxis(image[[2, 1, 0]], 0, -1), atol=1e-4)


@pytest.mark.parametrize(("dtype", "takes"), [("uint16", "uint8"), ("int32", "uint16")])
def test_untagged_integers_of_a_wider_type_than_the_model_s_are_refused(
    tmp_path: Path, dtype: str, takes: str
) -> None:
    path, bands = tmp_path / "scene.tif", tuple(BandInfo(name=b, scale=1 / 255) for b in BANDS)
    info, options = model_info(dtype=takes, nodata=0, bands=bands), predict_options().source
    write(path, np.full((4, 8, 8), 100, takes))
    assert open_source(path, info, options)
    write(path, np.full((4, 8, 8), 1000, dtype))
    with pytest.raises(
        RasterError, match=rf"holds {dtype} without scale.*or convert it to {takes}"
    ):
        open_source(path, info, options)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (1e-4,) * 4
    found, _ = open_source(path, info, options).read(
        Window(row_off=0, col_off=0, height=8, width=8)
    )
    assert (found == 26).all()  # rint(0.1 * 255).


def test_a_raster_without_cloud_bits_cannot_leave_clouds_out(tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", 20, 20)
    with pytest.raises(RasterError, match=r"scene.tif does not say where clouds are"):
        open_source(tmp_path / "scene.tif", model_info(), predict_options(mask_clouds=True).source)


@pytest.mark.parametrize(
    ("dtype", "nodata", "reflectance"),
    [
        ("float32", 0.0, 1e-6),
        ("float32", -9999.0, 0.0),
        ("uint16", 0, 1e-4),
        ("uint16", 65535, 0.0),
    ],
)
def test_a_dark_pixel_stays_dark_beside_the_value_for_no_data(
    tmp_path: Path, dtype: str, nodata: float, reflectance: float
) -> None:
    scale = 1.0 if dtype == "float32" else 1e-4
    bands = tuple(BandInfo(name=name, scale=scale, offset=0.0) for name in BANDS)
    info = model_info(dtype=dtype, nodata=nodata, bands=bands)
    # Counts of another offset: 1000 is reflectance 0.
    image = np.full((4, 8, 8), 1000, np.uint16)
    image[:, :2] = 0
    write(tmp_path / "scene.tif", image, nodata=0)
    with rasterio.open(tmp_path / "scene.tif", "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4,) * 4, (-0.1,) * 4
    source = open_source(tmp_path / "scene.tif", info, predict_options().source)
    found, validity = source.read(Window(row_off=0, col_off=0, height=8, width=8))
    assert (found[:2] == nodata).all() and (validity[:2] == 1).all()
    assert (found[2:] != nodata).any(axis=-1).all() and (validity[2:] == 0).all()
    assert found[2:, :, 0].astype(float) * scale == pytest.approx(reflectance, rel=1e-3, abs=1e-9)
    assert found[2:, :, 1:].astype(float) * scale == pytest.approx(0.0, abs=1e-9)


def test_a_value_that_saturates_at_no_data_is_kept_apart(tmp_path: Path) -> None:
    bands = tuple(BandInfo(name=name, scale=1e-4, offset=0.0) for name in BANDS)
    info = model_info(nodata=65535, bands=bands)
    write(tmp_path / "scene.tif", np.full((4, 8, 8), 9.0, np.float32))
    source = open_source(tmp_path / "scene.tif", info, predict_options().source)
    found, _ = source.read(Window(row_off=0, col_off=0, height=8, width=8))
    assert (found == [65534, 65535, 65535, 65535]).all()
