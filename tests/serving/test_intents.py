"""What an interrupted run may replace, and what a later run may replace because of it."""

from pathlib import Path

import pytest
import rasterio
import rasterio.shutil
from fakes.killed_program import run_killed
from local_export import (
    BLEND,
    OWN_ENGINE,
    PLAIN,
    SmallExport,
    arguments,
    write_raster,
    write_rasters,
)

from landcover_tf.system.files import read_json
from serving.predict import main

FINISHED = "(finished by an earlier run)"


@pytest.mark.parametrize(
    ("interrupted", "moment", "later"),
    [
        (("--majority", "3"), "outputs.publish", ("--majority", "5")),
        (("--tta",), "pipeline.Predictor.run", BLEND),
    ],
)
def test_leave_to_overwrite_is_that_of_one_command(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    interrupted: tuple[str, ...],
    moment: str,
    later: tuple[str, ...],
) -> None:
    image, out = tmp_path / "a.tif", tmp_path / "map.tif"
    write_raster(image, 60, 60)
    command = arguments(small_export, [image], out, *OWN_ENGINE)
    assert main(command) == 0
    before = out.read_bytes()
    overwriting = [*command, *interrupted, "--overwrite"]
    run_killed("serving.predict", overwriting, entering=f"serving.{moment}")
    assert main([*command, *later]) == 2
    assert "map.tif exists already, with other settings: " in capsys.readouterr().err
    assert out.read_bytes() == before
    # The command that had it goes on.
    assert main([*command, *interrupted]) == 0
    assert out.read_bytes() != before
    assert not list(tmp_path.glob(".*"))


