"""What `landcover assess estimate` and `compare` replace, and what they leave alone."""

import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from fakes.assessed_map import change, design, label, make_world, read, run, write


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_estimate_of_another_map_or_sample_is_not_replaced(world, capsys):
    folder = design(world, "--samples", 300)
    points = label(folder, world / "truth.tif")
    command = ["estimate", "--map", world / "map.tif", "--reference", points]
    assert run(*command) == 0
    # More labels, or other flags, are the same assessment.
    change(points, "UPDATE points SET reference = NULL WHERE fid = 1")
    assert run(*command, "--confidence-level", 0.9) == 0
    before = contents(folder / "assessment")
    write(world / "new.tif", read(world / "truth.tif"), tags={"legend": "landcover9"})
    other = ["estimate", "--map", world / "new.tif", "--reference", points]
    assert run(*other) == 2
    error = capsys.readouterr().err
    assert "assessment has the results of another map, map.tif, or" in error
    assert "choose another --output-dir, or pass --overwrite" in error
    copy = folder / "copy.gpkg"
    shutil.copy(points, copy)
    (world / "second").mkdir()
    shutil.copytree(folder, world / "second", dirs_exist_ok=True)
    for reference in (copy, world / "second" / "points.gpkg"):
        into = ["--output-dir", folder / "assessment"]
        assert run("estimate", "--map", world / "map.tif", "--reference", reference, *into) == 2
        assert "with another reference, points.gpkg; choose" in capsys.readouterr().err
    assert contents(folder / "assessment") == before
    assert run(*other, "--overwrite") == 0
    assert contents(folder / "assessment")["estimate.json"] != before["estimate.json"]
    # The settings that repeat it do not overwrite.
    settings = folder / "assessment" / "assess_estimate.json"
    assert run("estimate", "--config", settings) == 0
    assert run("estimate", "--config", settings, "--map", world / "map.tif") == 2


def test_a_comparison_with_another_reference_is_not_replaced(world, capsys):
    def compare(reference, *flags):
        return run("compare", "--map", world / "map.tif", "--reference-map", world / reference,
                   "--block-size-m", 300, "--bootstrap-samples", 50, *flags)  # fmt: skip

    write(world / "other.tif", np.full_like(read(world / "truth.tif"), 10))
    assert compare("truth.tif") == compare("truth.tif", "--seed", 1) == 0
    before = contents(world / "comparison")
    assert compare("other.tif") == 2
    assert "map.tif with another reference, truth.tif; choose" in capsys.readouterr().err
    assert contents(world / "comparison") == before
    assert compare("other.tif", "--overwrite") == 0
    assert contents(world / "comparison")["agreement.tif"] != before["agreement.tif"]


@contextmanager
def full_disk(room_bytes):
    """Lets no file grow over a size, as a full disk does."""
    resource = pytest.importorskip("resource")  # POSIX.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["estimate", "compare"])
def test_an_assessment_that_was_interrupted_begins_anew(world, capsys, kind):
    """Tables, report and raster without the JSON passed for files of somebody else."""
    out = world / "out"
    if kind == "estimate":
        points = label(design(world, "--samples", 300), world / "truth.tif")
        flags = ["--reference", points]
    else:
        flags = ["--reference-map", world / "truth.tif", "--block-size-m", 300]
        flags += ["--bootstrap-samples", 50]
    command = [kind, "--map", world / "map.tif", "--output-dir", out, *flags]
    with full_disk(20_000):  # Holds the tables and the raster, not the picture.
        assert run(*command) == 2
    assert "cannot write" in capsys.readouterr().err
    assert not out.exists()
    assert run(*command) == 0
    finished = contents(out)
    with full_disk(20_000):
        assert run(*command, "--confidence-level", 0.9) == 2
    assert contents(out) == finished
    # A machine that goes down between two files leaves the JSON, which comes first.
    for path in out.iterdir():
        if path.name != f"{kind}.json":
            path.unlink()
    assert run(*command) == 0
    assert contents(out).keys() == finished.keys()


def test_files_of_no_assessment_are_not_replaced(world, capsys):
    notes = world / "paper" / "report.md"
    notes.parent.mkdir()
    notes.write_text("mine")
    maps = ["--map", world / "map.tif", "--reference-map", world / "truth.tif"]
    flags = ["--block-size-m", 300, "--bootstrap-samples", 50, "--output-dir", notes.parent]
    command = ["compare", *maps, *flags]
    assert run(*command) == 2
    error = capsys.readouterr().err
    assert "paper has report.md, and no compare.json of such an assessment; choose" in error
    assert contents(notes.parent) == {"report.md": b"mine"}
    (notes.parent / "compare.json").write_text("{}")
    assert run(*command) == 2
    assert run(*command, "--overwrite") == run(*command) == 0
