"""The maps of several inputs merged into one."""

import json
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from fakes.stac_rules import check_extensions
from local_export import PLAIN, SmallExport, arguments, cleaning, predict_options, write_raster
from pystac import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rasterio import Affine
from scipy import ndimage

from landcover_tf.legend import load_legend
from serving.mosaic import merge
from serving.postprocess import with_uncertain
from serving.predict import main
from serving.stac import COG_TYPE

AS_MERGED = cleaning(min_object_size=0)


def write_part(
    folder: Path, codes: np.ndarray, confidence: np.ndarray, *, cols: int = 0, **tags: str
) -> Path:
    """Writes a map, uint8 [16, 16], some columns east, with its confidence; returns the map."""
    folder.mkdir()
    for name, values in (("map.tif", codes), ("confidence.tif", confidence)):
        with rasterio.open(
            folder / name, "w", driver="GTiff", width=16, height=16, count=1, dtype="uint8",
            crs="EPSG:32634", transform=Affine(10, 0, 600_000 + 10 * cols, 0, -10, 4_200_000),
        ) as dataset:  # fmt: skip
            dataset.write(values, 1)
            dataset.update_tags(**tags)
    return folder / "map.tif"


def all_of(value: int) -> np.ndarray:
    return np.full((16, 16), value, np.uint8)


def test_the_more_confident_pixel_wins_and_no_data_never_does(tmp_path: Path) -> None:
    right = np.arange(16) >= 8
    # A scene's corner without data has the confidence 255, as all maps write it.
    codes = np.where(right, all_of(20), all_of(0))
    confidence = np.where(right, all_of(200), all_of(255))
    confidence[-1, right] = 100  # As confident as the other map.
    a = write_part(tmp_path / "a", all_of(10), all_of(100))
    b = write_part(tmp_path / "b", codes, confidence)
    wanted = predict_options(picture=False, stac=False).outputs
    for parts, in_last_row in (((a, b), 10), ((b, a), 20)):
        path = tmp_path / parts[0].parent.name / "all.tif"
        found = merge(parts, load_legend("landcover9"), path, wanted, {}, cleaning=AS_MERGED)
        merged = []
        for file in (path, path.with_name("all_confidence.tif")):
            with rasterio.open(file) as dataset:
                merged.append(dataset.read(1))
        expected = np.where(right, [[[20]], [[200]]], [[[10]], [[100]]]).repeat(16, axis=1)
        expected[0, -1, right], expected[1, -1, right] = in_last_row, 100
        np.testing.assert_array_equal(merged, expected)
        assert found.counts[10] == 16 * 8 + 8 * (in_last_row == 10)


def halves(folder: Path) -> list[Path]:
    """Writes one raster as two that lie side by side."""
    image, images = write_raster(folder / "whole.tif", 100, 160), []
    for half in range(2):
        images.append(folder / f"{half}.tif")
        write_raster(images[-1], 100, 80, origin=(600_000.0 + 800 * half, 4_200_000.0))
        with rasterio.open(images[-1], "r+") as dataset:
            dataset.write(image[:, :, 80 * half : 80 * half + 80])
    return images


def at_one_place(folder: Path) -> list[Path]:
    """Writes two rasters of the same ground."""
    images = [folder / "0.tif", folder / "1.tif"]
    for seed, image in enumerate(images):
        write_raster(image, 80, 80, seed=seed)
    return images


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read(1))


