"""What the paths of a command line stand for."""

import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
from fakes.tiny_safe import band_file, write_safe, zip_safe
from local_export import RAW, SmallExport, arguments, predict_options, write_raster

from landcover_tf.assess import __main__ as assess
from landcover_tf.errors import ConfigError, RasterError
from landcover_tf.sentinel2.container import UnreadableError
from serving.engines import Engine
from serving.inputs import find_inputs, is_single, map_paths
from serving.map_writing import finish
from serving.predict import main
from serving.scene_prediction import ScenePrediction


def test_several_inputs_need_a_folder(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.tif", "b.tif"):
        write_raster(tmp_path / name, 20, 20)
    # As Notepad saves it.
    (tmp_path / "list.txt").write_bytes("# a comment\r\na.tif\r\nb.tif\r\n".encode("utf-8-sig"))
    inputs = [tmp_path / "list.txt"]
    assert main(arguments(small_export, inputs, tmp_path / "m.tif", *RAW)) == 2
    assert "must be a folder" in capsys.readouterr().err
    out = tmp_path / "maps.2025"  # A folder, whatever its name.
    out.mkdir()
    assert main(arguments(small_export, inputs, out, *RAW)) == 0
    assert sorted(p.parent.name for p in out.glob("*/map.tif")) == ["a", "b"]
    assert "next: " not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["list", "folder"])
