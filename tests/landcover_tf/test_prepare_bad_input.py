"""What the program `prepare` says of input that is not as it should be."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes.prepare_program import SIZE, product, run, write_labels
from fakes.prepared_rasters import labels_of
from fakes.tiny_safe import ULX, ULY, band_file, write_jp2
from rasterio.transform import Affine

from landcover_tf.bands import BAND_NAMES
from landcover_tf.sentinel2.prepared import find_prepared_scenes


def error_of(capsys, source, output, *flags):
    assert run(source, output, *flags) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert not list(Path(output).glob("*/scene.json"))
    assert not [p for p in Path(output).glob(".*") if p.suffix == ".part"]
    return error


def test_missing_folder(tmp_path, capsys):
    assert "does not exist" in error_of(capsys, tmp_path / "none", tmp_path / "out")


def test_not_a_safe(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    assert "holds no Sentinel-2 product" in error_of(capsys, tmp_path / "in", tmp_path / "out")


def test_zip_with_members_outside(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("P.SAFE/MTD_MSIL1C.xml", "<x/>")
        archive.writestr("../../evil", "x")
    error = error_of(capsys, tmp_path / "evil.zip", tmp_path / "out")
    assert "points outside the archive" in error


def test_xml_bomb(tmp_path, capsys):
    root = product(tmp_path / "in")
    bomb = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>'
    (root / "MTD_MSIL1C.xml").write_text(bomb)
    assert "may be an attack" in error_of(capsys, root, tmp_path / "out")


def test_truncated_and_foreign_bands(tmp_path, capsys):
    root = product(tmp_path / "in")
    file = band_file(root, "B06")
    file.write_bytes(file.read_bytes()[:-100])
    write_jp2(band_file(root, "B07"), np.ones((60, 60), np.uint16), 20, 32634)
    error = error_of(capsys, root, tmp_path / "out")
    assert "is cut off" in error and "has 60 x 60 px" in error


def test_files_with_the_same_trouble_are_one_line_below_their_product(tmp_path, capsys):
    """An empty product gave a line of 300 characters for each of its 13 bands."""
    root = product(tmp_path / "in")
    bands = [band_file(root, name) for name in BAND_NAMES]
    for file in bands[:10]:
        file.write_bytes(b"")
    for file in bands[10:12]:
        file.write_bytes(file.read_bytes()[: -10 * bands.index(file)])
    bands[12].write_bytes(b"text")
    output = tmp_path / "out"
    lines = error_of(capsys, root, output).partition("error: ")[2].splitlines()
    cut = lines.pop(3)
    assert f"2 files, {bands[10].name} to {bands[11].name}: the first is cut off: " in cut
    assert lines == [
        f"13 problems in 1 product(s), all in {output / 'checks.json'}:",
        f"{root.stem}:",
        f"  - 10 files, {bands[0].name} to {bands[9].name}: each is empty (0 bytes); download them "
        "again",
        f"  - {bands[12].name} is not a JPEG 2000 file; download it again",
    ]
    findings = json.loads((output / "checks.json").read_text())["findings"]
    assert sum(f["severity"] == "fatal" for f in findings) == 13


def test_broken_inner_tiles_are_found_though_gdal_reads_zeros(tmp_path, capsys):
    root = product(tmp_path / "in")
    file = band_file(root, "B04")
    # The last inner tile loses its marker; the header and the end stay whole.
    first, marker, rest = file.read_bytes().rpartition(b"\xff\x90\x00\x0a")
    file.write_bytes(first + bytes(len(marker)) + rest)
    error = error_of(capsys, root, tmp_path / "out")
    assert "_B04.jp2" in error and "has a broken tile" in error


def test_labels_elsewhere_and_unknown_codes(tmp_path, capsys):
    root = product(tmp_path / "in")
    far = write_labels(
        tmp_path / "far.tif", np.full((9, 9), 10), transform=Affine(10, 0, 9e5, 0, -10, 0)
    )
    out = tmp_path / "out"
    assert "no label raster overlaps" in error_of(capsys, root, out, "--ground-truth", far)
    codes = np.full((SIZE, SIZE), 77)
    codes[:40] = 20
    odd = write_labels(tmp_path / "odd.tif", codes)
    error = error_of(capsys, root, out, "--ground-truth", odd)
    assert "77 (48000 px)" in error and "--unknown-labels ignore" in error
    assert run(root, out, "--ground-truth", odd, "--unknown-labels", "ignore") == 0


def test_labels_too_sparse_for_any_pixel(tmp_path, capsys):
    root = product(tmp_path / "in")
    codes = np.zeros((2 * SIZE, 2 * SIZE))
    codes[::2, ::2] = 20  # A quarter of each pixel.
    sparse = write_labels(tmp_path / "s.tif", codes, transform=Affine(5, 0, ULX, 0, -5, ULY))
    error = error_of(capsys, root, tmp_path / "out", "--ground-truth", sparse)
    assert "s.tif leaves every pixel of S2A_" in error and "must cover half of a pixel" in error


def test_labels_of_another_legend_are_not_taken_for_the_usual_one(tmp_path, capsys):
    """Tree cover of WorldCover, 10, became agriculture, without a word."""
    root = product(tmp_path / "in")
    name = "ESA_WorldCover_10m_2021_v200_N36E021_Map.tif"
    truth = write_labels(tmp_path / name, np.full((SIZE, SIZE), 10))
    ground_truth = ("--ground-truth", truth)
    error = error_of(capsys, root, tmp_path / "out", *ground_truth)
    assert f"{name} has the file name of an ESA WorldCover map; give --source-legend w" in error
    with rasterio.open(truth, "r+") as raster:
        raster.update_tags(legend="worldcover")
    assert run(root, tmp_path / "tagged", *ground_truth) == 0
    (scene,) = find_prepared_scenes(tmp_path / "tagged")
    assert (labels_of(scene) == 20).all()
    assert f"{name} are read in worldcover, which its tag or" in capsys.readouterr().out
    flags = ("--source-legend", "landcover9")
    error = error_of(capsys, root, tmp_path / "told", *ground_truth, *flags)
    assert f"{name} name legend worldcover, --source-legend says landcover9; drop" in error


def test_labels_of_several_legends_need_a_flag(tmp_path, capsys):
    root = product(tmp_path / "in")
    for name, tag in (("a.tif", "esri"), ("b.tif", "worldcover")):
        with rasterio.open(write_labels(tmp_path / "l" / name, np.ones((4, 4))), "r+") as raster:
            raster.update_tags(legend=tag)
    error = error_of(capsys, root, tmp_path / "out", "--ground-truth", tmp_path / "l")
    assert "holds labels of several legends, " in error
    assert "a.tif of esri, " in error and "b.tif of worldcover; name that of all with" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--source-legend", "nothing"), "no legend 'nothing'"),
        (("--source-legend", "landcover9", "--legend", "corine"), "has no crosswalk"),
        (("--cloud-mask-values", "1=fog"), "expected VALUE=NAME"),
        (("--cloud-source", "mask"), "--cloud-source mask needs --cloud-mask FILE"),
        (("--jobs", "0"), "--jobs must be at least 1"),
        (("--cloud-buffer-m", "-5"), "must not be negative"),
    ],
)
def test_wrong_settings(tmp_path, capsys, flags, message):
    root = product(tmp_path / "in")
    assert message in error_of(capsys, root, tmp_path / "out", *flags)


def test_product_without_cloud_mask(tmp_path, capsys):
    root = product(tmp_path / "in", masks={})
    assert "has no cloud mask" in error_of(capsys, root, tmp_path / "out")
    assert run(root, tmp_path / "out", "--cloud-source", "none") == 0


def test_output_folder_that_is_something_else(tmp_path, capsys):
    root = product(tmp_path / "in")
    (tmp_path / "out" / root.stem).mkdir(parents=True)
    assert "is not a prepared scene" in error_of(capsys, root, tmp_path / "out")


def test_output_that_cannot_be_written(tmp_path, capsys, free_space):
    root = product(tmp_path / "in")
    (tmp_path / "file").touch()
    assert run(root, tmp_path / "file") == 2
    assert run(root, tmp_path / "file" / "below") == 2
    assert capsys.readouterr().err.count("error: cannot write") == 2
    free_space(100_000)
    error = error_of(capsys, root, tmp_path / "out")
    assert "0.0 GB free" in error
