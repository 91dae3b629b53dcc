"""The STAC item of a map, whatever files and grid the map has."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes.stac_rules import check_extensions
from pystac import STACObjectType
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from landcover_tf.legend import load_legend
from serving.polygons import write_polygons
from serving.stac import RASTER, item

LAEA = "+proj=laea +lat_0=11 +lon_0=20 +datum=WGS84 +units=m"  # Has no EPSG code.


SITE = 'LOCAL_CS["site",UNIT["metre",1]]'


@pytest.mark.parametrize("crs", ["EPSG:32634", LAEA, SITE, None])
@pytest.mark.parametrize("more", [(), ("confidence.tif", "map.png")])
def test_the_item_is_valid_for_any_files_and_grid(
    tmp_path: Path, crs: str | None, more: tuple[str, ...]
) -> None:
    profile = {
        "driver": "GTiff", "height": 8, "width": 6, "count": 1, "dtype": "uint8", "crs": crs,
        "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 1.2e6),
    }  # fmt: skip
    said = "confidence: mean probability of the class voted for"
    for name in ("map.tif", "confidence.tif"):
        with rasterio.open(tmp_path / name, "w", **profile) as dataset:
            dataset.write(np.full((8, 6), 20, np.uint8), 1)
            dataset.descriptions = (said,)
    files = [tmp_path / name for name in ("map.tif", *more)]
    legend, tags = load_legend("landcover9"), {"source": "scene"}
    found = item(files, tmp_path / "map.tif", legend, name="scene", tags=tags)
    JsonSchemaSTACValidator().validate_core(found, STACObjectType.ITEM, "1.1.0")
    check_extensions(found)
    assert (RASTER in found["stac_extensions"]) == bool(more)
    if more:
        assert found["assets"]["confidence"]["description"] == said
    properties = found["properties"]
    assert properties["proj:code"] == (crs if crs == "EPSG:32634" else None)
    assert (found["geometry"] is None) == (crs in (SITE, None))
    # The first word tells the version 2 of the format from the older one.
    assert properties.get("proj:wkt2", "PROJCRS").startswith(("PROJCRS", "ENGCRS"))
    assert ("proj:wkt2" in properties) == (crs in (LAEA, SITE))


def test_the_box_of_a_map_whose_rows_run_north(tmp_path: Path) -> None:
    map_path, legend = tmp_path / "map.tif", load_legend("landcover9")
    profile = {
        "driver": "GTiff", "height": 100, "width": 80, "count": 1, "dtype": "uint8",
        "crs": "EPSG:4326", "transform": rasterio.Affine(1e-4, 0, 22, 0, 1e-4, 37), "nodata": 0,
    }  # fmt: skip
    with rasterio.open(map_path, "w", **profile) as dataset:
        dataset.write(np.full((100, 80), 20, np.uint8), 1)
    found = item([map_path], map_path, legend, name="scene", tags={"source": "scene"})
    box = pytest.approx((22, 37, 22.008, 37.01))
    assert found["bbox"] == box
    assert found["geometry"]["coordinates"][0][:2] == [[22, 37], [22.008, 37]]
    assert write_polygons(tmp_path / "map.gpkg", map_path, legend) == 1
    columns = "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents"
    assert sqlite3.connect(tmp_path / "map.gpkg").execute(columns).fetchone() == box
