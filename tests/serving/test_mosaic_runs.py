"""Mosaics made again, of other inputs, after a kill, and refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio
from fakes.killed_program import run_killed
from local_export import PLAIN, SmallExport, arguments, write_raster, write_rasters

from serving.predict import main


def test_an_existing_mosaic_is_refused_before_any_work(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "ab")
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


def test_another_mosaic_of_the_same_maps_needs_no_network(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = overlapping(tmp_path), tmp_path / "m.tif"
    flags = (*PLAIN, "--mosaic")
    assert main(arguments(small_export, images, out, *flags)) == 0
    maps = [tmp_path / "m_scenes" / image.stem / "map.tif" for image in images]
    before = [path.stat().st_mtime_ns for path in maps]
    command = arguments(small_export, images[1:], out, *flags, "--min-object-size", "5", "--vector")
    assert main(command) == 2
    assert "pass --overwrite, which keeps the finished maps of" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert capsys.readouterr().out.count("map.tif (finished by an earlier run)") == 2
    assert [path.stat().st_mtime_ns for path in maps] == before
    with rasterio.open(out) as dataset:
        assert json.loads(dataset.tags()["source"]) == ["b", "c"]
        assert "5" in dataset.tags()["post_processing"]
    assert (tmp_path / "m.gpkg").exists()
    # A setting of the network is another matter.
    assert main([*command, "--overwrite", "--majority", "3"]) == 0
    assert "finished by" not in capsys.readouterr().out
    assert all(
        path.stat().st_mtime_ns > old for path, old in zip(maps[1:], before[1:], strict=True)
    )


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


def test_a_mosaic_that_cannot_be_written_is_told(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_rasters(tmp_path, "ab")
    out = tmp_path / "both.tif"
    (tmp_path / ".both.tif.work").write_text("in the way")
    assert main(arguments(small_export, images, out, *PLAIN, "--mosaic")) == 2
    assert "error: cannot write" in capsys.readouterr().err
    assert not out.exists()


def test_a_mosaic_that_the_disk_cannot_hold_is_refused_before_any_work(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    free_space: Callable[[float], None],
) -> None:
    images, out = [tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "m.tif"
    write_raster(images[0], 40, 40)
    # 100 columns east and 50 rows south: they span 90 x 140 px, of class and confidence,
    # the raster of each, and the copy that one is made from.
    write_raster(images[1], 40, 40, origin=(601_000.0, 4_199_500.0))
    command = arguments(small_export, images, out, *PLAIN, "--mosaic")
    free_space(5 * 90 * 140 - 1)
    assert main(command) == 2
    assert "0.0 GB free, the work until the mosaic is written needs" in capsys.readouterr().err
    assert not (tmp_path / "m_scenes").exists()
    # What a killed run left of it makes room.
    work = tmp_path / ".m.tif.work"
    (work / "files").mkdir(parents=True)
    (work / "files" / "m_confidence.tif").write_bytes(bytes(1))
    assert main(command) == 0


def test_a_plan_tells_what_the_mosaic_takes(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = [tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "m.tif"
    write_raster(images[0], 40, 40)
    # 2,000 columns east and 1,000 rows south: 1040 x 2040 px, of 5 bytes 10.1 MiB.
    write_raster(images[1], 40, 40, origin=(620_000.0, 4_190_000.0))
    command = arguments(small_export, images, out, *PLAIN, "--mosaic", "--plan")
    assert main(command) == 0
    said = capsys.readouterr().out
    mosaic = said[said.index("mosaic of 2 maps -> ") :]
    assert "  1040 x 2040 px" in mosaic and "  10 MiB until the map is written" in mosaic
    write_raster(images[1], 40, 40, crs="EPSG:32635")
    assert main(command) == 2
    assert "a mosaic needs one CRS" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == images
