import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from scipy.io import netcdf_file

from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.errors import LabelError, RasterError
from landcover_tf.grid import Window
from landcover_tf.rasters.label_codes import read_codes, read_target, require_codes
from landcover_tf.rasters.raster_windows import require_one_raster
from landcover_tf.sentinel2.label_rasters import find_label_rasters

CODES = np.array([[10, 20, 60, 77]], np.uint8)
MISSING = np.array([[False, True, False, False]])


def write(path, bands, *, alpha=False, mask=None, internal="YES", nodata=None):
    """Writes a raster, [bands, height, width], and returns its path."""
    count, height, width = bands.shape
    extra = {"photometric": "minisblack", "alpha": "yes"} if alpha else {}
    profile = {
        "count": count, "height": height, "width": width, "dtype": bands.dtype, "nodata": nodata,
        "crs": "EPSG:32634", "transform": Affine(10, 0, 5e5, 0, -10, 4e6),
    }  # fmt: skip
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal),
        rasterio.open(path, "w", driver="GTiff", **profile, **extra) as raster,
    ):
        raster.write(bands)
        if mask is not None:
            raster.write_mask(mask)
    return path


def read(path):
    with rasterio.open(path) as raster:
        require_codes(raster)
        return read_codes(raster, Window(row_off=0, col_off=0, height=1, width=4))


@pytest.mark.parametrize("way", ["value", "mask", "file", "alpha", "nan", "float value"])
def test_every_way_to_say_no_data_is_heard(tmp_path, way):
    path = tmp_path / "l.tif"
    shown = np.where(MISSING, 0, 255).astype(np.uint8)
    if way == "value":
        write(path, CODES[None], nodata=20)
    elif way == "alpha":
        write(path, np.stack([CODES, shown]), alpha=True)
    elif way in ("mask", "file"):
        write(path, CODES[None], mask=shown, internal="YES" if way == "mask" else "NO")
        assert (tmp_path / "l.tif.msk").exists() == (way == "file")
    else:
        fill = np.nan if way == "nan" else -3.4028234663852886e38
        floats = np.where(MISSING, fill, CODES)[None].astype(np.float32)
        write(path, floats, nodata=None if way == "nan" else fill)
    codes, missing = read(path)
    np.testing.assert_array_equal(missing, MISSING)
    np.testing.assert_array_equal(codes[~missing], CODES[~MISSING])
    assert codes.dtype.kind in "iu"
    with rasterio.open(path) as raster:
        window = Window(row_off=0, col_off=1, height=1, width=3)
        target, unknown = read_target(raster, window, load_crosswalk("landcover9", "landcover9"))
    assert target.tolist() == [[0, 60, 0]]
    assert unknown == {77: 1}


@pytest.mark.parametrize("value", [10.5, 3.4e38])
def test_a_value_that_is_no_code_is_named(tmp_path, value):
    path = write(tmp_path / "l.tif", np.array([[[10, 20, 60, value]]], np.float32))
    with pytest.raises(
        LabelError, match=rf"l\.tif holds {value:g} at rows 0 to 1; class codes".replace("+", r"\+")
    ):
        read(path)


def test_several_bands_and_complex_numbers_are_no_codes(tmp_path):
    several = write(tmp_path / "l.tif", np.stack([CODES] * 3))
    with pytest.raises(LabelError, match=r"l\.tif has 3 bands; expected one with a code per pixel"):
        read(several)
    waves = write(tmp_path / "c.tif", CODES[None].astype(np.complex64))
    with pytest.raises(LabelError, match=r"c\.tif holds complex64; class codes are whole"):
        read(waves)


def test_a_file_of_several_rasters_names_them(tmp_path):
    path = tmp_path / "labels.nc"
    with netcdf_file(path, "w") as file:
        for axis in ("y", "x"):
            file.createDimension(axis, 4)
        for name in ("classes", "quality"):
            file.createVariable(name, "i1", ("y", "x"))[:] = 10
    message = r"holds several rasters, netcdf:.*:classes, netcdf:.*:quality; write the one that is"
    with pytest.raises(LabelError, match=message):
        find_label_rasters(path)
    with rasterio.open(path) as raster, pytest.raises(RasterError, match=message):
        require_one_raster(raster)
