"""Simulated products: genuine to other readers, sensible as physics, the same every time."""

import hashlib
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from landcover_tf.bands import SENTINEL2_L1C
from landcover_tf.errors import ProductError
from landcover_tf.legend import load_legend
from landcover_tf.sentinel2.simulation import Flaws, SimulatedProduct, simulate_product
from landcover_tf.sentinel2.simulation.scene import make_scene

SIZE = 240
CLOUDS = 0.1
GRID_PX = {10: SIZE, 20: SIZE // 2, 60: SIZE // 6}


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> SimulatedProduct:
    """Baseline 05.11 with a swath edge, saturation and lost lines."""
    return simulate_product(
        tmp_path_factory.mktemp("new"),
        size_px=SIZE,
        seed=3,
        cloud_fraction=CLOUDS,
        flaws=Flaws(nodata_fraction=0.1, saturated=True, defective=True),
    )


@pytest.fixture(scope="module")
def same_scene(tmp_path_factory) -> dict[str, SimulatedProduct]:
    """One sensing time under an old and a new baseline."""
    folder = tmp_path_factory.mktemp("same")
    time = datetime(2021, 6, 22, 9, 26, 40, tzinfo=UTC)
    return {
        baseline: simulate_product(
            folder, size_px=SIZE, baseline=baseline, sensing_time=time, cloud_fraction=CLOUDS
        )
        for baseline in ("03.01", "05.00")
    }


def band_file(product: Path, name: str) -> Path:
    return next(product.glob(f"GRANULE/*/IMG_DATA/*_{name}.jp2"))


def mask_file(product: Path, name: str) -> Path:
    return next(product.glob(f"GRANULE/*/QI_DATA/{name}"))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


def element(path: Path, name: str) -> str:
    return next(ElementTree.parse(path).getroot().iter(name)).text  # noqa: S314


def digest(path: Path) -> dict[str, str]:
    return {
        p.relative_to(path).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in path.rglob("*")
        if p.is_file()
    }


def test_same_arguments_give_the_same_bytes(tmp_path):
    first, second = (
        simulate_product(tmp_path / name, size_px=120, seed=5, zipped=True) for name in "ab"
    )
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.label_path.read_bytes() == second.label_path.read_bytes()


def test_another_seed_is_another_land(tmp_path):
    codes = [
        read(simulate_product(tmp_path / str(seed), size_px=120, seed=seed).label_path)
        for seed in (1, 2)
    ]
    assert (codes[0] != codes[1]).mean() > 0.3


def test_another_day_is_the_same_land_under_another_sky(tmp_path):
    products = [
        simulate_product(
            tmp_path, size_px=120, sensing_time=datetime(2025, month, 1, 9, tzinfo=UTC)
        )
        for month in (6, 7)
    ]
    np.testing.assert_array_equal(*(read(p.label_path) for p in products))
    clouds = [read(mask_file(p.path, "MSK_CLASSI_B00.jp2")) for p in products]
    assert (clouds[0] != clouds[1]).any()


def test_all_images_lie_on_their_grid(new):
    for band in SENTINEL2_L1C:
        with rasterio.open(band_file(new.path, band.name)) as source:
            size = GRID_PX[band.resolution_m]
            assert source.driver == "JP2OpenJPEG"
            assert source.dtypes == ("uint16",)
            assert source.shape == (size, size)
            assert source.crs.to_epsg() == 32634
            # Upper-left corner of tile 34SEH.
            assert tuple(source.transform)[:6] == (
                *(band.resolution_m, 0, 499980),
                *(0, -band.resolution_m, 4300020),
            )
            assert source.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "15"
        footprint = read(mask_file(new.path, f"MSK_DETFOO_{band.name}.jp2"))
        assert footprint.shape == (1, size, size)
        assert footprint.max() <= 12
        assert len(np.unique(footprint)) >= 3  # Two detectors and the outside.
    assert not list(new.path.rglob("*.aux.xml"))


# GDAL's container dataset itself has no georeferencing; its sub-datasets have.
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_gdal_opens_the_folder_and_the_zip(new, tmp_path):
    packed = simulate_product(tmp_path, size_px=120, baseline="03.01", zipped=True, tile="34SFH")
    inside = f"/vsizip/{packed.path}/{packed.path.stem}.SAFE/MTD_MSIL1C.xml"
    for metadata, size in ((str(new.path / "MTD_MSIL1C.xml"), SIZE), (inside, 120)):
        with rasterio.open(metadata) as container:
            names = container.subdatasets
        for resolution, bands in ((10, 4), (20, 6), (60, 3)):
            name = next(n for n in names if f":{resolution}m:" in n)
            with rasterio.open(name) as source:
                assert source.shape == (size * 10 // resolution,) * 2
                assert source.count == bands
                assert source.read(1).max() > 0


def test_labels_align_and_hold_every_class(new):
    legend = load_legend("landcover9")
    with rasterio.open(new.label_path) as labels, rasterio.open(band_file(new.path, "B02")) as b:
        assert (labels.shape, labels.transform, labels.crs) == (b.shape, b.transform, b.crs)
        assert labels.nodata == 0
        assert labels.colormap(1)[60] == (*legend.classes[5].rgb, 255)
        codes = labels.read(1)
    assert {*np.unique(codes)} == {*legend.codes}


@pytest.mark.parametrize("size", [240, 480])
@pytest.mark.parametrize("seed", range(3))
def test_every_class_has_two_percent(seed, size):
    scene = make_scene(land_seed=(seed, 7), day_seed=(seed, 8), size_px=size, cloud_fraction=0.0)
    for code in load_legend("landcover9").codes:
        assert (scene.landscape.codes == code).mean() >= 0.02, code


def test_cloud_percentage_is_the_share_of_the_mask_where_data_are(new):
    classes = read(mask_file(new.path, "MSK_CLASSI_B00.jp2"))
    assert classes.shape == (3, SIZE // 6, SIZE // 6)
    assert not (classes[0] & classes[1]).any()
    # A tenth of the tile is without data; its edge differs a little from band to band.
    share = 100 * (classes[0] | classes[1]).sum() / (read(band_file(new.path, "B01"))[0] > 0).sum()
    assert share > 0
    for path, name in (
        (new.path / "MTD_MSIL1C.xml", "Cloud_Coverage_Assessment"),
        (next(new.path.glob("GRANULE/*/MTD_TL.xml")), "CLOUDY_PIXEL_PERCENTAGE"),
    ):
        assert float(element(path, name)) == pytest.approx(share, rel=0.03)


def test_cloud_fraction_is_met(same_scene):
    classes = read(mask_file(same_scene["05.00"].path, "MSK_CLASSI_B00.jp2"))
    assert (classes[0] | classes[1]).mean() == pytest.approx(CLOUDS, abs=1e-3)


def test_old_and_new_baselines_hold_the_same_reflectance(same_scene):
    old, new = (same_scene[b].path for b in ("03.01", "05.00"))
    offsets = ElementTree.parse(new / "MTD_MSIL1C.xml").getroot().iter("RADIO_ADD_OFFSET")  # noqa: S314
    assert [o.text for o in offsets] == ["-1000"] * 13
    assert "RADIO_ADD_OFFSET" not in (old / "MTD_MSIL1C.xml").read_text()
    for name in ("B02", "B8A", "B10", "B12"):
        without = read(band_file(old, name)).astype(int)
        with_offset = read(band_file(new, name)).astype(int)
        # 1 is the smallest DN of a pixel with data, so old products lose what is below zero.
        np.testing.assert_array_equal(without, np.maximum(with_offset - 1000, 1))
    negative = read(band_file(new, "B10")).astype(int) - 1000 < 0
    assert negative.any()


def test_gml_clouds_outline_the_same_pixels_as_the_raster(same_scene):
    classes = read(mask_file(same_scene["05.00"].path, "MSK_CLASSI_B00.jp2"))
    root = ElementTree.parse(mask_file(same_scene["03.01"].path, "MSK_CLOUDS_B00.gml")).getroot()  # noqa: S314
    gml, eop = "{http://www.opengis.net/gml/3.2}", "{http://www.opengis.net/eop/2.0}"
    area = {"OPAQUE": 0.0, "CIRRUS": 0.0}
    for feature in root.iter(f"{eop}MaskFeature"):
        for ring in feature.iter(f"{gml}posList"):
            x, y = np.array(ring.text.split(), float).reshape(-1, 2).T
            # Shoelace formula; inner rings run the other way round and subtract.
            area[feature.find(f"{eop}maskType").text] += np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2
    assert abs(area["OPAQUE"]) == classes[0].sum() * 3600
    assert abs(area["CIRRUS"]) == classes[1].sum() * 3600


def test_old_product_without_flaws_has_empty_masks(same_scene):
    text = mask_file(same_scene["03.01"].path, "MSK_NODATA_B02.gml").read_text()
    assert "<eop:maskMembers />" in text
    assert "MaskFeature" not in text


def test_no_data_saturation_and_lost_lines_are_in_bands_and_masks(new):
    for name in ("B01", "B02", "B03", "B12"):
        digital = read(band_file(new.path, name))[0]
        quality = read(mask_file(new.path, f"MSK_QUALIT_{name}.jp2")).astype(bool)
        footprint = read(mask_file(new.path, f"MSK_DETFOO_{name}.jp2"))[0]
        assert quality.shape[0] == 8
        lost, outside, saturated = quality[2], quality[5], quality[7]
        np.testing.assert_array_equal(digital == 0, outside | lost)
        np.testing.assert_array_equal(footprint == 0, outside)
        np.testing.assert_array_equal(digital == 32767, saturated)
        assert saturated.any()
        assert lost.any() == (name == "B03")
        assert outside.mean() == pytest.approx(0.1, abs=0.04)
    edges = [read(band_file(new.path, name))[0] == 0 for name in ("B02", "B08")]
    assert (edges[0] != edges[1]).any()


def test_product_without_any_data(tmp_path):
    product = simulate_product(tmp_path, size_px=60, flaws=Flaws(nodata_fraction=1.0))
    for band in SENTINEL2_L1C:
        assert not read(band_file(product.path, band.name)).any()


def test_manifest_has_every_file_and_its_checksum(new, same_scene):
    for path, name, function in (
        (new.path, "SHA3-256", hashlib.sha3_256),
        (same_scene["03.01"].path, "MD5", hashlib.md5),
    ):
        root = ElementTree.parse(path / "manifest.safe").getroot()  # noqa: S314
        listed = {}
        for stream in root.iter("byteStream"):
            file = path / stream.find("fileLocation").get("href")
            assert int(stream.get("size")) == file.stat().st_size
            assert stream.find("checksum").get("checksumName") == name
            assert stream.find("checksum").text == function(file.read_bytes()).hexdigest()
            listed[file.relative_to(path).as_posix()] = True
        assert {*listed, "manifest.safe"} == {*digest(path)}


def test_metadata_lead_to_every_image_and_mask(new):
    root = ElementTree.parse(new.path / "MTD_MSIL1C.xml").getroot()  # noqa: S314
    images = [new.path / f"{e.text}.jp2" for e in root.iter("IMAGE_FILE")]
    tile = ElementTree.parse(next(new.path.glob("GRANULE/*/MTD_TL.xml"))).getroot()  # noqa: S314
    masks = [new.path / e.text for e in tile.iter("MASK_FILENAME")]
    assert len(images) == 14
    assert len(masks) == 27
    assert all(path.is_file() for path in images + masks)
    assert next(tile.iter("HORIZONTAL_CS_CODE")).text == "EPSG:32634"
    assert [e.text for e in tile.iter("NROWS")] == ["240", "120", "40"]
    zenith = [float(v) for v in next(tile.iter("VALUES")).text.split()]
    assert zenith[0] == pytest.approx(float(tile.find(".//Mean_Sun_Angle/ZENITH_ANGLE").text))


def test_southern_tile_satellite_and_zip_root(tmp_path):
    product = simulate_product(
        tmp_path, size_px=60, tile="22KGV", satellite="S2C", zipped=True, zip_root="other.SAFE"
    )
    assert product.path.name.startswith("S2C_MSIL1C_2025")
    with zipfile.ZipFile(product.path) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"other.SAFE"}
        assert archive.testzip() is None
    with rasterio.open(product.label_path) as labels:
        assert labels.crs.to_epsg() == 32722


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size_px": 100}, ValueError, "multiple of 6"),
        ({"baseline": "5"}, ValueError, "baseline must be"),
        ({"baseline": "02.01"}, ValueError, "at least 02.04"),
        ({"cloud_fraction": 1.5}, ValueError, "cloud_fraction must be"),
        ({"satellite": "L8"}, ValueError, "satellite must be"),
        ({"tile": "34IEH"}, ProductError, "MGRS tile"),
    ],
)
def test_refuses_bad_arguments(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        simulate_product(tmp_path, **{"size_px": 60} | arguments)
    assert not list(tmp_path.iterdir())


def test_refuses_a_swath_edge_beyond_the_product():
    with pytest.raises(ValueError, match=r"nodata_fraction must be in \[0, 1\], got 1\.5"):
        Flaws(nodata_fraction=1.5)
