"""Inputs that are damaged, changed or gone, beside which the others get their maps."""

import json
from contextlib import closing
from pathlib import Path

import pytest
import rasterio
import rasterio.shutil
from fakes.tiny_safe import write_safe, zip_safe
from local_export import (
    BLEND,
    OWN_ENGINE,
    PLAIN,
    RAW,
    SmallExport,
    arguments,
    model_info,
    predict_options,
    write_raster,
)

from landcover_tf.configs import cli
from landcover_tf.errors import ProductError
from landcover_tf.sentinel2.simulation import simulate_product
from landcover_tf.system.executors import InProcessExecutor
from serving.config import PredictConfig
from serving.engines import Engine
from serving.inputs import find_inputs, open_source
from serving.map_writing import finish
from serving.options import network_options, options_of
from serving.predict import main
from serving.scene_jobs import compute_elsewhere
from serving.scene_prediction import ScenePrediction


def write_compressed(path: Path, height: int, width: int, *, seed: int) -> None:
    """Writes a raster whose damage shows when it is read."""
    plain = path.with_name(f"plain_{path.name}")
    write_raster(plain, height, width, seed=seed)
    rasterio.shutil.copy(plain, path, driver="GTiff", compress="deflate")
    plain.unlink()


def damage(path: Path, *, overview: int | None = None) -> None:
    """Destroys the first rows of a compressed raster; its header stays as it is."""
    with rasterio.open(path) as dataset:
        found = dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=overview)
    offset = int(found)
    content = path.read_bytes()
    path.write_bytes(content[:offset] + bytes(100) + content[offset + 100 :])


def begun(command: list[str], image: Path, map_path: Path) -> ScenePrediction:
    """Returns the prediction of an input at which a batch was interrupted: a band is there."""
    config = cli.parse(PredictConfig, command, prog="predict")
    engine = Engine(config.model_path, network_options(config))
    scene = ScenePrediction(image, map_path, engine, options_of(config, engine.info))
    scene.prepare({})
    scene.compute([0])
    scene.source.close()
    return scene


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_an_unfinished_input_that_is_damaged_does_not_keep_the_others_from_their_maps(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
) -> None:
    images = [tmp_path / f"{name}.tif" for name in "abc"]
    for seed, image in enumerate(images):
        write_compressed(image, 80, 60, seed=seed)
    whole, maps = images[1].read_bytes(), tmp_path / "maps"
    command = arguments(small_export, images, maps, *PLAIN, "--engine", "tensorflow", *flags)
    scene = begun(command, images[1], maps / "b" / "map.tif")
    damage(images[1])
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "failed: " in error and "b.tif cannot be read at rows" in error
    assert "1 of 3 inputs failed" in error
    assert sorted(path.parent.name for path in maps.glob("*/map.tif")) == ["a", "c"]
    images[1].write_bytes(whole)
    assert scene.store.finished(0)
    assert main(command) == 0
    assert (maps / "b" / "map.tif").exists()


def test_an_input_that_cannot_be_drawn_is_told_as_unreadable(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [tmp_path / f"{name}.tif" for name in "ab"]
    for seed, image in enumerate(images):
        write_compressed(image, 2000, 20, seed=seed)
    with rasterio.open(images[0], "r+") as dataset:
        dataset.build_overviews([2])
    damage(images[0], overview=0)  # Which pictures are drawn from, and nothing else.
    maps = tmp_path / "maps"
    assert main(arguments(small_export, images, maps, "--engine", "tensorflow", "--no-stac")) == 2
    error = capsys.readouterr().err
    assert "failed: " in error and "a.tif cannot be read for the picture" in error
    assert "1 of 2 inputs failed" in error and "cannot write" not in error
    assert [path.parent.name for path in maps.glob("*/map.tif")] == ["b"]


def test_bands_of_a_product_that_cannot_be_drawn_are_named(tmp_path: Path) -> None:
    path = write_safe(tmp_path, size_px=120)
    source = open_source(path, model_info(), predict_options().source)
    next(path.rglob("*_B03.jp2")).unlink()
    with pytest.raises(ProductError, match=r"cannot read band B03 .*_B03\.jp2"):
        source.preview((60, 60))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_product_whose_bytes_are_not_those_of_its_manifest_gets_no_map(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str], zipped: bool
) -> None:
    path = simulate_product(tmp_path, size_px=300, seed=3).path
    file = next(path.rglob("IMG_DATA/*_B03.jp2"))
    content = file.read_bytes()
    middle = len(content) // 2
    file.write_bytes(content[:middle] + bytes(100) + content[middle + 100 :])
    if zipped:
        path = zip_safe(path, tmp_path / f"{path.name}.zip")
    out = tmp_path / "out" / "map.tif"
    command = arguments(small_export, [path], out, *RAW)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert f"{file.name} in {path} has SHA3-256 " in error and "(--no-checksums leaves" in error
    assert not out.exists()
    # OpenJPEG decodes it without a word.
    assert main([*command, "--no-checksums"]) == 0
    assert main(command) == 2  # It does not count as another setting of the map that is there.
    assert "exists already; choose another --output-map" in capsys.readouterr().err
    # The command that a refusal gives to make a map again needs nothing more.
    assert main(["--config", str(out.with_name("predict.json")), "--overwrite"]) == 0


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_product_without_manifest_is_mapped_with_a_warning(
    small_export: SmallExport, tmp_path: Path, capfd: pytest.CaptureFixture[str], jobs: str
) -> None:
    path = write_safe(tmp_path, size_px=120)
    flags = (*OWN_ENGINE, *BLEND, "--jobs", jobs)
    assert main(arguments(small_export, [path], tmp_path / "map.tif", *flags)) == 0
    warning = f"warning: {path} has no manifest.safe to compare with\n"
    assert capfd.readouterr().err.count(warning) == 1  # Of whatever process.


