"""A STAC item that describes a class map, with the classification extension."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasterio

from landcover_tf.files import write_json
from landcover_tf.legend import IGNORED, Legend
from landcover_tf.model_item import CLASSIFICATION, STAC_VERSION, classification_classes
from landcover_tf.pixel_sizes import on_earth
from landcover_tf.raster_grid import RasterGrid
from serving.band_content import LEVELS
from serving.footprint import footprint

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"

_TYPES = {
    ".tif": COG_TYPE,
    ".png": "image/png",
    ".csv": "text/csv",
    ".json": "application/json",
    ".qml": "application/xml",
    ".gpkg": "application/geopackage+sqlite3",
}
_ROLES = {
    ".tif": ["data"],
    ".png": ["overview"],
    ".csv": ["metadata"],
    ".json": ["metadata"],
    ".qml": ["metadata"],
    ".gpkg": ["data"],
}


def write_item(
    path: Path,
    files: Sequence[Path],
    map_path: Path,
    legend: Legend,
    *,
    tags: Mapping[str, Any],
) -> None:
    """Writes a STAC item beside the map; its links are relative, so the folder can move.

    Args:
        path: JSON to write.
        files: Assets, the map among them.
        map_path: The map, whose grid the item takes.
        legend: Classes of the map.
        tags: Provenance; `sensing_time` becomes the item's time.
    """
    write_json(path, item(files, map_path, legend, tags=tags))


def item(
    files: Sequence[Path], map_path: Path, legend: Legend, *, tags: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the item as a plain dictionary; without a place on Earth it has no geometry."""
    with rasterio.open(map_path) as dataset:
        crs, shape = dataset.crs, list(dataset.shape)
        bounds = RasterGrid.of(dataset).bounds
        transform = list(dataset.transform)[:6]
    sensed = tags.get("sensing_time")
    properties: dict[str, Any] = {
        # STAC demands a time; an undated raster says null and a range that excludes nothing.
        "datetime": _utc(sensed) if sensed else None,
        "proj:shape": shape,
        "proj:transform": transform,
        "proj:code": None if crs is None or not crs.to_epsg() else f"EPSG:{crs.to_epsg()}",
        **{f"landcover:{key}": value for key, value in tags.items() if key != "sensing_time"},
    }
    if not sensed:
        properties |= {
            "start_datetime": "2015-06-23T00:00:00Z",  # Launch of Sentinel-2A.
            "end_datetime": "2100-01-01T00:00:00Z",
        }
    if crs is not None and properties["proj:code"] is None:
        properties["proj:wkt2"] = crs.to_wkt(version="WKT2_2019")
    assets = {_key(file, map_path): _asset(file, map_path, legend) for file in files}
    extensions = [CLASSIFICATION, PROJECTION]
    if any("raster:scale" in asset for asset in assets.values()):
        extensions.append(RASTER)  # It must not be named where none of its fields is used.
    result: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": extensions,
        "id": f"{tags.get('product') or tags.get('source', map_path.stem)}_landcover",
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": assets,
    }
    if on_earth(crs):
        result["geometry"], result["bbox"] = footprint(crs, bounds)
    return result


def _asset(file: Path, map_path: Path, legend: Legend) -> dict[str, Any]:
    asset: dict[str, Any] = {
        "href": f"./{file.name}",
        "type": _TYPES[file.suffix],
        "roles": _ROLES[file.suffix],
    }
    if file == map_path:
        asset["title"] = "land-cover classes"
        asset["classification:classes"] = classification_classes(legend)
        asset |= {"data_type": "uint8", "nodata": legend.nodata}
    elif file.suffix == ".tif":
        asset["title"] = f"{_key(file, map_path)}, stored in steps of 1/{LEVELS}"
        asset |= {"data_type": "uint8", "nodata": IGNORED, "raster:scale": 1 / LEVELS}
    return asset


def _key(file: Path, map_path: Path) -> str:
    if file == map_path:
        return "map"
    name = file.stem.removeprefix(f"{map_path.stem}_")
    return {".png": "picture", ".qml": "style", ".gpkg": "polygons"}.get(file.suffix, name)


def _utc(text: str) -> str:
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")
