"""Quality masks: three separate planes, eight planes, detector numbers, and GML polygons."""

import numpy as np
import pytest
import rasterio
from fakes.tiny_safe import gml, square, write_safe, zip_safe

from landcover_tf.errors import ProductError
from landcover_tf.sentinel2 import quality
from landcover_tf.sentinel2.codestream import identical_tiles
from landcover_tf.sentinel2.quality import read_product_clouds, read_quality_bits
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.validity import ValidityBit

SIZE = 240


def planes(count, side):
    return np.zeros((count, side, side), np.uint8)


def test_classi_has_three_separate_planes(tmp_path):
    mask = planes(3, 40)
    mask[0, 1, 2] = mask[1, 3, 4] = mask[2, 5, 6] = 1
    mask[:, 7, 7] = 1
    product = open_product(write_safe(tmp_path, size_px=SIZE, masks={"MSK_CLASSI_B00.jp2": mask}))
    clouds = read_product_clouds(product)
    assert np.argwhere(clouds.opaque).tolist() == [[1, 2], [7, 7]]
    assert np.argwhere(clouds.cirrus).tolist() == [[3, 4], [7, 7]]
    assert np.argwhere(clouds.snow).tolist() == [[5, 6], [7, 7]]


def test_no_cloud_mask(tmp_path):
    assert read_product_clouds(open_product(write_safe(tmp_path))) is None


def test_gml_clouds(tmp_path):
    features = [("OPAQUE", square(60, 120, 120)), ("CIRRUS", square(600, 600, 60))]
    root = write_safe(
        tmp_path, size_px=SIZE, baseline="03.01", masks={"MSK_CLOUDS_B00.gml": gml(features)}
    )
    clouds = read_product_clouds(open_product(root))
    assert np.argwhere(clouds.opaque).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert np.argwhere(clouds.cirrus).tolist() == [[10, 10]]
    assert not clouds.snow.any()


@pytest.mark.parametrize("positions", ["", "500000 4199000", "500000 4199000 500600 4199600"])
def test_gml_polygons_of_fewer_than_three_points_enclose_nothing(tmp_path, positions):
    text = gml([("OPAQUE", positions), ("OPAQUE", square(60, 120, 60))])
    root = write_safe(tmp_path, size_px=SIZE, baseline="03.01", masks={"MSK_CLOUDS_B00.gml": text})
    clouds = read_product_clouds(open_product(root))
    assert np.argwhere(clouds.opaque).tolist() == [[2, 1]]


def test_gml_polygons_have_holes(tmp_path):
    ring = f"<gml:LinearRing><gml:posList>{square(600, 600, 600)}</gml:posList></gml:LinearRing>"
    hole = f"<gml:interior>{ring}</gml:interior>"
    text = gml([("OPAQUE", square(0, 0, 2400))]).replace("</gml:Polygon>", f"{hole}</gml:Polygon>")
    root = write_safe(tmp_path, size_px=SIZE, baseline="03.01", masks={"MSK_CLOUDS_B00.gml": text})
    opaque = read_product_clouds(open_product(root)).opaque
    # Of 40 x 40 pixels of 60 m, 10 x 10 are clear.
    assert not opaque[10:20, 10:20].any() and opaque.sum() == 1500


def test_gml_without_members_means_none_and_not_an_error(tmp_path):
    empty = '<eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0"><eop:maskMembers/></eop:Mask>'
    root = write_safe(tmp_path, baseline="03.01", masks={"MSK_CLOUDS_B00.gml": empty})
    assert not read_product_clouds(open_product(root)).opaque.any()


def test_real_gml_clouds_of_2017(shared_data):
    (folder,) = (shared_data / "safe_trees" / "compact_safe").glob("*.SAFE")
    product = open_product(folder)
    clouds = read_product_clouds(product)
    # The metadata's percentage is of the pixels with data: 59.6 % of this tile.
    cloudy = (clouds.opaque | clouds.cirrus).mean() / 0.596
    assert cloudy * 100 == pytest.approx(product.cloud_percentage, rel=0.03)
    # Polygons follow pixel edges: the first one's left edge is at x = 501840.
    assert np.flatnonzero(clouds.opaque.any(0))[0] == (501840 - 499980) / 60


@pytest.mark.slow
def test_real_gml_quality_of_2017(shared_data):
    (folder,) = (shared_data / "safe_trees" / "compact_safe").glob("*.SAFE")
    bits = read_quality_bits(open_product(folder))
    # MSK_NODATA of B11 and B12 list partially corrected pixels, which are data; MSK_DEFECT of
    # B10 lists a defective strip of 75 km, thinner than a pixel: it reaches from the top to 4625249
    # m north, 1247 rows of 60 m below 4700040; the lower right lies outside all detectors.
    defective = (bits & ValidityBit.DEFECTIVE) != 0
    assert np.count_nonzero(defective.any(axis=1)) == 1247 * 6
    assert defective.mean() < 1e-3
    nodata = (bits & ValidityBit.NODATA) != 0
    assert nodata[-1, -1] and not nodata[0, 0]
    assert 0.1 < nodata.mean() < 0.5