@pytest.mark.parametrize("inputs", [halves, at_one_place])
@pytest.mark.parametrize("flags", [(), ("--uncertain-below", "0.4")])
def test_small_objects_are_those_of_the_mosaic(
    small_export: SmallExport,
    tmp_path: Path,
    inputs: Callable[[Path], list[Path]],
    flags: tuple[str, ...],
) -> None:
    out = tmp_path / "all.tif"
    command = arguments(small_export, inputs(tmp_path), out, *PLAIN, "--mosaic", *flags)
    assert main(command) == 0
    found = read(out)
    with rasterio.open(out) as dataset:
        steps = dataset.tags()["post_processing"]
    marked = "confidence under 0.4 uncertain; " if flags else ""
    assert steps == f"{marked}maps merged; objects under 20 px removed"
    wanted = predict_options(picture=False, stac=False).outputs
    parts = [tmp_path / "all_scenes" / name / "map.tif" for name in "01"]
    legend = with_uncertain(small_export.info.legend)
    merge(parts, legend, tmp_path / "merged.tif", wanted, {}, cleaning=AS_MERGED)
    merged = read(tmp_path / "merged.tif")
    large = object_sizes(merged) >= 20
    assert (~large).sum() > 500
    np.testing.assert_array_equal(found[large], merged[large])
    assert object_sizes(found).min() >= 20
    # The confidence stays that of the network.
    np.testing.assert_array_equal(
        read(tmp_path / "all_confidence.tif"), read(tmp_path / "merged_confidence.tif")
    )


def object_sizes(codes: np.ndarray) -> np.ndarray:
    """Returns the pixels of the 4-connected object of each pixel, counted by SciPy."""
    sizes = np.zeros(codes.shape, int)
    for code in np.unique(codes):
        labels, _ = ndimage.label(codes == code)
        sizes += np.bincount(labels.ravel())[labels] * (labels > 0)
    return sizes


def test_the_settings_beside_a_map_of_a_mosaic_make_it_alone(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = at_one_place(tmp_path), tmp_path / "m.tif"
    flags = (*PLAIN, "--mosaic", "--vector", "--sieve", "forests=50")
    assert main(arguments(small_export, images, out, *flags)) == 0
    part = tmp_path / "m_scenes" / "0" / "map.tif"
    assert out.with_suffix(".gpkg").exists() and not part.with_suffix(".gpkg").exists()
    before = part.read_bytes()
    record = part.with_name("predict.json")
    assert main(["--config", str(record), "--overwrite"]) == 0
    assert part.read_bytes() == before


def test_a_wrong_sieve_of_a_mosaic_is_refused_before_any_work(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = at_one_place(tmp_path), tmp_path / "m.tif"
    command = arguments(small_export, images, out, *PLAIN, "--mosaic", "--sieve", "nowhere=4")
    for more in ((), ("--plan",)):
        assert main([*command, *more]) == 2
        assert "--sieve expects CLASS=PIXELS" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == images


def test_more_maps_than_may_be_open_are_merged(tmp_path: Path) -> None:
    legend = load_legend("landcover9")
    parts = [
        write_part(tmp_path / str(number), all_of(10), all_of(100 + number), cols=8 * number)
        for number in range(40)
    ]
    wanted = predict_options(picture=False, stac=False).outputs
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 20, limits[1])
    )
    try:
        found = merge(parts, legend, tmp_path / "all.tif", wanted, {}, cleaning=AS_MERGED)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found.counts[10] == 16 * (39 * 8 + 16)
    with rasterio.open(tmp_path / "all_confidence.tif") as dataset:
        # Each but the last keeps the 8 columns that no more confident one covers.
        assert dataset.read(1)[0, ::8].tolist() == [*range(100, 140), 139]


TIMES = ("2024-06-03T09:20:45+00:00", "2024-06-03T09:20:31+00:00", "2024-06-13T09:20:40+00:00")


