"""Checks list every problem of a product together."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes.tiny_safe import (
    BANDS,
    ULX,
    ULY,
    band_file,
    band_shape,
    edit,
    gml,
    write_jp2,
    write_manifest,
    write_safe,
    zip_safe,
)
from rasterio.transform import Affine
from scipy import ndimage

from landcover_tf.configs.config_parts import part
from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.prepare import PrepareConfig
from landcover_tf.sentinel2.checks import check_cloud_mask, check_product
from landcover_tf.sentinel2.cloud_choice import projects_shadows
from landcover_tf.sentinel2.codestream import describe_damage
from landcover_tf.sentinel2.label_checks import check_labels, label_shift_hint, shift_scores
from landcover_tf.sentinel2.label_rasters import find_label_rasters
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.settings import Settings

CLASSI = {"MSK_CLASSI_B00.jp2": np.zeros((3, 20, 20), np.uint8)}
MASKS = CLASSI | {
    f"MSK_{kind}_{name}.jp2": np.full((planes, *band_shape(name, 120)), planes == 1, np.uint8)
    for name in BANDS
    for kind, planes in (("QUALIT", 8), ("DETFOO", 1))
}
CROSSWALK = load_crosswalk("landcover9", "landcover9")


def fatal(findings):
    return sorted(f.check for f in findings if f.severity == "fatal")


def test_a_good_product_has_no_findings(tmp_path):
    root = write_safe(tmp_path, masks=MASKS, manifest=True)
    assert check_product(open_product(root)) == []
    archive = zip_safe(root, tmp_path / "x.zip")
    assert check_product(open_product(archive)) == []


def test_missing_masks_are_told(tmp_path):
    few = {name: mask for name, mask in MASKS.items() if "CLASSI" not in name}
    del few["MSK_QUALIT_B03.jp2"], few["MSK_QUALIT_B8A.jp2"]
    product = open_product(write_safe(tmp_path, masks=few, manifest=True))
    clouds, quality = check_product(product)
    assert (
        clouds.severity == "fatal"
        and "prepare it with --cloud-source s2cloudless" in clouds.message
    )
    assert quality.severity == "warning" and "has no MSK_QUALIT of B03, B8A" in quality.message
    assert fatal(check_product(product, needs_cloud_mask=False)) == []


def test_lacking_metadata_are_told(tmp_path):
    root = write_safe(tmp_path, masks=MASKS, manifest=True)
    edit(next(root.glob("GRANULE/*/MTD_TL.xml")), "Mean_Sun_Angle>", "Other_Angle>")
    product = open_product(root)
    warning, sun = check_product(product)
    assert warning.message.endswith("lacks Mean_Sun_Angle, so its shadows cannot be projected")
    assert (warning.severity, sun.severity) == ("warning", "fatal")
    assert sun.message.endswith("prepare it with --no-cloud-shadows")
    assert check_product(product, needs_sun=False) == [warning]


@pytest.mark.parametrize(("baseline", "told"), [("05.11", True), ("04.00", True), ("03.01", False)])
def test_offsets_that_a_baseline_should_have_are_missed(tmp_path, baseline, told):
    root = write_safe(tmp_path, baseline=baseline, offsets=None, masks=MASKS, manifest=True)
    found = [f for f in check_product(open_product(root)) if f.check == "metadata"]
    assert [f.severity for f in found] == ["warning"] * told
    assert all("lacks RADIO_ADD_OFFSET" in f.message for f in found)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, True),
        ({"cloud_shadows": False}, False),
        ({"cloud_source": "none"}, False),
        ({"cloud_source": "mask", "cloud_mask": Path("m.tif")}, False),
        (
            {
                "cloud_source": "mask",
                "cloud_mask": Path("m.tif"),
                "cloud_mask_values": ("0=clear", "1=cloud"),
            },
            True,
        ),
    ],
)
def test_the_sun_is_needed_where_the_clouds_bring_no_shadows(flags, expected):
    settings = part(Settings, PrepareConfig(sentinel2_dir=Path(), output_dir=Path(), **flags))
    assert projects_shadows(settings) == expected


def test_every_problem_is_listed(tmp_path):
    root = write_safe(tmp_path, masks=CLASSI, quality="FAILED")
    band_file(root, "B01").unlink()
    band_file(root, "B02").write_bytes(b"")
    file = band_file(root, "B03")
    file.write_bytes(file.read_bytes()[:-200])
    write_jp2(band_file(root, "B04"), np.ones((60, 60), np.uint16), 20, 32634)
    write_jp2(band_file(root, "B05"), np.ones((60, 60), np.uint16), 20, 32635)
    write_jp2(band_file(root, "B06"), np.ones((60, 60), np.uint16), 25, 32634)
    band_file(root, "B07").write_bytes(b"not a jp2 at all, only some text")
    findings = check_product(open_product(root))
    assert fatal(findings) == sorted(
        ["missing-band", "broken-file", "broken-file", "size", "crs", "position", "broken-file"]
    )
    text = "\n".join(f.message for f in findings)
    for expected in (
        "has no file of band B01",
        "is empty (0 bytes)",
        "is cut off",
        "has 60 x 60 px; MTD_TL.xml says 120 x 120",
        "is in EPSG:32635; MTD_TL.xml says EPSG:32634",
        "is not a JPEG 2000 file",
        "quality inspection SENSOR_QUALITY did not pass",
        "has no manifest.safe",
    ):
        assert expected in text


def test_every_band_of_the_real_empty_product_is_listed(shared_data):
    (folder,) = (shared_data / "safe_trees" / "compact_safe").glob("*.SAFE")
    findings = check_product(open_product(folder))
    assert fatal(findings) == ["broken-file"] * 13  # Its GML masks fit the manifest's checksums.


def test_broken_vector_masks_are_listed(tmp_path):
    masks = {"MSK_CLOUDS_B00.gml": gml([("OPAQUE", "1 2 3")]), "MSK_DEFECT_B02.gml": "<cut"}
    root = write_safe(tmp_path, baseline="03.01", offsets=None, masks=masks)
    found = [f for f in check_product(open_product(root)) if f.severity == "fatal"]
    assert [f.check for f in found] == ["broken-file", "broken-file"]
    assert "a posList has 3 numbers" in found[0].message
    assert "is not valid XML" in found[1].message


def test_manifest_checksums(tmp_path):
    root = write_safe(tmp_path, masks=MASKS, manifest=True)
    file = band_file(root, "B09")
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(bytes(data))
    product = open_product(root)
    (finding,) = check_product(product)
    assert finding.check == "checksum" and finding.severity == "fatal"
    assert "manifest.safe says" in finding.message
    assert check_product(product, checksums=False) == []
    write_manifest(root)
    (root / "manifest.safe").write_text("<broken")
    (finding,) = check_product(open_product(root))
    assert finding.severity == "warning"


def write_labels(path, codes, left=ULX, nodata=None):
    with rasterio.open(
        path, "w", driver="GTiff", height=len(codes), width=len(codes), count=1, dtype="uint8",
        crs="EPSG:32634", transform=Affine(10, 0, left, 0, -10, ULY), nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(codes.astype(np.uint8), 1)
    return find_label_rasters(path)


def test_labels_that_do_not_fit(tmp_path):
    product = open_product(write_safe(tmp_path))
    codes = np.full((120, 120), 20)
    far = write_labels(tmp_path / "far.tif", codes, left=700000)
    (finding,) = check_labels(product, far, CROSSWALK)
    assert (finding.check, finding.severity) == ("label-overlap", "fatal")
    empty = write_labels(tmp_path / "empty.tif", codes * 0)
    (finding,) = check_labels(product, empty, CROSSWALK)
    assert (finding.check, finding.severity) == ("label-overlap", "fatal")
    assert "has no known class inside" in finding.message
    codes[5, :3] = 33
    odd = write_labels(tmp_path / "odd.tif", codes)
    (finding,) = check_labels(product, odd, CROSSWALK)
    assert finding.severity == "fatal" and "33 (3 px)" in finding.message
    assert check_labels(product, odd, CROSSWALK, unknown="ignore") == []


def test_a_class_that_labels_declare_no_data_is_told(tmp_path):
    product = open_product(write_safe(tmp_path))
    codes = np.zeros((120, 120))  # Water and, on the left, trees of Dynamic World.
    codes[:, :60] = 1
    rasters = write_labels(tmp_path / "dw.tif", codes, nodata=0)
    crosswalk = load_crosswalk("dynamicworld", "landcover9")
    (finding,) = check_labels(product, rasters, crosswalk)
    assert (finding.check, finding.severity) == ("label-nodata", "warning")
    assert "declares code 0 no data, which is a class of dynamicworld" in finding.message
    # In WorldCover 0 is no data itself.
    plain = write_labels(tmp_path / "wc.tif", codes * 10, nodata=0)
    assert check_labels(product, plain, load_crosswalk("worldcover", "landcover9")) == []


def test_shifted_labels_are_hinted_at_before_anything_is_prepared(tmp_path):
    codes, nir = fields()
    dn = {"B08": (nir * 10000 + 1000).repeat(6, 0).repeat(6, 1).astype(np.uint16)}
    product = open_product(write_safe(tmp_path, size_px=720, dn=dn))
    right = write_labels(tmp_path / "right.tif", codes.repeat(6, 0).repeat(6, 1))
    assert check_labels(product, right, CROSSWALK) == []
    moved = write_labels(tmp_path / "moved.tif", codes.repeat(6, 0).repeat(6, 1), left=ULX + 120)
    (finding,) = check_labels(product, moved, CROSSWALK)
    assert (finding.check, finding.severity) == ("label-shift", "warning")
    assert "moved -120 m east and 0 m north" in finding.message
    band_file(product.path, "B08").write_bytes(b"")
    assert check_labels(product, moved, CROSSWALK) == []


def test_cloud_masks_that_do_not_fit(tmp_path):
    product = open_product(write_safe(tmp_path))
    values = {0: "clear", 1: "cloud"}
    write_labels(tmp_path / "half.tif", np.zeros((60, 60)))
    (finding,) = check_cloud_mask(tmp_path / "half.tif", product, values)
    assert finding.severity == "warning" and "covers 25.0% of" in finding.message
    (finding,) = check_cloud_mask(tmp_path, product, values)
    assert finding.severity == "fatal" and "has no cloud mask S2A_MSIL1C" in finding.message


@pytest.mark.parametrize("cut", [1, 2, 100, 2000])
def test_cut_off_files_are_found_without_decoding(tmp_path, cut):
    product = open_product(write_safe(tmp_path))
    name = product.band_files["B02"]
    assert describe_damage(product.container, name) is None
    file = product.path / name
    file.write_bytes(file.read_bytes()[:-cut])
    assert "is cut off" in describe_damage(open_product(product.path).container, name)


def test_a_real_jp2_of_esa_is_whole_and_on_its_grid(shared_data):
    (folder,) = (shared_data / "safe_trees" / "compact_safe").glob("*.SAFE")
    product = open_product(folder)
    (name,) = (n for n in product.container.sizes if n.endswith("_PVI.jp2"))
    assert describe_damage(product.container, name) is None
    with rasterio.open(product.container.gdal_path(name)) as preview:
        assert preview.crs == product.crs
        corner = product.grids[10].transform
        assert (preview.transform.c, preview.transform.f) == (corner.c, corner.f)


def fields(side=120, seed=0):
    """Returns label codes of patches, and NIR that follows them."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(side, side)), 4)
    codes = np.digitize(noise, np.quantile(noise, [0.3, 0.6])) * 10 + 10
    nir = codes / 100 + rng.normal(0, 0.01, codes.shape)
    return codes.astype(np.uint8), nir.astype(np.float32)


