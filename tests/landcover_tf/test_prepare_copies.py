"""Damaged, repeated and foreign products among those to prepare."""

import json
import zipfile

import numpy as np
import pytest
from fakes.prepare_program import SIZE, product, run, three_tiles, write_labels
from fakes.tiny_safe import ULX, ULY, band_file, gml, square, zip_safe
from rasterio.transform import Affine

from landcover_tf.sentinel2.prepared import find_prepared_scenes


@pytest.fixture
def several(tmp_path):
    return three_tiles(tmp_path / "in")


def test_a_damaged_zip_is_found_among_others(several, tmp_path):
    masks = {"MSK_CLOUDS_B00.gml": gml([("OPAQUE", square(600, 600, 60))])}
    root = product(
        tmp_path / "x", tile="34SGH", baseline="03.01", offsets=None, masks=masks, manifest=True
    )
    with zipfile.ZipFile(several / "stored.zip", "w") as archive:  # Not compressed.
        for file in root.rglob("*"):
            archive.write(file, file.relative_to(tmp_path / "x"))
    data = (several / "stored.zip").read_bytes()
    (several / "stored.zip").write_bytes(data.replace(b"eop:extentOf>", b"eop:extentof>"))
    with zipfile.ZipFile(several / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("P.SAFE/MTD_MSIL1C.xml", bytes(range(251)) * 99)
    data = bytearray((several / "deflated.zip").read_bytes())
    data[80:100] = b"\xff" * 20
    (several / "deflated.zip").write_bytes(data)
    assert run(several, tmp_path / "out", "--keep-going", "--check-only") == 2
    report = json.loads((tmp_path / "out" / "checks.json").read_text())
    assert len(report["fit_products"]) == 3
    found = [(f["product"], f["check"]) for f in report["findings"] if f["severity"] == "fatal"]
    assert found == [
        ("deflated.zip", "open"),
        (root.stem, "broken-file"),
        (root.stem, "checksum"),
    ]
    (told,) = [
        f["message"]
        for f in report["findings"]
        if f["check"] == "checksum" and "B00" in f["message"]
    ]
    assert "MSK_CLOUDS_B00.gml in" in told and "cannot be read (Bad CRC-32" in told


def test_a_whole_copy_takes_the_place_of_a_damaged_one(tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    # A .zip beside its folder that was not unpacked to the end, and two baselines of another tile.
    folder = product(source, manifest=True)
    archive = zip_safe(folder, source / "whole.zip")
    older = product(source, tile="34SFH", baseline="05.00", discriminator="20250925T100000")
    newer = product(source, tile="34SFH")
    for damaged in (folder, newer):
        file = band_file(damaged, "B02")
        file.write_bytes(file.read_bytes()[:3000])
    for _ in range(2):
        assert run(source, out) == 0
        error = capsys.readouterr().err
        for damaged, used in ((folder, archive), (newer, older)):
            assert error.count(f"{damaged} is unfit, so {used} is used") == 1
            assert f"in {damaged} is cut off" in error
            assert f"{used} is left out" not in error and f"{damaged} is left out" not in error
        scenes = {scene.tile: scene for scene in find_prepared_scenes(out)}
        assert scenes["34SEH"].name == folder.stem
        assert scenes["34SFH"].name == older.stem
    # Where no copy is whole, all of them are refused.
    file = band_file(older, "B03")
    file.write_bytes(file.read_bytes()[:3000])
    assert run(source, tmp_path / "none", "--keep-going") == 2
    error = capsys.readouterr().err.split("error: ")[1]
    assert newer.stem in error and older.stem in error and folder.stem not in error
    assert [s.tile for s in find_prepared_scenes(tmp_path / "none")] == ["34SEH"]


@pytest.mark.parametrize("broken", ["folder", "folder not named .SAFE", "archive"])
def test_a_whole_copy_takes_the_place_of_one_that_cannot_be_opened(tmp_path, capsys, broken):
    source, out = tmp_path / "in", tmp_path / "out"
    folder = product(source, tile="34SEH")
    archive = zip_safe(folder, source / f"{folder.stem}.zip")
    product(source, tile="34SFH")
    if broken == "archive":
        archive.write_bytes(archive.read_bytes()[:3000])
        lost, used = archive, folder
    else:
        lost, used = folder, archive
        next(folder.rglob("MTD_TL.xml")).unlink()
        if broken == "folder not named .SAFE":
            lost = folder.rename(folder.with_suffix(""))
    for _ in range(2):
        assert run(source, out, "--keep-going") == 0
        error = capsys.readouterr().err
        assert error.count(f"{lost} is unfit, so {used} is used in its place") == 1
        assert ("neither a SAFE" if broken == "archive" else "0 GRANULE/*/MTD_TL.xml") in error
        scenes = find_prepared_scenes(out)
        assert [scene.tile for scene in scenes] == ["34SEH", "34SFH"]
        assert scenes[0].document["source"] == used.name


def test_a_copy_that_is_damaged_as_well_takes_no_place(tmp_path, capsys):
    folder = product(tmp_path / "in")
    zip_safe(folder, tmp_path / "in" / f"{folder.stem}.zip")
    next(folder.rglob("MTD_TL.xml")).unlink()
    copy = product(tmp_path / "in" / "again")
    (tmp_path / "in" / f"{folder.stem}.zip").write_bytes(b"PK")
    band_file(copy, "B02").write_bytes(b"")
    assert run(tmp_path / "in", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "3 problems in 3 product(s)" in error and "in its place" not in error


def test_a_folder_that_was_unpacked_since_is_another_copy(tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    folder = product(tmp_path / "x")
    source.mkdir()
    archive = zip_safe(folder, source / "whole.zip")
    assert run(source, out) == 0
    unpacked = folder.rename(source / folder.name)
    capsys.readouterr()
    assert run(source, out) == 0
    said = capsys.readouterr()
    assert f"{unpacked} is left out: {archive} is another copy of it" in said.err
    assert "finished before, skipped" in said.out


def test_what_settings_refuse_is_no_reason_for_an_older_product(tmp_path, capsys):
    source = tmp_path / "in"
    product(source, baseline="05.00", discriminator="20250925T100000")
    newer = product(source)
    far = Affine(10, 0, ULX + 500_000, 0, -10, ULY)
    labels = write_labels(tmp_path / "far.tif", np.full((SIZE, SIZE), 10), transform=far)
    assert run(source, tmp_path / "out", "--ground-truth", labels) == 2
    error = capsys.readouterr().err.split("error: ")[1]
    assert error.startswith(f"no label raster overlaps {newer.stem}") and error.count("\n") == 1


def test_finished_scenes_keep_their_findings(tmp_path):
    root = product(tmp_path / "in")
    zip_safe(root, tmp_path / "in" / "copy.zip")
    reports = []
    for _ in range(2):
        assert run(tmp_path / "in", tmp_path / "out") == 0
        report = json.loads((tmp_path / "out" / "checks.json").read_text())
        reports.append([finding["check"] for finding in report["findings"]])
    assert reports == [["duplicate", "missing-mask", "checksum"]] * 2


def test_zips_of_other_things_are_told_and_left(several, tmp_path, capsys):
    with zipfile.ZipFile(several / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", "x")
    radar = several / "S1A_IW_GRDH_1SDV_20250925T043015_20250925T043040_061150_079F3C_1A2B.SAFE"
    radar.mkdir()
    (radar / "manifest.safe").write_text("<x/>")
    assert run(several, tmp_path / "out", "--check-only") == 0
    error = capsys.readouterr().err
    assert "note: photos.zip: " in error and f"note: {radar.name}: " in error
    radar.rename(several / "S2A_MSIL1C_20250925T092031_N0511_R093_T34SEH_20250925T111407.SAFE")
    assert run(several, tmp_path / "out", "--check-only") == 2
    assert "has no MTD_MSIL1C.xml" in capsys.readouterr().err
    assert run(several / "photos.zip", tmp_path / "out") == 2
    (tmp_path / "alone").mkdir()
    (several / "photos.zip").rename(tmp_path / "alone" / "photos.zip")
    assert run(tmp_path / "alone", tmp_path / "out") == 2
    assert "holds no Sentinel-2 product, only other .zip files" in capsys.readouterr().err


def test_the_higher_baseline_of_one_sight_is_kept(several, tmp_path):
    product(several, tile="34SEH", baseline="05.12", discriminator="20260101T000000")
    out = tmp_path / "out"
    assert run(several, out) == 0
    assert sorted(s.baseline for s in find_prepared_scenes(out)) == ["05.11", "05.11", "05.12"]
    report = json.loads((out / "checks.json").read_text())
    assert "duplicate" in [f["check"] for f in report["findings"]]
