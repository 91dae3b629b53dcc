"""The program `prepare`: results, reports, resuming, and bad input."""

import contextlib
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

sys.path.insert(0, str(Path(__file__).parent / "sentinel2"))

from tiny_safe import (
    BANDS,
    ULX,
    ULY,
    band_file,
    smooth_dn,
    square,
    write_jp2,
    write_safe,
    zip_safe,
)
from tiny_safe import gml as gml_text

from landcover_tf import files, prepare
from landcover_tf.errors import DatasetError
from landcover_tf.files import atomic_folder
from landcover_tf.grid import Window
from landcover_tf.sentinel2.band_reader import GDAL_CACHE_BYTES
from landcover_tf.sentinel2.prepared import PreparedScene, find_prepared_scenes
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.scene import Scene
from landcover_tf.sentinel2.validity import ValidityBit
from tfrecords_builder.sources import find_sources

SIZE = 240
NO_CLOUDS = {"MSK_CLASSI_B00.jp2": np.zeros((3, 40, 40), np.uint8)}


def run(source, output, *flags):
    return prepare.main(
        ["--sentinel2-dir", str(source), "--output-dir", str(output), *map(str, flags)]
    )


def product(parent, **options):
    return write_safe(parent, size_px=SIZE, **{"masks": NO_CLOUDS} | options)


def write_labels(path, codes, crs="EPSG:32634", transform=None):
    with rasterio.open(
        path, "w", driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1,
        dtype="uint8", crs=crs, transform=transform or Affine(10, 0, ULX, 0, -10, ULY),
    ) as dataset:  # fmt: skip
        dataset.write(codes.astype(np.uint8), 1)
    return path


def whole(scene):
    return Window(row_off=0, col_off=0, height=scene.height, width=scene.width)


def test_scene_holds_what_the_product_holds(tmp_path):
    root = product(tmp_path / "in")
    codes = np.random.default_rng(0).choice([10, 20, 60], (SIZE, SIZE))
    labels = write_labels(tmp_path / "truth.tif", codes)
    assert run(tmp_path / "in", tmp_path / "out", "--ground-truth", labels) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert scene.name == root.stem
    with Scene(open_product(root)) as source:
        assert np.array_equal(scene.read_image(whole(scene)), source.read(source.whole()))
    assert np.array_equal(scene.read_labels(whole(scene)), codes)
    assert not scene.read_validity(whole(scene)).any()
    assert json.loads((tmp_path / "out" / "checks.json").read_text())["fit_products"] == [root.stem]
    # The written config repeats the run.
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["resampling"] == "bicubic"
    assert prepare.main(["--config", str(tmp_path / "out" / "prepare.json")]) == 0


def test_labels_of_another_legend_and_in_degrees(tmp_path):
    from rasterio.warp import transform_bounds

    product(tmp_path / "in")
    west, south, east, north = transform_bounds(
        "EPSG:32634", "EPSG:4326", ULX, ULY - 2400, ULX + 2400, ULY
    )
    step = 1 / 12000
    codes = np.full((int((north - south) / step) + 60, int((east - west) / step) + 60), 80)
    grid = Affine(step, 0, west - 30 * step, 0, -step, north + 30 * step)
    labels = write_labels(tmp_path / "wc.tif", codes, "EPSG:4326", grid)
    flags = ("--ground-truth", labels, "--source-legend", "worldcover")
    assert run(tmp_path / "in", tmp_path / "out", *flags) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert (scene.read_labels(whole(scene)) == 60).all()
    assert scene.document["labels"]["methods"] == ["mode"]


