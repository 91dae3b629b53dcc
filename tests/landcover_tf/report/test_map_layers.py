"""What the tiles and the legend of the map viewer hold of the rasters."""

import base64
import io

import numpy as np
import pytest
import rasterio
from fakes.report_page import HEIGHT, LEGEND, WIDTH, write
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from landcover_tf.errors import LabelError, OutputError, RasterError
from landcover_tf.report import map_tiles
from landcover_tf.report.map_facts import MapFacts
from landcover_tf.report.map_layers import MapLayers
from landcover_tf.report.map_tiles import build_pyramid
from landcover_tf.report.page import viewer_data


def decoded(url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))


def test_shares_are_scaled_and_no_data_is_none(tmp_path):
    """Predictions store round(254 p) with 255 for no data; the viewer shows 255ths."""
    stored = np.array([[0, 127, 212, 254, 255]], np.uint8)
    path = write(tmp_path / "confidence.tif", stored, nodata=255)
    rest = np.where(stored == 255, 255, 254 - stored).astype(np.uint8)
    none = np.where(stored == 255, 255, 0).astype(np.uint8)
    bands = np.stack([stored, rest, *[none] * 6])
    each = write(tmp_path / "probabilities.tif", bands, nodata=255)
    for name, count in ((path, 1), (each, 8)):
        with rasterio.open(name, "r+") as raster:
            raster.scales = (1 / 254,) * count
    codes = write(tmp_path / "map.tif", np.full((1, 5), 20, np.uint8))
    layers = MapLayers(map=codes, confidence=path, probabilities=each)
    tile = build_pyramid(layers, tmp_path / "tiles", LEGEND).embedded["0/0/0"]
    # 127 / 254 = 1/2 of 255, rounded to even; 212 / 254 * 255 = 212.8.
    expected = [0, 128, 213, 255, 0]
    assert decoded(tile["values"])[0, :5, 1].tolist() == expected
    assert decoded(tile["probabilities"])[0, :5].tolist() == expected
    floats = np.array([[0, 0.5, np.nan, 1, 1.5]], np.float32)
    layers = MapLayers(map=codes, confidence=write(tmp_path / "floats.tif", floats))
    tile = build_pyramid(layers, tmp_path / "tiles", LEGEND).embedded["0/0/0"]
    assert decoded(tile["values"])[0, :5, 1].tolist() == [0, 128, 0, 255, 255]


@pytest.mark.parametrize(
    ("name", "bands", "wanted"),
    [
        ("probabilities", 2, "8 bands, one per class of legend landcover9, it has 2"),
        ("probabilities", 9, "8 bands, one per class of legend landcover9, it has 9"),
        ("confidence", 8, "1 band, it has 8"),
    ],
)
def test_shares_of_other_bands_are_refused(tmp_path, name, bands, wanted):
    codes = write(tmp_path / "map.tif", np.full((2, 5), 20, np.uint8))
    path = write(tmp_path / "other.tif", np.full((bands, 2, 5), 9, np.uint8))
    with pytest.raises(RasterError, match=f"other.tif must have {wanted}"):
        build_pyramid(MapLayers(map=codes, **{name: path}), tmp_path / "tiles", LEGEND)


def test_a_class_that_only_the_map_names_is_listed(tmp_path):
    codes = np.full((4, 5), 20, np.uint8)
    codes[0] = 255
    path = write(tmp_path / "map.tif", codes)
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {20: (1, 2, 3, 255), 255: (154, 155, 156, 255)})
        raster.update_tags(1, CLASS_20="woods", CLASS_255="uncertain")
    pyramid = build_pyramid(MapLayers(map=path), tmp_path / "t", LEGEND)
    classes = viewer_data(pyramid, LEGEND, MapFacts.read(path, LEGEND))["classes"]
    assert [c["code"] for c in classes] == [*LEGEND.codes, 255]
    assert classes[-1]["name"] == "uncertain"
    assert classes[-1]["color"] == "#9a9b9c"
    assert classes[-1]["area_ha"] == pytest.approx(0.05)
    assert classes[1]["name"] == "forests"


