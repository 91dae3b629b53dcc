"""The colours of an image, whichever of its pictures they are for."""

import numpy as np
import pytest
import rasterio

from landcover_tf.image_colours import ImageColours


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