def test_a_map_that_an_interrupted_run_would_replace_is_still_finished(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, maps = write_rasters(tmp_path, "ab"), tmp_path / "maps"
    command = arguments(small_export, images, maps, *OWN_ENGINE)
    assert main(command) == 0
    before = (maps / "a" / "map.tif").read_bytes()
    other = [*command, "--majority", "3", "--overwrite"]
    run_killed("serving.predict", other, entering="serving.outputs.publish")
    assert main(command) == 0
    assert capsys.readouterr().out.count(FINISHED) == 2
    # As it begins to move its files, of which the settings come first.
    staged, record = maps / "a" / ".map.tif.work" / "files", maps / "a" / "predict.json"
    (staged / "predict.json").replace(record)
    assert main(command) == 2
    assert "majority (was 3, now 0)" in capsys.readouterr().err
    assert main(other[:-1]) == 0
    assert FINISHED not in capsys.readouterr().out
    assert (maps / "a" / "map.tif").read_bytes() != before
    assert not list(maps.rglob(".*"))


def test_an_interrupted_mosaic_is_replaced_by_its_own_command_only(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = [tmp_path / f"{name}.tif" for name in "abc"], tmp_path / "m.tif"
    for place, image in enumerate(images):
        write_raster(image, 40, 40, seed=place, origin=(600_000.0 + 200 * place, 4_200_000.0))
    flags = (*OWN_ENGINE, "--mosaic")
    assert main(arguments(small_export, images[:2], out, *flags)) == 0
    before = out.read_bytes()
    three = arguments(small_export, images, out, *flags)
    # The map of c, then the mosaic.
    run_killed("serving.predict", three, entering="serving.outputs.publish", call=2)
    assert main(arguments(small_export, images[1:], out, *flags)) == 2
    assert "m.tif exists already, with other settings: input_image" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main(arguments(small_export, images[:2], out, *flags)) == 0
    assert capsys.readouterr().out.count(FINISHED) == 3
    assert main(three) == 0
    assert out.read_bytes() != before
    assert not list(tmp_path.glob(".*"))


def test_an_overwriting_batch_does_not_go_on_from_one_that_was_not(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, maps = write_rasters(tmp_path, "abc"), tmp_path / "maps"
    rasterio.shutil.copy(images[0], images[2], driver="GTiff", compress="deflate")
    with rasterio.open(images[2]) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    whole = images[2].read_bytes()
    images[2].write_bytes(whole[:offset] + bytes(100) + whole[offset + 100 :])
    command = arguments(small_export, images, maps, *OWN_ENGINE)
    assert main(command) == 2
    assert (maps / "c" / ".map.tif.work").exists()
    images[2].write_bytes(whole)
    capsys.readouterr()
    assert main([*command, "--overwrite"]) == 0
    assert FINISHED not in capsys.readouterr().out


def test_an_overwriting_batch_that_was_killed_twice_goes_on_with_less_memory(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, maps = write_rasters(tmp_path, "abc"), tmp_path / "maps"
    flags = (*OWN_ENGINE, *BLEND, "--overwrite")
    command = arguments(small_export, images, maps, *flags)
    assert main(command) == 0
    run_killed("serving.predict", command, entering="serving.outputs.publish", call=2)
    # The same inputs, spelled in another way.
    spelled = [tmp_path / ".." / tmp_path.name / image.name for image in images]
    less = arguments(small_export, spelled, maps, *flags, "--memory-gb", "3")
    run_killed("serving.predict", less, entering="serving.outputs.publish")
    capsys.readouterr()
    assert main(less) == 0
    said = capsys.readouterr().out
    assert said.count(FINISHED) == 1 and "a/map.tif (finished" in said
    # It is done, so all are to be overwritten.
    assert main(less) == 0
    assert FINISHED not in capsys.readouterr().out


def test_an_overwriting_mosaic_that_was_killed_while_it_was_merged_goes_on(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = tmp_path / "Athens, north.tif", tmp_path / "m.tif"
    write_raster(image, 40, 40)
    command = arguments(small_export, [image], out, *OWN_ENGINE, "--mosaic", "--overwrite")
    run_killed("serving.predict", command, entering="serving.outputs.publish", call=2)
    assert main(command) == 0
    assert capsys.readouterr().out.count(FINISHED) == 1
    assert main(command) == 0
    assert FINISHED not in capsys.readouterr().out
    # A name with a comma is one name.
    assert main(command[:-1]) == 0
    assert capsys.readouterr().out.count(FINISHED) == 2
    with rasterio.open(out) as dataset:
        assert dataset.tags()["source"] == '["Athens, north"]'


def test_a_mosaic_tells_the_inputs_that_it_would_lose(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for name in "ab":
        write_raster(scenes / f"{name}.tif", 40, 40)
    command = arguments(small_export, [scenes], tmp_path / "m.tif", *PLAIN, "--mosaic")
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.count(FINISHED) == 3
    (scenes / "b.tif").unlink()
    assert main(command) == 2
    assert "m.tif exists already, merged of b too; pass" in capsys.readouterr().err


def test_a_record_does_not_carry_on_how_its_run_went(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "ab")
    log = ("--request-log", str(tmp_path / "log.jsonl"))
    unlike = ("--overwrite", "--verify", "--verify-regions", "1", "--seed", "1", "--jobs", "2")
    assert main(arguments(small_export, images, tmp_path / "maps", *OWN_ENGINE, *log, *unlike)) == 0
    record = tmp_path / "maps" / "a" / "predict.json"
    found = read_json(record)
    assert not (found["overwrite"] or found["verify"] or found["seed"])
    assert (found["jobs"], found["verify_regions"], found["request_log"]) == (1, 4, None)
    assert main(["--config", str(record)]) == 2
    assert "a/map.tif exists already; choose another" in capsys.readouterr().err
    others = ["--input-image", *map(str, images), "--output-map", str(tmp_path / "more")]
    assert main(["--config", str(record), *others]) == 0
    assert FINISHED not in capsys.readouterr().out
    assert main(["--config", str(record), *others, "--verify", *log]) == 0
    said = capsys.readouterr()
    assert said.out.count(FINISHED) == 2
    for flag in ("--verify", "--request-log"):
        assert f"{flag} had no effect on 2 of the maps, which an earlier run finished" in said.err


def test_a_batch_that_goes_on_tells_only_of_maps_that_the_log_lacks(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, log = write_rasters(tmp_path, "ab"), tmp_path / "log.jsonl"
    command = arguments(
        small_export, images, tmp_path / "maps", *OWN_ENGINE, "--request-log", str(log)
    )
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out.count(FINISHED) == 2
    assert "had no effect" not in said.err
    log.write_text(log.read_text().splitlines()[0] + "\n")
    assert main(command) == 0
    assert "--request-log had no effect on 1 of the maps" in capsys.readouterr().err


def test_a_batch_goes_on_with_less_memory_where_that_changes_no_map(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "ab", 100, 100)
    for mode, stays in (
        (BLEND, True),
        (("--mode", "exact"), True),
        (("--mode", "exact", "--margin", "8"), False),
    ):
        command = arguments(small_export, images, tmp_path / "".join(mode), *OWN_ENGINE, *mode)
        assert main(command) == 0
        capsys.readouterr()
        assert main([*command, "--memory-gb", "3"]) == (0 if stays else 2)
        said = capsys.readouterr()
        assert said.out.count(FINISHED) == (2 if stays else 0)
        assert stays or "memory_gb (was 4.0, now 3.0)" in said.err
