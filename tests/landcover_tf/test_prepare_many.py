"""The program `prepare` on several products: resuming, jobs, reports."""

import contextlib
import json
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import rasterio.shutil
from fakes.prepare_program import SIZE, product, run, three_tiles, write_labels
from fakes.prepared_rasters import image_of, labels_of
from fakes.tiny_safe import ULX, ULY, band_file, zip_safe
from rasterio.transform import Affine

from landcover_tf.configs.config_parts import part
from landcover_tf.errors import LabelError
from landcover_tf.prepare import PrepareConfig, prepare_scenes
from landcover_tf.sentinel2.label_rasters import find_label_rasters
from landcover_tf.sentinel2.preparation import _Preparation, prepare_product
from landcover_tf.sentinel2.prepared import PreparedScene, find_prepared_scenes
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.settings import Job, Settings
from landcover_tf.system.files import atomic_folder
from landcover_tf.system.locks import alone


def temporary_of(folder):
    with contextlib.suppress(KeyError), atomic_folder(folder) as temporary:
        raise KeyError
    return temporary


@pytest.fixture
def several(tmp_path):
    return three_tiles(tmp_path / "in")


def test_jobs_give_the_same_scenes(several, tmp_path):
    assert run(several, tmp_path / "one") == 0
    assert run(several, tmp_path / "two", "--jobs", 2) == 0
    for scene in find_prepared_scenes(tmp_path / "one"):
        other = PreparedScene.open(tmp_path / "two" / scene.name)
        assert np.array_equal(image_of(scene), image_of(other))


def contents(scenes):
    """Returns the bytes of every file of a folder's scenes, by its name."""
    return {
        str(file.relative_to(scenes)): file.read_bytes()
        for file in sorted(scenes.glob("*/*"))
        if file.is_file()
    }


def test_a_cluster_gives_the_same_scenes_to_the_byte(simulated_products, prepared_scenes, tmp_path):
    from distributed import LocalCluster

    truth = ("--ground-truth", simulated_products / "ground_truth")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        where = ("--scheduler", cluster.scheduler_address)
        assert run(simulated_products / "products", tmp_path / "there", *truth, *where) == 0
        log = cluster.scheduler.transition_log
        jobs = {entry[0] for entry in log if entry[0].startswith("prepare_product")}
    here, there = contents(prepared_scenes), contents(tmp_path / "there")
    assert len(jobs) == 3
    assert {name.split("/")[1] for name in here} >= {"image.tif", "validity.tif", "labels.tif"}
    assert list(there) == list(here)
    assert [name for name in here if there[name] != here[name]] == []
    assert not list((tmp_path / "there").glob(".*"))


def test_finished_scenes_are_skipped_and_interrupted_ones_redone(several, tmp_path, capsys):
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


