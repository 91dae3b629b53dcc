"""Scenes: digital numbers to stored values, no data, saturation, and windows of any place."""

import weakref

import numpy as np
import pytest
from fakes.tiny_safe import BANDS, band_file, smooth_dn, write_jp2, write_safe, zip_safe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landcover_tf.errors import ProductError
from landcover_tf.grid import Window
from landcover_tf.sentinel2.safe import open_product
from landcover_tf.sentinel2.scene import Scene
from landcover_tf.validity import ValidityBit

SIZE = 120
B = {name: i for i, name in enumerate(BANDS)}


def constant(value):
    return {n: np.full_like(smooth_dn(n, SIZE), value) for n in BANDS}


def read_all(root, **options):
    with Scene(open_product(root), **options) as scene:
        planes, bits = scene.compose(scene.whole(), scene.read_fine(scene.whole()))
    return planes, bits


def test_offset_makes_reflectance_not_digital_numbers(tmp_path):
    # (3000 - 1000) / 10000 = 0.2; stored = 0.2 * 10000 + 1000.
    planes, _ = read_all(write_safe(tmp_path, dn=constant(3000)))
    assert (planes == 3000).all()
    # Without the list the same numbers mean 0.3.
    planes, _ = read_all(write_safe(tmp_path / "old", dn=constant(3000), offsets=None))
    assert (planes == 4000).all()


def test_each_band_has_its_own_offset(tmp_path):
    offsets = [-100 * i for i in range(13)]
    planes, _ = read_all(write_safe(tmp_path, dn=constant(3000), offsets=offsets))
    assert [int(p[0, 0]) for p in planes] == [3000 + o + 1000 for o in offsets]


def test_other_quantification(tmp_path):
    # 300 / 1000 = 0.3 -> 4000.
    root = write_safe(tmp_path, dn=constant(300), offsets=None, quantification="1000")
    planes, _ = read_all(root)
    assert (planes == 4000).all()


def test_negative_reflectance_is_kept_and_does_not_wrap(tmp_path):
    # DN 400 is -0.06: stored 400. DN 1 is -0.0999, the smallest that data can be.
    dn = constant(3000)
    dn["B04"][:] = 400
    dn["B12"][:] = 1
    planes, bits = read_all(write_safe(tmp_path, dn=dn))
    assert (planes[B["B04"]] == 400).all()
    assert (planes[B["B12"]] == 1).all()
    assert not bits.any()


def test_zero_is_no_data_in_every_band_and_not_minus_a_tenth(tmp_path):
    dn = constant(3000)
    dn["B02"][7, 9] = 0  # one 10 m pixel
    dn["B05"][20, 30] = 0  # 2 x 2 px
    dn["B09"][10, 3] = 0  # 6 x 6 px
    planes, bits = read_all(write_safe(tmp_path, dn=dn))
    expected = np.zeros((SIZE, SIZE), bool)
    expected[7, 9] = True
    expected[40:42, 60:62] = True
    expected[60:66, 18:24] = True
    assert np.array_equal((bits & ValidityBit.NODATA) != 0, expected)
    assert (planes[:, expected] == 0).all()
    # Interpolation does not smear the gap into its neighbours.
    assert (planes[:, ~expected] == 3000).all()