@pytest.mark.parametrize(
    ("times", "dated"),
    [
        (TIMES[:1] * 3, {"datetime": "2024-06-03T09:20:45Z"}),
        (
            TIMES,
            {
                "datetime": None,
                "start_datetime": "2024-06-03T09:20:31Z",
                "end_datetime": "2024-06-13T09:20:40Z",
            },
        ),
        # A part may be of any time.
        (
            TIMES[:2],
            {
                "datetime": None,
                "start_datetime": "2015-06-23T00:00:00Z",
                "end_datetime": "2100-01-01T00:00:00Z",
            },
        ),
    ],
)
def test_the_item_of_a_mosaic_has_the_times_of_its_parts(
    tmp_path: Path, times: tuple[str, ...], dated: dict[str, str | None]
) -> None:
    parts = []
    for number, name in enumerate("abc"):
        tags = {"product": name, "tile": "T34TFN", "baseline": f"05.1{number}"}
        if number < len(times):
            tags["sensing_time"] = times[number]
        parts.append(write_part(tmp_path / name, all_of(10), all_of(100), **tags))
    wanted = predict_options(picture=False).outputs
    merge(parts, load_legend("landcover9"), tmp_path / "june.tif", wanted, {}, cleaning=AS_MERGED)
    item = json.loads((tmp_path / "june.json").read_text())
    JsonSchemaSTACValidator().validate_core(item, STACObjectType.ITEM, "1.1.0")
    check_extensions(item)
    assert item["id"] == "june_landcover"
    properties = item["properties"]
    assert {k: v for k, v in properties.items() if "datetime" in k} == dated
    own = {k: v for k, v in properties.items() if k.startswith("landcover:")}
    assert own == {
        "landcover:tile": "T34TFN",
        "landcover:source": "a, b, c",
        "landcover:attribution": "Contains modified Copernicus Sentinel data 2024",
    }
    with rasterio.open(tmp_path / "june.tif") as dataset:
        assert ("first_sensing_time" in dataset.tags()) == (times == TIMES)


def test_a_mosaic_gets_the_files_that_a_map_gets(small_export: SmallExport, tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", 60, 80, seed=1)
    # 50 columns east and 20 rows south: 60 * 80 + 70 * 90 px less 40 * 30 that they share.
    write_raster(tmp_path / "b.tif", 70, 90, seed=2, origin=(600_500.0, 4_199_800.0))
    out = tmp_path / "out" / "both.tif"
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    flags = ("--mosaic", "--vector")
    assert main(arguments(small_export, images, out, *flags)) == 0
    names = {path.name for path in out.parent.iterdir() if path.is_file()}
    companions = {
        f"both.{suffix}" for suffix in ("tif", "tif.aux.xml", "qml", "png", "gpkg", "json")
    }
    assert names == companions | {
        f"both_{n}" for n in ("confidence.tif", "areas.csv", "predict.json")
    }
    item = pystac.Item.from_file(str(out.with_suffix(".json")))
    assert item.id == "both_landcover"
    with rasterio.open(out.with_name("both_confidence.tif")) as dataset:
        assert "before post-processing" in dataset.descriptions[0]
        assert item.assets["confidence"].description == dataset.descriptions[0]
    assert set(item.assets) == {"map", "confidence", "areas", "style", "picture", "polygons"}
    with sqlite3.connect(out.with_suffix(".gpkg")) as connection:
        (hectares,) = connection.execute("SELECT sum(area_ha) FROM land_cover").fetchone()
    assert hectares == pytest.approx((60 * 80 + 70 * 90 - 40 * 30) / 100)


@pytest.mark.parametrize(("name", "mosaic"), [("one.tiff", ()), ("all.TIF", ("--mosaic",))])
def test_a_map_may_end_in_any_name_of_a_geotiff(
    small_export: SmallExport, tmp_path: Path, name: str, mosaic: tuple[str, ...]
) -> None:
    write_raster(tmp_path / "a.tif", 20, 20)
    (tmp_path / "LIST.TXT").write_text("a.tif\n")
    out = tmp_path / "out" / name
    flags = ("--no-picture", *mosaic)
    image = tmp_path / ("LIST.TXT" if mosaic else "a.tif")
    assert main(arguments(small_export, [image], out, *flags)) == 0
    assets = pystac.Item.from_file(str(out.with_suffix(".json"))).assets
    assert assets["map"].href == f"./{name}"
    assert {assets[key].media_type for key in ("map", "confidence")} == {COG_TYPE}
    assert assets["map"].extra_fields["classification:classes"]
    assert (out.parent / f"{out.stem}_confidence.tif").exists()