def test_real_footprints_end_where_the_real_preview_does(shared_data):
    """A 40 % empty tile of 2017; the preview shows where red, green and blue have data."""
    (folder,) = (shared_data / "safe_trees" / "compact_safe").glob("*.SAFE")
    product = open_product(folder)
    (name,) = (n for n in product.container.sizes if n.endswith("_PVI.jp2"))
    with rasterio.open(folder / name) as preview:
        seen = preview.read().max(axis=0) > 30  # Lossy compression rings on the dark side.
    (mask,) = (m for m in product.mask_files("DETFOO") if m.band == "B04")
    bits = np.zeros((1830, 1830), np.uint8)
    quality._or_outside_footprints(product, mask, product.grids[60], bits)
    # Preview pixels have 320 m, 5 1/3 of the grid's.
    centres = ((np.arange(343) + 0.5) * 320 / 60).astype(int)
    outside = bits[np.ix_(centres, centres)] == ValidityBit.NODATA
    assert 0.38 < outside.mean() < 0.42
    assert (outside == seen).mean() < 0.0015


def test_qualit_planes(tmp_path):
    mask = planes(8, 120)
    for plane in range(8):
        mask[plane, 10 * plane, 5] = 1
    product = open_product(write_safe(tmp_path, size_px=SIZE, masks={"MSK_QUALIT_B05.jp2": mask}))
    bits = read_quality_bits(product)
    expected = {
        0: ValidityBit.DEFECTIVE,  # 1 ancillary data lost
        2: ValidityBit.DEFECTIVE,  # 3 image data lost
        4: ValidityBit.DEFECTIVE,  # 5 defective
        5: ValidityBit.NODATA,  # 6 no data
        7: ValidityBit.SATURATED,  # 8 saturated
    }
    for plane in range(8):
        block = bits[20 * plane : 20 * plane + 2, 10:12]
        assert (block == expected.get(plane, 0)).all()
    assert np.count_nonzero(bits) == 4 * len(expected)


def test_outside_of_the_detectors_is_no_data(tmp_path):
    footprint = np.full((1, 40, 40), 7, np.uint8)
    footprint[0, :, :4] = 0
    footprint[0, :, 20:] = 8  # Where detectors change there is data.
    root = write_safe(tmp_path, size_px=SIZE, masks={"MSK_DETFOO_B10.jp2": footprint})
    bits = read_quality_bits(open_product(root))
    assert (bits[:, :24] == ValidityBit.NODATA).all()
    assert not bits[:, 24:].any()


def test_gml_types_decide_and_not_the_file(tmp_path):
    features = [
        ("QT_NODATA_PIXELS", square(0, 0, 100)),
        ("QT_PARTIALLY_CORRECTED_PIXELS", square(500, 0, 100)),
    ]
    spots = [("QT_DEFECTIVE_PIXELS", "500280 4199900 0 500380 4199900 0 500380 4199800 0 "
              "500280 4199800 0 500280 4199900 0")]  # fmt: skip
    masks = {
        "MSK_NODATA_B02.gml": gml(features),
        "MSK_DEFECT_B02.gml": gml(spots, dimension=3),
        "MSK_SATURA_B02.gml": gml([("QT_SATURATED_PIXELS_L1A", square(1000, 1000, 20))]),
    }
    root = write_safe(tmp_path, size_px=SIZE, baseline="03.01", masks=masks)
    bits = read_quality_bits(open_product(root))
    assert (bits[:10, :10] == ValidityBit.NODATA).all()
    assert not bits[:10, 50:60].any()
    assert (bits[10:20, 30:40] == ValidityBit.DEFECTIVE).all()
    assert (bits[100:102, 100:102] == ValidityBit.SATURATED).all()
    assert np.count_nonzero(bits) == 100 + 100 + 4


