"""Several inputs in one run, and the work on them that several processes share."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import rasterio
from local_export import (
    PLAIN,
    SmallExport,
    arguments,
    linked_export,
    prediction,
    write_raster,
    write_rasters,
)

from landcover_tf.errors import OutputError
from landcover_tf.system.executors import InProcessExecutor
from serving.predict import main
from serving.scene_jobs import (
    Computed,
    compute_elsewhere,
    compute_here,
    compute_rows,
    rows_job,
    scenes_at_once,
)


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


@pytest.mark.parametrize("mosaic", [False, True])
def test_an_input_that_cannot_be_opened_does_not_keep_the_others_from_their_maps(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str], mosaic: bool
) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for name in ("a", "b", "c"):
        write_raster(scenes / f"{name}.tif", 40, 40, seed=ord(name))
    whole = (scenes / "a.tif").read_bytes()
    (scenes / "a.tif").write_bytes(b"damaged")
    (scenes / "S2A_MSIL1C_T34SEH.SAFE").mkdir()
    out, folder = tmp_path / "maps", tmp_path / "maps"
    flags: tuple[str, ...] = PLAIN
    if mosaic:
        out, folder, flags = tmp_path / "m.tif", tmp_path / "m_scenes", (*PLAIN, "--mosaic")
    command = arguments(small_export, [scenes], out, *flags)
    assert main([*command, "--plan"]) == 2
    said = capsys.readouterr()
    assert "2 of 4 inputs failed" in said.err and said.out.count("windows  ") == 2
    assert not folder.exists()

    for _ in range(2):
        assert main(command) == 2
        said = capsys.readouterr()
        assert said.err.count("failed: ") == 2
        assert "2 of 4 inputs failed, see above; the same command tries them again" in said.err
        assert sorted(path.parent.name for path in folder.glob("*/map.tif")) == ["b", "c"]
    assert said.out.count("(finished by an earlier run)") == 2
    assert out.exists() != mosaic

    (scenes / "a.tif").write_bytes(whole)
    (scenes / "S2A_MSIL1C_T34SEH.SAFE").rmdir()
    assert main(command) == 0
    assert (folder / "a" / "map.tif").exists() and out.exists()


def test_a_mosaic_stays_when_one_of_its_inputs_cannot_be_opened(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "abc")
    out = tmp_path / "m.tif"
    assert main(arguments(small_export, images[:2], out, *PLAIN, "--mosaic")) == 0
    merged = out.read_bytes()
    images[0].write_bytes(b"damaged")
    for inputs in (images[:2], images):
        assert main(arguments(small_export, inputs, out, *PLAIN, "--mosaic")) == 2
        assert f"1 of {len(inputs)} inputs failed" in capsys.readouterr().err
        assert out.read_bytes() == merged
    images[1].write_bytes(b"damaged")
    assert main(arguments(small_export, images[:2], out, *PLAIN, "--mosaic")) == 2
    assert "2 of 2 inputs failed" in capsys.readouterr().err


def test_workers_make_the_map_that_was_begun_or_none(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "scene.tif", 90, 40)
    export = linked_export(small_export, small_export.info, tmp_path / "export" / "1")
    scene = prediction(export, tmp_path / "scene.tif", tmp_path / "map.tif")
    scene.prepare({})
    job = rows_job(scene, (0,))
    assert (job.options.network.engine, job.options.network.mode) == ("tensorflow", "exact")
    linked_export(small_export, small_export.info, tmp_path / "export" / "2")
    compute_rows(job)
    assert scene.store.finished(0)

    other = replace(job.options.network, mode="blend", tta=True)
    job = replace(job, options=replace(job.options, network=other), rows=(0, 1))
    changed = r"\(network .*tta \(was False, now True\).*, layout .*\) than the run"
    with pytest.raises(OutputError, match=f"with other settings {changed}"):
        compute_rows(job)
    replace(export.info, nodata=1).save(export.folder)
    with pytest.raises(OutputError, match=r"with other settings \(model\) than the run"):
        compute_rows(rows_job(scene, (0,)))


def test_the_processors_of_the_workers_decide_the_precision(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a login node has no bfloat16, or it alone has."""
    core = pytest.importorskip("openvino").Core
    known = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    there = "bf16" if "BF16" in known else "float32"
    # Reaches this process, not those of the workers.
    other = [name for name in known if name != "BF16"] + ["BF16"] * (there == "float32")
    monkeypatch.setattr(core, "get_property", lambda *_: other)
    write_raster(tmp_path / "scene.tif", 90, 40)
    flags = ("--engine", "openvino", "--precision", "bf16", "--jobs", "2", *PLAIN)
    out = tmp_path / "map.tif"
    assert main(arguments(small_export, [tmp_path / "scene.tif"], out, *flags)) == 0
    warned = "has no bfloat16 instructions, so the network runs on openvino float32"
    assert (warned in capsys.readouterr().err) == (there == "float32")
    with rasterio.open(out) as dataset:
        assert dataset.tags()["prediction"] == f"exact, openvino {there}"


