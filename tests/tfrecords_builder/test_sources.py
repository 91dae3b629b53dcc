import shutil

import numpy as np
import pytest
from builder_inputs import write_raster

from landcover_tf.errors import DatasetError
from tfrecords_builder.sources import find_sources


@pytest.fixture
def rasters(tmp_path):
    for name in ("a", "b"):
        write_raster(tmp_path / "images" / f"{name}.tif", np.ones((2, 8, 8), np.uint8))
        write_raster(tmp_path / "labels" / f"{name}.tif", np.full((8, 8), 10, np.uint8))
    return tmp_path


def listed(folder, text):
    (folder / "pairs.csv").write_text(text)
    return find_sources(folder)


def test_folders_are_paired_by_name(rasters):
    sources = find_sources(rasters)
    assert [(s.id, s.image.name, s.label.parent.name) for s in sources] == [
        ("a", "a.tif", "labels"),
        ("b", "b.tif", "labels"),
    ]


def test_an_image_without_label_is_named(rasters):
    (rasters / "labels" / "b.tif").unlink()
    with pytest.raises(DatasetError, match=r"1 images in .*images have no label raster.*: b$"):
        find_sources(rasters)


def test_two_rasters_of_one_name_are_refused(rasters):
    shutil.copy(rasters / "images" / "a.tif", rasters / "images" / "a.tiff")
    with pytest.raises(DatasetError, match=r"a\.tif and .*a\.tiff have one name; which of them"):
        find_sources(rasters)


def test_a_list_in_another_encoding_is_refused(rasters):
    (rasters / "pairs.csv").write_bytes("image,label\nimages/ä.tif,labels/a.tif\n".encode("latin1"))
    with pytest.raises(DatasetError, match=r"pairs\.csv is no CSV in UTF-8: .*0xe4"):
        find_sources(rasters)


def test_a_line_that_lacks_something_is_named(rasters):
    lines = ["image,label", "images/a.tif,labels/a.tif", "", ",", "images/b.tif,"]
    with pytest.raises(DatasetError, match=r"pairs\.csv, line 5, lacks an image or a label"):
        listed(rasters, "\n".join(lines))


def test_a_list_gives_group_split_and_product(rasters):
    sources = listed(
        rasters,
        "image,label,group,split,product\n"
        "images/a.tif,labels/a.tif,g1,train,P1\n"
        "images/b.tif,labels/b.tif,,val,\n",
    )
    assert [(s.id, s.group, s.split, s.product.id) for s in sources] == [
        ("images/a", "g1", "train", "P1"),
        ("images/b", None, "val", "images/b"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Image;Label; Group\r\nimages/a.tif;labels/a.tif;g1\r\n",
        "image, label, group\nimages/a.tif, labels/a.tif, g1\n\n",
        "IMAGE,label,group\nimages\\a.tif,labels\\a.tif,g1\n",
    ],
    ids=["semicolons", "spaces", "back-slashes"],
)
def test_a_list_may_be_written_as_spreadsheets_and_windows_do(rasters, text):
    (source,) = listed(rasters, text)
    assert (source.id, source.group) == ("images/a", "g1")
    assert (source.image, source.label) == (rasters / "images/a.tif", rasters / "labels/a.tif")


def test_absolute_paths_are_named_by_file(rasters):
    (source,) = listed(rasters, f"image,label\n{rasters}/images/a.tif,{rasters}/labels/a.tif\n")
    assert source.id == "a"


def test_absolute_paths_of_one_file_name_are_named_below_their_common_folder(rasters):
    for date in ("t0", "t1/north"):
        for folder in ("images", "labels"):
            (rasters / folder / date).mkdir(parents=True)
            shutil.copy(rasters / folder / "a.tif", rasters / folder / date / "img.tif")
    lines = [
        f"{rasters}/images/{date}/img.tif,labels/{date}/img.tif" for date in ("t0", "t1/north")
    ]
    found = listed(rasters, "\n".join(["image,label", *lines, "images/a.tif,labels/a.tif"]))
    assert [source.id for source in found] == ["images/a", "t0/img", "t1/north/img"]
    assert found[2].product.id == "t1/north/img"
    with pytest.raises(DatasetError, match="names img more than once"):
        listed(rasters, "\n".join(["image,label", lines[0], lines[0]]))


def test_labels_without_an_image_are_told(rasters, capsys):
    assert [source.id for source in find_sources(rasters)] == ["a", "b"]
    assert capsys.readouterr().err == ""
    (rasters / "images" / "a.tif").unlink()
    assert [source.id for source in find_sources(rasters)] == ["b"]
    assert "note: 1 label rasters in " in (told := capsys.readouterr().err)
    assert told.endswith(f"{rasters}/images and are left out: a\n")


def test_files_that_are_no_rasters_are_told_with_the_suffixes_that_count(rasters):
    for path in (rasters / "images").iterdir():
        np.save(path.with_suffix(".npy"), np.zeros((2, 2)))
        path.unlink()
    message = r"images holds no image: expected .* \.tif, .*, found 2 of \.npy; write arrays as Ge"
    with pytest.raises(DatasetError, match=message):
        find_sources(rasters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mask\n", "has the columns image, mask; expected image, label"),
        ("image,label,colour\n", "colour; expected image, label"),
        ("image,label\nimages/a.tif,\n", "line 2, lacks an image or a label"),
        ("image,label\nimages/a.tif,labels/x.tif\n", r"1 input files are missing: .*x\.tif"),
        (
            "image,label\nimages/a.tif,labels/a.tif\nimages/a.tif,labels/b.tif\n",
            "names images/a more than once",
        ),
        ("image,label\n", "names no image"),
    ],
)
def test_a_bad_list_says_what_is_wrong(rasters, text, message):
    with pytest.raises(DatasetError, match=message):
        listed(rasters, text)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match=r"expected prepared scenes .* or a pairs\.csv"):
        find_sources(tmp_path)
    with pytest.raises(DatasetError, match="is not a folder"):
        find_sources(tmp_path / "missing")


def test_prepared_scenes_carry_their_provenance(prepared_scenes, tmp_path):
    sources = find_sources(prepared_scenes)
    assert len(sources) == 3
    assert all(s.trusted_validity and s.product.tile and s.product.baseline for s in sources)
    scene = tmp_path / "scene"
    shutil.copytree(sources[0].image.parent, scene)
    (scene / "labels.tif").unlink()
    with pytest.raises(DatasetError, match=r"has no labels\.tif; run `landcover prepare`"):
        find_sources(scene)
