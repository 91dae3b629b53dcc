"""The program `prepare`: what a prepared scene holds."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes.prepare_program import SIZE, product, run, write_labels
from fakes.prepared_rasters import image_of, labels_of, validity_of
from fakes.tiny_safe import (
    BANDS,
    ULX,
    ULY,
    smooth_dn,
    square,
    zip_safe,
)
from fakes.tiny_safe import gml as gml_text
from rasterio.transform import Affine

from landcover_tf import prepare
from landcover_tf.errors import DatasetError
from landcover_tf.sentinel2.band_reader import GDAL_CACHE_BYTES
from landcover_tf.sentinel2.prepared import find_prepared_scenes
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.scene import Scene
from landcover_tf.validity import ValidityBit
from tfrecords_builder.sources import find_sources


def test_scene_holds_what_the_product_holds(tmp_path):
    root = product(tmp_path / "in")
    codes = np.random.default_rng(0).choice([10, 20, 60], (SIZE, SIZE))
    labels = write_labels(tmp_path / "truth.tif", codes)
    assert run(tmp_path / "in", tmp_path / "out", "--ground-truth", labels) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert scene.name == root.stem
    with Scene(open_product(root)) as source:
        assert np.array_equal(image_of(scene), source.read(source.whole()))
    assert np.array_equal(labels_of(scene), codes)
    assert not validity_of(scene).any()
    assert json.loads((tmp_path / "out" / "checks.json").read_text())["fit_products"] == [root.stem]
    # The written config repeats the run, but does no finished scene again unasked.
    assert run(tmp_path / "in", tmp_path / "out", "--ground-truth", labels, "--overwrite") == 0
    written = (scene.folder / "scene.json").stat().st_mtime_ns
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["resampling"] == "bicubic"
    assert prepare.main(["--config", str(tmp_path / "out" / "prepare.json")]) == 0
    assert (scene.folder / "scene.json").stat().st_mtime_ns == written


def test_labels_of_another_legend_and_in_degrees(tmp_path):
    from rasterio.warp import transform_bounds

    product(tmp_path / "in")
    west, south, east, north = transform_bounds(
        "EPSG:32634", "EPSG:4326", ULX, ULY - 2400, ULX + 2400, ULY
    )
    step = 1 / 12000
    codes = np.full((int((north - south) / step) + 60, int((east - west) / step) + 60), 80)
    grid = Affine(step, 0, west - 30 * step, 0, -step, north + 30 * step)
    labels = write_labels(tmp_path / "wc.tif", codes, "EPSG:4326", grid)
    flags = ("--ground-truth", labels, "--source-legend", "worldcover")
    assert run(tmp_path / "in", tmp_path / "out", *flags) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert (labels_of(scene) == 60).all()
    assert scene.document["labels"]["methods"] == ["mode"]


def test_all_bits_of_a_scene(tmp_path):
    dn = {n: np.full_like(smooth_dn(n, SIZE), 3000) for n in BANDS}
    dn["B02"][:, :10] = 0
    dn["B11"][60, 60] = 65535
    classi = np.zeros((3, 40, 40), np.uint8)
    classi[0, 20, 20] = classi[1, 20, 30] = classi[2, 5, 30] = 1
    qualit = np.zeros((8, 120, 120), np.uint8)
    qualit[4, 100, 100] = 1
    masks = {"MSK_CLASSI_B00.jp2": classi, "MSK_QUALIT_B05.jp2": qualit}
    product(tmp_path / "in", dn=dn, masks=masks)
    assert run(tmp_path / "in", tmp_path / "out", "--cloud-buffer-m", 60) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    bits, image = validity_of(scene), image_of(scene)
    assert (bits[:, :10] == ValidityBit.NODATA).all() and not image[:, :10].any()
    assert (bits[120:126, 120:126] == ValidityBit.CLOUD | ValidityBit.SATURATED).any()
    assert (bits[120:122, 120:122] & ValidityBit.SATURATED).all()
    assert (bits[120:126, 180:186] == ValidityBit.CIRRUS).all()
    assert (bits[30:36, 180:186] == ValidityBit.SNOW).all()
    assert (bits[200:202, 200:202] == ValidityBit.DEFECTIVE).all()
    assert (bits[114:120, 120:126] == ValidityBit.BUFFER).all()
    assert (bits[108:114, 120:126] == 0).all()
    shares = scene.document["bit_fractions"]
    assert shares["nodata"] == pytest.approx(10 / SIZE)
    assert shares["cloud"] == pytest.approx(36 / SIZE**2)
    # 10 of 240 columns are without data, the two pixels of 60 m are not among them.
    with_data = 2 / 1600 / (230 / 240)
    assert scene.document["cloud_cover"] == {
        "metadata": 0.075,
        "product": pytest.approx(with_data),
    }


def test_old_product_with_gml_masks_in_a_zip(tmp_path):
    masks = {"MSK_CLOUDS_B00.gml": gml_text([("OPAQUE", square(600, 600, 60))])}
    root = product(tmp_path / "unpacked", baseline="03.01", offsets=None, masks=masks)
    (tmp_path / "in").mkdir()
    zip_safe(root, tmp_path / "in" / "renamed.zip")
    assert run(tmp_path / "in", tmp_path / "out", "--cloud-buffer-m", 0) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert scene.baseline == "03.01" and scene.name == root.stem
    assert np.argwhere(validity_of(scene) & ValidityBit.CLOUD)[0].tolist() == [
        60,
        60,
    ]


def test_old_and_new_encoding_of_one_scene_agree(tmp_path):
    old = {n: smooth_dn(n, SIZE) for n in BANDS}
    product(tmp_path / "in", dn=old, baseline="03.01", offsets=None, tile="34SEH")
    product(tmp_path / "in", dn={n: v + 1000 for n, v in old.items()}, tile="34SEJ")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    first, second = find_prepared_scenes(tmp_path / "out")
    assert {first.baseline, second.baseline} == {"03.01", "05.11"}
    difference = image_of(first).astype(int) - image_of(second)
    # Rounding at exact halves may differ by one stored unit, 0.0001 of reflectance.
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.01


def test_a_product_without_any_data(tmp_path, capsys):
    dn = {n: np.zeros_like(smooth_dn(n, SIZE)) for n in BANDS}
    product(tmp_path / "in", dn=dn)
    assert run(tmp_path / "in", tmp_path / "out", "--sharpening", "glp") == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert (validity_of(scene) == ValidityBit.NODATA).all()
    assert scene.document["bit_fractions"]["nodata"] == 1
    assert scene.document["cloud_cover"] == {"metadata": 0.075, "product": None}
    printed = capsys.readouterr()
    told = (
        "  no data: 100.0%\n  cloud cover of the pixels with data: metadata 7.5%, product unknown"
    )
    assert told in printed.out
    assert f"warning: {scene.name}: 100.0% of the pixels have no data; another" in printed.err
    (finding,) = json.loads((tmp_path / "out" / "checks.json").read_text())["findings"][-1:]
    assert (finding["check"], finding["severity"]) == ("no-data", "warning")


def test_clouds_over_the_whole_of_a_swath_edge(tmp_path, capsys):
    """A fifth of the tile has data, all of it under cloud: the cover is 100 %, not 20 %."""
    dn = {n: np.full_like(smooth_dn(n, SIZE), 9000) for n in BANDS}
    classi = np.zeros((3, 40, 40), np.uint8)
    for values in dn.values():
        values[:, len(values) // 5 :] = 0
    classi[0, :, :8] = 1
    product(tmp_path / "in", dn=dn, masks={"MSK_CLASSI_B00.jp2": classi})
    assert run(tmp_path / "in", tmp_path / "out") == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert scene.document["cloud_cover"]["product"] == 1
    printed = capsys.readouterr()
    told = "  no data: 80.0%\n  cloud cover of the pixels with data: metadata 7.5%, product 100.0%"
    assert told in printed.out
    assert "have no data" not in printed.err


def test_southern_hemisphere(tmp_path):
    product(tmp_path / "in", tile="53HQV", epsg=32753)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert find_prepared_scenes(tmp_path / "out")[0].crs.to_epsg() == 32753


def test_external_cloud_mask(tmp_path, capsys):
    root = product(tmp_path / "in")
    codes = np.zeros((SIZE, SIZE))
    codes[0, 0], codes[60, 60] = 1, 3
    (tmp_path / "clouds").mkdir()
    write_labels(tmp_path / "clouds" / f"{root.stem}.tif", codes)
    flags = ("--cloud-source", "mask", "--cloud-mask", tmp_path / "clouds", "--cloud-buffer-m", 0)
    assert run(tmp_path / "in", tmp_path / "out", *flags) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    bits = validity_of(scene)
    assert (bits[:6, :6] == ValidityBit.CLOUD).all()
    assert (bits[60:66, 60:66] == ValidityBit.SHADOW).all()
    assert scene.document["cloud_cover"] == {"metadata": 0.075, "product": 0.0, "mask": 1 / 1600}
    covers = "cloud cover of the pixels with data: metadata 7.5%, product 0.0%, mask 0.1% (used)\n"
    told = f"wrote {tmp_path / 'out' / root.stem}\n  no data: 0.0%\n  {covers}"
    assert told in capsys.readouterr().out


def test_the_cover_of_a_cloud_mask_beside_another_source(tmp_path, capsys):
    root = product(tmp_path / "in", masks={})
    mask = write_labels(tmp_path / "clouds.tif", np.ones((SIZE, SIZE)))
    flags = ("--cloud-source", "none", "--cloud-mask", mask)
    assert run(root, tmp_path / "out", *flags) == 0
    (scene,) = find_prepared_scenes(tmp_path / "out")
    assert not validity_of(scene).any()
    covers = "with data: metadata 7.5%, product unknown, mask 100.0%; none used\n"
    assert covers in capsys.readouterr().out


def test_training_never_reads_products(tmp_path):
    """A random window of a JP2 costs a hundred times that of a prepared scene."""
    product(tmp_path / "in")
    with pytest.raises(DatasetError, match=r"expected prepared scenes .* `landcover prepare`"):
        find_sources(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    with rasterio.open(next((tmp_path / "out").glob("*/image.tif"))) as image:
        assert image.driver == "GTiff"
        assert image.block_shapes == [(512, 512)] * 13


def test_gdals_cache_is_counted_in_bytes_everywhere():
    """`GDAL_CACHEMAX=512` would be 512 bytes and decode every inner tile again and again."""
    # Two threads decode two rows of eleven inner tiles of 1024 px and 2 bytes.
    assert GDAL_CACHE_BYTES > 2 * 11 * 1024**2 * 2
    root = Path(__file__).parents[2]
    mentions = [
        line.strip()
        for folder in ("landcover_tf", "serving", "tfrecords_builder")
        for path in (root / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if "GDAL_CACHEMAX" in line
    ]
    assert mentions
    assert all(re.search(r"GDAL_CACHEMAX\W+\w+_BYTES\b", line, re.I) for line in mentions)