def test_a_scene_is_there_to_finish_before_all_others_are_begun(
    small_export: SmallExport, tmp_path: Path
) -> None:
    scenes = []
    for number in range(6):
        write_raster(tmp_path / f"{number}.tif", 60, 50)
        scenes.append(prediction(small_export, tmp_path / f"{number}.tif", tmp_path / f"m{number}"))
        scenes[-1].prepare({})
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
        scenes[-1].prepare({})
    pool = _FirstOnly()
    with closing(compute_elsewhere(pool, scenes, parts=3)) as computed:
        assert next(computed) == (scenes[0], None)
    assert [future.cancelled() for future in pool.waiting[1:]] == [True, True]


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
        scene.prepare({})
    assert len(list(Path("/dev/fd").iterdir())) == open_before
    for scene in scenes:
        scene.compute([0])
        assert scene.store.finished(0)


def test_a_finished_mosaic_needs_no_folder_that_can_be_written(
    small_export: SmallExport, capsys: pytest.CaptureFixture[str]
) -> None:
    # The session's own folder for temporary files is closed to other users.
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        shutil.copytree(small_export.folder, folder / "export" / "1")
        export = SmallExport(folder=folder / "export" / "1", info=small_export.info)
        write_raster(folder / "a.tif", 40, 40)
        maps = folder / "maps"
        command = arguments(export, [folder / "a.tif"], maps / "m.tif", *PLAIN, "--mosaic")
        assert main(command) == 0
        for path in (folder, maps):
            path.chmod(0o555)
        user = os.geteuid()
        try:
            if user == 0:  # Root may write everywhere.
                os.seteuid(65534)
            assert main(command) == 0
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
            maps.chmod(0o755)
        assert "m.tif (finished by an earlier run)" in capsys.readouterr().out


HOLDER = """
import sys
from pathlib import Path
from serving.targets import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("held", ["maps/b/map.tif", "m.tif"])
def test_a_map_that_another_process_makes_is_refused_before_any_work(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str], held: str
) -> None:
    images = write_rasters(tmp_path, "ab")
    mosaic = held == "m.tif"
    out, flags = (tmp_path / held, ("--mosaic",)) if mosaic else (tmp_path / "maps", ())
    command = arguments(small_export, images, out, *PLAIN, *flags, "--overwrite")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / held)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert main(command) == 2
        error = capsys.readouterr().err
        assert f"another process makes {tmp_path / held}; wait for its end" in error
        assert error.count("\n") == 1
        assert not list(tmp_path.rglob("*.work")) and not list(tmp_path.rglob("map.tif"))
        holder.kill()
    assert main(command) == 0
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("pool", [None, InProcessExecutor()])
def test_two_runs_of_one_map_do_not_mix(
    small_export: SmallExport, tmp_path: Path, pool: Executor | None
) -> None:
    write_raster(tmp_path / "scene.tif", 90, 40)
    command = arguments(small_export, [tmp_path / "scene.tif"], tmp_path / "map.tif", *PLAIN)
    first = prediction(small_export, tmp_path / "scene.tif", tmp_path / "map.tif")

    def computed() -> Generator[Computed]:
        return compute_here([first]) if pool is None else compute_elsewhere(pool, [first], 1)

    first.prepare({})
    with closing(computed()) as scenes:
        next(scenes)
        assert main([*command, "--tta", "--overwrite"]) == 2
        assert first.store.run
    assert main([*command, "--tta", "--overwrite"]) == 0
    with (
        closing(computed()) as scenes,
        pytest.raises(OutputError, match=r"made or begun .*map\.tif"),
    ):
        next(scenes)
    assert not list(tmp_path.glob("*.lock"))