def test_other_settings_are_refused_unless_overwritten(several, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(several, out) == 0
    assert run(several, out, "--resampling", "nearest") == 2
    assert "resampling (was bicubic, now nearest)" in capsys.readouterr().err
    assert json.loads((out / "prepare.json").read_text())["resampling"] == "bicubic"
    assert run(several, out, "--resampling", "nearest", "--overwrite") == 0
    assert {s.document["settings"]["resampling"] for s in find_prepared_scenes(out)} == {"nearest"}
    assert not list(out.glob(".*"))


def test_files_count_by_content_and_not_by_path(tmp_path, capsys, monkeypatch):
    product(tmp_path / "in")
    codes = np.full((SIZE, SIZE), 10)
    truth = write_labels(tmp_path / "truth" / "a.tif", codes)
    mask = write_labels(tmp_path / "clouds.tif", np.zeros((SIZE, SIZE)))
    out = tmp_path / "out"
    files = ("--cloud-source", "mask", "--cloud-mask", mask)

    def prepare(truth, *flags):
        return run(tmp_path / "in", out, "--ground-truth", truth, *(flags or files))

    assert prepare(truth) == 0
    monkeypatch.chdir(tmp_path)
    copied = shutil.copy(mask, tmp_path / "copied.tif")
    for same in ("truth/a.tif", tmp_path / "truth", tmp_path / "truth" / ".." / "truth"):
        capsys.readouterr()
        assert prepare(same, *files[:3], copied) == 0
        assert "finished before, skipped" in capsys.readouterr().out
    moved = mask.rename(tmp_path / "away.tif")
    assert prepare(truth) == 0
    moved.rename(mask)
    codes[0] = 20
    write_labels(truth, codes)
    assert prepare(truth) == 2
    assert "with other settings (the content of ground_truth a.tif); choose" in (
        capsys.readouterr().err
    )
    write_labels(tmp_path / "truth" / "b.tif", codes)
    assert prepare(tmp_path / "truth", "--cloud-source", "none") == 2
    error = capsys.readouterr().err
    assert "ground_truth (was a.tif, now a.tif, b.tif)" in error
    assert "other settings (cloud_source (was mask, now none), " in error
    assert "cloud_mask (was clouds.tif, now not set)" in error
    assert run(tmp_path / "in", out, *files) == 2
    assert "ground_truth (was a.tif, now not set)" in capsys.readouterr().err


def test_another_file_of_the_same_size_and_time_is_noticed(tmp_path, capsys):
    product(tmp_path / "in")
    codes = np.full((SIZE, SIZE), 10)
    truth = write_labels(tmp_path / "truth" / "a.tif", codes)
    vrt = tmp_path / "all.vrt"
    rasterio.shutil.copy(truth, vrt, driver="VRT")
    other = write_labels(tmp_path / "other" / "a.tif", codes * 2)
    os.utime(other, ns=(truth.stat().st_atime_ns, truth.stat().st_mtime_ns))
    assert other.stat().st_size == truth.stat().st_size
    assert run(tmp_path / "in", tmp_path / "out", "--ground-truth", truth) == 0
    assert run(tmp_path / "in", tmp_path / "out", "--ground-truth", other) == 2
    assert "the content of ground_truth a.tif" in capsys.readouterr().err
    # A .vrt counts with the files that it shows.
    assert run(tmp_path / "in", tmp_path / "shown", "--ground-truth", vrt) == 0
    assert run(tmp_path / "in", tmp_path / "shown", "--ground-truth", vrt) == 0
    assert "finished before, skipped" in capsys.readouterr().out
    write_labels(truth, codes * 2)
    assert run(tmp_path / "in", tmp_path / "shown", "--ground-truth", vrt) == 2
    assert "the content of ground_truth all.vrt, a.tif" in capsys.readouterr().err


def test_a_scene_stays_until_the_new_one_is_complete(several, tmp_path, free_space):
    out = tmp_path / "out"
    assert run(several, out) == 0
    before = [(s.folder, s.folder.stat().st_ino) for s in find_prepared_scenes(out)]
    free_space(100)
    assert run(several, out, "--overwrite") == 2
    assert [(s.folder, s.folder.stat().st_ino) for s in find_prepared_scenes(out)] == before


def test_two_runs_make_one_folder_of_scenes_but_never_one_scene(several, tmp_path, capsys):
    out = tmp_path / "out"
    name = next(several.glob("*34SEJ*")).stem
    with alone(out / f".{name}.lock", "the first"):
        assert run(several, out, "--keep-going") == 2
    assert f"another process prepares {out / name}; wait for its end" in capsys.readouterr().err
    assert len(find_prepared_scenes(out)) == 2 and not (out / name).exists()
    assert not list(out.glob(".*"))


def test_room_for_all_scenes_that_are_made_side_by_side(several, tmp_path, free_space, capsys):
    from distributed import LocalCluster

    # One scene of 240 x 240 px and 17 bytes a pixel fits, and two do not.
    free_space(int(1.5 * SIZE * SIZE * 17))
    assert run(several, tmp_path / "out", "--jobs", 2, "--keep-going") == 2
    assert "preparing 2 scenes side by side, which fewer --jobs lower" in capsys.readouterr().err
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        where = ("--scheduler", cluster.scheduler_address)
        assert run(several, tmp_path / "out", "--keep-going", *where) == 2
    assert "2 scenes side by side, which fewer Dask workers lower" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*/*"))
    assert run(several, tmp_path / "out") == 0


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
@pytest.mark.parametrize("missing_bytes", [5_000, 100_000])
def test_a_disk_that_fills_meanwhile_leaves_no_scene(tmp_path, capsys, missing_bytes):
    import resource

    path = product(tmp_path / "in")
    assert run(path, tmp_path / "whole") == 0
    (image,) = (tmp_path / "whole").glob("*/image.tif")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this: GDAL's threads do not tell of it, as of a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (image.stat().st_size - missing_bytes, hard))
    try:
        assert run(path, tmp_path / "out") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cannot write {tmp_path / 'out' / image.parent.name}" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*/*"))


