"""Killed, parallel, merged and planned predictions."""

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fakes.killed_program import run_killed
from local_export import (
    BLEND,
    OWN_ENGINE,
    RAW,
    SmallExport,
    arguments,
    predict_options,
    write_raster,
    write_rasters,
)

from landcover_tf.configs.config_files import config_dict
from landcover_tf.system.files import read_json, write_json
from serving import layouts
from serving.config import PredictConfig
from serving.engines import Engine
from serving.options import network_options
from serving.predict import main
from serving.scene_prediction import ScenePrediction


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--memory-gb", "nan"), "--memory-gb must be above 0"),
        (("--seed", "-1"), "--seed must not be negative, got -1"),
        (("--server=http://127.0.0.1:9", "--precision=bf16"), "--precision bf16 are of a local"),
        (("--server=http://127.0.0.1:9", "--engine=openvino"), "--engine openvino and"),
        (("--refine", "labels", "--refine-window", "0"), "refine_window must be odd and positive"),
        (("--output-map", "map.png"), "--output-map must end in .tif or be a folder, got map.png"),
    ],
)
def test_unfit_settings_are_refused_in_one_sentence(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    message: str,
) -> None:
    write_raster(tmp_path / "scene.tif", 20, 20)
    command = arguments(small_export, [tmp_path / "scene.tif"], tmp_path / "map.tif")
    if flags[0] in command:
        place = command.index(flags[0])
        del command[place : place + 2]
    assert main([*command, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("mode", ["exact", "blend"])
def test_a_killed_run_continues_to_the_same_bytes(
    small_export: SmallExport, tmp_path: Path, mode: str
) -> None:
    images = [tmp_path / "scene.tif"]
    write_raster(images[0], 400, 150)
    room = 144 * 144 * layouts.ACTIVATION_BYTES_PER_PX["tensorflow", "float32"]
    small = ("--memory-gb", str((layouts.ENGINE_BYTES["tensorflow"] + room) / 2**30))
    # The memory is what TensorFlow needs.
    exact = (*RAW, "--mode", "exact", *small)
    flags = (*OWN_ENGINE, *BLEND) if mode == "blend" else exact
    whole, killed, marked = (tmp_path / n / "map.tif" for n in ("whole", "killed", "marked"))
    assert main(arguments(small_export, images, whole, *flags)) == 0
    command = arguments(small_export, images, killed, *flags)
    run_killed("serving.predict", command, entering="serving.row_bands.BandStore.write", call=3)
    work = killed.with_name(".map.tif.work") / "network"
    bands = sorted(path.name for path in work.glob("band_*"))
    assert [name[:10] for name in bands] == ["band_00000", "band_00001"]
    assert not killed.exists()
    shutil.copytree(killed.parent, marked.parent)
    assert main(command) == 0
    for name in ("map.tif", "confidence.tif", "areas.csv"):
        assert (killed.parent / name).read_bytes() == (whole.parent / name).read_bytes()
    # What was finished is used, not made again: a mark in it reaches the map.
    finished = marked.with_name(".map.tif.work") / "network" / bands[1]
    band = np.load(finished)
    band[0, 0] = 3
    np.save(finished, band)
    assert main(arguments(small_export, images, marked, *flags)) == 0
    different = (read(marked) != read(whole)).any(axis=1)
    (row,) = np.flatnonzero(different)
    assert (read(marked)[row] == small_export.info.class_codes[3]).all()


def test_an_unfinished_run_of_other_settings_is_not_mixed_in(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 100, 100)
    out = tmp_path / "map.tif"
    work = out.with_name(".map.tif.work") / "network"
    work.mkdir(parents=True)
    (work / "settings.json").write_text('{"model": "another"}')
    np.save(work / "band_00000.npy", np.zeros((2, 100, 100), np.uint8))
    assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *RAW)) == 2
    assert "unfinished run with other settings" in capsys.readouterr().err
    assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *RAW, "--overwrite")) == 0


def test_bfloat16_has_two_names_and_one_stands_beside_maps() -> None:
    long, short = (
        PredictConfig(
            model_path=Path("e"), input_image=(Path("i"),), output_map=Path("m.tif"), precision=name
        )
        for name in ("bfloat16", "bf16")
    )
    assert long == short
    assert config_dict(long)["precision"] == "bf16"
    assert network_options(long).precision == "bf16"


