"""Several inputs in one run, and runs that were killed while they wrote their files."""

import os
import resource
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from fakes.killed_program import run_killed
from local_export import BLEND, SmallExport, arguments, linked_export, predict_options, write_raster
from rasterio import Affine

from landcover_tf import cli
from landcover_tf.errors import OutputError
from landcover_tf.executors import InProcessExecutor
from landcover_tf.legend import load_legend
from landcover_tf.model_info import Calibration
from serving.config import PredictConfig
from serving.engines import Engine
from serving.mosaic import merge
from serving.options import options_of
from serving.predict import main
from serving.scene_jobs import compute_elsewhere, compute_rows, rows_job, scenes_at_once
from serving.scene_prediction import ScenePrediction

PLAIN = ("--no-picture", "--no-stac")


def prediction(export: SmallExport, image: Path, out: Path) -> ScenePrediction:
    """Returns a prediction by the highest version beside the export's own."""
    options = predict_options(engine="tensorflow")
    return ScenePrediction(image, out, Engine(export.folder.parent, options), options)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_damaged_input_does_not_keep_the_others_from_their_maps(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for name in ("a", "b", "c"):
        write_raster(scenes / f"{name}.tif", 80, 60, seed=ord(name))
    with rasterio.open(scenes / "b.tif") as dataset:
        tags = {"descriptions": dataset.descriptions, "scales": dataset.scales}
        tags["offsets"], profile, image = dataset.offsets, dataset.profile, dataset.read()
    with rasterio.open(scenes / "b.tif", "w", **profile | {"compress": "deflate"}) as dataset:
        dataset.write(image)
        for name, values in tags.items():
            setattr(dataset, name, values)
    with rasterio.open(scenes / "b.tif") as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    whole = (scenes / "b.tif").read_bytes()
    (scenes / "b.tif").write_bytes(whole[:offset] + bytes(100) + whole[offset + 100 :])
    command = arguments(small_export, [scenes], tmp_path / "maps", *PLAIN, "--jobs", jobs)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "1 of 3 inputs failed" in error
    assert "b.tif cannot be read at rows" in error
    maps = {name: tmp_path / "maps" / name / "map.tif" for name in ("a", "b", "c")}
    assert [name for name, path in maps.items() if path.exists()] == ["a", "c"]
    written = maps["a"].stat().st_mtime_ns

    (scenes / "b.tif").write_bytes(whole)
    assert main(command) == 0
    assert "a/map.tif (finished by an earlier run)" in capsys.readouterr().out
    assert maps["b"].exists()
    assert maps["a"].stat().st_mtime_ns == written


def test_finished_maps_of_other_settings_are_not_taken_over(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for image in images:
        write_raster(image, 40, 40)
    assert main(arguments(small_export, images, tmp_path / "maps", *PLAIN)) == 0
    command = arguments(small_export, images, tmp_path / "maps", *PLAIN, "--majority", "3")
    assert main(command) == 2
    assert "a/map.tif exists already" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    (tmp_path / "maps" / "a" / "map.tif").write_bytes(b"damaged")
    assert main(command) == 2
    assert "a/map.tif exists already" in capsys.readouterr().err


def test_the_same_weights_calibrated_otherwise_are_another_model(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for image in images:
        write_raster(image, 40, 40)
    export = linked_export(small_export, small_export.info, tmp_path / "export" / "1")
    assert main(arguments(export, images, tmp_path / "maps", *PLAIN)) == 0
    unfinished = prediction(export, tmp_path / "a.tif", tmp_path / "begun.tif")
    unfinished.prepare()
    unfinished.compute([0])

    calibration = Calibration(method="temperature", scale=(0.5,))
    replace(export.info, calibration=calibration).save(export.folder)
    assert main(arguments(export, images, tmp_path / "maps", *PLAIN)) == 2
    assert "a/map.tif exists already" in capsys.readouterr().err
    with pytest.raises(OutputError, match=r"unfinished run with other settings \(model\)"):
        prediction(export, tmp_path / "a.tif", tmp_path / "begun.tif").prepare()


def test_workers_make_the_map_that_was_begun_or_none(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "scene.tif", 90, 40)
    export = linked_export(small_export, small_export.info, tmp_path / "export" / "1")
    scene = prediction(export, tmp_path / "scene.tif", tmp_path / "map.tif")
    scene.prepare()
    job = rows_job(scene, (0,))
    assert (job.options.network.engine, job.options.network.mode) == ("tensorflow", "exact")
    linked_export(small_export, small_export.info, tmp_path / "export" / "2")
    compute_rows(job)
    assert scene.store.finished(0)

    other = replace(job.options.network, mode="blend", tta=True)
    job = replace(job, options=replace(job.options, network=other), rows=(0, 1))
    with pytest.raises(OutputError, match=r"with other settings \(layout, network\) than the run"):
        compute_rows(job)
    replace(export.info, nodata=1).save(export.folder)
    with pytest.raises(OutputError, match=r"with other settings \(model\) than the run"):
        compute_rows(rows_job(scene, (0,)))


def test_a_scene_is_there_to_finish_before_all_others_are_begun(
    small_export: SmallExport, tmp_path: Path
) -> None:
    scenes = []
    for number in range(6):
        write_raster(tmp_path / f"{number}.tif", 60, 50)
        scenes.append(prediction(small_export, tmp_path / f"{number}.tif", tmp_path / f"m{number}"))
        scenes[-1].prepare()
    assert scenes_at_once(parts=1, scenes=6) == 2
    taken = []
    for scene, error in compute_elsewhere(InProcessExecutor(), scenes, parts=1):
        taken.append(scene)
        assert error is None and not scene.unfinished_rows()
        begun = sum(not other.unfinished_rows() for other in scenes)
        # The ones taken, and at most one more.
        assert begun == min(len(taken) + 1, 6)
    assert taken == scenes
    # 16 parts for two rounds: 3 of each scene, or 1.
    assert scenes_at_once(parts=8, scenes=3) == 6
    assert scenes_at_once(parts=8, scenes=1600) == 16


class _FirstOnly(Executor):
    """Runs the first job at once; the others wait for ever."""

    def __init__(self) -> None:
        self.waiting: list[Future[Any]] = []
        self._here = InProcessExecutor()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        if not self.waiting:
            self.waiting.append(Future())
            return self._here.submit(fn, *args, **kwargs)
        self.waiting.append(Future())
        return self.waiting[-1]


def test_parts_are_given_up_when_finishing_a_scene_fails(
    small_export: SmallExport, tmp_path: Path
) -> None:
    scenes = []
    for number in range(3):
        write_raster(tmp_path / f"{number}.tif", 40, 40)
        scenes.append(prediction(small_export, tmp_path / f"{number}.tif", tmp_path / f"m{number}"))
        scenes[-1].prepare()
    pool = _FirstOnly()
    with closing(compute_elsewhere(pool, scenes, parts=3)) as computed:
        assert next(computed) == (scenes[0], None)
    assert [future.cancelled() for future in pool.waiting[1:]] == [True, True]


def test_a_finished_map_that_has_lost_a_file_is_made_again(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for image in images:
        write_raster(image, 40, 40)
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


def test_an_overwriting_batch_that_was_killed_goes_on(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [tmp_path / f"{name}.tif" for name in "abc"]
    for image in images:
        write_raster(image, 40, 40)
    maps = tmp_path / "maps"
    command = arguments(small_export, images, maps, *PLAIN, "--overwrite", "--engine", "tensorflow")
    assert main(command) == 0
    capsys.readouterr()
    # A batch that was killed when it had finished the first of three: work on the other two.
    for name in "bc":
        options = options_of(cli.parse(PredictConfig, command, prog="predict"))
        engine = Engine(small_export.folder, options)
        ScenePrediction(
            tmp_path / f"{name}.tif", maps / name / "map.tif", engine, options
        ).prepare()
    now = time.time()
    os.utime(maps / "a" / "predict.json", (now + 1, now + 1))
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.count("(finished by an earlier run)") == 1
    assert "a/map.tif (finished by an earlier run)" in said
    # Nothing is unfinished now, so all are to be overwritten.
    assert main(command) == 0
    assert "(finished by an earlier run)" not in capsys.readouterr().out


def test_more_inputs_than_may_be_open_are_planned(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "a.tif", 40, 40)
    open_before = len(list(Path("/dev/fd").iterdir()))
    scenes = [
        prediction(small_export, tmp_path / "a.tif", tmp_path / f"{number}.tif")
        for number in range(3)
    ]
    for scene in scenes:
        scene.prepare()
    assert len(list(Path("/dev/fd").iterdir())) == open_before
    for scene in scenes:
        scene.compute([0])
        assert scene.store.finished(0)


def test_more_maps_than_may_be_open_are_merged(tmp_path: Path) -> None:
    legend = load_legend("landcover9")
    parts = [tmp_path / str(number) / "map.tif" for number in range(40)]
    for number, part in enumerate(parts):
        part.parent.mkdir()
        for file, value in ((part, 10), (part.with_name("confidence.tif"), 100 + number)):
            transform = Affine(10, 0, 600_000 + 80 * number, 0, -10, 4_200_000)
            with rasterio.open(
                file, "w", driver="GTiff", width=16, height=16, count=1, dtype="uint8",
                crs="EPSG:32634", transform=transform,
            ) as dataset:  # fmt: skip
                dataset.write(np.full((1, 16, 16), value, np.uint8))
    wanted = predict_options(picture=False, stac=False).outputs
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 20, limits[1])
    )
    try:
        found = merge(parts, legend, tmp_path / "all.tif", wanted, {})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found.counts[10] == 16 * (39 * 8 + 16)
    with rasterio.open(tmp_path / "all_confidence.tif") as dataset:
        # Each but the last keeps the 8 columns that no more confident one covers.
        assert dataset.read(1)[0, ::8].tolist() == [*range(100, 140), 139]


def test_finished_maps_stay_when_an_input_joins_and_not_when_one_is_replaced(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [tmp_path / f"{name}.tif" for name in "abc"]
    for image in images:
        write_raster(image, 40, 40)
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


def test_an_existing_mosaic_is_refused_before_any_work(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for image in images:
        write_raster(image, 40, 40)
    out = tmp_path / "mosaic.tif"
    out.write_bytes(b"mine")
    assert main(arguments(small_export, images, out, *PLAIN, "--mosaic")) == 2
    assert "mosaic.tif exists already" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert not (tmp_path / "mosaic_scenes").exists()


def overlapping(folder: Path, *, size: int = 60) -> list[Path]:
    """Writes rasters of one grid, each half a width east of the one before."""
    images = [folder / f"{name}.tif" for name in "abc"]
    for place, image in enumerate(images):
        origin = (600_000.0 + 10 * (size // 2) * place, 4_200_000.0)
        write_raster(image, size, size, seed=place, origin=origin)
    return images


def test_a_mosaic_asked_for_again_is_there_and_one_more_input_is_merged_in(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = overlapping(tmp_path), tmp_path / "m.tif"
    flags = (*PLAIN, "--mosaic")
    whole = tmp_path / "whole" / "m.tif"
    assert main(arguments(small_export, images, whole, *flags)) == 0
    assert main(arguments(small_export, images[:2], out, *flags)) == 0
    maps = [tmp_path / "m_scenes" / image.stem / "map.tif" for image in images]
    before = {path: path.stat().st_mtime_ns for path in (out, *maps[:2])}
    capsys.readouterr()

    assert main(arguments(small_export, images[:2], out, *flags)) == 0
    assert capsys.readouterr().out.count("(finished by an earlier run)") == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before

    assert main(arguments(small_export, images, out, *flags)) == 0
    assert capsys.readouterr().out.count("(finished by an earlier run)") == 2
    assert {path: path.stat().st_mtime_ns for path in maps[:2]} == {p: before[p] for p in maps[:2]}
    for name in ("m.tif", "m_confidence.tif", "m_areas.csv"):
        assert (tmp_path / name).read_bytes() == (whole.parent / name).read_bytes()
    merged = out.read_bytes()

    # A scene less would be lost from the mosaic, and other settings make another one.
    for command in (
        arguments(small_export, images[1:], out, *flags),
        arguments(small_export, images, out, *flags, "--vector"),
    ):
        assert main(command) == 2
        assert "exists already" in capsys.readouterr().err
        assert out.read_bytes() == merged
    out.write_bytes(b"damaged")
    assert main(arguments(small_export, images, out, *flags)) == 0
    assert out.read_bytes() == merged


def test_a_mosaic_killed_while_it_was_merged_takes_over_all_maps(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = overlapping(tmp_path), tmp_path / "killed" / "m.tif"
    flags = (*PLAIN, "--mosaic", "--vector")
    whole = tmp_path / "whole" / "m.tif"
    assert main(arguments(small_export, images, whole, *flags)) == 0
    command = arguments(small_export, images, out, *flags)
    # The fourth map to be given its companions, after those of the scenes.
    companions = "serving.outputs.write_companions"
    run_killed("serving.predict", command, entering=companions, call=4)
    work = out.with_name(".m.tif.work")
    assert (work / "files" / "m.tif").exists()
    assert not out.exists()
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.count("map.tif (finished by an earlier run)") == 3
    names = sorted(path.name for path in whole.parent.iterdir() if path.is_file())
    assert names == sorted(path.name for path in out.parent.iterdir() if path.is_file())
    for name in set(names) - {"m_predict.json"}:
        assert (out.parent / name).read_bytes() == (whole.parent / name).read_bytes(), name
    assert not work.exists()


def test_a_mosaic_gets_the_files_that_a_map_gets(small_export: SmallExport, tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", 60, 80, seed=1)
    # 50 columns east and 20 rows south: 60 * 80 + 70 * 90 px less 40 * 30 that they share.
    write_raster(tmp_path / "b.tif", 70, 90, seed=2, origin=(600_500.0, 4_199_800.0))
    out = tmp_path / "out" / "both.tif"
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    flags = ("--mosaic", "--vector")
    assert main(arguments(small_export, images, out, *flags)) == 0
    names = {path.name for path in out.parent.iterdir() if path.is_file()}
    companions = {
        f"both.{suffix}" for suffix in ("tif", "tif.aux.xml", "qml", "png", "gpkg", "json")
    }
    assert names == companions | {
        f"both_{n}" for n in ("confidence.tif", "areas.csv", "predict.json")
    }
    item = pystac.Item.from_file(str(out.with_suffix(".json")))
    assert item.id == "both_landcover"
    assert set(item.assets) == {"map", "confidence", "areas", "style", "picture", "polygons"}
    with sqlite3.connect(out.with_suffix(".gpkg")) as connection:
        (hectares,) = connection.execute("SELECT sum(area_ha) FROM land_cover").fetchone()
    assert hectares == pytest.approx((60 * 80 + 70 * 90 - 40 * 30) / 100)


def test_a_mosaic_that_cannot_be_written_is_told(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for image in images:
        write_raster(image, 40, 40)
    out = tmp_path / "both.tif"
    (tmp_path / ".both.tif.work").write_text("in the way")
    assert main(arguments(small_export, images, out, *PLAIN, "--mosaic")) == 2
    assert "error: cannot write" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("entering", "call", "there"),
    [
        # Of the map's two blocks the first has voted.
        pytest.param("postprocess.label_vote", 2, "voted/band_00000.npy", marks=pytest.mark.slow),
        # After the bands of 18 rows of patches and the two blocks that have voted.
        pytest.param("bands_on_disk.BandStore.write", 22, "final/band_00000.npy",
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
