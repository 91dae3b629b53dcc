"""The prediction program on real small files."""

import csv
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.warp
from fakes.stac_rules import check_extensions
from local_export import BANDS, PLAIN, SmallExport, cleaning, write_raster
from PIL import Image
from pystac import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rio_cogeo.cogeo import cog_validate
from scipy import ndimage

from landcover_tf.legend import load_legend
from landcover_tf.system.provenance import commit_tag
from serving import layouts
from serving.predict import main

RAW = ("--min-object-size", "0", "--engine", "tensorflow", "--no-picture", "--no-stac")


def predict(export: SmallExport, image: Path, out: Path, *flags: str) -> int:
    paths = ["--model-path", str(export.folder), "--input-image", str(image)]
    return main([*paths, "--output-map", str(out), *flags])


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def codes_of(export: SmallExport, probabilities: np.ndarray) -> np.ndarray:
    return np.array(export.info.class_codes, np.uint8)[probabilities.argmax(axis=-1)]


def small_windows(width: int) -> tuple[str, str]:
    """Returns the flag that leaves room for windows of about 144 x 144 px in a raster so wide."""
    room = 144 * 144 * layouts.ACTIVATION_BYTES_PER_PX["tensorflow", "float32"]
    room += 2 * 144 * width * 5 * 4  # A row band of float32 probabilities and its copy.
    room += (144 + 3 * 256) * width * (2 * 4 + 1)  # Full strips of values and validity.
    return "--memory-gb", str((layouts.ENGINE_BYTES["tensorflow"] + room) / 2**30)


@pytest.mark.parametrize("shape", [(1, 1), (31, 31), (257, 1025), (90, 300)])
def test_exact_mode_equals_the_untiled_network(
    small_export: SmallExport, tmp_path: Path, shape: tuple[int, int]
) -> None:
    image = write_raster(tmp_path / "scene.tif", *shape)
    out = tmp_path / "map.tif"
    flags = ("--mode", "exact", "--probabilities", *small_windows(shape[1]), *RAW)
    assert predict(small_export, tmp_path / "scene.tif", out, *flags) == 0
    untiled = small_export.untiled(image)
    np.testing.assert_array_equal(read(out), codes_of(small_export, untiled))
    with rasterio.open(tmp_path / "probabilities.tif") as dataset:
        levels = np.moveaxis(dataset.read(), 0, -1).astype(int)
        assert dataset.descriptions == tuple(c.name for c in small_export.info.legend.classes[:5])
    # Stored levels are rounded to 1/254; float rounding may tip one by one step.
    assert np.abs(levels - untiled * 254).max() < 0.5 + 1e-3


@pytest.mark.parametrize(
    ("weighting", "shape"),
    [
        ("radial", (100, 130)),
        ("cosine", (100, 130)),
        ("uniform", (100, 130)),
        ("radial", (1, 1)),
        ("radial", (31, 31)),
        ("radial", (257, 1025)),
    ],
)
def test_blend_mode_equals_a_plain_weighted_mean(
    small_export: SmallExport, tmp_path: Path, weighting: str, shape: tuple[int, int]
) -> None:
    from serving.blending import patch_weights

    height, width = shape
    image = write_raster(tmp_path / "scene.tif", height, width)
    out = tmp_path / "map.tif"
    flags = ("--mode", "blend", "--patch-size", "64", "--patch-overlap", "32")
    flags += ("--weighting", weighting, "--probabilities", *RAW)
    assert predict(small_export, tmp_path / "scene.tif", out, *flags) == 0
    padded = np.pad(image, ((0, 0), (0, 100), (0, 100)))
    total = np.zeros((height + 100, width + 100, 5))
    weight = np.zeros((height + 100, width + 100, 1))
    weights = patch_weights(weighting, 64, 32)[..., None]
    # Patches start every 32 px until the last one reaches the end: 128 >= 100 rows take three.
    for row in range(0, max(height - 32, 1), 32):
        for col in range(0, max(width - 32, 1), 32):
            part = slice(row, row + 64), slice(col, col + 64)
            total[part] += weights * small_export.untiled(padded[:, part[0], part[1]])
            weight[part] += weights
    expected = (total / np.maximum(weight, 1e-9))[:height, :width]
    with rasterio.open(tmp_path / "probabilities.tif") as dataset:
        levels = np.moveaxis(dataset.read(), 0, -1).astype(int)
    assert np.abs(levels - expected * 254).max() < 0.5 + 1e-3


