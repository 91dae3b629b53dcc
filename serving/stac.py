"""A STAC item that describes a class map, with the classification extension."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasterio

from landcover_tf.exporting.model_item import CLASSIFICATION, STAC_VERSION, classification_classes
from landcover_tf.legend import IGNORED, Legend
from landcover_tf.rasters.pixel_sizes import on_earth
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.system.files import write_json
from serving.footprint import footprint
from serving.row_band_content import LEVELS

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"

_TYPES = {
    ".tif": COG_TYPE,
    ".tiff": COG_TYPE,
    ".png": "image/png",
    ".csv": "text/csv",
    ".json": "application/json",
    ".qml": "application/xml",
    ".gpkg": "application/geopackage+sqlite3",
}
_ROLES = {
    ".tif": ["data"],
    ".tiff": ["data"],
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
    name: str,
    tags: Mapping[str, Any],
) -> None:
    """Writes a STAC item beside the map; its links are relative, so the folder can move.

    Args:
        path: JSON to write.
        files: Assets, the map among them.
        map_path: The map, whose grid the item takes.
        legend: Classes of the map.
        name: Name of what is mapped, for the item's id.
        tags: Provenance; `sensing_time` becomes the item's time, and `first_sensing_time` and
            `last_sensing_time` its range.
    """
    write_json(path, item(files, map_path, legend, name=name, tags=tags))


def item(
    files: Sequence[Path], map_path: Path, legend: Legend, *, name: str, tags: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the item as a plain dictionary; without a place on Earth it has no geometry."""
    with rasterio.open(map_path) as dataset:
        crs, shape = dataset.crs, list(dataset.shape)
        bounds = RasterGrid.of(dataset).bounds
        transform = list(dataset.transform)[:6]
    properties: dict[str, Any] = {
        **_times(tags),
        "proj:shape": shape,
        "proj:transform": transform,
        "proj:code": None if crs is None or not crs.to_epsg() else f"EPSG:{crs.to_epsg()}",
        **{f"landcover:{key}": value for key, value in tags.items() if "sensing_time" not in key},
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
        "id": f"{name}_landcover",
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
        "type": _TYPES[file.suffix.lower()],
        "roles": _ROLES[file.suffix.lower()],
    }
    if file == map_path:
        asset["title"] = "land-cover classes"
        asset["classification:classes"] = classification_classes(legend)
        asset |= {"data_type": "uint8", "nodata": legend.nodata}
    elif file.suffix == ".tif":
        key = _key(file, map_path)
        asset["title"] = f"{key}, stored in steps of 1/{LEVELS}"
        if key == "confidence":
            # Post-processing decides of which class it is.
            with rasterio.open(file) as dataset:
                asset["description"] = dataset.descriptions[0] or key
        asset |= {"data_type": "uint8", "nodata": IGNORED, "raster:scale": 1 / LEVELS}
    return asset


def _key(file: Path, map_path: Path) -> str:
    if file == map_path:
        return "map"
    name = file.stem.removeprefix(f"{map_path.stem}_")
    return {".png": "picture", ".qml": "style", ".gpkg": "polygons"}.get(file.suffix, name)


def _times(tags: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the time or, as STAC demands one, null and a range; of undated rasters any."""
    sensed = tags.get("sensing_time")
    if sensed:
        return {"datetime": _utc(sensed)}
    launch = "2015-06-23T00:00:00Z"  # Of Sentinel-2A.
    return {
        "datetime": None,
        "start_datetime": _utc(tags.get("first_sensing_time", launch)),
        "end_datetime": _utc(tags.get("last_sensing_time", "2100-01-01T00:00:00Z")),
    }


def _utc(text: str) -> str:
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")
