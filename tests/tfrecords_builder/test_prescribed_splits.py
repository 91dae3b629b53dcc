"""Splits that a list or zones prescribe, where they and the images do not meet."""

import json

import rasterio
from builder_inputs import arguments, fails, rewrite, write_pairs

from landcover_tf.datasets.dataset_info import DatasetInfo
from tfrecords_builder.__main__ import main


def test_a_prescribed_split_without_labels_is_refused(broken, tmp_path, capsys):
    rewrite(broken / "labels" / "s2.tif", lambda v: v * 0)
    rows = [
        f"images/s{number}.tif,labels/s{number}.tif,{name}"
        for number, name in enumerate(("train", "val", "test"))
    ]
    (broken / "pairs.csv").write_text("\n".join(["image,label,split", *rows, ""]))
    message = fails(broken, tmp_path, capsys, "--split", "given")
    # Strides of 24 px: 8 x 8 patches of an image of 200 px.
    assert "no patch is left for test: there are 128 patches in 2 images" in message
    assert "dropped were 64 too few labelled pixels, " in message


def zone_file(path, columns, rows=(4_990_000, 5_010_000)):
    """Writes zones from x to x of each split, by default higher than all images."""
    south, north = rows

    def feature(split, west, east):
        ring = [[west, south], [east, south], [east, north], [west, north]]
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        return {"properties": {"split": split}, "geometry": geometry}

    crs = {"properties": {"name": "EPSG:32633"}}
    features = [feature(split, *column) for split, column in columns.items()]
    path.write_text(json.dumps({"crs": crs, "features": features}))
    return path


def test_a_prescribed_split_without_a_patch_in_its_zones_is_refused(broken, tmp_path, capsys):
    # No patch has its centre in the outermost 100 m of the last image.
    columns = {"train": (600_000, 602_000), "val": (602_000, 604_000), "test": (605_900, 606_000)}
    zones = zone_file(tmp_path / "zones.geojson", columns)
    message = fails(broken, tmp_path, capsys, "--split", "zones", "--zones", zones)
    assert "no patch is left for test: there are 192 patches in 2 zones" in message
    assert "64 outside the zones" in message


def test_zones_outside_all_images_prescribe_nothing(broken, tmp_path, capsys):
    # One file for several builds: those of `test` belong to another one, 90 km away.
    columns = {"train": (600_000, 602_000), "val": (602_000, 606_000), "test": (696_000, 698_000)}
    zones = zone_file(tmp_path / "zones.geojson", columns)
    assert main(arguments(broken, tmp_path / "o", "--split", "zones", "--zones", zones)) == 0
    told = f"note: all zones of {zones} for test lie outside the images; the dataset gets no split"
    assert told in capsys.readouterr().err
    assert {*DatasetInfo.load(tmp_path / "o").splits} == {"train", "val"}


def test_zones_meet_images_whose_rows_run_north(tmp_path, capsys):
    data = write_pairs(tmp_path / "data")
    for path in data.rglob("*.tif"):
        with rasterio.open(path, "r+") as raster:
            a, b, c, d, e, f, *_ = raster.transform
            raster.transform = rasterio.Affine(a, b, c, d, -e, f + e * raster.height)
    columns = {"train": (600_000, 602_000), "val": (602_000, 604_000), "test": (604_000, 606_000)}
    zones = zone_file(tmp_path / "zones.geojson", columns, rows=(4_998_400, 4_999_600))
    assert main(arguments(data, tmp_path / "o", "--split", "zones", "--zones", zones)) == 0
    assert "outside" not in capsys.readouterr().err
    assert {*DatasetInfo.load(tmp_path / "o").splits} == {*columns}