def test_the_map_is_a_cog_with_everything_in_it(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 700, 600, nodata_columns=40)
    out = tmp_path / "result" / "map.tif"
    flags = ("--entropy", "--probabilities", "--vector", "--engine", "tensorflow")
    assert predict(small_export, tmp_path / "scene.tif", out, *flags) == 0
    assert "6.67 % of all pixels have no class" in capsys.readouterr().out  # 40 of 600 columns.
    for name in ("map", "confidence", "entropy", "probabilities"):
        valid, errors, warnings = cog_validate(out.with_name(f"{name}.tif"), quiet=True)
        assert (valid, errors, warnings) == (True, [], [])
    legend = load_legend("landcover9")
    with rasterio.open(out) as dataset, rasterio.open(tmp_path / "scene.tif") as scene:
        assert dataset.crs == scene.crs
        assert dataset.transform == scene.transform
        assert (dataset.nodata, dataset.dtypes) == (0, ("uint8",))
        assert dataset.colormap(1)[40] == legend.colormap()[40]
        assert dataset.overviews(1) == [2]
        assert dataset.tags()["model_sha256"] == small_export.info.identity
        assert dataset.tags().items() >= commit_tag().items()
        assert dataset.tags()["source"] == "scene"
        assert dataset.tags(1)["CLASS_60"] == "water bodies"
        classes = dataset.read(1)
    assert (classes[:, :40] == 0).all()
    assert (classes[:, 40:] > 0).all()
    assert (read(out.with_name("confidence.tif")) == 255).sum() == 40 * 700
    with rasterio.open(out.with_name("confidence.tif")) as dataset:
        said = "confidence: probability of the network's class, before post-processing"
        assert (dataset.descriptions, dataset.scales) == ((said,), (1 / 254,))
    categories = ElementTree.parse(out.with_name("map.tif.aux.xml")).iter("Category")  # noqa: S314
    assert [c.text for c in categories][60] == "water bodies"
    rows = list(csv.DictReader(out.with_name("areas.csv").open()))
    missing = rows.pop()
    assert (missing["code"], missing["name"], missing["percent"]) == ("0", "no class", "")
    assert int(missing["pixels"]) == 700 * 40
    assert sum(int(r["pixels"]) for r in rows) == 700 * 560
    assert sum(float(r["area_ha"]) for r in rows) == pytest.approx(700 * 560 / 100)  # 10 m pixels
    assert sum(float(r["percent"]) for r in rows) == pytest.approx(100, abs=0.01)
    assert 'value="60"' in out.with_suffix(".qml").read_text()
    with Image.open(out.with_suffix(".png")) as file:
        picture = np.asarray(file.convert("RGB"))
    drawn = {c.code for c in legend.classes if (picture == c.rgb).all(axis=-1).any()}
    assert drawn == set(legend.codes)
    assert drawn - set(np.unique(classes))  # The legend shows what the map has not.
    assert not list(out.parent.glob(".*"))  # Nothing temporary stays.