def test_all_bits_of_a_scene(tmp_path):
    dn = {n: np.full_like(smooth_dn(n, SIZE), 3000) for n in BANDS}
    dn["B02"][:, :10] = 0
    dn["B11"][60, 60] = 65535
    classi = np.zeros((3, 40, 40), np.uint8)
    classi[0, 20, 20] = classi[1, 20, 30] = classi[2, 5, 30] = 1
    qualit = np.zeros((8, 120, 120), np.uint8)
    qualit[4, 100, 100] = 1
    masks = {"MSK_CLASSI_B00.jp2": classi, "MSK_QUALIT_B05.jp2": qualit}
    product(tmp_path / "in", dn=dn, masks=masks)
    assert run(tmp_path / "in", tmp_path / "out", "--cloud-buffer-m", 60) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    bits, image = scene.read_validity(whole(scene)), scene.read_image(whole(scene))
    assert (bits[:, :10] == ValidityBit.NODATA).all() and not image[:, :10].any()
    assert (bits[120:126, 120:126] == ValidityBit.CLOUD | ValidityBit.SATURATED).any()
    assert (bits[120:122, 120:122] & ValidityBit.SATURATED).all()
    assert (bits[120:126, 180:186] == ValidityBit.CIRRUS).all()
    assert (bits[30:36, 180:186] == ValidityBit.SNOW).all()
    assert (bits[200:202, 200:202] == ValidityBit.DEFECTIVE).all()
    assert (bits[114:120, 120:126] == ValidityBit.BUFFER).all()
    assert (bits[108:114, 120:126] == 0).all()
    shares = scene.document["bit_fractions"]
    assert shares["nodata"] == pytest.approx(10 / SIZE)
    assert shares["cloud"] == pytest.approx(36 / SIZE**2)
    assert scene.document["cloud_cover"] == {"metadata": 0.075, "product": 2 / 1600}


def test_old_product_with_gml_masks_in_a_zip(tmp_path):
    masks = {"MSK_CLOUDS_B00.gml": gml_text([("OPAQUE", square(600, 600, 60))])}
    root = product(tmp_path / "unpacked", baseline="03.01", offsets=None, masks=masks)
    (tmp_path / "in").mkdir()
    zip_safe(root, tmp_path / "in" / "renamed.zip")
    assert run(tmp_path / "in", tmp_path / "out", "--cloud-buffer-m", 0) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert scene.baseline == "03.01" and scene.name == root.stem
    assert np.argwhere(scene.read_validity(whole(scene)) & ValidityBit.CLOUD)[0].tolist() == [
        60,
        60,
    ]


def test_old_and_new_encoding_of_one_scene_agree(tmp_path):
    old = {n: smooth_dn(n, SIZE) for n in BANDS}
    product(tmp_path / "in", dn=old, baseline="03.01", offsets=None, tile="34SEH")
    product(tmp_path / "in", dn={n: v + 1000 for n, v in old.items()}, tile="34SEJ")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    first, second = find_prepared_scenes(tmp_path / "out")
    assert {first.baseline, second.baseline} == {"03.01", "05.11"}
    difference = first.read_image(whole(first)).astype(int) - second.read_image(whole(second))
    # Rounding at exact halves may differ by one stored unit, 0.0001 of reflectance.
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.01


def test_a_product_without_any_data(tmp_path):
    dn = {n: np.zeros_like(smooth_dn(n, SIZE)) for n in BANDS}
    product(tmp_path / "in", dn=dn)
    assert run(tmp_path / "in", tmp_path / "out", "--sharpening", "glp") == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert (scene.read_validity(whole(scene)) == ValidityBit.NODATA).all()
    assert scene.document["bit_fractions"]["nodata"] == 1


def test_southern_hemisphere(tmp_path):
    product(tmp_path / "in", tile="53HQV", epsg=32753)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert find_prepared_scenes(tmp_path / "out")[0].crs.to_epsg() == 32753


def test_external_cloud_mask(tmp_path):
    root = product(tmp_path / "in")
    codes = np.zeros((SIZE, SIZE))
    codes[0, 0], codes[60, 60] = 1, 3
    (tmp_path / "clouds").mkdir()
    write_labels(tmp_path / "clouds" / f"{root.stem}.tif", codes)
    flags = ("--cloud-source", "mask", "--cloud-mask", tmp_path / "clouds", "--cloud-buffer-m", 0)
    assert run(tmp_path / "in", tmp_path / "out", *flags) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    bits = scene.read_validity(whole(scene))
    assert (bits[:6, :6] == ValidityBit.CLOUD).all()
    assert (bits[60:66, 60:66] == ValidityBit.SHADOW).all()
    assert scene.document["cloud_cover"] == {"metadata": 0.075, "product": 0.0, "mask": 1 / 1600}