def test_tiles_of_an_earlier_report_are_replaced_but_nothing_else(layers, tmp_path, monkeypatch):
    monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 1000)
    folder = tmp_path / "report_tiles"
    build_pyramid(layers, folder, LEGEND)
    before = (folder / "1/0/0.js").read_text()
    build_pyramid(MapLayers(map=layers.map), folder, LEGEND)
    assert len((folder / "1/0/0.js").read_text()) < len(before)
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    with pytest.raises(OutputError, match="cannot write the map tiles"):
        build_pyramid(layers, other, LEGEND)
    assert {p.name for p in tmp_path.iterdir()} == {"report_tiles", "thesis"}
    assert (other / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("dtype", "nodata", "missing"),
    [("uint16", None, 0), ("int16", -9999, -9999)],
)
def test_no_data_of_the_reference_is_that_of_the_legend(tmp_path, dtype, nodata, missing):
    codes = write(tmp_path / "map.tif", np.full((2, 5), 20, np.uint8))
    labels = np.array([[10, 20, 90, 30, missing]] * 2).astype(dtype)
    # The second one has no pixels under the last two columns of the map.
    for name, part in (("whole", labels), ("cut", labels[:, :3])):
        reference = write(tmp_path / f"{name}.tif", part, nodata=nodata)
        layers = MapLayers(map=codes, reference=reference)
        tile = build_pyramid(layers, tmp_path / "tiles", LEGEND).embedded["0/0/0"]
        expected = [10, 20, 90, 30 if name == "whole" else 0, 0]
        assert decoded(tile["values"])[0, :5, 2].tolist() == expected


@pytest.mark.parametrize("palette", [False, True])
def test_overviews_of_any_kind_show_no_class_that_is_not_there(tmp_path, palette):
    size = 576  # Larger than a tile, so the first one is decimated.
    codes = np.random.default_rng(0).choice(np.array([10, 20, 60], np.uint8), (size, size))
    path = write(tmp_path / "map.tif", codes)
    with rasterio.open(path, "r+") as raster:
        raster.build_overviews([2, 4], Resampling.cubic)
        if palette:
            raster.write_colormap(1, {10: (1, 2, 3, 255), 60: (154, 155, 156, 255)})
    pyramid = build_pyramid(MapLayers(map=path, reference=path), tmp_path / "t", LEGEND)
    for name in ("0/0/0", "1/0/0"):
        values = decoded(pyramid.embedded[name]["values"])
        for channel in (0, 2):
            assert set(np.unique(values[..., channel])) <= {0, 10, 20, 60}


def test_a_coarse_tile_shows_the_commonest_class(tmp_path):
    codes = np.full((512, 512), 20, np.uint8)
    codes[1::2, 1::2] = 60  # One of four, and the one that is read as the nearest.
    codes[::2, 256:] = 10
    path = write(tmp_path / "map.tif", codes)
    pyramid = build_pyramid(MapLayers(map=path, reference=path), tmp_path / "t", LEGEND)
    values = decoded(pyramid.embedded["0/0/0"]["values"])
    for channel in (0, 2):
        assert (values[:, :128, channel] == 20).all()
        assert (values[:, 128:, channel] == 10).all()


def test_codes_of_the_reference_never_wrap(layers, tmp_path, monkeypatch):
    monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 1000)
    folder = tmp_path / "report_tiles"
    build_pyramid(layers, folder, LEGEND)
    before = {path: path.read_bytes() for path in folder.rglob("*.js")}
    # 276 = 256 + 20: the classes of another legend, such as CORINE's 211 to 523.
    strange = write(tmp_path / "strange.tif", np.full((HEIGHT, WIDTH), 276, np.uint16))
    with pytest.raises(RasterError, match=r"strange.tif has codes \[276\] that legend"):
        build_pyramid(MapLayers(map=layers.map, reference=strange), folder, LEGEND)
    with pytest.raises(
        RasterError, match=r"strange.tif must be a class map of one uint8 band, got 1 of "
    ):
        build_pyramid(MapLayers(map=strange), folder, LEGEND)
    assert {path: path.read_bytes() for path in folder.rglob("*.js")} == before


def test_a_reference_may_name_a_class_of_its_own(tmp_path):
    path = write(tmp_path / "map.tif", np.full((4, 5), 255, np.uint8))
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(1, CLASS_255="uncertain")
    pyramid = build_pyramid(MapLayers(map=path, reference=path), tmp_path / "t", LEGEND)
    assert (decoded(pyramid.embedded["0/0/0"]["values"])[:4, :5, 2] == 255).all()


def test_class_areas_are_those_of_the_map(layers, tmp_path):
    data = viewer_data(
        build_pyramid(layers, tmp_path / "tiles", LEGEND), LEGEND, MapFacts.read(layers.map, LEGEND)
    )
    with rasterio.open(layers.map) as raster:
        codes = raster.read(1)
    for entry in data["classes"]:
        pixels = int((codes == entry["code"]).sum())
        assert entry["pixels"] == pixels
        assert entry["area_ha"] == pytest.approx(pixels * 0.01)
    assert sum(entry["fraction"] for entry in data["classes"]) == pytest.approx(1)


