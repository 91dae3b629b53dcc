"""Checks list every problem of a product together."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from scipy import ndimage
from tiny_safe import band_file, write_jp2, write_manifest, write_safe, zip_safe

from landcover_tf.sentinel2.checks import check_product, label_shift_hint
from landcover_tf.sentinel2.codestream import describe_damage
from landcover_tf.sentinel2.labels import find_label_rasters
from landcover_tf.sentinel2.safe import open_product

CLASSI = {"MSK_CLASSI_B00.jp2": np.zeros((3, 20, 20), np.uint8)}


def fatal(findings):
    return sorted(f.check for f in findings if f.severity == "fatal")


def test_a_good_product_has_no_findings(tmp_path):
    root = write_safe(tmp_path, masks=CLASSI, manifest=True)
    assert check_product(open_product(root), []) == []
    archive = zip_safe(root, tmp_path / "x.zip")
    assert check_product(open_product(archive), []) == []


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
    findings = check_product(open_product(root), [])
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
    findings = check_product(open_product(folder), [])
    assert fatal(findings) == ["broken-file"] * 13  # Its GML masks fit the manifest's checksums.


def test_manifest_checksums(tmp_path):
    root = write_safe(tmp_path, masks=CLASSI, manifest=True)
    file = band_file(root, "B09")
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(bytes(data))
    product = open_product(root)
    (finding,) = check_product(product, [])
    assert finding.check == "checksum" and finding.severity == "fatal"
    assert "manifest.safe says" in finding.message
    assert check_product(product, [], checksums=False) == []
    write_manifest(root)
    (root / "manifest.safe").write_text("<broken")
    (finding,) = check_product(open_product(root), [])
    assert finding.severity == "warning"


def test_labels_elsewhere(tmp_path):
    path = tmp_path / "l.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=5, width=5, count=1, dtype="uint8",
        crs="EPSG:32634", transform=Affine(10, 0, 700000, 0, -10, 4200000),
    ) as dataset:  # fmt: skip
        dataset.write(np.ones((1, 5, 5), np.uint8))
    product = open_product(write_safe(tmp_path, masks=CLASSI, manifest=True))
    (finding,) = check_product(product, find_label_rasters(path))
    assert finding.check == "label-overlap" and finding.severity == "fatal"


@pytest.mark.parametrize("cut", [1, 2, 100, 2000])
def test_cut_off_files_are_found_without_decoding(tmp_path, cut):
    product = open_product(write_safe(tmp_path))
    name = product.band_files["B02"]
    assert describe_damage(product.container, name) is None
    file = product.path / name
    file.write_bytes(file.read_bytes()[:-cut])
    assert "is cut off" in describe_damage(open_product(product.path).container, name)


def fields(side=120, seed=0):
    """Returns label codes of patches at 10 m, and NIR at 60 m that follows them."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(side, side)), 4)
    codes = np.digitize(noise, np.quantile(noise, [0.3, 0.6])) * 10 + 10
    nir = codes / 100 + rng.normal(0, 0.01, codes.shape)
    return codes.astype(np.uint8), nir.astype(np.float32)


def test_label_shift_is_hinted_with_its_direction():
    codes, nir = fields()
    assert label_shift_hint("p", nir, codes.repeat(6, 0).repeat(6, 1)) is None
    # Labels moved 2 px down and 1 px left fit again when moved 120 m north, 60 m east.
    moved = np.roll(codes, (2, -1), (0, 1)).repeat(6, 0).repeat(6, 1)
    hint = label_shift_hint("p", nir, moved)
    assert hint.severity == "warning"
    assert "moved 60 m east and 120 m north" in hint.message


def test_no_shift_is_hinted_without_structure():
    codes = np.full((720, 720), 10, np.uint8)
    nir = np.random.default_rng(0).random((120, 120)).astype(np.float32)
    assert label_shift_hint("p", nir, codes) is None
