"""Runs that were killed, and what the next one continues, takes over or makes anew."""

import os
import shutil
import time
from pathlib import Path

import pytest
import rasterio
import rasterio.shutil
from fakes.killed_program import run_killed
from local_export import (
    BLEND,
    OWN_ENGINE,
    PLAIN,
    RAW,
    SmallExport,
    arguments,
    prediction,
    write_raster,
    write_rasters,
)

from landcover_tf.configs import cli
from landcover_tf.errors import OutputError
from serving import sampling
from serving.config import PredictConfig
from serving.engines import Engine
from serving.layouts import ENGINE_BYTES
from serving.map_records import record_of
from serving.options import options_of
from serving.predict import main
from serving.scene_prediction import ScenePrediction


def test_an_overwriting_batch_that_was_killed_goes_on(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "abc")
    maps = tmp_path / "maps"
    command = arguments(small_export, images, maps, *PLAIN, "--overwrite", "--engine", "tensorflow")
    assert main(command) == 0
    capsys.readouterr()
    # A batch that was killed when it had finished the first of three: work on the other two.
    for name in "bc":
        config = cli.parse(PredictConfig, command, prog="predict")
        options = options_of(config, small_export.info)
        engine = Engine(small_export.folder, options.network)
        map_path = maps / name / "map.tif"
        scene = ScenePrediction(tmp_path / f"{name}.tif", map_path, engine, options)
        scene.prepare(record_of(scene, config), replace=True)
    now = time.time()
    os.utime(maps / "a" / "predict.json", (now + 1, now + 1))
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.count("(finished by an earlier run)") == 1
    assert "a/map.tif (finished by an earlier run)" in said
    # Nothing is unfinished now, so all are to be overwritten.
    assert main(command) == 0
    assert "(finished by an earlier run)" not in capsys.readouterr().out


def test_a_run_killed_when_its_map_was_in_place_leaves_nothing_for_ever(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "ab")
    maps, log = tmp_path / "maps", tmp_path / "requests.jsonl"
    command = arguments(small_export, images, maps, *OWN_ENGINE, "--request-log", str(log))
    run_killed("serving.predict", command, entering="serving.intents.discard")
    shutil.copytree(maps, tmp_path / "killed")
    assert (maps / "a" / "map.tif").exists() and (maps / "a" / ".map.tif.work").exists()
    assert main(command) == 0
    assert "a/map.tif (finished by an earlier run)" in capsys.readouterr().out
    assert not list(maps.rglob(".*"))
    assert len(log.read_text().splitlines()) == 2

    # What lies there of the first map alone is no batch that is to be continued.
    shutil.copytree(tmp_path / "killed" / "a", maps / "a", dirs_exist_ok=True)
    assert main([*command, "--overwrite"]) == 0
    assert "(finished by an earlier run)" not in capsys.readouterr().out
    assert not list(maps.rglob(".*"))


def test_a_map_older_than_its_record_is_not_finished(
    small_export: SmallExport, tmp_path: Path
) -> None:
    images = write_rasters(tmp_path, "ab")
    maps, whole = tmp_path / "maps", tmp_path / "whole"
    command = arguments(small_export, images, maps, *OWN_ENGINE)
    assert main(command) == 0
    write_raster(images[0], 40, 40, seed=1)
    assert main(arguments(small_export, images, whole, *OWN_ENGINE)) == 0
    run_killed(
        "serving.predict", [*command, "--overwrite"], entering="serving.outputs.publish", call=1
    )
    # As if it had been killed between the record and the map.
    work = maps / "a" / ".map.tif.work"
    (work / "files" / "predict.json").replace(maps / "a" / "predict.json")
    assert main([*command, "--overwrite"]) == 0
    assert (maps / "a" / "map.tif").read_bytes() == (whole / "a" / "map.tif").read_bytes()


