"""Rasters and windows read by rasterio, of whole files and of damaged ones."""

import os
from threading import Event

import numpy as np
import pytest
import rasterio
from fakes.assessed_map import make_world, run

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.errors import LabelError, OutputError, RasterError
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_windows import add_rows, opened, read_window, require_kept


def write(path, values):
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[1], width=values.shape[2],
        count=len(values), dtype="uint8", compress="deflate", tiled=True, blockxsize=64,
        blockysize=64, crs="EPSG:32634", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4.4e6),
    ) as raster:  # fmt: skip
        raster.write(values)
    return path


def damage(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    return path


@pytest.fixture
def values():
    return np.random.default_rng(0).choice(np.array([10, 20, 60], np.uint8), (2, 256, 256))


def test_a_window_is_the_slice_of_the_whole(tmp_path, values):
    window = Window(row_off=60, col_off=3, height=70, width=200)
    with rasterio.open(write(tmp_path / "x.tif", values)) as raster:
        np.testing.assert_array_equal(read_window(raster, window), values[0][window.slices])
        np.testing.assert_array_equal(read_window(raster, window, 2), values[1][window.slices])
        np.testing.assert_array_equal(read_window(raster, window, None), values[:, *window.slices])


def test_damage_is_told_with_file_and_rows(tmp_path, values):
    path = damage(write(tmp_path / "x.tif", values))
    window = Window(row_off=0, col_off=0, height=256, width=256)
    with (
        rasterio.open(path) as raster,
        pytest.raises(LabelError, match=r"x\.tif is damaged at rows 0 to 256"),
    ):
        read_window(raster, window, None, error=LabelError)
    rows, cols = (index.ravel() for index in np.indices((256, 256))[:, ::64, ::64])
    with pytest.raises(RasterError, match="is damaged at rows"):
        ClassMap.open(damage(write(tmp_path / "map.tif", values[:1])), "landcover9").at(rows, cols)


def test_a_raster_is_read_back_whole_unless_that_is_unneeded(tmp_path, values):
    """Of 2048 rows, the lower half is another than what was meant to be written."""
    meant = np.tile(values, (1, 8, 1))
    checksums = add_rows((0, 0), meant)
    path = write(tmp_path / "x.tif", meant)
    require_kept(path, checksums, name=path, unneeded=Event())
    write(path, np.concatenate([meant[:, :1024], meant[:, 1024:] + 1], axis=1))
    with pytest.raises(OutputError, match="is not what was written"):
        require_kept(path, checksums, name=path, unneeded=Event())

    class InSecondStrip(Event):
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > 2

    unneeded = InSecondStrip()
    require_kept(path, checksums, name=path, unneeded=unneeded)
    assert unneeded.asked == 3  # Of four strips.


def test_what_cannot_be_opened_or_read_is_told_of_its_file(tmp_path, values):
    (tmp_path / "text.tif").write_text("no raster")
    with (
        pytest.raises(LabelError, match=r"^cannot read the labels .*text\.tif: .*not recognized"),
        opened(tmp_path / "text.tif", "the labels", error=LabelError),
    ):
        pass
    path = damage(write(tmp_path / "x.tif", values))
    with (
        pytest.raises(RasterError, match=r"^cannot read the raster .*x\.tif: "),
        opened(path) as raster,
    ):
        raster.read(out_shape=(2, 100, 100))


def test_a_damaged_image_ends_a_design_in_one_sentence(tmp_path, values, capsys):
    """Its pictures ended in a traceback."""
    world = make_world(tmp_path)
    image = write(world / "image.tif", values)
    image.write_bytes(image.read_bytes()[:20_000])
    flags = ["--map", world / "map.tif", "--samples", 60, "--output-dir", tmp_path / "sample"]
    assert run("design", *flags, "--image", image) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: cannot read the image {image}: ")


def test_a_damaged_reference_ends_a_comparison_in_one_sentence(tmp_path, values, capsys):
    world = make_world(tmp_path)
    damage(write(world / "damaged.tif", values[:1, :128, :128]))  # The map has 120 rows.
    assert run("compare", "--map", world / "map.tif", "--reference-map", world / "damaged.tif") == 2
    error = capsys.readouterr().err
    assert "damaged.tif is damaged at rows" in error and error.count("\n") == 1


def test_a_name_that_is_not_utf_8_is_told(tmp_path, values):
    path = write(tmp_path / "x.tif", values)
    old = path.rename(tmp_path / os.fsdecode(b"Wald\xe4.tif"))
    told = r"Wald\\udce4.tif: its name is not UTF-8; rename it"
    with pytest.raises(RasterError, match=told), opened(old):
        pass