def test_the_stac_item_is_valid(small_export: SmallExport, tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", 40, 50)
    out = tmp_path / "map.tif"
    assert predict(small_export, tmp_path / "scene.tif", out, "--engine", "tensorflow") == 0
    item = pystac.Item.from_file(str(out.with_suffix(".json")))
    assert set(item.assets) == {"map", "confidence", "areas", "style", "picture"}
    values = {c["value"]: c for c in item.assets["map"].extra_fields["classification:classes"]}
    assert values[0]["nodata"] is True
    assert values[60]["name"] == "water_bodies"
    assert item.properties["proj:code"] == "EPSG:32634"
    validator = JsonSchemaSTACValidator()
    validator.validate_core(item.to_dict(), STACObjectType.ITEM, "1.1.0")
    check_extensions(item.to_dict())
    assert all(Path(tmp_path / a.href).is_file() for a in item.assets.values())
    with rasterio.open(out) as dataset:
        west, south, *_ = rasterio.warp.transform_bounds(dataset.crs, 4326, *dataset.bounds)
    assert item.bbox is not None
    assert item.bbox[:2] == pytest.approx([west, south])


def test_a_second_model_of_other_settings_does_not_touch_a_finished_map(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40)
    out = tmp_path / "map.tif"
    assert predict(small_export, tmp_path / "scene.tif", out, *RAW) == 0
    before = out.read_bytes()
    assert predict(small_export, tmp_path / "scene.tif", out, *RAW) == 2
    assert "exists already" in capsys.readouterr().err
    assert predict(small_export, tmp_path / "scene.tif", out, *RAW, "--overwrite") == 0
    assert out.read_bytes() == before


def test_post_processing_options_change_the_map_as_named(
    small_export: SmallExport, tmp_path: Path
) -> None:
    from serving.postprocess import refined

    image = write_raster(tmp_path / "scene.tif", 120, 90)
    out = tmp_path / "map.tif"
    flags = ("--mode", "exact", "--refine", "probabilities", *RAW)
    assert predict(small_export, tmp_path / "scene.tif", out, *flags) == 0
    untiled = small_export.untiled(image)
    levels = np.rint(np.moveaxis(untiled, -1, 0) * 254).astype(np.uint8)
    block = np.concatenate([levels.argmax(axis=0)[None], levels.max(axis=0)[None], levels])
    wanted = cleaning(refine="probabilities")
    (voted,) = refined([block.astype(np.uint8)], wanted)
    codes = np.array(small_export.info.class_codes, np.uint8)[voted[0]]
    np.testing.assert_array_equal(read(out), codes)
    np.testing.assert_array_equal(read(tmp_path / "confidence.tif"), voted[1])


def test_uncertain_pixels_get_their_own_class(small_export: SmallExport, tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", 60, 60)
    out = tmp_path / "map.tif"
    flags = ("--uncertain-below", "0.6", *RAW)
    assert predict(small_export, tmp_path / "scene.tif", out, *flags) == 0
    unsure = read(tmp_path / "confidence.tif") < 0.6 * 254
    assert 0 < unsure.sum() < unsure.size
    np.testing.assert_array_equal(read(out) == 255, unsure)
    assert "uncertain" in (tmp_path / "areas.csv").read_text()


def test_small_objects_are_removed_among_the_uncertain_pixels_too(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "scene.tif", 100, 100)
    flags = ("--uncertain-below", "0.5", *PLAIN)
    found = {}
    for name, more in (("all", ()), ("specks", ("--sieve", "uncertain=0"))):
        out = tmp_path / name / "map.tif"
        assert predict(small_export, tmp_path / "scene.tif", out, *flags, *more) == 0
        codes = read(out)
        for code in np.unique(codes):
            sizes = np.bincount(ndimage.label(codes == code)[0].ravel())[1:]
            found[name, int(code)] = int(sizes.min())
    assert min(size for (name, _), size in found.items() if name == "all") >= 20
    assert found["specks", 255] == 1
    with rasterio.open(tmp_path / "all" / "map.tif") as dataset:
        said = "confidence under 0.5 uncertain; objects under 20 px removed"
        assert dataset.tags()["post_processing"] == said
    # The confidence stays the network's.
    confidences = [read(tmp_path / name / "confidence.tif") for name in ("all", "specks")]
    np.testing.assert_array_equal(*confidences)


def test_orientations_are_averaged(small_export: SmallExport, tmp_path: Path) -> None:
    image = write_raster(tmp_path / "scene.tif", 64, 64)
    out = tmp_path / "map.tif"
    flags = ("--tta", "--mode", "exact", "--probabilities", *RAW)
    assert predict(small_export, tmp_path / "scene.tif", out, *flags) == 0
    mean = np.zeros((64, 64, 5))
    for flipped in (image, image[:, :, ::-1]):
        for turns in range(4):
            turned = small_export.untiled(np.rot90(flipped, turns, (1, 2)))
            back = np.rot90(turned, -turns, (0, 1))
            mean += (back[:, ::-1] if flipped is not image else back) / 8
    with rasterio.open(tmp_path / "probabilities.tif") as dataset:
        levels = np.moveaxis(dataset.read(), 0, -1).astype(int)
    assert np.abs(levels - mean * 254).max() < 0.5 + 1e-3


def test_bands_are_found_by_name(small_export: SmallExport, tmp_path: Path) -> None:
    image = write_raster(tmp_path / "scene.tif", 50, 50)
    order = [2, 0, 3, 1]
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        profile = dataset.profile
    with rasterio.open(tmp_path / "mixed.tif", "w", **profile) as dataset:
        dataset.write(image[order])
        # B4 is the product's spelling of B04.
        dataset.descriptions = [BANDS[i].replace("B0", "B") for i in order]
        dataset.scales, dataset.offsets = (1e-4,) * 4, (-0.1,) * 4
    for name in ("scene", "mixed"):
        out = tmp_path / name / "map.tif"
        assert predict(small_export, tmp_path / f"{name}.tif", out, *RAW) == 0
    np.testing.assert_array_equal(
        read(tmp_path / "scene" / "map.tif"), read(tmp_path / "mixed" / "map.tif")
    )


def test_other_units_are_converted(small_export: SmallExport, tmp_path: Path) -> None:
    image = write_raster(tmp_path / "scene.tif", 50, 50, nodata_columns=5)
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        profile = dataset.profile | {"dtype": "float32", "nodata": np.nan}
    reflectance = np.where(image > 0, image * 1e-4 - 0.1, np.nan)
    with rasterio.open(tmp_path / "float.tif", "w", **profile) as dataset:
        dataset.write(reflectance.astype(np.float32))
        dataset.descriptions = BANDS
    for name in ("scene", "float"):
        out = tmp_path / name / "map.tif"
        assert predict(small_export, tmp_path / f"{name}.tif", out, *RAW) == 0
    np.testing.assert_array_equal(
        read(tmp_path / "scene" / "map.tif"), read(tmp_path / "float" / "map.tif")
    )


def test_reference_of_another_legend_is_refused_before_any_work(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40)
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        profile = dataset.profile | {"count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "truth.tif", "w", **profile) as dataset:
        # CORINE codes, where the model's legend has tens.
        dataset.write(np.full((1, 40, 40), 23, np.uint8))
    truth = ("--reference-map", str(tmp_path / "truth.tif"))
    out = tmp_path / "out" / "map.tif"
    assert predict(small_export, tmp_path / "scene.tif", out, *RAW, *truth) == 2
    error = capsys.readouterr().err
    assert "has codes 23, which the model's legend 'landcover9' does not have" in error
    (tmp_path / "truth.tif").write_bytes(b"no raster")
    assert predict(small_export, tmp_path / "scene.tif", out, *RAW, *truth) == 2
    assert "cannot read the raster" in capsys.readouterr().err
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": None}, "have no names"),
        ({"names": ("B02", "B03", "B04", "B11")}, "lacks band B08"),
        ({"pixel_m": 20.0}, r"pixels of 20 m, the model was trained on 10 m \(factor 2\)"),
    ],
)
def test_unfit_rasters_are_refused_in_one_sentence(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    write_raster(tmp_path / "scene.tif", 40, 40, **changes)
    assert predict(small_export, tmp_path / "scene.tif", tmp_path / "map.tif", *RAW) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not (tmp_path / "map.tif").exists()