def test_training_never_reads_products(tmp_path):
    """A random window of a JP2 costs a hundred times that of a prepared scene."""
    product(tmp_path / "in")
    with pytest.raises(DatasetError, match=r"expected prepared scenes .* landcover_tf\.prepare"):
        find_sources(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    with rasterio.open(next((tmp_path / "out").glob("*/image.tif"))) as image:
        assert image.driver == "GTiff"
        assert image.block_shapes == [(512, 512)] * 13


def test_gdals_cache_is_counted_in_bytes_everywhere():
    """`GDAL_CACHEMAX=512` would be 512 bytes and decode every inner tile again and again."""
    # Two threads decode two rows of eleven inner tiles of 1024 px and 2 bytes.
    assert GDAL_CACHE_BYTES > 2 * 11 * 1024**2 * 2
    root = Path(__file__).parents[2]
    mentions = [
        line.strip()
        for folder in ("landcover_tf", "serving", "tfrecords_builder")
        for path in (root / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if "GDAL_CACHEMAX" in line
    ]
    assert mentions
    assert all("GDAL_CACHE_BYTES" in line for line in mentions)


def temporary_of(folder):
    with contextlib.suppress(KeyError), atomic_folder(folder) as temporary:
        raise KeyError
    return temporary


class TestManyProducts:
    @pytest.fixture
    def several(self, tmp_path):
        source = tmp_path / "in"
        for tile in ("34SEH", "34SEJ", "34SFH"):
            product(source, tile=tile)
        return source

    def test_jobs_give_the_same_scenes(self, several, tmp_path):
        assert run(several, tmp_path / "one") == 0
        assert run(several, tmp_path / "two", "--jobs", 2) == 0
        for scene in find_prepared_scenes(tmp_path / "one"):
            other = PreparedScene.open(tmp_path / "two" / scene.name)
            assert np.array_equal(scene.read_image(whole(scene)), other.read_image(whole(other)))

    def test_finished_scenes_are_skipped_and_interrupted_ones_redone(
        self, several, tmp_path, capsys
    ):
        out = tmp_path / "out"
        assert run(several, out) == 0
        scenes = find_prepared_scenes(out)
        before = (scenes[0].folder / "scene.json").stat().st_mtime_ns
        # A killed run leaves a folder under a temporary name; a running one has such a folder too.
        scenes[1].folder.rename(tmp_path / "taken")
        killed, running = temporary_of(scenes[1].folder), temporary_of(scenes[1].folder)
        (tmp_path / "taken").rename(killed)
        (killed / "scene.json").unlink()
        for path in (killed, *killed.iterdir()):
            os.utime(path, (0, 0))
        running.mkdir()
        capsys.readouterr()
        assert run(several, out) == 0
        assert capsys.readouterr().out.count("finished before, skipped") == 2
        assert (scenes[0].folder / "scene.json").stat().st_mtime_ns == before
        assert not killed.exists() and running.exists()
        assert len(find_prepared_scenes(out)) == 3

    def test_other_settings_are_refused_unless_overwritten(self, several, tmp_path, capsys):
        out = tmp_path / "out"
        assert run(several, out) == 0
        assert run(several, out, "--resampling", "nearest") == 2
        assert "resampling 'bicubic' -> 'nearest'" in capsys.readouterr().err
        assert run(several, out, "--resampling", "nearest", "--overwrite") == 0
        assert {s.document["settings"]["resampling"] for s in find_prepared_scenes(out)} == {
            "nearest"
        }
        assert not list(out.glob(".*"))

    def test_a_scene_stays_until_the_new_one_is_complete(self, several, tmp_path, monkeypatch):
        out = tmp_path / "out"
        assert run(several, out) == 0
        before = [(s.folder, s.folder.stat().st_ino) for s in find_prepared_scenes(out)]
        usage = type("Usage", (), {"free": 100})
        monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
        assert run(several, out, "--overwrite") == 2
        assert [(s.folder, s.folder.stat().st_ino) for s in find_prepared_scenes(out)] == before

    def test_problems_of_all_products_are_listed_and_nothing_written(
        self, several, tmp_path, capsys
    ):
        band_file(next(several.glob("*34SEH*")), "B02").write_bytes(b"")
        band_file(next(several.glob("*34SEJ*")), "B8A").unlink()
        (several / "MSIL2A.SAFE").mkdir()
        (several / "MSIL2A.SAFE" / "MTD_MSIL2A.xml").write_text("<x/>")
        out = tmp_path / "out"
        assert run(several, out) == 2
        error = capsys.readouterr().err
        assert "3 problems in 3 product(s)" in error
        for expected in ("is empty (0 bytes)", "has no file of band B8A", "Level-2A product"):
            assert expected in error
        assert "Traceback" not in error
        assert sorted(p.name for p in out.iterdir()) == ["checks.json", "prepare.json"]

    def test_keep_going_prepares_the_good_ones_and_still_exits_with_two(self, several, tmp_path):
        band_file(next(several.glob("*34SEH*")), "B02").write_bytes(b"")
        out = tmp_path / "out"
        assert run(several, out, "--keep-going") == 2
        assert [s.tile for s in find_prepared_scenes(out)] == ["34SEJ", "34SFH"]
        report = json.loads((out / "checks.json").read_text())
        assert len(report["fit_products"]) == 2
        assert "broken-file" in [f["check"] for f in report["findings"]]

    def test_check_only_writes_no_scene(self, several, tmp_path, capsys):
        out = tmp_path / "out"
        assert run(several, out, "--check-only") == 0
        assert "3 product(s) are fit" in capsys.readouterr().out
        band_file(next(several.glob("*34SEH*")), "B02").write_bytes(b"")
        assert run(several, out, "--check-only") == 2
        assert sorted(p.name for p in out.iterdir()) == ["checks.json", "prepare.json"]

    def test_finished_scenes_keep_their_findings(self, tmp_path):
        root = product(tmp_path / "in")
        zip_safe(root, tmp_path / "in" / "copy.zip")
        reports = []
        for _ in range(2):
            assert run(tmp_path / "in", tmp_path / "out") == 0
            report = json.loads((tmp_path / "out" / "checks.json").read_text())
            reports.append([finding["check"] for finding in report["findings"]])
        assert reports == [["duplicate", "missing-mask", "checksum"]] * 2

    def test_zips_of_other_things_are_told_and_left(self, several, tmp_path, capsys):
        with zipfile.ZipFile(several / "photos.zip", "w") as archive:
            archive.writestr("a.jpg", "x")
        assert run(several, tmp_path / "out", "--check-only") == 0
        assert "note: photos.zip: " in capsys.readouterr().err
        assert run(several / "photos.zip", tmp_path / "out") == 2
        (tmp_path / "alone").mkdir()
        (several / "photos.zip").rename(tmp_path / "alone" / "photos.zip")
        assert run(tmp_path / "alone", tmp_path / "out") == 2
        assert "holds no Sentinel-2 product, only other .zip files" in capsys.readouterr().err

    def test_the_higher_baseline_of_one_sight_is_kept(self, several, tmp_path):
        product(several, tile="34SEH", baseline="05.12", discriminator="20260101T000000")
        out = tmp_path / "out"
        assert run(several, out) == 0
        assert sorted(s.baseline for s in find_prepared_scenes(out)) == ["05.11", "05.11", "05.12"]
        report = json.loads((out / "checks.json").read_text())
        assert "duplicate" in [f["check"] for f in report["findings"]]


class TestBadInput:
    def error_of(self, capsys, source, output, *flags):
        assert run(source, output, *flags) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert not list(Path(output).glob("*/scene.json"))
        assert not [p for p in Path(output).glob(".*") if p.suffix == ".part"]
        return error

    def test_missing_folder(self, tmp_path, capsys):
        assert "does not exist" in self.error_of(capsys, tmp_path / "none", tmp_path / "out")

    def test_not_a_safe(self, tmp_path, capsys):
        (tmp_path / "in").mkdir()
        assert "holds no Sentinel-2 product" in self.error_of(
            capsys, tmp_path / "in", tmp_path / "out"
        )

    def test_zip_with_members_outside(self, tmp_path, capsys):
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
            archive.writestr("P.SAFE/MTD_MSIL1C.xml", "<x/>")
            archive.writestr("../../evil", "x")
        error = self.error_of(capsys, tmp_path / "evil.zip", tmp_path / "out")
        assert "points outside the archive" in error

    def test_xml_bomb(self, tmp_path, capsys):
        root = product(tmp_path / "in")
        bomb = '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>'
        (root / "MTD_MSIL1C.xml").write_text(bomb)
        assert "may be an attack" in self.error_of(capsys, root, tmp_path / "out")

    def test_truncated_and_foreign_bands(self, tmp_path, capsys):
        root = product(tmp_path / "in")
        file = band_file(root, "B06")
        file.write_bytes(file.read_bytes()[:-100])
        write_jp2(band_file(root, "B07"), np.ones((60, 60), np.uint16), 20, 32634)
        error = self.error_of(capsys, root, tmp_path / "out")
        assert "is cut off" in error and "has 60 x 60 px" in error

    def test_broken_inner_tiles_are_found_though_gdal_reads_zeros(self, tmp_path, capsys):
        root = product(tmp_path / "in")
        file = band_file(root, "B04")
        # The last inner tile loses its marker; the header and the end stay whole.
        first, marker, rest = file.read_bytes().rpartition(b"\xff\x90\x00\x0a")
        file.write_bytes(first + bytes(len(marker)) + rest)
        error = self.error_of(capsys, root, tmp_path / "out")
        assert "_B04.jp2" in error and "has a broken tile" in error

    def test_labels_elsewhere_and_unknown_codes(self, tmp_path, capsys):
        root = product(tmp_path / "in")
        far = write_labels(
            tmp_path / "far.tif", np.full((9, 9), 10), transform=Affine(10, 0, 9e5, 0, -10, 0)
        )
        out = tmp_path / "out"
        assert "no label raster overlaps" in self.error_of(capsys, root, out, "--ground-truth", far)
        codes = np.full((SIZE, SIZE), 77)
        codes[:40] = 20
        odd = write_labels(tmp_path / "odd.tif", codes)
        error = self.error_of(capsys, root, out, "--ground-truth", odd)
        assert "77 (48000 px)" in error and "--unknown-labels ignore" in error
        assert run(root, out, "--ground-truth", odd, "--unknown-labels", "ignore") == 0

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (("--source-legend", "nothing"), "no legend 'nothing'"),
            (("--source-legend", "landcover9", "--legend", "corine"), "has no crosswalk"),
            (("--cloud-mask-values", "1=fog"), "expected VALUE=NAME"),
            (("--cloud-source", "mask"), "belong"),
            (("--jobs", "0"), "--jobs must be at least 1"),
            (("--cloud-buffer-m", "-5"), "must not be negative"),
        ],
    )
    def test_wrong_settings(self, tmp_path, capsys, flags, message):
        root = product(tmp_path / "in")
        assert message in self.error_of(capsys, root, tmp_path / "out", *flags)

    def test_product_without_cloud_mask(self, tmp_path, capsys):
        root = product(tmp_path / "in", masks={})
        assert "has no cloud mask" in self.error_of(capsys, root, tmp_path / "out")
        assert run(root, tmp_path / "out", "--cloud-source", "none") == 0

    def test_output_folder_that_is_something_else(self, tmp_path, capsys):
        root = product(tmp_path / "in")
        (tmp_path / "out" / root.stem).mkdir(parents=True)
        assert "is not a prepared scene" in self.error_of(capsys, root, tmp_path / "out")

    def test_output_that_cannot_be_written(self, tmp_path, capsys, monkeypatch):
        root = product(tmp_path / "in")
        (tmp_path / "file").touch()
        assert run(root, tmp_path / "file") == 2
        assert run(root, tmp_path / "file" / "below") == 2
        assert capsys.readouterr().err.count("error: cannot write") == 2
        usage = type("Usage", (), {"free": 100_000})
        monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
        error = self.error_of(capsys, root, tmp_path / "out")
        assert "0.0 GB free" in error
