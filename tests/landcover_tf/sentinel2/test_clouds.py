"""Clouds: sources, buffer, shadow tests, and masks from elsewhere."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from fakes.prepare_program import run
from fakes.tiny_safe import BANDS, ULX, ULY, band_shape, write_safe
from rasterio.transform import Affine

from landcover_tf.errors import ConfigError, RasterError
from landcover_tf.sentinel2 import clouds
from landcover_tf.sentinel2.cloud_mask import CloudMask
from landcover_tf.sentinel2.cloud_rasters import parse_values, read_cloud_mask
from landcover_tf.sentinel2.clouds import add_coarse_bits, cloud_bits
from landcover_tf.sentinel2.resample import block_mean
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.simulation.scene import make_scene
from landcover_tf.validity import ValidityBit


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    # Sun in the south-east (135 degrees), 45 degrees high: shadows go north-west.
    return open_product(write_safe(tmp_path_factory.mktemp("p"), size_px=240))


def mask(opaque=(), cirrus=(), snow=(), shadow=None, side=40):
    def image(pixels):
        marked = np.zeros((side, side), bool)
        for row, col in pixels:
            marked[row, col] = True
        return marked

    return CloudMask(
        opaque=image(opaque),
        cirrus=image(cirrus),
        snow=image(snow),
        shadow=None if shadow is None else image(shadow),
    )


def bits_of(clouds_found, product, *, green=0.05, nir=0.3, buffer_m=0.0, **options):
    shape = clouds_found.opaque.shape
    return cloud_bits(
        clouds_found,
        product,
        green=np.full(shape, green, np.float32),
        nir=np.full(shape, nir, np.float32),
        buffer_m=buffer_m,
        **({"shadows": True, "dark_reflectance": 0.15} | options),
    )


def test_classes_become_bits(product):
    bits = bits_of(mask([(1, 1)], [(2, 2)], [(3, 3)], [(4, 4)]), product)
    assert bits[1, 1] == ValidityBit.CLOUD
    assert bits[2, 2] == ValidityBit.CIRRUS
    assert bits[3, 3] == ValidityBit.SNOW
    assert bits[4, 4] == ValidityBit.SHADOW
    assert np.count_nonzero(bits) == 4


def test_buffer_surrounds_cloud_and_shadow_but_not_snow(product):
    bits = bits_of(mask([(5, 5)], snow=[(30, 30)], shadow=[(20, 20)]), product, buffer_m=60.0)
    assert np.count_nonzero(bits & ValidityBit.BUFFER) == 8
    assert bits[5, 4] == ValidityBit.BUFFER and bits[20, 21] == ValidityBit.BUFFER
    assert not bits[5, 5] & ValidityBit.BUFFER
    assert not bits[30, 31]


def test_shadow_needs_dark_land_away_from_the_sun(product):
    block = [(r, c) for r in range(28, 33) for c in range(28, 33)]
    dark = bits_of(mask(block), product, nir=0.1) & ValidityBit.SHADOW
    rows, cols = np.nonzero(dark)
    assert len(rows) and rows.max() < 33 and cols.max() < 33
    assert rows.mean() < 26 and cols.mean() < 26
    bright = bits_of(mask(block), product, nir=0.3) & ValidityBit.SHADOW
    water = bits_of(mask(block), product, nir=0.02, green=0.05) & ValidityBit.SHADOW
    off = bits_of(mask(block), product, nir=0.1, shadows=False) & ValidityBit.SHADOW
    assert not bright.any() and not water.any() and not off.any()
    assert not (dark.astype(bool) & mask(block).opaque).any()


def test_shaded_towns_are_not_taken_for_water(product):
    block = [(r, c) for r in range(28, 33) for c in range(28, 33)]
    # Asphalt and roofs of the simulator's spectra: half of the shaded ones have NDWI above 0.
    town = bits_of(mask(block), product, nir=0.09, green=0.093) & ValidityBit.SHADOW
    land = bits_of(mask(block), product, nir=0.09, green=0.05) & ValidityBit.SHADOW
    turbid = bits_of(mask(block), product, nir=0.055, green=0.1) & ValidityBit.SHADOW
    assert town.any() and np.array_equal(town, land)
    assert not turbid.any()


def test_coarse_bits_join_those_of_the_six_by_six_pixels_below():
    coarse = np.random.default_rng(0).choice([0, 8, 32], (300, 2)).astype(np.uint8)
    validity = np.full((1800, 12), 1, np.uint8)
    add_coarse_bits(validity, coarse)
    assert np.array_equal(validity, np.kron(coarse, np.ones((6, 6), np.uint8)) | 1)


def test_shadows_of_simulated_clouds_are_found_over_every_land():
    """The simulator knows its shadows; their soft edges are left to the buffer."""
    found = {"town": [], "water": []}
    for seed in range(2):
        scene = make_scene(land_seed=(seed, 1), day_seed=(seed, 2), size_px=600, cloud_fraction=0.1)
        weather, codes = scene.weather, scene.landscape.codes[3::6, 3::6]
        clear = CloudMask(
            opaque=weather.cloudy, cirrus=weather.has_cirrus, snow=np.zeros_like(weather.cloudy)
        )
        sun = SimpleNamespace(sun_zenith_deg=scene.sun.zenith, sun_azimuth_deg=scene.sun.azimuth)
        green, nir = (block_mean(scene.reflectance(name), 6) for name in ("B03", "B08"))
        bits = cloud_bits(
            clear, sun, green=green, nir=nir, buffer_m=250.0, shadows=True, dark_reflectance=0.15
        )
        shade = block_mean(weather.shadow, 6)
        shaded = (shade > 0.3) & ~clear.opaque & ~clear.cirrus
        shadow = (bits & ValidityBit.SHADOW) != 0
        found["town"].append(shadow[shaded & (codes == 40)])
        found["water"].append(shadow[(shade < 0.05) & (codes == 60)])
    assert np.concatenate(found["town"]).mean() > 0.5
    assert np.concatenate(found["water"]).mean() < 0.01


def test_a_source_with_shadows_is_not_projected(product):
    block = [(r, c) for r in range(28, 33) for c in range(28, 33)]
    bits = bits_of(mask(block, shadow=[(2, 2)]), product, nir=0.1)
    assert np.argwhere(bits & ValidityBit.SHADOW).tolist() == [[2, 2]]


def test_cloud_fraction_counts_cloud_and_cirrus_once():
    clouds = mask([(0, 0), (1, 1)], [(1, 1), (2, 2)], side=10)
    assert clouds.cloud_fraction(np.full((10, 10), 36)) == 0.03


def test_cloud_fraction_is_of_the_pixels_with_data():
    data_px = np.zeros((10, 10), np.uint32)
    data_px[:2] = 36
    data_px[2] = 9  # A quarter of the last row: 20 x 36 + 10 x 9 = 810 pixels in all.
    clouds = mask([(0, 0), (2, 0), (9, 9)], side=10)
    assert clouds.cloud_fraction(data_px) == (36 + 9) / 810
    assert clouds.cloud_fraction(np.zeros((10, 10), np.uint32)) is None


def test_values_are_parsed_and_checked():
    assert parse_values(("0=clear", "3=shadow", "-1=snow")) == {0: "clear", 3: "shadow", -1: "snow"}
    for wrong in ("1", "x=cloud", "1=fog", "²=cloud", "--1=cloud"):
        with pytest.raises(ConfigError, match="expected VALUE=NAME"):
            parse_values((wrong,))
    with pytest.raises(ConfigError, match="value 1 twice"):
        parse_values(("1=cloud", "1=cirrus"))


def write_mask(path, codes, *, transform, crs="EPSG:32634", nodata=None):
    with rasterio.open(
        path, "w", driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1,
        dtype="uint8", crs=crs, transform=transform, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(codes, 1)
    return path


OMNI = {0: "clear", 1: "cloud", 2: "cirrus", 3: "shadow"}


def test_external_mask_takes_the_maximum_of_its_pixels(product, tmp_path):
    codes = np.zeros((240, 240), np.uint8)
    codes[13, 20] = 1  # One 10 m pixel of 60 m pixel (2, 3).
    codes[60:66, 66:72] = 2
    codes[120, 126] = 3
    path = write_mask(tmp_path / "m.tif", codes, transform=Affine(10, 0, ULX, 0, -10, ULY))
    found = read_cloud_mask(path, product, OMNI)
    assert np.argwhere(found.opaque).tolist() == [[2, 3]]
    assert np.argwhere(found.cirrus).tolist() == [[10, 11]]
    assert np.argwhere(found.shadow).tolist() == [[20, 21]]


def test_a_mask_of_the_tiles_own_pixels_is_taken_as_any_other(product, tmp_path):
    codes = np.random.default_rng(0).choice(4, (240, 240), p=(0.94, 0.02, 0.02, 0.02))
    codes = codes.astype(np.uint8)
    codes[30:47, 50:81] = 255
    own = write_mask(
        tmp_path / "own.tif", codes, transform=Affine(10, 0, ULX, 0, -10, ULY), nodata=255
    )
    # A row more above, which GDAL warps.
    more = write_mask(
        tmp_path / "more.tif",
        np.concatenate([codes[:1], codes]),
        transform=Affine(10, 0, ULX, 0, -10, ULY + 10),
        nodata=255,
    )
    a, b = (read_cloud_mask(path, product, OMNI) for path in (own, more))
    for name in ("opaque", "cirrus", "shadow", "snow"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    # Shares of a pixel of 60 m are rounded to bytes.
    assert a.covered_fraction == pytest.approx(b.covered_fraction, abs=1e-4)


def test_external_mask_without_shadows_leaves_them_to_projection(product, tmp_path):
    codes = np.zeros((40, 40), np.uint8)
    path = write_mask(tmp_path / "m.tif", codes, transform=Affine(60, 0, ULX, 0, -60, ULY))
    assert read_cloud_mask(path, product, {0: "clear", 1: "cloud"}).shadow is None


def test_what_a_mask_declares_no_data_is_not_covered(product, tmp_path):
    codes = np.zeros((240, 240), np.uint8)
    codes[:120] = 255
    codes[180:183, 60:66] = 255  # Half of a 60 m pixel.
    here = Affine(10, 0, ULX, 0, -10, ULY)
    path = write_mask(tmp_path / "m.tif", codes, transform=here, nodata=255)
    found = read_cloud_mask(path, product, OMNI)
    assert found.covered_fraction == pytest.approx((800 - 0.5) / 1600, abs=1e-5)
    assert not found.opaque.any()
    # A no-data value that has a meaning is data: OmniCloudMask's clear is often declared so.
    named = write_mask(tmp_path / "named.tif", codes // 255, transform=here, nodata=0)
    assert read_cloud_mask(named, product, OMNI).covered_fraction == 1
    whole = write_mask(tmp_path / "w.tif", codes * 0 + 255, transform=here, nodata=255)
    with pytest.raises(RasterError, match="or has only no data there"):
        read_cloud_mask(whole, product, OMNI)


def test_a_mask_in_another_crs_covers_the_whole_tile(product, tmp_path):
    codes = np.zeros((400, 400), np.uint8)
    # 0.0002 degrees are about 20 m; the tile's corner lies at 21.0 E, 37.95 N.
    grid = Affine(0.0002, 0, 20.98, 0, -0.0002, 37.97)
    path = write_mask(tmp_path / "m.tif", codes, transform=grid, crs="EPSG:4326")
    assert read_cloud_mask(path, product, OMNI).covered_fraction == 1


def test_unfit_external_masks_are_named(product, tmp_path):
    here = Affine(60, 0, ULX, 0, -60, ULY)
    codes = np.full((40, 40), 9, np.uint8)
    path = write_mask(tmp_path / "m.tif", codes, transform=here)
    with pytest.raises(RasterError, match=r"has values \[9\] that --cloud-mask-values"):
        read_cloud_mask(path, product, OMNI)
    far = write_mask(
        tmp_path / "far.tif", codes * 0, transform=Affine(60, 0, ULX + 1e5, 0, -60, ULY)
    )
    with pytest.raises(RasterError, match="does not overlap"):
        read_cloud_mask(far, product, OMNI)
    probability = tmp_path / "probability.tif"
    with rasterio.open(
        probability, "w", driver="GTiff", height=40, width=40, count=1, dtype="float32",
        crs="EPSG:32634", transform=here, nodata=np.nan,
    ) as dataset:  # fmt: skip
        dataset.write(np.full((1, 40, 40), 0.4, np.float32))
    with pytest.raises(RasterError, match=r"has 1 band\(s\) of float32"):
        read_cloud_mask(probability, product, OMNI)
    with pytest.raises(RasterError, match="cannot read the cloud mask"):
        read_cloud_mask(tmp_path / "none.tif", product, OMNI)


def test_s2cloudless_missing_is_explained():
    try:
        import s2cloudless  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match=r"landcover-tf\[clouds\]"):
            clouds.detect_s2cloudless({}, np.ones((2, 2), bool))
    else:
        pytest.skip("s2cloudless is installed")


def test_s2cloudless_with_and_without_the_offset():
    """A clear scene fed without the offset looks cloudy: 0.1 too bright in every band."""
    pytest.importorskip("s2cloudless")
    levels = (0.11, 0.08, 0.06, 0.1, 0.25, 0.27, 0.1, 0.002, 0.2, 0.12)
    rng = np.random.default_rng(0)
    reflectance = {
        n: rng.normal(v, 0.01, (20, 20)).astype(np.float32)
        for n, v in zip(clouds.S2CLOUDLESS_BANDS, levels, strict=True)
    }
    valid = np.ones((20, 20), bool)
    right = clouds.detect_s2cloudless(reflectance, valid, resolution_m=60)
    wrong = clouds.detect_s2cloudless(
        {n: v + 0.1 for n, v in reflectance.items()}, valid, resolution_m=60
    )
    assert right.cloudy.mean() < 0.05
    assert wrong.cloudy.mean() > 0.9


def double_s2cloudless(monkeypatch, find):
    """Puts a double of the package in place, which finds the probabilities `find(pixels)`."""

    class Detector:
        def __init__(self, *, all_bands, **_):
            assert not all_bands  # Of ten bands, not of all thirteen.

        def get_cloud_probability_maps(self, pixels):
            return find(pixels)

    double = SimpleNamespace(S2PixelCloudDetector=Detector)
    monkeypatch.setitem(sys.modules, "s2cloudless", double)


def test_s2cloudless_finds_clouds_from_two_fifths_on_where_there_is_data(monkeypatch):
    double_s2cloudless(monkeypatch, lambda _: np.array([[[0.39, 0.41, 0.6, 0.6]]]))
    reflectance = dict.fromkeys(clouds.S2CLOUDLESS_BANDS, np.zeros((1, 4), np.float32))
    valid = np.array([[True, True, True, False]])
    found = clouds.detect_s2cloudless(reflectance, valid, resolution_m=60)
    assert found.opaque.tolist() == [[False, True, True, False]]


def test_s2cloudless_sees_only_pixels_with_data(monkeypatch):
    given = []
    double_s2cloudless(monkeypatch, lambda p: given.append(p) or np.zeros(p.shape[:-1]))
    # One pixel of four has data, DN 1500; the others have DN 0. The offset is -1000.
    reflectance = dict.fromkeys(
        clouds.S2CLOUDLESS_BANDS, np.array([[0.05, -0.1], [-0.1, -0.1]], np.float32)
    )
    valid = np.array([[True, False], [False, False]])
    clouds.detect_s2cloudless(reflectance, valid, resolution_m=120)
    assert given[0] == pytest.approx(np.full((1, 1, 1, 10), 0.05))


def test_s2cloudless_gets_reflectance_without_the_offset_in_its_order(tmp_path, monkeypatch):
    given = []

    def find(pixels):
        given.append(pixels)
        probability = np.zeros(pixels.shape[:-1], np.float32)
        probability[:, :5, :5] = 1
        return probability

    double_s2cloudless(monkeypatch, find)
    dn = {n: np.full(band_shape(n, 240), 1300 + 100 * i, np.uint16) for i, n in enumerate(BANDS)}
    root = write_safe(tmp_path, size_px=240, dn=dn, offsets=(-1000,) * 13)
    flags = ("--cloud-source", "s2cloudless", "--cloud-buffer-m", "0", "--no-cloud-shadows")
    assert run(root, tmp_path / "scenes", *flags) == 0
    # (DN - 1000) / 10000 in its README's order: B01, B02, B04, B05, B08, B8A, B09, B10, B11, B12.
    expected = [0.03, 0.04, 0.06, 0.07, 0.10, 0.11, 0.12, 0.13, 0.14, 0.15]
    [pixels] = given
    assert pixels.shape == (1, 20, 20, 10)  # 2.4 km at 120 m.
    np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), atol=1e-6)
    [validity] = (tmp_path / "scenes").glob("*/validity.tif")
    with rasterio.open(validity) as raster:
        cloudy = (raster.read(1) & ValidityBit.CLOUD) > 0
    assert cloudy[:60, :60].all() and cloudy.sum() == 60 * 60


@pytest.mark.parametrize("side", [40, 41])
def test_shrink_takes_block_means_of_any_size(side):
    image = np.arange(side * side, dtype=np.float32).reshape(side, side)
    small = clouds._shrink(image, 2)
    assert small.shape == (-(-side // 2),) * 2
    assert small[0, 0] == image[:2, :2].mean()
