"""Rasters that say in other ways where their pixels lie and which of them hold data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from local_export import BANDS, model_info
from rasterio import Affine
from rasterio.enums import ColorInterp

from landcover_tf.grid import Window
from serving.sources import SourceOptions, open_source


def all_pixels(path: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns values and validity bits of a whole raster as the model gets them."""
    source = open_source(path, model_info(), SourceOptions(**options))
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