def test_a_run_goes_on_with_other_values_of_flags_that_its_mode_does_not_use(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "scene.tif", 100, 40)

    def settings(**flags: Any) -> dict[str, object]:
        options = predict_options(**flags)
        engine = Engine(small_export.folder, options.network)
        return ScenePrediction(
            tmp_path / "scene.tif", tmp_path / "m.tif", engine, options
        ).settings()

    exact, blend = {"mode": "exact"}, {"mode": "blend", "patch_size": 64, "patch_overlap": 32}
    of_patches = {"patch_size": 128, "patch_overlap": 64, "weighting": "uniform", "batch_size": 2}
    assert settings(**exact) == settings(**exact, **of_patches)
    assert settings(**exact) != settings(**exact, tta=True)
    assert settings(**blend) == settings(**blend, margin=64)
    assert settings(**blend) != settings(**blend, weighting="uniform")


def test_a_run_is_not_continued_where_the_network_computes_in_another_precision(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    image, out = tmp_path / "scene.tif", tmp_path / "map.tif"
    write_raster(image, 100, 40)
    options = predict_options(engine="openvino", precision="bf16")
    scene = ScenePrediction(image, out, Engine(small_export.folder, options.network), options)
    scene.prepare({})
    scene.compute([0])
    scene.source.close()
    here = scene.engine.backend.name.removeprefix("openvino ")
    other = {"float32": "bf16", "bf16": "float32"}[here]
    record = scene.store.folder / "settings.json"
    settings = read_json(record)
    assert settings["network"]["precision"] == here
    command = arguments(small_export, [image], out, "--engine", "openvino", "--precision", "bf16")
    # As a machine with the other kind of processor leaves it.
    write_json(record, settings | {"network": settings["network"] | {"precision": other}})
    assert main(command) == 2
    expected = f"with other settings (network precision (was {other}, now {here}))"
    assert expected in capsys.readouterr().err
    write_json(record, settings)
    assert main(command) == 0


def test_a_run_that_finished_nothing_does_not_stand_in_the_way_of_another(
    small_export: SmallExport, tmp_path: Path
) -> None:
    path = tmp_path / "scene.tif"
    write_raster(path, 100, 40)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    command = arguments(small_export, [path], tmp_path / "map.tif", *RAW)
    assert main([*command, "--mode", "exact"]) == 2
    path.write_bytes(whole)
    assert main([*command, *BLEND]) == 0


def test_processes_give_the_same_bytes(small_export: SmallExport, tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", 300, 200)
    for jobs in ("1", "2"):
        out = tmp_path / jobs / "map.tif"
        flags = (*OWN_ENGINE, *BLEND, "--jobs", jobs)
        assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *flags)) == 0
    assert (tmp_path / "1" / "map.tif").read_bytes() == (tmp_path / "2" / "map.tif").read_bytes()


def test_one_raster_is_shared_by_the_workers_of_a_cluster(
    small_export: SmallExport, tmp_path: Path
) -> None:
    from distributed import LocalCluster

    write_raster(tmp_path / "scene.tif", 300, 200)
    command = (small_export, [tmp_path / "scene.tif"])
    here, there = tmp_path / "here" / "map.tif", tmp_path / "there" / "map.tif"
    assert main(arguments(*command, here, *OWN_ENGINE, *BLEND)) == 0
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        address = ("--scheduler", cluster.scheduler_address)
        assert main(arguments(*command, there, *OWN_ENGINE, *BLEND, *address)) == 0
        log = cluster.scheduler.transition_log
        jobs = {entry[0] for entry in log if entry[0].startswith("compute_rows")}
    assert len(jobs) == 2
    assert there.read_bytes() == here.read_bytes()


def test_a_mosaic_takes_the_more_confident_pixel(small_export: SmallExport, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    write_raster(scenes / "a.tif", 60, 80, seed=1)
    # Starts 50 columns east and 20 rows south: they share 40 x 30 px.
    write_raster(scenes / "b.tif", 70, 90, seed=2, origin=(600_500.0, 4_199_800.0))
    out = tmp_path / "both.tif"
    assert main(arguments(small_export, [scenes], out, *RAW, "--mosaic")) == 0
    parts = {
        name: (
            read(tmp_path / "both_scenes" / name / "map.tif"),
            read(tmp_path / "both_scenes" / name / "confidence.tif").astype(int),
        )
        for name in ("a", "b")
    }
    classes = np.zeros((90, 140), np.uint8)
    best = np.full((90, 140), -1)
    for name, (row, col) in {"a": (0, 0), "b": (20, 50)}.items():
        codes, confidence = parts[name]
        place = slice(row, row + codes.shape[0]), slice(col, col + codes.shape[1])
        better = confidence > best[place]
        classes[place][better] = codes[better]
        best[place][better] = confidence[better]
    np.testing.assert_array_equal(read(out), classes)
    with rasterio.open(out) as dataset:
        assert (dataset.transform.c, dataset.transform.f) == (600_000, 4_200_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": "EPSG:32635"}, "a mosaic needs one CRS"),
        ({"origin": (600_004.0, 4_200_000.0)}, "do not lie on the grid"),
        ({"crs": None}, "has no CRS"),
    ],
)
def test_a_mosaic_of_other_grids_is_refused_before_any_work(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    write_raster(tmp_path / "a.tif", 40, 40)
    write_raster(tmp_path / "b.tif", 40, 40, **changes)  # type: ignore[arg-type]
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    out = tmp_path / "new" / "m.tif"
    assert main(arguments(small_export, images, out, *RAW, "--mosaic")) == 2
    assert message in capsys.readouterr().err
    assert not out.parent.exists()


def test_a_plan_writes_nothing(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 300, 200)
    out = tmp_path / "out" / "map.tif"
    flags = (*RAW, *BLEND, "--plan")
    assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *flags)) == 0
    text = capsys.readouterr().out
    # 9 x 6 patches of 64 px at a stride of 32, by hand: 54 * 64^2 / 60000 = 3.686.
    assert "54 of 64 x 64 px" in text
    assert "3.686 px per output px" in text
    assert not out.parent.exists()