def test_work_on_a_view_of_a_file_that_is_replaced_is_not_continued(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "shown.tif", 80, 40)
    rasterio.shutil.copy(tmp_path / "shown.tif", tmp_path / "view.vrt", driver="VRT")
    scene = prediction(small_export, tmp_path / "view.vrt", tmp_path / "map.tif")
    scene.prepare({})
    scene.compute([0])
    scene.source.close()
    write_raster(tmp_path / "shown.tif", 80, 40, seed=1)
    with pytest.raises(OutputError, match=r"unfinished run with other settings \(source\)"):
        prediction(small_export, tmp_path / "view.vrt", tmp_path / "map.tif").prepare({})


@pytest.mark.parametrize(
    ("entering", "call", "there"),
    [
        # Of the map's two blocks the first has voted.
        pytest.param("postprocess.label_vote", 2, "voted/band_00000.npy", marks=pytest.mark.slow),
        # After the bands of 18 rows of patches and the two blocks that have voted.
        pytest.param("row_bands.BandStore.write", 22, "final/band_00000.npy",
                     marks=pytest.mark.slow),
        pytest.param("outputs.write_levels", 1, "files/map.tif", marks=pytest.mark.slow),
        ("outputs.publish", 1, "files/map.gpkg"),
    ],
)  # fmt: skip
def test_a_run_killed_while_it_wrote_its_files_continues_to_the_same_bytes(
    small_export: SmallExport, tmp_path: Path, entering: str, call: int, there: str
) -> None:
    write_raster(tmp_path / "scene.tif", 600, 100)
    flags = (*BLEND, "--vector", "--majority", "3")
    whole, killed = tmp_path / "whole" / "map.tif", tmp_path / "killed" / "map.tif"
    assert main(arguments(small_export, [tmp_path / "scene.tif"], whole, *flags)) == 0
    command = arguments(small_export, [tmp_path / "scene.tif"], killed, *flags)
    run_killed("serving.predict", command, entering=f"serving.{entering}", call=call)
    assert (killed.parent / ".map.tif.work" / there).exists()
    assert not killed.exists()
    assert main(command) == 0
    names = sorted(path.name for path in whole.parent.iterdir() if path.name != "predict.json")
    for name in names:
        assert (killed.parent / name).read_bytes() == (whole.parent / name).read_bytes(), name
    assert not list(killed.parent.glob(".*"))


# What TensorFlow needs for windows of 15,000 px, a part of the raster.
SMALL_WINDOWS = str((ENGINE_BYTES["tensorflow"] + 15_000 * 1000) / 2**30)


@pytest.mark.parametrize("mode", [("--mode", "exact", "--memory-gb", SMALL_WINDOWS), BLEND])
def test_work_is_not_continued_on_pixels_that_no_sample_shows(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mode: tuple[str, ...],
) -> None:
    monkeypatch.setattr(sampling, "SAMPLE_PX", 400)  # As of a raster of 64 million pixels.
    image = tmp_path / "scene.tif"
    pixels = write_raster(image, 400, 64)
    command = arguments(small_export, [image], tmp_path / "map.tif", *RAW, *mode)
    options = options_of(cli.parse(PredictConfig, command, prog="predict"), small_export.info)
    scene = ScenePrediction(
        image, tmp_path / "map.tif", Engine(small_export.folder, options.network), options
    )
    scene.prepare({})
    scene.compute([0])
    scene.source.close()
    band, seen = scene.layout.band(0)[1], scene.layout.rows[0].stop
    assert seen < 300

    def change(row: int, col: int) -> None:
        changed = pixels.copy()
        changed[:, row, col] += 1
        with rasterio.open(image, "r+") as dataset:
            dataset.write(changed)

    # A pixel of the band that is finished, and one below it that its windows have seen.
    for row in (5, seen - 1):
        assert row % 8 and (row == 5 or row >= band)
        change(row, 7)
        assert main(command) == 2
        assert "unfinished run with other settings (source)" in capsys.readouterr().err
    change(seen, 7)
    assert main(command) == 0