def test_problems_of_all_products_are_listed_and_nothing_written(several, tmp_path, capsys):
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
    assert sorted(p.name for p in out.iterdir()) == ["checks.json"]


def test_keep_going_prepares_the_good_ones_and_still_exits_with_two(several, tmp_path, capsys):
    band_file(next(several.glob("*34SEH*")), "B02").write_bytes(b"")
    zip_safe(next(several.glob("*34SFH*")), several / "copy.zip")
    truth = tmp_path / "truth"
    truth.mkdir()
    write_labels(truth / "all.tif", np.full((SIZE, SIZE), 10))
    # One label in four: enough at 60 m, where it is checked, and too little at 10 m.
    sparse = np.tile([[10, 0], [0, 0]], (SIZE, SIZE))
    name = next(several.glob("*34SEJ*")).stem
    write_labels(truth / f"{name}.tif", sparse, transform=Affine(5, 0, ULX, 0, -5, ULY))
    out = tmp_path / "out"
    assert run(several, out, "--keep-going", "--ground-truth", truth) == 2
    error = capsys.readouterr().err
    assert error.count("is empty (0 bytes)") == 1
    assert error.count("labels finer than 10 m must cover half of a pixel") == 1
    assert error.count("copy.zip is left out") == 1
    assert [s.tile for s in find_prepared_scenes(out)] == ["34SFH"]
    report = json.loads((out / "checks.json").read_text())
    assert len(report["fit_products"]) == 2
    assert "broken-file" in [f["check"] for f in report["findings"]]
    # One product has one name, be it that of a finding or of a scene.
    assert all(finding["product"].startswith("S2") for finding in report["findings"])
    assert not any(finding["product"].endswith(".SAFE") for finding in report["findings"])
    config = PrepareConfig(
        sentinel2_dir=several, ground_truth=truth, output_dir=out, keep_going=True
    )
    assert prepare_scenes(config).scenes == tuple(s.folder for s in find_prepared_scenes(out))


def test_check_only_writes_no_scene(several, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(several, out, "--check-only") == 0
    assert "3 product(s) are fit" in capsys.readouterr().out
    band_file(next(several.glob("*34SEH*")), "B02").write_bytes(b"")
    assert run(several, out, "--check-only") == 2
    assert sorted(p.name for p in out.iterdir()) == ["checks.json"]


def test_a_cluster_checks_too(several, tmp_path):
    from distributed import LocalCluster

    band_file(next(several.glob("*34SEJ*")), "B02").write_bytes(b"")
    assert run(several, tmp_path / "here", "--check-only") == 2
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        where = ("--scheduler", cluster.scheduler_address)
        assert run(several, tmp_path / "there", "--check-only", *where) == 2
        log = cluster.scheduler.transition_log
        assert len({entry[0] for entry in log if entry[0].startswith("check-")}) == 3
    reports = [(tmp_path / name / "checks.json").read_text() for name in ("here", "there")]
    assert reports[0] == reports[1]


def test_a_failure_ends_the_reading_back_of_the_image(tmp_path):
    """What failed after image.tif was told only when the whole of it had been read back."""
    path = product(tmp_path / "in")
    settings = part(
        Settings, PrepareConfig(sentinel2_dir=path, output_dir=tmp_path, ground_truth=tmp_path)
    )
    job = Job(product=path, output_dir=tmp_path, settings=settings)
    preparation = _Preparation(open_product(path), job, tmp_path)
    with pytest.raises(LabelError, match="no label raster"):
        preparation.run()
    assert (tmp_path / "image.tif").exists()
    assert preparation.failed.is_set()


def test_a_job_brings_its_own_label_rasters(tmp_path):
    path = product(tmp_path / "in")
    truth = tmp_path / "truth"
    write_labels(truth / "labels.tif", np.full((SIZE, SIZE), 10))
    settings = part(
        Settings, PrepareConfig(sentinel2_dir=path, output_dir=tmp_path / "out", ground_truth=truth)
    )
    labels = tuple(find_label_rasters(truth))
    job = Job(product=path, output_dir=tmp_path / "out", settings=settings, labels=labels)
    # Who looked at the folder again would stumble over this one.
    (truth / "broken.tif").write_text("no raster")
    job = pickle.loads(pickle.dumps(job))  # noqa: S301
    scene = PreparedScene.open(prepare_product(job))
    assert (labels_of(scene) == 10).all()
    (source,) = scene.document["inputs"]["ground_truth"]
    assert source["path"] == str((truth / "labels.tif").resolve())