def test_a_run_that_the_disk_cannot_hold_is_refused(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    free_space: Callable[[float], None],
) -> None:
    images = write_rasters(tmp_path, "ab", 60, 50)
    command = arguments(small_export, images, tmp_path / "maps", *RAW)
    # Class and confidence of 60 x 50 pixels, of one scene at a time in one process; the raster of
    # the confidence, and the copy that it is made from.
    free_space(4 * 60 * 50 - 1)
    assert main(command) == 2
    assert "0.0 GB free, the work until the map is written needs" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()
    free_space(4 * 60 * 50)
    assert main([*command, "--jobs", "2"]) == 2
    capsys.readouterr()
    # Further bands, their raster, and its copy, which is larger than that of the confidence.
    needed = (3 + 3 * len(small_export.info.class_codes)) * 60 * 50
    free_space(needed - 1)
    assert main([*command, "--probabilities"]) == 2
    assert "0.0 GB free, the work until the map is written needs 0.0 GB" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()
    free_space(needed)
    assert main([*command, "--probabilities"]) == 0


def test_what_a_killed_run_left_makes_room_for_the_next(
    small_export: SmallExport, tmp_path: Path, free_space: Callable[[float], None]
) -> None:
    write_raster(tmp_path / "scene.tif", 60, 50)
    work = tmp_path / ".map.tif.work"
    # As a run leaves them that was killed while it wrote the map.
    leftovers = [work / "files" / "confidence.tif", work / "network" / "map.staged.tif"]
    for path in leftovers:
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(60 * 50))
    free_space(2 * 60 * 50 - 1)
    command = arguments(small_export, [tmp_path / "scene.tif"], tmp_path / "map.tif", *RAW)
    assert main(command) == 2
    free_space(2 * 60 * 50)
    assert main(command) == 0


def test_polygons_cover_the_map(small_export: SmallExport, tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", 60, 50, nodata_columns=10)
    out = tmp_path / "map.tif"
    assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *RAW, "--vector")) == 0
    connection = sqlite3.connect(tmp_path / "map.gpkg")
    rows = connection.execute("SELECT geom, code, name, area_ha FROM land_cover").fetchall()
    assert sum(row[3] for row in rows) == pytest.approx(60 * 40 * 0.01)
    counts = dict(zip(*np.unique(read(out), return_counts=True), strict=True))
    for code in {row[1] for row in rows}:
        total = sum(row[3] for row in rows if row[1] == code)
        assert total == pytest.approx(counts[code] * 0.01)
    magic, _, flags, srs, west = struct.unpack_from("<2sBBid", rows[0][0])
    assert (magic, flags, srs) == (b"GP", 3, 32634)
    assert 600_100 <= west <= 600_500
    assert connection.execute("PRAGMA application_id").fetchone() == (0x47504B47,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_raster_without_crs_makes_a_map_without_crs(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 30, 30, crs=None)
    out = tmp_path / "map.tif"
    assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *RAW)) == 0
    assert "has no CRS" in capsys.readouterr().err
    with rasterio.open(out) as dataset:
        assert dataset.crs is None


def test_a_full_disk_is_told_and_the_run_can_be_repeated(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "scene.tif", 400, 400)
    out = tmp_path / "map.tif"
    command = arguments(small_export, [tmp_path / "scene.tif"], out, *OWN_ENGINE, *BLEND)
    # No file may grow beyond 8 kB: writing fails as on a full disk.
    limited = (
        "import resource, signal, sys; from serving.predict import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)); sys.exit(main(sys.argv[1:]))"
    )
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [sys.executable, "-c", limited, *command],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert result.returncode == 2
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists()
    assert main(command) == 0
