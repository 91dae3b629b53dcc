"""Products, prepared scenes and rasters read as one thing."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fakes.tiny_safe import edit
from local_export import BANDS, SmallExport, model_info, predict_options, write_raster

from landcover_tf.configs.config_parts import part
from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.errors import RasterError
from landcover_tf.grid import Window
from landcover_tf.prepare import PrepareConfig
from landcover_tf.sentinel2.preparation import prepare_product
from landcover_tf.sentinel2.settings import Job, Settings
from landcover_tf.sentinel2.simulation import Flaws, SimulatedProduct, simulate_product
from landcover_tf.upsampling import Upsampling
from landcover_tf.validity import ValidityBit, has_bit
from serving.inputs import open_source
from serving.notices import other_upsampling
from serving.predict import main
from serving.raster_io import WindowReader
from serving.source import stamp_of

RAW = ("--min-object-size", "0", "--engine", "tensorflow", "--no-stac")


def settings(**flags: Any) -> Settings:
    """Returns the settings of a preparation with these flags and the defaults of all others."""
    return part(Settings, PrepareConfig(sentinel2_dir=Path(), output_dir=Path(), **flags))


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SimulatedProduct]:
    """One small product as a folder and as a zip, with a swath edge, clouds and lost lines."""
    folder = tmp_path_factory.mktemp("products")
    return {
        kind: simulate_product(
            folder / kind,
            size_px=300,
            seed=3,
            zipped=kind == "zip",
            cloud_fraction=0.1,
            flaws=Flaws(nodata_fraction=0.2, defective=True, saturated=True),
        )
        for kind in ("folder", "zip")
    }


@pytest.fixture(scope="module")
def prepared(
    products: dict[str, SimulatedProduct], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same product prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    job = Job(product=products["folder"].path, output_dir=folder, settings=settings())
    return prepare_product(job)


def test_a_product_is_read_as_its_prepared_scene(
    products: dict[str, SimulatedProduct], prepared: Path
) -> None:
    info, options = model_info(), predict_options(mask_clouds=True).source
    scene = open_source(prepared, info, options)
    expected, validity = scene.read(Window(row_off=0, col_off=0, height=300, width=300))
    for product in products.values():
        source = open_source(product.path, info, options)
        assert source.sequential
        reader = WindowReader(source, info.nodata)
        for row in (0, 96, 200):  # Overlapping windows: rows are decoded once and kept.
            window = Window(row_off=row, col_off=64, height=128, width=256)
            image, bits = reader.read(window)
            rows = slice(row, min(row + 128, 300))
            np.testing.assert_array_equal(image[: rows.stop - row, :236], expected[rows, 64:])
            assert (image[rows.stop - row :] == 0).all()
            same_data = (bits & 1)[: rows.stop - row, :236] == (validity & 1)[rows, 64:]
            assert same_data.all()
        source.close()
    assert scene.tags["baseline"] == "05.11"
    scene.close()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_product_and_its_prepared_scene_give_one_map(
    small_export: SmallExport,
    products: dict[str, SimulatedProduct],
    prepared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    flags = (*RAW, "--mode", "exact", "--model-path", str(small_export.folder))
    maps = []
    for name, path in (("product", products[kind].path), ("scene", prepared)):
        out = tmp_path / name / "map.tif"
        paths = ("--input-image", str(path), "--output-map", str(out))
        assert main([*flags, *paths]) == 0
        assert (
            "is under clouds, which get classes as if they were ground" in capsys.readouterr().err
        )
        with rasterio.open(out) as dataset:
            maps.append(dataset.read(1))
            assert dataset.tags()["product"].startswith("S2A_MSIL1C")
            year = dataset.tags()["sensing_time"][:4]
            notice = f"Contains modified Copernicus Sentinel data {year}"
            assert dataset.tags()["attribution"] == notice
    np.testing.assert_array_equal(*maps)
    with rasterio.open(prepared / "validity.tif") as dataset:
        validity = dataset.read(1)
    # Lost and defective pixels (2) get no class, saturated ones (4) do.
    np.testing.assert_array_equal(maps[0] == 0, (validity & (1 | 2)) > 0)
    for bit in (1, 2, 4):
        assert 0 < ((validity & (1 | 2 | 4)) == bit).sum() < validity.size / 2
    with rasterio.open(out.with_name("confidence.tif")) as dataset:
        np.testing.assert_array_equal(dataset.read(1) == 255, maps[0] == 0)


COARSE = tuple(BandInfo(name=b, scale=1e-4, offset=-0.1) for b in ("B05", "B8A", "B01", "B09"))


@pytest.mark.parametrize("name", ["*_B03.jp2", "MTD_TL.xml", "*DETFOO_B03.jp2", "*CLASSI*.jp2"])
def test_a_file_replaced_in_a_product_is_seen_and_a_preview_is_not(
    products: dict[str, SimulatedProduct], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / products["folder"].path.name
    shutil.copytree(products["folder"].path, folder)

    def stamp() -> str:
        return stamp_of(open_source(folder, model_info(), predict_options().source).files)

    first = stamp()
    (folder / "preview.png").touch()
    assert stamp() == first
    file = sorted(folder.rglob(name))[0]
    before = folder.stat().st_mtime_ns
    os.utime(file, (1_600_000_000, 1_600_000_000))
    assert folder.stat().st_mtime_ns == before
    assert stamp() != first


@pytest.mark.parametrize("names", [("blue", "green", "red", "nir"), ("B2", "B3", "B4", "B8")])
def test_products_and_prepared_scenes_are_read_under_the_names_of_the_training(
    products: dict[str, SimulatedProduct], prepared: Path, names: tuple[str, ...]
) -> None:
    window, options = Window(row_off=0, col_off=0, height=64, width=300), predict_options().source
    expected = open_source(prepared, model_info(), options).read(window)[0]
    named = tuple(BandInfo(name=name, scale=1e-4, offset=-0.1) for name in names)
    for path in (prepared, products["folder"].path):
        source = open_source(path, model_info(bands=named), options)
        assert source.taken == dict(zip(names, BANDS, strict=True))
        np.testing.assert_array_equal(source.read(window)[0], expected)
        lacking = model_info(bands=(*named, BandInfo(name="VV", scale=1.0, offset=0.0)))
        with pytest.raises(RasterError, match=r"lacks band VV; it has B01, .*B12$"):
            open_source(path, lacking, options)


def test_the_taken_bands_are_told(
    small_export: SmallExport,
    products: dict[str, SimulatedProduct],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export, path = tmp_path / "1", products["folder"].path
    shutil.copytree(small_export.folder, export)
    names = ("blue", "green", "red", "nir")
    model_info(bands=tuple(BandInfo(name=n, scale=1e-4, offset=-0.1) for n in names)).save(export)
    paths = ["--input-image", str(path), "--output-map", str(tmp_path / "map.tif")]
    assert main(["--model-path", str(export), *paths, *RAW, "--no-picture"]) == 0
    note = f"note: of {path} are taken: B02 as blue, B03 as green, B04 as red, B08 as nir\n"
    assert note in capsys.readouterr().err


def test_a_product_is_read_as_the_training_scenes_were_prepared(
    products: dict[str, SimulatedProduct], tmp_path: Path
) -> None:
    upsampling = Upsampling(resampling="bilinear", sharpening="glp")
    made = settings(resampling="bilinear", sharpening="glp")
    path = products["folder"].path
    scene = prepare_product(Job(product=path, output_dir=tmp_path, settings=made))
    info = model_info(bands=COARSE, upsampling=upsampling)
    window = Window(row_off=0, col_off=0, height=300, width=300)
    images = [open_source(p, info, predict_options().source).read(window)[0] for p in (scene, path)]
    np.testing.assert_array_equal(*images)
    asked = open_source(path, info, predict_options(sharpening="none", resampling="bicubic").source)
    assert (asked.read(window)[0] != images[0]).mean() > 0.1


def test_bands_made_otherwise_than_those_of_the_training_are_told(
    small_export: SmallExport,
    products: dict[str, SimulatedProduct],
    prepared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export = tmp_path / "1"
    shutil.copytree(small_export.folder, export)
    info = model_info(bands=COARSE, upsampling=Upsampling(sharpening="glp"))
    info.save(export)
    product = products["zip"].path
    command = ["--model-path", str(export), "--mode", "exact", *RAW, "--no-picture"]

    def warned(path: Path, *flags: str) -> bool:
        out = tmp_path / f"{path.parent.name}{''.join(flags)}.tif"
        paths = ["--input-image", str(path), "--output-map", str(out)]
        assert main([*command, *paths, *flags]) == 0
        sentence = (
            "bicubic --sharpening none, the model was trained on --resampling bicubic "
            "--sharpening glp; expect a worse map"
        )
        return sentence in capsys.readouterr().err

    assert not warned(product)
    assert warned(product, "--sharpening", "none")
    assert warned(prepared)
    # Bands of 10 m are the same in either case, and an older model does not tell.
    scene = open_source(prepared, info, predict_options().source)
    assert other_upsampling(scene, info) is not None
    assert other_upsampling(scene, model_info(upsampling=Upsampling(sharpening="glp"))) is None
    assert other_upsampling(scene, model_info(bands=COARSE)) is None


def test_clouds_are_left_out_on_request(
    small_export: SmallExport,
    products: dict[str, SimulatedProduct],
    prepared: Path,
    tmp_path: Path,
) -> None:
    with rasterio.open(prepared / "validity.tif") as dataset:
        validity = dataset.read(1)
    maps = {}
    for name, path in (("scene", prepared), ("product", products["folder"].path)):
        out = tmp_path / name / "map.tif"
        paths = ("--input-image", str(path), "--output-map", str(out))
        flags = (*RAW, "--mode", "exact", "--model-path", str(small_export.folder))
        assert main([*flags, *paths, "--mask-clouds"]) == 0
        with rasterio.open(out) as dataset:
            maps[name] = dataset.read(1)
    np.testing.assert_array_equal(maps["scene"] == 0, (validity & (1 | 2 | 8 | 16 | 32 | 128)) > 0)
    np.testing.assert_array_equal(maps["product"], maps["scene"])


def test_shadows_of_a_product_are_those_of_its_prepared_scene(tmp_path: Path) -> None:
    flaws = Flaws(nodata_fraction=0.2)
    product = simulate_product(
        tmp_path / "raw", size_px=360, seed=5, cloud_fraction=0.3, flaws=flaws
    )
    job = Job(product=product.path, output_dir=tmp_path, settings=settings())
    options = predict_options(mask_clouds=True).source
    whole = Window(row_off=0, col_off=0, height=360, width=360)
    validities = []
    for path in (product.path, prepare_product(job)):
        source = open_source(path, model_info(), options)
        validities.append(source.read(whole)[1])
        source.close()
    np.testing.assert_array_equal(*validities)
    assert has_bit(validities[0], ValidityBit.SHADOW).sum() > 1000


def test_clouds_of_a_scene_that_has_none_marked_cannot_be_left_out(
    prepared: Path, tmp_path: Path
) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(prepared, scene)
    document = json.loads((scene / "scene.json").read_text())
    document["settings"]["cloud_source"] = "none"
    (scene / "scene.json").write_text(json.dumps(document))
    with pytest.raises(RasterError, match="was prepared with --cloud-source none"):
        open_source(scene, model_info(), predict_options(mask_clouds=True).source)
    shutil.copy(prepared / "scene.json", scene)
    (scene / "validity.tif").unlink()
    with pytest.raises(RasterError, match=r"image.tif does not say where clouds are"):
        open_source(scene, model_info(), predict_options(mask_clouds=True).source)
    open_source(scene, model_info(), predict_options().source).close()


def test_an_unfit_product_is_refused_and_a_doubtful_one_told(
    small_export: SmallExport,
    products: dict[str, SimulatedProduct],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / products["folder"].path.name
    shutil.copytree(products["folder"].path, folder)
    out = tmp_path / "out" / "map.tif"
    paths = ("--input-image", str(folder), "--output-map", str(out))
    flags = [*RAW, "--mode", "exact", "--model-path", str(small_export.folder), "--no-checksums"]
    (tile,) = folder.glob("GRANULE/*/MTD_TL.xml")
    north = tile.read_text()
    # South of the equator, the same coordinates lie 10 000 km away.
    edit(tile, ">EPSG:32634<", ">EPSG:32734<")
    assert main([*flags, *paths]) == 2
    error = capsys.readouterr().err
    assert "_B01.jp2 in" in error and "is in EPSG:32634; MTD_TL.xml says EPSG:32734" in error
    assert "problems; `landcover prepare --check-only` lists all" in error
    assert not out.parent.exists() or not list(out.parent.iterdir())
    tile.write_text(north)
    shutil.rmtree(tile.parent / "QI_DATA")
    assert main([*flags, *paths, "--mask-clouds"]) == 2
    error = capsys.readouterr().err
    assert (
        "has no cloud mask of its own; prepare it with --cloud-source s2cloudless or with" in error
    )
    assert main([*flags, *paths]) == 0
    error = capsys.readouterr().err
    assert f"warning: {folder} has no cloud mask of its own\n" in error
    assert f"warning: {folder} has no MSK_QUALIT of any band" in error


def test_a_strip_that_cannot_be_read_is_named_and_the_rest_is_kept(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scene.tif"
    write_raster(path, 1200, 100)
    with rasterio.open(path) as dataset:
        profile = dataset.profile | {"compress": "deflate", "blockysize": 16}
        image, scales, offsets = dataset.read(), dataset.scales, dataset.offsets
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(image)
        dataset.descriptions, dataset.scales, dataset.offsets = BANDS, scales, offsets
    with rasterio.open(path) as dataset:  # The strip of rows 960-975 in the last band.
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_0_60", "TIFF", bidx=4))
    whole = path.read_bytes()
    content = bytearray(whole)
    content[offset : offset + 500] = bytes(500)
    path.write_bytes(content)
    out = tmp_path / "map.tif"
    command = ["--model-path", str(small_export.folder), "--input-image", str(path)]
    blend = ("--mode", "blend", "--patch-size", "64", "--patch-overlap", "32")
    assert main([*command, "--output-map", str(out), *RAW, *blend]) == 2
    error = capsys.readouterr().err
    assert "scene.tif cannot be read at rows" in error
    assert not out.exists()
    bands = sorted((tmp_path / ".map.tif.work" / "network").glob("band_*.npy"))
    assert bands

    # Another raster under the repaired one's name must not be mixed in.
    write_raster(path, 1200, 100, seed=1)
    assert main([*command, "--output-map", str(out), *RAW, *blend]) == 2
    assert "unfinished run with other settings (source)" in capsys.readouterr().err
    # The repaired file is newer, but holds the pixels that finished rows were made of.
    path.write_bytes(whole)
    # A mark in a finished band shows in the map if that band was taken over.
    marked = np.load(bands[0])
    marked[0] = 0
    np.save(bands[0], marked)
    assert main([*command, "--output-map", str(out), *RAW, *blend]) == 0
    again = tmp_path / "again" / "map.tif"
    assert main([*command, "--output-map", str(again), *RAW, *blend]) == 0
    with rasterio.open(out) as resumed, rasterio.open(again) as whole_run:
        rows = marked.shape[1]
        assert (resumed.read(1)[:rows] == small_export.info.class_codes[0]).all()
        np.testing.assert_array_equal(resumed.read(1)[rows:], whole_run.read(1)[rows:])


def test_resampling_brings_pixels_to_the_model(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    write_raster(path, 40, 60, pixel_m=20.0)
    with pytest.raises(RasterError, match="factor 2"):
        open_source(path, model_info(), predict_options().source)
    source = open_source(path, model_info(), predict_options(resample=True).source)
    assert (source.grid.height, source.grid.width) == (80, 120)
    assert source.grid.transform.a == 10
    image, validity = source.read(Window(row_off=0, col_off=0, height=80, width=120))
    assert image.shape == (80, 120, 4)
    assert not validity.any()


# Importing the package here, as `importorskip` does, would let its telemetry write and send.
