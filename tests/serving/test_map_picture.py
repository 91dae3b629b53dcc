"""Labels that are drawn beside a map."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from local_export import write_raster

from landcover_tf.legend import load_legend
from serving.map_picture import check_truth, read_truth


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("float32", np.nan), ("int16", -9999), ("uint8", 255)]
)
def test_truth_may_have_any_no_data_value(tmp_path: Path, dtype: str, nodata: float) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40)
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        profile = dataset.profile | {"count": 1, "dtype": dtype, "nodata": nodata}
    labels = np.full((1, 40, 40), 20).astype(dtype)
    labels[:, :10] = nodata
    for name, height in (("same.tif", 40), ("short.tif", 30)):  # Taken as it is, and placed.
        with rasterio.open(tmp_path / name, "w", **profile | {"height": height}) as dataset:
            dataset.write(labels[:, :height])
        legend = load_legend("landcover9")
        check_truth(tmp_path / name, legend)
        found = read_truth(tmp_path / name, tmp_path / "scene.tif", (40, 40), legend)
        expected = np.zeros((40, 40), np.uint8)
        expected[10:height] = 20
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


def test_strange_codes_of_the_truth_do_not_wrap_to_known_ones(tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40)
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        profile = dataset.profile | {"count": 1}
    with rasterio.open(tmp_path / "truth.tif", "w", **profile) as dataset:
        dataset.write(np.full((1, 40, 40), 256 + 20, np.uint16))
    legend = load_legend("landcover9")
    found = read_truth(tmp_path / "truth.tif", tmp_path / "scene.tif", (40, 40), legend)
    assert not np.isin(found, (legend.nodata, *legend.codes)).any()


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
    legend = load_legend("landcover9")
    check_truth(path, legend)
    assert set(np.unique(read_truth(path, path, (900, 900), legend))) <= {10, 20, 60}