def test_gml_slivers_mark_every_pixel_that_they_touch(tmp_path):
    """A dead detector column of B10 crosses the tile, 20 m wide in pixels of 60 m."""
    # From the top edge at x = 30 m to the bottom edge at x = 330 m.
    x0, y0, y1 = 500010, 4200000, 4200000 - 10 * SIZE
    corners = [(x0, y0), (x0 + 20, y0), (x0 + 320, y1), (x0 + 300, y1), (x0, y0)]
    sliver = " ".join(f"{x} {y}" for x, y in corners)
    masks = {"MSK_DEFECT_B10.gml": gml([("QT_DEFECTIVE_PIXELS", sliver)])}
    root = write_safe(tmp_path, size_px=SIZE, baseline="03.01", masks=masks)
    bits = read_quality_bits(open_product(root))
    assert set(np.unique(bits)) == {0, int(ValidityBit.DEFECTIVE)}
    for row in range(SIZE // 6):
        # The sliver's left and right limits over the 60 m of the row.
        left, right = 30 + 300 * row / 40, 50 + 300 * (row + 1) / 40
        expected = list(range(int(left // 60), int(right // 60) + 1))
        assert np.flatnonzero(bits[6 * row, ::6]).tolist() == expected


def test_pixels_that_no_data_only_touches_have_data(tmp_path):
    """No data over 80 m from the left edge: one pixel of 60 m, and a third of the next."""
    masks = {"MSK_NODATA_B10.gml": gml([("QT_NODATA_PIXELS", square(0, 0, 80))])}
    root = write_safe(tmp_path, size_px=SIZE, baseline="03.01", masks=masks)
    bits = read_quality_bits(open_product(root))
    assert (bits[:6, :6] == ValidityBit.NODATA).all()
    assert np.count_nonzero(bits) == 36


def test_many_polygons_are_burnt_together(tmp_path, monkeypatch):
    """A tile with saturated clouds has thousands; going over the tile for each takes minutes."""
    corners = [(60 * col, 60 * row) for row in range(0, 20, 2) for col in range(0, 20, 2)]
    text = gml([("QT_SATURATED_PIXELS_L1A", square(x, y, 60)) for x, y in corners])
    root = write_safe(tmp_path, size_px=120, baseline="03.01", masks={"MSK_SATURA_B02.gml": text})
    burnt = []
    burn = quality._burn
    monkeypatch.setattr(quality, "_burn", lambda *a, **kw: burnt.append(1) or burn(*a, **kw))
    bits = read_quality_bits(open_product(root))
    assert np.count_nonzero(bits == ValidityBit.SATURATED) == 100 * 36
    assert len(burnt) == 1


def test_gml_footprints(tmp_path):
    masks = {"MSK_DETFOO_B05.gml": gml([("DETECTOR_FOOTPRINT", square(0, 0, 1200))])}
    root = write_safe(tmp_path, size_px=SIZE, baseline="03.01", masks=masks)
    nodata = (read_quality_bits(open_product(root)) & ValidityBit.NODATA) != 0
    assert not nodata[:120, :120].any()
    assert nodata[122:].all() and nodata[:, 122:].all()


@pytest.mark.parametrize("zipped", [False, True])
def test_equal_tiles_are_decoded_once_with_the_same_result(tmp_path, zipped):
    rng = np.random.default_rng(3)
    mask = planes(8, 480)
    mask[4, 170:190, 130:400] = rng.integers(0, 2, (20, 270))
    mask[5, 470:] = 1
    root = write_safe(tmp_path, size_px=480, masks={"MSK_QUALIT_B02.jp2": mask})
    product = open_product(zip_safe(root, tmp_path / "x.zip") if zipped else root)
    (name,) = [m.name for m in product.masks]
    with rasterio.open(product.container.gdal_path(name)) as dataset:
        shape = dataset.block_shapes[0]
    identities = [i for _, i in identical_tiles(product.container, name, 480, 480, shape)]
    assert None not in identities
    assert 1 < len(set(identities)) < len(identities)  # Empty tiles of one size are alike.
    bits = read_quality_bits(product)
    expected = mask[4] * int(ValidityBit.DEFECTIVE) | mask[5] * int(ValidityBit.NODATA)
    assert np.array_equal(bits, expected)


def test_broken_masks_are_named(tmp_path):
    root = write_safe(tmp_path / "a", masks={"MSK_CLASSI_B00.jp2": planes(3, 20)})
    next(root.glob("GRANULE/*/QI_DATA/*.jp2")).write_bytes(b"x")
    with pytest.raises(ProductError, match=r"MSK_CLASSI_B00\.jp2 in .* cannot be opened"):
        read_product_clouds(open_product(root))
    text = gml([("OPAQUE", "1 2 3 4 5")])
    root = write_safe(tmp_path / "b", masks={"MSK_CLOUDS_B00.gml": text})
    with pytest.raises(ProductError, match="posList has 5 numbers"):
        read_product_clouds(open_product(root))
    root = write_safe(tmp_path / "c", size_px=120, masks={"MSK_CLASSI_B00.jp2": planes(3, 40)})
    with pytest.raises(ProductError, match=r"has 40 x 40 px; MTD_TL.xml says 20 x 20"):
        read_product_clouds(open_product(root))
