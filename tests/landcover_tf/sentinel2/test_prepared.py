"""Prepared scenes: what is written."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from fakes.prepared_rasters import image_of, labels_of, validity_of

from landcover_tf.bands import BAND_NAMES
from landcover_tf.errors import RasterError
from landcover_tf.sentinel2.prepared import PreparedScene, find_prepared_scenes


@pytest.fixture(scope="module")
def scene(prepared_scenes):
    return find_prepared_scenes(prepared_scenes)[0]


def test_open(scene):
    assert scene.band_names == BAND_NAMES
    assert set(scene.scales) == {1e-4} and set(scene.offsets) == {-0.1}
    assert scene.nodata == 0
    assert scene.legend == "landcover9" and scene.has_labels
    assert scene.sensing_time.tzinfo == UTC and isinstance(scene.sensing_time, datetime)
    assert scene.transform.a == 10 and scene.crs.is_projected


def test_files_are_as_documented(scene):
    with rasterio.open(scene.folder / "image.tif") as image:
        assert image.dtypes == ("uint16",) * 13
        assert image.block_shapes[0] == (512, 512) or image.height < 512
        assert image.compression.value == "ZSTD" and image.profile["tiled"]
        assert image.descriptions == BAND_NAMES
        assert image.tags()["product"] == scene.name
        assert "NBITS" not in image.tags(1, ns="IMAGE_STRUCTURE")
    with rasterio.open(scene.folder / "labels.tif") as labels:
        assert labels.nodata == 0 and labels.colormap(1)[10][:3] != (0, 0, 0)
    assert (scene.folder / "quicklook.png").stat().st_size > 10000


def test_document(scene):
    document = json.loads((scene.folder / "scene.json").read_text())
    for key in ("schema_version", "baseline", "tile", "orbit", "bit_fractions", "cloud_cover",
                "labels", "checks", "settings", "software"):  # fmt: skip
        assert key in document
    assert set(document["cloud_cover"]) == {"metadata", "product"}
    shares = document["labels"]["class_fractions"]
    assert sum(shares.values()) == pytest.approx(document["labels"]["labelled_fraction"])
    assert "/" not in document["source"]


def test_rasters_agree_where_there_is_no_data(scene):
    image, validity = image_of(scene), validity_of(scene)
    assert image.shape == (scene.height, scene.width, 13) and image.dtype == np.uint16
    assert labels_of(scene).shape == validity.shape == (scene.height, scene.width)
    assert np.array_equal((image == 0).all(-1), (validity & 1) != 0)
    assert np.array_equal((image == 0).any(-1), (image == 0).all(-1))


def test_what_is_not_a_scene_is_named(tmp_path, scene):
    with pytest.raises(RasterError, match="is not a prepared scene"):
        PreparedScene.open(tmp_path)
    with pytest.raises(RasterError, match="holds no prepared scene"):
        find_prepared_scenes(tmp_path)
    document = dict(scene.document, schema_version=99)
    (tmp_path / "scene.json").write_text(json.dumps(document))
    with pytest.raises(RasterError, match="has schema version 99; expected 1"):
        PreparedScene.open(tmp_path)
    (tmp_path / "scene.json").write_text(json.dumps(scene.document))
    with pytest.raises(RasterError, match="is not a complete prepared scene"):
        PreparedScene.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "scene.json is not valid JSON: .*; prepare the product again"),
        ("[]", "scene.json holds no JSON object; it is damaged, prepare the product again"),
    ],
)
def test_a_damaged_document_is_told_as_such(tmp_path, content, message):
    (tmp_path / "scene.json").write_text(content)
    with pytest.raises(RasterError, match=message):
        PreparedScene.open(tmp_path)


def test_a_scene_without_a_time_is_not_complete(tmp_path, scene):
    (tmp_path / "image.tif").symlink_to(scene.folder / "image.tif")
    (tmp_path / "scene.json").write_text(json.dumps(scene.document | {"sensing_time": None}))
    with pytest.raises(RasterError, match="is not a complete prepared scene"):
        PreparedScene.open(tmp_path)