def test_label_shift_is_hinted_with_its_direction():
    codes, nir = fields()
    assert label_shift_hint(nir, codes) is None
    # Labels moved 2 px down and 1 px left fit again when moved 120 m north, 60 m east.
    hint = label_shift_hint(nir, np.roll(codes, (2, -1), (0, 1)))
    assert "moved 60 m east and 120 m north" in hint


def test_scores_of_shifts_are_correlations():
    codes, nir = fields(side=61)
    borders = ndimage.maximum_filter(codes, 3) != ndimage.minimum_filter(codes, 3)
    scores = shift_scores(nir[:, :50], borders[:, :50])
    inside = (slice(3, -3), slice(3, -3))
    for shift in itertools.product(range(-3, 4), repeat=2):
        moved = np.roll(borders[:, :50], shift, (0, 1))[inside]
        expected = np.corrcoef(nir[:, :50][inside].ravel().astype(float), moved.ravel())[0, 1]
        assert scores[shift] == pytest.approx(expected, abs=1e-9)
    assert len(scores) == 49
    # A border in the corner leaves the inside, and takes its score with it.
    corner = np.zeros((50, 50), bool)
    corner[:4, :4] = True
    assert set(shift_scores(nir[:50, :50], corner)) == set(itertools.product(range(4), repeat=2))


def test_no_shift_is_hinted_without_structure():
    codes = np.full((120, 120), 10, np.uint8)
    nir = np.random.default_rng(0).random((120, 120)).astype(np.float32)
    assert label_shift_hint(nir, codes) is None