def test_a_finer_reference_is_that_of_a_comparison(tmp_path):
    size = 300  # Larger than a tile, so the first one is decimated.
    codes = write(tmp_path / "map.tif", np.full((size, size), 20, np.uint8))
    # Of 25 labels in a pixel, the middle one is 20 and the others are 30.
    fine = np.full((5 * size, 5 * size), 30, np.uint8)
    fine[2::5, 2::5] = 20
    reference = write(tmp_path / "fine.tif", fine, transform=from_origin(500_000, 4_200_000, 2, 2))
    pyramid = build_pyramid(MapLayers(map=codes, reference=reference), tmp_path / "t", LEGEND)
    for name, shape in (("0/0/0", 150), ("1/0/0", 256), ("1/1/1", 44)):
        tile = decoded(pyramid.embedded[name]["values"])[:shape, :shape]
        assert (tile[..., 0] == 20).all() and (tile[..., 2] == 30).all()
    floats = write(tmp_path / "floats.tif", fine[:size, :size] + np.float32(0.5))
    with pytest.raises(
        LabelError, match=r"floats.tif holds 30\.5 at rows 0 to \d+; class codes are"
    ):
        build_pyramid(MapLayers(map=codes, reference=floats), tmp_path / "t", LEGEND)


def test_a_reference_on_another_grid_is_warped(layers, tmp_path):
    coarse = np.full((40, 40), 20, np.uint8)
    reference = write(
        tmp_path / "coarse.tif", coarse, transform=from_origin(499_000, 4_201_000, 300, 300)
    )
    pyramid = build_pyramid(
        MapLayers(map=layers.map, reference=reference), tmp_path / "tiles", LEGEND
    )
    assert pyramid.description["reference"] and not pyramid.description["image"]
    bare = write(tmp_path / "bare.tif", coarse, crs=None, transform=from_origin(0, 0, 1, 1))
    with pytest.raises(LabelError, match=r"bare\.tif has no CRS; georeference it"):
        build_pyramid(MapLayers(map=layers.map, reference=bare), tmp_path / "tiles", LEGEND)
    with pytest.raises(RasterError, match="cannot read a raster"):
        build_pyramid(MapLayers(map=tmp_path / "absent.tif"), tmp_path / "tiles", LEGEND)


@pytest.mark.parametrize("name", ["image", "confidence", "probabilities"])
@pytest.mark.parametrize("crs", ["EPSG:32634", "EPSG:32603"])
def test_a_raster_of_another_place_is_refused(layers, tmp_path, name, crs):
    place = from_origin(900_000, 5_200_000, 10, 10)
    bands = {"image": 3, "confidence": 1, "probabilities": 8}[name]
    far = np.full((bands, HEIGHT, WIDTH), 31, np.uint8)
    path = write(tmp_path / "far.tif", far, crs=crs, transform=place)
    with pytest.raises(RasterError, match=r"far\.tif does not overlap the map .*map\.tif; check"):
        build_pyramid(MapLayers(map=layers.map, **{name: path}), tmp_path / "tiles", LEGEND)


@pytest.mark.parametrize(
    ("kind", "bad", "said"),
    [
        (np.float32, [3, 0, 0], "lie outside [0, 1] at pixels row 270 column 300 (sum 3.000)"),
        (np.float32, [0.5, 0.25, 0], "do not sum to 1 at pixels row 270 column 300 (sum 0.750)"),
        (np.float32, [np.nan, 0.5, 0.5], "are not numbers at pixels row 270 column 300 (sum nan)"),
        (np.uint8, [100, 100, 100], "do not sum to 1 at pixels row 270 column 300 (sum 1.176)"),
    ],
)
def test_probabilities_that_are_none_are_refused(tmp_path, kind, bad, said):
    codes = np.full((HEIGHT, WIDTH), 20, np.uint8)
    codes[1] = 0  # Nobody asks for those of pixels without class.
    shares = np.zeros((8, HEIGHT, WIDTH), kind)
    shares[:2] = 0.5 if kind == np.float32 else 127  # 254/255, within half a step of each band.
    shares[0, 1], shares[:, 2] = 9, 0
    right = write(tmp_path / "right.tif", shares)
    layers = MapLayers(map=write(tmp_path / "map.tif", codes), probabilities=right)
    build_pyramid(layers, tmp_path / "tiles", LEGEND)
    shares[:3, 270, 300] = bad
    layers = MapLayers(map=layers.map, probabilities=write(tmp_path / "wrong.tif", shares))
    with pytest.raises(RasterError, match=r"wrong\.tif: class probabilities") as error:
        build_pyramid(layers, tmp_path / "tiles", LEGEND)
    assert said in str(error.value)
