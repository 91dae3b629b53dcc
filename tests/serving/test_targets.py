"""What a prediction may replace."""

import json
from pathlib import Path

import pytest
import rasterio.shutil
from local_export import SmallExport, predict_options, write_raster

from serving.predict import main
from serving.targets import targets

ALL = ("--probabilities", "--entropy", "--vector")


def arguments(export: SmallExport, image: Path, out: Path, *flags: str) -> list[str]:
    paths = ["--input-image", str(image), "--output-map", str(out)]
    return ["--model-path", str(export.folder), *paths, *flags]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """The files of a prepared scene that prediction reads."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    write_raster(folder / "image.tif", 20, 20)
    (folder / "scene.json").write_text(json.dumps({"schema_version": 1, "product": "mine"}))
    return folder


def test_what_is_checked_is_what_is_written(small_export: SmallExport, tmp_path: Path) -> None:
    write_raster(tmp_path / "image.tif", 20, 20)
    out = tmp_path / "out" / "lake.tif"
    assert main(arguments(small_export, tmp_path / "image.tif", out, *ALL)) == 0
    wanted = predict_options(probabilities=True, entropy=True, vector=True).outputs
    # The small model does not know the statistics of its training data.
    expected = set(targets(out, wanted)) - {out.with_name("lake_applicability.json")}
    assert set(out.parent.iterdir()) == expected


def test_a_map_leaves_nothing_of_the_one_that_it_replaces(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "image.tif", 20, 20)
    out = tmp_path / "out" / "lake.tif"
    assert main(arguments(small_export, tmp_path / "image.tif", out, *ALL)) == 0
    former = {path.name for path in out.parent.iterdir()}
    (out.parent / "lake_applicability.json").write_text("{}")  # Of a model with statistics.
    (out.parent / "lake_survey.gpkg").touch()
    plain = ("--no-picture", "--no-stac", "--no-confidence")
    assert main(arguments(small_export, tmp_path / "image.tif", out, *plain, "--overwrite")) == 0
    gone = {"lake.png", "lake.json", "lake.gpkg", "lake_confidence.tif", "lake_entropy.tif"}
    left = {path.name for path in out.parent.iterdir()}
    assert left == former - gone - {"lake_probabilities.tif"} | {"lake_survey.gpkg"}

    # Of this map no record says that it brought polygons, so these are someone's own.
    (out.parent / "lake.gpkg").touch()
    assert main(arguments(small_export, tmp_path / "image.tif", out, *plain, "--overwrite")) == 0
    assert (out.parent / "lake.gpkg").exists()


@pytest.mark.parametrize("name", ["scene.tif", "image.tif"])
@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_a_prepared_scene_keeps_its_files(
    small_export: SmallExport,
    prepared: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    flags: tuple[str, ...],
) -> None:
    before = {path: path.read_bytes() for path in prepared.iterdir()}
    # The STAC item of scene.tif would be scene.json.
    assert main(arguments(small_export, prepared, prepared / name, *flags)) == 2
    assert "would replace a file of the input" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in prepared.iterdir()} == before


def test_a_picture_never_replaces_what_the_map_is_made_of(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "x.png", 20, 20)  # Whatever its name, GDAL reads it.
    rasterio.shutil.copy(tmp_path / "x.png", tmp_path / "view.vrt", driver="VRT")
    content = (tmp_path / "x.png").read_bytes()
    for image in ("x.png", "view.vrt"):
        command = arguments(small_export, tmp_path / image, tmp_path / "x.tif", "--overwrite")
        assert main(command) == 2
        assert "x.png would replace a file of the input" in capsys.readouterr().err
    assert (tmp_path / "x.png").read_bytes() == content
    assert main([*command, "--no-picture"]) == 0


def test_files_beside_the_map_are_replaced_on_request_only(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "image.tif", 20, 20)
    out = tmp_path / "out" / "lake.tif"
    out.parent.mkdir()
    (out.parent / "lake.json").write_text("mine")
    command = arguments(small_export, tmp_path / "image.tif", out)
    assert main(command) == 2
    assert "lake.json exists already" in capsys.readouterr().err
    assert [path.name for path in out.parent.iterdir()] == ["lake.json"]
    assert main([*command, "--overwrite"]) == 0
    assert "stac_version" in (out.parent / "lake.json").read_text()


def test_the_files_of_a_mosaic_are_checked_before_any_work(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_raster(tmp_path / f"{name}.tif", 20, 20)
    images = ["--input-image", str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]
    model = ["--model-path", str(small_export.folder), *images, "--mosaic"]
    (tmp_path / "both_areas.csv").write_text("mine")
    assert main([*model, "--output-map", str(tmp_path / "both.tif")]) == 2
    assert "both_areas.csv exists already" in capsys.readouterr().err
    assert main([*model, "--output-map", str(tmp_path / "a.tif"), "--overwrite"]) == 2
    assert "a.tif would replace a file of the input" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "b.tif", "both_areas.csv"]

    (tmp_path / "both_areas.csv").unlink()
    assert main([*model, "--output-map", str(tmp_path / "both.tif")]) == 0
    capsys.readouterr()
    assert main([*model, "--output-map", str(tmp_path / "both.tif"), "--majority", "3"]) == 2
    changed = "both.tif exists already, with other settings: majority (was 0, now 3); pass"
    assert changed in capsys.readouterr().err
