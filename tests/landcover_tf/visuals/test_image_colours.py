"""The colours of an image, whichever of its pictures they are for."""

import numpy as np
import pytest
import rasterio
from rasterio.vrt import WarpedVRT

from landcover_tf.validity import ValidityBit
from landcover_tf.visuals.image_colours import ImageColours


@pytest.fixture(params=[None, 0.0])
def image(request, tmp_path):
    """A raster of which the upper half is empty, whether it declares its no data or not."""
    values = np.zeros((4, 700, 20), np.uint16)
    values[:, 350:] = np.linspace(1000, 2000, 350, dtype=np.uint16)[:, None]
    with rasterio.open(
        tmp_path / "image.tif", "w", driver="GTiff", count=4, height=700, width=20,
        dtype="uint16", nodata=request.param, crs="EPSG:32634",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 4_400_000),
    ) as raster:  # fmt: skip
        raster.write(values)
        for i, name in enumerate(("B08", "B02", "B03", "B04"), 1):
            raster.set_band_description(i, name)
    with rasterio.open(tmp_path / "image.tif") as raster:
        yield raster


def test_empty_pixels_do_not_count_for_the_stretch(image):
    colours = ImageColours.of(image)
    assert colours.bands == (4, 3, 2)
    # The 2nd and 98th percentile of even steps from 1000 to 2000.
    assert colours.stretch.low == pytest.approx(1020, abs=4)
    assert colours.stretch.high == pytest.approx(1980, abs=4)
    values = image.read(colours.bands)
    assert colours.has_data(values).sum() == 350 * 20
    picture = colours.picture(values)
    assert picture.shape == (700, 20, 3)
    assert (picture[349].max(), picture[699].min()) == (0, 255)


@pytest.mark.parametrize("on_another_grid", [False, True])
def test_clouds_of_a_prepared_scene_do_not_darken_the_ground(tmp_path, on_another_grid):
    profile = {
        "driver": "GTiff", "height": 100, "width": 100, "crs": "EPSG:32634", "nodata": None,
        "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_400_000),
    }  # fmt: skip
    values = np.random.default_rng(0).uniform(1500, 2500, (3, 100, 100)).astype(np.uint16)
    ground = values[:, 20:].copy()
    values[:, :20] = 8000
    bits = np.zeros((1, 100, 100), np.uint8)
    bits[:, :20] = ValidityBit.CLOUD
    image = tmp_path / "image.tif"
    for path, bands in ((image, values), (tmp_path / "validity.tif", bits)):
        with rasterio.open(path, "w", count=len(bands), dtype=bands.dtype, **profile) as raster:
            raster.write(bands)
    with rasterio.open(image) as raster:
        shifted = raster.transform @ rasterio.Affine.translation(0.5, 0.5)
        grid = {"crs": raster.crs, "transform": shifted, "height": 99, "width": 99}
        if on_another_grid:
            with WarpedVRT(raster, **grid) as placed:
                colours = ImageColours.of(placed)
        else:
            colours = ImageColours.of(raster)
    # From 1520 to 2480 the middle, 2000, has the brightness 255 * 0.5**0.8.
    assert np.median(colours.picture(ground)) == pytest.approx(146, abs=6)
    assert (colours.picture(values)[:19] == 255).all()
    (tmp_path / "validity.tif").unlink()
    with rasterio.open(image) as raster:
        assert np.median(ImageColours.of(raster).picture(ground)) < 50