@pytest.mark.parametrize("sharpening", ["glp", "locreg", "brovey", "hpf"])
def test_sharpening_does_not_smear_gaps(tmp_path, sharpening):
    dn = constant(3000)
    for name in BANDS:
        dn[name][:, : dn[name].shape[1] // 2] = 0
    planes, bits = read_all(write_safe(tmp_path, dn=dn), sharpening=sharpening)
    empty = (bits & ValidityBit.NODATA) != 0
    assert empty[:, :60].all() and not empty[:, 60:].any()
    assert np.abs(planes[:, :, 60:].astype(int) - 3000).max() <= 2


def test_a_product_without_any_data(tmp_path):
    for method in ("none", "glp"):
        root = write_safe(tmp_path / method, dn=constant(0))
        planes, bits = read_all(root, sharpening=method)
        assert not planes.any()
        assert (bits == ValidityBit.NODATA).all()


def test_saturation(tmp_path):
    dn = constant(3000)
    dn["B03"][5, 5] = 65535
    dn["B8A"][10, 10] = 32767  # The most that 15 bits hold.
    dn["B08"][50, 50] = 32766
    _, bits = read_all(write_safe(tmp_path, dn=dn))
    expected = np.zeros((SIZE, SIZE), bool)
    expected[5, 5] = True
    expected[20:22, 20:22] = True
    assert np.array_equal((bits & ValidityBit.SATURATED) != 0, expected)


def test_old_products_do_not_wrap_at_the_top(tmp_path):
    dn = constant(3000)
    dn["B02"][0, 0] = 65000  # 65000 + 1000 does not fit 16 bits.
    planes, _ = read_all(write_safe(tmp_path, dn=dn, offsets=None))
    assert planes[B["B02"], 0, 0] == 65535


def test_bands_keep_their_names_order(tmp_path):
    dn = {n: np.full_like(smooth_dn(n, SIZE), 2000 + 10 * i) for i, n in enumerate(BANDS)}
    with Scene(open_product(write_safe(tmp_path, dn=dn))) as scene:
        pixel = scene.read(Window(row_off=50, col_off=50, height=1, width=1))[0, 0]
    assert pixel.tolist() == [2000 + 10 * i for i in range(13)]


@pytest.fixture(scope="module")
def gappy(tmp_path_factory):
    """A product with a swath edge, single gaps and saturated pixels."""
    dn = {n: smooth_dn(n, 240, seed=4) for n in BANDS}
    for values in dn.values():
        side = len(values)
        rows, cols = np.ogrid[:side, :side]
        values[rows + 2 * cols < side // 2] = 0
        values[side // 2, side // 3] = 0
        values[-3, -2] = 65535
    return open_product(write_safe(tmp_path_factory.mktemp("gappy"), size_px=240, dn=dn))


@pytest.fixture(scope="module")
def wholes(gappy):
    found = {}
    for key in OPTIONS:
        resampling, sharpening = key
        with Scene(gappy, resampling=resampling, sharpening=sharpening) as scene:
            found[key] = scene.read(scene.whole())
    return found


OPTIONS = [
    ("nearest", "none"),
    ("bilinear", "none"),
    ("bicubic", "none"),
    ("bicubic", "brovey"),
    ("bicubic", "hpf"),
    ("bicubic", "glp"),
    ("bicubic", "locreg"),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_any_window_equals_the_crop_of_the_whole(gappy, wholes, options):
    with Scene(gappy, resampling=options[0], sharpening=options[1], threads=1) as scene:

        @settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            rows=st.tuples(st.integers(0, 239), st.integers(0, 239)),
            cols=st.tuples(st.integers(0, 239), st.integers(0, 239)),
        )
        def check(rows, cols):
            window = Window(
                row_off=min(rows),
                col_off=min(cols),
                height=abs(rows[0] - rows[1]) + 1,
                width=abs(cols[0] - cols[1]) + 1,
            )
            assert np.array_equal(scene.read(window), wholes[options][window.slices])

        check()


def test_loaded_bands_and_threads_change_nothing(gappy, wholes):
    with Scene(gappy, sharpening="glp", threads=3) as scene:
        scene.load()
        assert np.array_equal(scene.read(scene.whole()), wholes["bicubic", "glp"])


def test_native_windows(gappy):
    window = Window(row_off=3, col_off=5, height=20, width=9)
    with Scene(gappy) as scene:
        part = scene.bands.read("B05", window)
        scene.load()
        whole = scene.bands.read("B05", Window(row_off=0, col_off=0, height=120, width=120))
    assert np.array_equal(part, whole[window.slices])


def test_b10_is_interpolated_by_every_method(wholes):
    reference = wholes["bicubic", "none"][..., B["B10"]]
    for key, image in wholes.items():
        if key[0] == "bicubic":
            assert np.array_equal(image[..., B["B10"]], reference)


def test_sharpening_does_not_depend_on_the_offset_convention(tmp_path):
    """The same scene in the old and in the new encoding gives the same reflectance."""
    old = {n: smooth_dn(n, SIZE) for n in BANDS}
    new = {n: v + 1000 for n, v in old.items()}
    for method in ("brovey", "hpf", "glp", "locreg"):
        a, _ = read_all(
            write_safe(tmp_path / f"{method}a", dn=old, offsets=None), sharpening=method
        )
        b, _ = read_all(write_safe(tmp_path / f"{method}b", dn=new), sharpening=method)
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_zip_reads_the_same(tmp_path):
    root = write_safe(tmp_path)
    expected, _ = read_all(root)
    found, _ = read_all(zip_safe(root, tmp_path / "x.zip"))
    assert np.array_equal(found, expected)


def test_files_that_cannot_be_read_are_named(tmp_path):
    root = write_safe(tmp_path)
    file = band_file(root, "B07")
    data = file.read_bytes()
    file.write_bytes(b"")
    with pytest.raises(ProductError, match=r"_B07\.jp2 in .* is empty \(0 bytes\); download"):
        Scene(open_product(root))
    file.unlink()
    with pytest.raises(ProductError, match="has no file of band B07"):
        Scene(open_product(root))
    write_jp2(file, np.ones((30, 30), np.uint16), 20, 32634)
    with pytest.raises(ProductError, match=r"has 30 x 30 px; MTD_TL.xml says 60 x 60"):
        Scene(open_product(root))
    file.write_bytes(data[: len(data) // 3])
    with pytest.raises(ProductError, match="download the product again"):
        read_all(root)


def test_a_closed_scene_holds_no_bands(tmp_path):
    """A full tile's took 0.4 GB, or 1.3 GB with sharpening, until the labels were written."""
    with Scene(open_product(write_safe(tmp_path)), sharpening="glp") as scene:
        scene.load()
        held = [weakref.ref(scene.bands.read(n, scene.whole()).base) for n in ("B01", "B02", "B05")]
        assert all(band() is not None for band in held)
    assert all(band() is None for band in held)
