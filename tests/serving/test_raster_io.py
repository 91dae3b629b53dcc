"""Rasters read in windows and in strips."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from local_export import BANDS, model_info, predict_options, write_raster

from landcover_tf.errors import OutputError
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from serving.inputs import open_source
from serving.raster_io import RasterStyle, WindowReader, bounded_cache, write_cog

READ_ALL = """
import sys
import rasterio
from landcover_tf.system.provenance import peak_memory_bytes
from serving.raster_io import bounded_cache
with bounded_cache(), rasterio.open(sys.argv[1]) as dataset:
    before = peak_memory_bytes()
    for _, window in dataset.block_windows(1):
        dataset.read(window=window)
    print((peak_memory_bytes() - before) // 2**20)
"""


def test_the_cache_of_read_blocks_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    profile = {"driver": "GTiff", "count": 4, "dtype": "uint16", "sparse_ok": True}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "interleave": "pixel"}
    # 2048 * 57344 px of 4 * 2 bytes are 896 MiB.
    rasterio.open(path, "w", height=57_344, width=2048, **profile).close()
    grown = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(path)], capture_output=True, text=True, check=True
    )
    assert int(grown.stdout) < 384 + 100


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
@pytest.mark.parametrize("missing_bytes", [400, 400_000, 800_000])
def test_a_disk_that_fills_under_the_last_copy_is_told(tmp_path: Path, missing_bytes: int) -> None:
    import resource

    image = np.random.default_rng(0).integers(0, 255, (1, 1000, 900), dtype=np.uint8)
    grid = RasterGrid(height=1000, width=900, crs=None, transform=rasterio.Affine.identity())
    path, work = tmp_path / "map.tif", tmp_path / "work"
    work.mkdir()

    def write() -> None:
        blocks = (image[:, row : row + 300] for row in range(0, 1000, 300))
        style = RasterStyle(nodata=255, overview_resampling="AVERAGE")
        write_cog(path, blocks, bands=1, grid=grid, style=style, staging=work)

    write()
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), image)
    whole = path.stat().st_size
    path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this: writing fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole - missing_bytes, hard))
    try:
        with pytest.raises(OutputError, match="cannot write"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()


@pytest.mark.parametrize("tiled", [False, True])
def test_a_raster_in_strips_is_read_once_and_gives_the_same_windows(
    tmp_path: Path, tiled: bool
) -> None:
    image = write_raster(tmp_path / "scene.tif", 700, 300)
    path = tmp_path / "copy.tif"
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        profile = dataset.profile | {"tiled": tiled, "blockysize": 16}
        if tiled:
            profile["blockxsize"] = 16
        with rasterio.open(path, "w", **profile) as copy:
            copy.write(image)
            copy.descriptions, copy.scales = BANDS, dataset.scales
            copy.offsets = dataset.offsets
    source = open_source(path, model_info(), predict_options().source)
    assert source.sequential is not tiled
    reader = WindowReader(source, 0)
    for row in (0, 200, 400, 600):
        for col in (0, 150):
            window = Window(row_off=row, col_off=col, height=256, width=200)
            found, validity = reader.read(window)
            part = np.moveaxis(image[:, row : row + 256, col : col + 200], 0, -1)
            np.testing.assert_array_equal(found[: part.shape[0], : part.shape[1]], part)
            assert (validity[: part.shape[0], : part.shape[1]] == 0).all()
            assert (found[part.shape[0] :] == 0).all()
    source.close()


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux counts bytes there")
@pytest.mark.parametrize("block_px", [512, 1024])
def test_a_row_of_blocks_that_fills_the_cache_is_read_once(tmp_path: Path, block_px: int) -> None:
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    path, image = tmp_path / "scene.tif", np.full((4, 1024, 1536), 2000, np.uint16)
    blocks = {"tiled": True, "blockxsize": block_px, "blockysize": block_px, "interleave": "band"}
    grid = {"crs": "EPSG:32634", "transform": rasterio.Affine(10, 0, 6e5, 0, -10, 42e5)}
    shape = {"count": 4, "height": 1024, "width": 1536, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **grid, **blocks) as dataset:
        dataset.write(image)
        dataset.descriptions = BANDS
    source = open_source(path, model_info(), predict_options().source)
    with bounded_cache(2**20):
        before = bytes_read()
        found, _ = WindowReader(source, 0).read(
            Window(row_off=0, col_off=0, height=1024, width=1536)
        )
        read = bytes_read() - before
    source.close()
    assert (found == 2000).all()
    assert read < 1.2 * path.stat().st_size