def test_several_workers_compute_nothing_of_a_damaged_product(
    small_export: SmallExport, tmp_path: Path
) -> None:
    path = simulate_product(tmp_path, size_px=300, seed=3).path
    file = next(path.rglob("IMG_DATA/*_B03.jp2"))
    file.write_bytes(file.read_bytes() + bytes(1))
    options = predict_options(engine="tensorflow", mode="blend", patch_size=64, patch_overlap=32)
    engine = Engine(small_export.folder, options.network)
    scene = ScenePrediction(path, tmp_path / "map.tif", engine, options)
    scene.prepare({})
    with closing(compute_elsewhere(InProcessExecutor(), [scene], 4)) as computed:
        ((_, error),) = computed
    assert isinstance(error, ProductError) and file.name in str(error)
    assert len(scene.unfinished_rows()) == len(scene.layout.rows) > 4


def test_an_input_that_is_deleted_when_it_was_read_has_a_line_in_the_log(
    small_export: SmallExport, tmp_path: Path
) -> None:
    image, log = tmp_path / "a.tif", tmp_path / "requests.jsonl"
    write_raster(image, 40, 40)
    command = arguments(small_export, [image], tmp_path / "m.tif", *RAW, "--request-log", str(log))
    scene = begun(command, image, tmp_path / "m.tif")
    image.unlink()
    finish(scene)
    assert (tmp_path / "m.tif").exists()
    (line,) = log.read_text().splitlines()
    assert json.loads(line)["source"].startswith("a.tif of 20")


def test_what_is_gone_or_damaged_does_not_keep_the_others_of_a_list_from_their_maps(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when the products of finished maps are deleted, and the list is not."""
    write_raster(tmp_path / "a.tif", 40, 40)
    names = ["a.tif", "gone.SAFE", "long" * 80, "empty", "array", "emptied", "latin.txt"]
    for name, content in (("empty", ""), ("array", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scene.json").write_text(content)
    (tmp_path / "emptied").mkdir()
    (tmp_path / "latin.txt").write_bytes("bäume.tif\n".encode("latin-1"))
    (tmp_path / "list.txt").write_text("\n".join(names))
    command = arguments(small_export, [tmp_path / "list.txt"], tmp_path / "maps", *RAW)
    assert main([*command, "--plan"]) == 2
    assert "6 of 7 inputs failed" in capsys.readouterr().err
    for _ in range(2):
        assert main(command) == 2
        said = capsys.readouterr()
        assert "6 of 7 inputs failed" in said.err
    assert "a/map.tif (finished by an earlier run)" in said.out
    for reason in (
        "there is no", "name too long", "is not valid JSON", "holds no JSON object",
        "emptied is not a Sentinel-2", "latin.txt is not a readable list",
    ):  # fmt: skip
        assert reason in said.err
    # Given itself, it is a mistake of this command.
    for name in (*names[1:3], *names[5:]):
        images = [tmp_path / "a.tif", tmp_path / name]
        assert main(arguments(small_export, images, tmp_path / "maps", *RAW)) == 2
        error = capsys.readouterr().err
        assert "inputs failed" not in error and error.count("\n") == 1


def test_what_may_not_be_read_is_told(as_nobody: Path) -> None:
    locked, scene = as_nobody / "locked", as_nobody / "scene"
    locked.mkdir()
    scene.mkdir(mode=0)
    (as_nobody / "list.txt").write_text("locked/a.SAFE\nscene\n")
    locked.chmod(0)
    assert find_inputs([as_nobody / "list.txt"]) == [locked / "a.SAFE", scene]
    for path, named in ((locked / "a.SAFE", locked), (scene, scene)):
        with pytest.raises(ProductError, match=f"{named} may not be read"):
            find_inputs([path])
        with pytest.raises(ProductError, match=f"{named} may not be read"):
            open_source(path, model_info(), predict_options().source)
    for folder in (locked, scene):
        folder.chmod(0o755)