def test_the_first_input_of_a_list_or_folder_keeps_its_map_when_a_second_joins(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    given, out = tmp_path / "in", tmp_path / "maps"
    given.mkdir()
    write_raster(given / "a.tif", 20, 20)
    if kind == "list":
        given = given / "list.txt"
        given.write_text("a.tif\n")
    command = arguments(small_export, [given], out, *RAW)
    assert main(command) == 0
    made = out / "a" / "map.tif"
    assert f"--map {made} --output-dir" in capsys.readouterr().out
    assert main(command) == 0
    assert f"map: {made} (finished by an earlier run)" in capsys.readouterr().out
    write_raster(tmp_path / "in" / "b.tif", 20, 20)
    if kind == "list":
        given.write_text("a.tif\nb.tif\n")
    assert main(command) == 0
    assert f"map: {made} (finished by an earlier run)" in capsys.readouterr().out
    assert sorted(out.rglob("map.tif")) == [made, out / "b" / "map.tif"]


def test_a_map_that_was_made_of_an_input_alone_is_told_when_its_folder_is_given(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = tmp_path / "in", tmp_path / "maps"
    given.mkdir()
    write_raster(given / "a.tif", 20, 20)
    options = predict_options(engine="tensorflow")
    engine = Engine(small_export.folder, options.network)
    begun = ScenePrediction(given / "a.tif", out / "map.tif", engine, options)
    begun.prepare({"input_image": [str(given / "a.tif")]})
    command = arguments(small_export, [given], out, *RAW)
    assert main(command) == 0
    told, made = capsys.readouterr().err, out / "a" / "map.tif"
    assert f"{begun.work} holds an unfinished map of {given / 'a.tif'}" in told
    assert f"this one makes {made}" in told
    begun.compute(begun.unfinished_rows())
    finish(begun)
    begun.source.close()
    assert main(command) == 0
    assert "note: " not in capsys.readouterr().err  # Nothing is computed.
    assert main([*command, "--overwrite"]) == 0
    told = capsys.readouterr().err
    assert f"{out / 'map.tif'} is a map of {given / 'a.tif'} too" in told
    assert "unfinished" not in told


def test_one_input_alone_needs_no_folder_of_its_own(tmp_path: Path) -> None:
    product = write_safe(tmp_path / "double.SAFE")
    for given, out, path in (
        ([product], "maps", "maps/map.tif"),
        ([product.parent], "maps", "maps/map.tif"),  # As programs unpack an archive.
        ([tmp_path], "m.tif", "m.tif"),
    ):
        inputs, target = find_inputs(given), tmp_path / out
        assert inputs == [product]
        assert is_single(given, inputs, target)
        assert map_paths(inputs, target, mosaic=False, single=True) == [tmp_path / path]


def test_the_next_step_is_about_the_map(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "a.tif"
    write_raster(image, 20, 20)
    for out, flags, made in (
        ("folder", (), "folder/map.tif"),
        ("m.tif", (), "m.tif"),
        ("all.tif", ("--mosaic",), "all.tif"),
    ):
        assert main(arguments(small_export, [image], tmp_path / out, *RAW, *flags)) == 0
        said = capsys.readouterr().out
        assert said.endswith(
            f"next: landcover assess design --map {tmp_path / made} --output-dir sample\n"
        )


def test_the_next_step_leaves_out_the_uncertain_pixels_of_the_map(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_raster(Path("a.tif"), 60, 60)
    flags = (*RAW, "--uncertain-below", "0.6")
    assert main(arguments(small_export, [Path("a.tif")], Path("m.tif"), *flags)) == 0
    next_step = capsys.readouterr().out.splitlines()[-1]
    assert next_step.endswith(" --map m.tif --output-dir sample --exclude-codes 255")
    words = shlex.split(next_step.removeprefix("next: landcover assess "))
    assert assess.main([*words, "--samples", "50", "--min-per-class", "2"]) == 0
    assert Path("sample/points.gpkg").is_file()


def test_the_next_step_asks_for_the_file_of_an_own_legend(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = SmallExport(folder=tmp_path / "export", info=small_export.info)
    shutil.copytree(small_export.folder, own.folder)
    (document,) = own.folder.rglob("model.json")
    document.write_text(document.read_text().replace('"landcover9"', '"own"'))
    image = tmp_path / "a.tif"
    write_raster(image, 20, 20)
    assert main(arguments(own, [image], tmp_path / "m.tif", *RAW)) == 0
    assert capsys.readouterr().out.endswith("--output-dir sample --legend LEGEND.toml\n")


def test_products_in_a_folder_are_those_that_prepare_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    deep = write_safe(folder / "2025" / "09", tile="34SEJ")
    old = write_safe(folder, baseline="05.10", discriminator="20250925T100000")
    new = write_safe(folder)
    zip_safe(new, folder / f"{new.name}.zip")
    scene = folder / "scene.v2"
    scene.mkdir()
    (scene / "scene.json").write_text("{}")
    write_raster(folder / "a.tif", 20, 20)
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", "x")
    found = find_inputs([folder])
    assert found == sorted([deep, new, scene, folder / "a.tif"])
    said = capsys.readouterr().err
    assert f"note: {old} is left out: {new} is the same sight, baseline 05.11 against" in said
    assert f"note: {new}.zip is left out: {new} is" in said
    assert "photos.zip is not a Sentinel-2" in said
    assert said.count("\n") == 3
    names = [
        path.parent.name for path in map_paths(found, tmp_path / "maps", mosaic=False, single=False)
    ]
    assert names == [deep.stem, new.stem, "a", "scene.v2"]
    both = [new, folder / f"{new.name}.zip"]
    with pytest.raises(ConfigError, match=re.escape(f"one map: {both[0]}, {both[1]}; leave")):
        map_paths(both, tmp_path / "maps", mosaic=False, single=False)
    doubled = write_safe(tmp_path / "double.SAFE")
    assert find_inputs([tmp_path / "double.SAFE", new]) == [doubled, new]


def test_a_whole_copy_takes_the_place_of_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut, lost = (write_safe(tmp_path, tile=tile) for tile in ("34SEH", "34SEJ"))
    archives = [zip_safe(root, tmp_path / f"{root.stem}.zip") for root in (cut, lost)]
    older = write_safe(tmp_path, tile="34SFH", baseline="05.10", discriminator="20250925T100000")
    newer = write_safe(tmp_path, tile="34SFH")
    for damaged in (cut, newer, older):
        band_file(damaged, "B02").write_bytes(b"")
    next(lost.rglob("MTD_TL.xml")).unlink()
    # Where no copy is whole, the prediction says why.
    assert find_inputs([tmp_path]) == sorted([*archives, older])
    said = capsys.readouterr().err
    assert f"B02.jp2 in {newer} is empty" in said and f"B02.jp2 in {cut} is empty" in said
    for damaged, used in zip((cut, lost), archives, strict=True):
        assert f"warning: {damaged} is unfit, so {used} is used in its place\n" in said
    assert f"{lost} has 0 GRANULE/*/MTD_TL.xml" in said
    assert said.count("\n") == 5 and said.count("warning: ") == 5


@pytest.mark.parametrize(
    ("output_map", "flags", "left_out"),
    [
        ("all.tif", ("--mosaic",), "all.tif, all_confidence.tif"),
        ("all.tiff", ("--mosaic", "--no-confidence"), "all.tiff, all_confidence.tif"),
        (".", (), None),  # Maps in folders of their own.
    ],
)
def test_a_map_in_the_folder_of_its_inputs_is_none_of_them(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    output_map: str,
    flags: tuple[str, ...],
    left_out: str | None,
) -> None:
    inputs = [tmp_path / "a.tif", tmp_path / "map.tif"]
    for path in inputs:
        write_raster(path, 20, 20)
    command = arguments(small_export, [tmp_path], tmp_path / output_map, *RAW, *flags)
    for again in (False, True):
        assert main(command) == 0
        said = capsys.readouterr()
        note = f"note: {left_out} in {tmp_path} left out: predict made them\n"
        assert (note in said.err) == (again and left_out is not None)
        assert said.out.count("finished by an earlier run") == again * (3 if flags else 2)
        assert find_inputs([tmp_path]) == inputs


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"all.txt": b"a.tif\nall.txt\n"}, "all.txt names itself"),
        ({"all.txt": b"more.txt\n", "more.txt": b"./all.txt\n"}, "all.txt names itself"),
        ({"all.txt": "bäume.tif\n".encode("latin-1")}, "is not a readable list of paths in UTF-8"),
    ],
)
def test_a_list_that_cannot_be_followed_is_named(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lists: dict[str, bytes],
    message: str,
) -> None:
    write_raster(tmp_path / "a.tif", 20, 20)
    for name, content in lists.items():
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    assert main(arguments(small_export, [tmp_path / "all.txt"], out, *RAW)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    # The same list twice is no circle.
    (tmp_path / "once.txt").write_text("a.tif\n")
    assert find_inputs([tmp_path / "once.txt"] * 2) == [tmp_path / "a.tif"]


def test_metadata_files_stand_for_their_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_safe(tmp_path, manifest=True)
    for name in ("MTD_MSIL1C.xml", "manifest.safe"):
        given = [root / name]
        assert find_inputs(given) == [root]
        assert is_single(given, [root], tmp_path / "maps")
    listed = tmp_path / "list.txt"
    listed.write_text(f"{root.name}/MTD_MSIL1C.xml\n")
    assert find_inputs([listed]) == [root]
    monkeypatch.chdir(root)
    bare = [Path("MTD_MSIL1C.xml")]
    assert find_inputs(bare) == [root]
    assert is_single(bare, [root], tmp_path / "maps")


def test_a_metadata_file_in_a_folder_that_cannot_be_listed_is_told(as_nobody: Path) -> None:
    root = write_safe(as_nobody)
    root.chmod(0o111)
    with pytest.raises(UnreadableError, match=f"{root} may not be read"):
        find_inputs([root / "MTD_MSIL1C.xml"])
    root.chmod(0o755)


def test_an_input_that_is_named_twice_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, again = tmp_path / "a.tif", tmp_path / "sub" / ".." / "a.tif"
    write_raster(image, 20, 20)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.tif").symlink_to(image)  # Of another name, and so with another map.
    (tmp_path / "sub" / "a.tif").symlink_to(image)
    (tmp_path / "list.txt").write_text("a.tif\nlost.tif\nsub/../lost.tif\n")
    found = find_inputs([image, again, tmp_path / "sub", tmp_path / "list.txt"])
    assert found == [image, tmp_path / "sub" / "b.tif", tmp_path / "lost.tif"]
    said = capsys.readouterr().err
    assert f"note: {again} is named twice and counts once\n" in said
    assert said.count("named twice") == 4


def test_a_list_of_no_lines_is_refused_alone_and_adds_nothing_to_another(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", 20, 20)
    (tmp_path / "none.txt").write_text("# nothing yet\n")
    (tmp_path / "all.txt").write_text("a.tif\nnone.txt\n")
    assert find_inputs([tmp_path / "all.txt"]) == [tmp_path / "a.tif"]
    with pytest.raises(RasterError, match=r"none\.txt names no input"):
        find_inputs([tmp_path / "none.txt"])


def test_the_lost_and_found_of_a_disk_is_passed_over(as_nobody: Path) -> None:
    write_raster(as_nobody / "a.tif", 20, 20)
    (as_nobody / "lost+found").mkdir(mode=0)
    assert find_inputs([as_nobody]) == [as_nobody / "a.tif"]
