"""Maps that an earlier run finished: which of them a later run takes over."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio.shutil
from local_export import (
    PLAIN,
    RAW,
    SmallExport,
    arguments,
    linked_export,
    prediction,
    write_raster,
    write_rasters,
)

from landcover_tf.errors import OutputError
from landcover_tf.model_info import Calibration
from landcover_tf.system.files import read_json, write_json
from serving.predict import main


def test_finished_maps_of_other_settings_are_not_taken_over(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "ab")
    assert main(arguments(small_export, images, tmp_path / "maps", *PLAIN)) == 0
    command = arguments(small_export, images, tmp_path / "maps", *PLAIN, "--majority", "3")
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "a/map.tif exists already, with other settings: majority (was 0, now 3); pass" in error
    assert main([*command, "--overwrite"]) == 0
    for name, content, reason in (
        ("map.tif", "damaged", "and cannot be read; make it again with `landcover predict --conf"),
        ("predict.json", "{", "a/predict.json are damaged; remove it"),
        ("predict.json", "[]", "a/predict.json are damaged; remove it"),
    ):
        (tmp_path / "maps" / "a" / name).write_text(content)
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "a/map.tif exists already, " in error and reason in error
    (tmp_path / "maps" / "a" / "map.tif").unlink()
    (tmp_path / "maps" / "a" / "predict.json").unlink()


@pytest.mark.parametrize("moved", [False, True])
def test_finished_maps_stay_however_their_files_are_named(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    moved: bool,
) -> None:
    images, maps = write_rasters(tmp_path, "ab"), tmp_path / "maps"
    (tmp_path / "export").symlink_to(small_export.folder)
    flags = (*PLAIN, "--mosaic")
    # Relative paths, then absolute ones from another folder; or maps on another disk.
    monkeypatch.chdir(tmp_path)
    place = tmp_path if moved else Path()
    export = replace(small_export, folder=place / "export")
    named = [place / image.name for image in images]
    assert main(arguments(export, named, Path("maps/all.tif"), *flags)) == 0
    if moved:
        maps = maps.rename(tmp_path / "larger")
    (tmp_path / "later").mkdir()
    monkeypatch.chdir(tmp_path / "later")
    export = replace(small_export, folder=tmp_path / "export")
    capsys.readouterr()
    assert main(arguments(export, images, maps / "all.tif", *flags)) == 0
    assert capsys.readouterr().out.count("(finished by an earlier run)") == 3
    # A file of that name elsewhere is another.
    other = tmp_path / "later" / "a.tif"
    shutil.copy2(images[0], other)
    command = arguments(export, [other, images[1]], maps / "all.tif", *flags)
    assert main(command) == 2
    assert "exists already, with other settings: input_image (was [" in capsys.readouterr().err


def test_maps_of_a_server_that_has_moved_stay(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, maps = write_rasters(tmp_path, "ab"), tmp_path / "maps"
    command = arguments(small_export, images, maps, *PLAIN)
    assert main(command) == 0
    for record in maps.glob("*/predict.json"):
        write_json(record, read_json(record) | {"server": "http://old:8501"})
    capsys.readouterr()
    assert main([*command, "--server", "http://new:8501"]) == 0
    assert capsys.readouterr().out.count("(finished by an earlier run)") == 2
    assert main(command) == 2
    assert "server (was http://old:8501, now not set)" in capsys.readouterr().err


def test_the_same_weights_calibrated_otherwise_are_another_model(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "ab")
    export = linked_export(small_export, small_export.info, tmp_path / "export" / "1")
    assert main(arguments(export, images, tmp_path / "maps", *PLAIN)) == 0
    unfinished = prediction(export, tmp_path / "a.tif", tmp_path / "begun.tif")
    unfinished.prepare({})
    unfinished.compute([0])

    calibration = Calibration(method="temperature", scale=(0.5,))
    replace(export.info, calibration=calibration).save(export.folder)
    assert main(arguments(export, images, tmp_path / "maps", *PLAIN)) == 2
    assert "a/map.tif exists already, of another model; pass" in capsys.readouterr().err
    with pytest.raises(OutputError, match=r"unfinished run with other settings \(model\)"):
        prediction(export, tmp_path / "a.tif", tmp_path / "begun.tif").prepare({})


def test_a_newer_version_beside_the_model_does_not_take_its_place(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = linked_export(small_export, small_export.info, tmp_path / "export" / "small" / "1")
    images, maps = write_rasters(tmp_path, "ab"), tmp_path / "maps"
    root = replace(export, folder=tmp_path / "export")
    command = arguments(root, images, maps, *PLAIN)
    assert main(command) == 0
    assert f"model: {export.folder}, the highest version" in capsys.readouterr().out
    record = maps / "a" / "predict.json"
    assert read_json(record)["model_path"] == str(export.folder)
    assert main(command) == 0  # Resumed: the same model under the folder of all versions.
    assert capsys.readouterr().out.count("(finished by an earlier run)") == 2
    assert main(["--config", str(record), "--overwrite"]) == 0

    second = replace(small_export.info, version=2, calibration=Calibration(scale=(0.5,)))
    linked_export(small_export, second, tmp_path / "export" / "small" / "2")
    later = tmp_path / "later.tif"
    assert main(["--config", str(record), "--output-map", str(later)]) == 0
    assert main(["--config", str(record), "--overwrite"]) == 0
    for path in (later, maps / "a" / "map.tif"):
        with rasterio.open(path) as dataset:
            assert dataset.tags()["model"] == "small 1"
    capsys.readouterr()
    assert main(command) == 2
    assert f"model_path (was {str(export.folder)[:20]}" in capsys.readouterr().err


def test_a_finished_map_that_has_lost_a_file_is_made_again(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "ab")
    mosaic = tmp_path / "both.tif"
    command = arguments(small_export, images, mosaic, *PLAIN, "--mosaic")
    assert main(command) == 0
    lost = [tmp_path / "both_scenes" / "a" / "confidence.tif", tmp_path / "both_areas.csv"]
    for file in lost:
        capsys.readouterr()
        file.unlink()
        assert main(command) == 0
        said = capsys.readouterr().out
        assert ("a/confidence.tif is missing, so its map is made again" in said) == (
            file is lost[0]
        )
        assert "b/map.tif (finished by an earlier run)" in said
        assert file.exists()


def test_maps_whose_log_could_not_be_written_are_not_finished(
    small_export: SmallExport, tmp_path: Path
) -> None:
    images = write_rasters(tmp_path, "ab")
    (tmp_path / "folder").mkdir()
    maps, log = tmp_path / "maps", tmp_path / "requests.jsonl"
    command = arguments(small_export, images, maps, *RAW, "--request-log")
    assert main([*command, str(tmp_path / "folder")]) == 2
    assert not (maps / "a" / "map.tif").exists()
    assert main([*command, str(log)]) == 0
    assert len(log.read_text().splitlines()) == 2
    assert not list(maps.rglob(".*"))


def test_finished_maps_stay_when_an_input_joins_and_not_when_one_is_replaced(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "abc")
    maps = tmp_path / "maps"
    assert main(arguments(small_export, images[:2], maps, *PLAIN)) == 0
    capsys.readouterr()
    assert main(arguments(small_export, images, maps, *PLAIN)) == 0
    said = capsys.readouterr().out
    assert said.count("(finished by an earlier run)") == 2
    assert (maps / "c" / "map.tif").exists()
    # The record of one map makes that map again.
    again = ["--config", str(maps / "a" / "predict.json"), "--overwrite"]
    before = (maps / "a" / "map.tif").read_bytes()
    assert main(again) == 0
    assert (maps / "a" / "map.tif").read_bytes() == before

    other = tmp_path / "other" / "a.tif"
    other.parent.mkdir()
    write_raster(other, 40, 40, seed=1)
    os.utime(other, (0, 0))  # Older than the map, as an archived scene is.
    assert main(arguments(small_export, [other, images[1]], maps, *PLAIN)) == 2
    assert "a/map.tif exists already" in capsys.readouterr().err


def test_an_input_replaced_by_an_older_one_is_another(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, shown = tmp_path / "a.tif", tmp_path / "shown.tif"
    write_raster(image, 40, 40)
    write_raster(shown, 40, 40)
    views = [tmp_path / "view.vrt", tmp_path / "b.vrt"]
    for part, view in zip((shown, *views[:1]), views, strict=True):
        rasterio.shutil.copy(part, view, driver="VRT")
    command = arguments(small_export, [image, views[1]], tmp_path / "maps", *PLAIN)
    assert main(command) == 0
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")  # As of a program that shows it.
    assert main(command) == 0
    assert capsys.readouterr().out.count("(finished by an earlier run)") == 2

    # Archives and copies keep the time of a file.
    for replaced, name in ((image, "a"), (shown, "b")):
        before = replaced.read_bytes(), replaced.stat().st_mtime_ns
        write_raster(replaced, 40, 40, seed=1)
        os.utime(replaced, (1_600_000_000, 1_600_000_000))
        assert main(command) == 2
        record = tmp_path / "maps" / name / "predict.json"
        error = capsys.readouterr().err
        assert f"{name}/map.tif exists already, and its input " in error
        again = f"landcover predict --config {record} --overwrite"
        assert f"was changed since; make it again with `{again}`, or choose" in error
        if replaced is image:
            replaced.write_bytes(before[0])
            os.utime(replaced, ns=(before[1], before[1]))
            assert main(command) == 0
            assert capsys.readouterr().out.count("(finished by an earlier run)") == 2
    assert main(again.split()[2:]) == 0
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.count("(finished by an earlier run)") == 2
