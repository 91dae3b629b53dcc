"""Zones drawn by the user: polygons of a GeoJSON file, or numbers in a raster."""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as transform_points

from landcover_tf.errors import ConfigError, DatasetError
from landcover_tf.rasters.bounds import Bounds, reprojected
from landcover_tf.rasters.raster_windows import RASTERIO_ERRORS, opened
from landcover_tf.system.files import read_json
from tfrecords_builder.footprints import PatchPlace

SPLITS = ("train", "val", "test")

Outline = tuple[str, Bounds]
"""CRS and bounds of an image."""


@dataclass(frozen=True, kw_only=True)
class Zone:
    """Where a patch's centre lies."""

    name: str
    split: str | None = None
    """Split that the file prescribes, if it does."""


def zones_of(places: Sequence[PatchPlace], path: Path) -> list[Zone | None]:
    """Returns the zone of each patch's centre, None outside all zones.

    Args:
        places: Patches; every raster needs a CRS.
        path: GeoJSON (.geojson, .json) whose features have the property `split` (train, val,
            test) or `zone`, of which the first counts where they overlap, or a raster of zone
            numbers where 0 and no data are outside.

    Raises:
        DatasetError: The file is unreadable or malformed, or a raster has no CRS.
    """
    if any(not place.crs for place in places):
        raise DatasetError(f"zones in {path} cannot be laid on rasters without a CRS")
    if _has_polygons(path):
        return _polygon_zones(places, path)
    return _raster_zones(places, path)


def _centers(places: Sequence[PatchPlace], crs: str) -> np.ndarray:
    """Returns centres in another CRS, float64 [patches, 2]."""
    local = np.empty((len(places), 2))
    for number, place in enumerate(places):
        a, b, c, d, e, f = place.transform
        col, row = place.col_off + place.width / 2, place.row_off + place.height / 2
        local[number] = a * col + b * row + c, d * col + e * row + f
    systems = np.array([place.crs for place in places])
    for system in sorted(set(systems.tolist())):
        rows = systems == system
        if system != crs:
            x, y = transform_points(system, crs, local[rows, 0].tolist(), local[rows, 1].tolist())
            local[rows] = np.stack([x, y], axis=1)
    return local


def prescribed_splits(path: Path, images: Collection[Outline]) -> set[str | None]:
    """Returns the splits that the polygons of a zone file prescribe; none if it is a raster.

    Splits whose zones all lie elsewhere, as where one file serves several builds, are left out
    with a note.

    Args:
        path: As of `zones_of`.
        images: Where each lies.

    Raises:
        DatasetError: The file is unreadable or malformed.
    """
    if not _has_polygons(path):
        return set()
    zones, rings, crs, _ = _polygons(path)
    met = _meet(np.array([_box(parts) for parts in rings]).reshape(-1, 4), crs, images)
    here = {zone.split for zone, is_met in zip(zones, met, strict=True) if is_met}
    for split in sorted({zone.split for zone in zones if zone.split} - here):
        print(
            f"note: all zones of {path} for {split} lie outside the images; the dataset gets no "
            f"split {split}",
            file=sys.stderr,
        )
    return here


def _meet(boxes: np.ndarray, crs: str, images: Collection[Outline]) -> np.ndarray:
    """Returns which boxes, float64 [boxes, 4] in `crs`, meet an image or nearly do, bool [boxes].

    All do where an image has no bounds in `crs`.
    """
    met = np.zeros(len(boxes), bool)
    for own, bounds in images:
        try:
            areas = reprojected(bounds, own, crs)
        except (CRSError, *RASTERIO_ERRORS):
            return np.ones(len(boxes), bool)
        if not np.isfinite(areas).all():
            return np.ones(len(boxes), bool)
        for west, south, east, north in areas:
            # Straight edges are bent in another CRS.
            margin = 0.01 * (north - south)
            met |= (
                (boxes[:, 0] <= east + margin)
                & (boxes[:, 2] >= west - margin)
                & (boxes[:, 1] <= north + margin)
                & (boxes[:, 3] >= south - margin)
            )
    return met


def _box(rings: Sequence[np.ndarray]) -> list[float]:
    if not rings:
        return [np.nan] * 4  # Meets nothing.
    points = np.concatenate(rings)
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def _has_polygons(path: Path) -> bool:
    return path.suffix.lower() in (".geojson", ".json")


class _ZoneFile(NamedTuple):
    """The polygons of a GeoJSON."""

    zones: list[Zone]
    rings: list[list[np.ndarray]]
    """Rings of each zone."""
    crs: str
    empty: int
    """Features without geometry, which are no zones."""


def _polygons(path: Path) -> _ZoneFile:
    zones, rings = [], []
    try:
        collection = read_json(path)
        features = collection["features"]
        # GeoJSON is in degrees (RFC 7946); the older form may name another CRS.
        named = (collection.get("crs") or {}).get("properties", {}).get("name", "EPSG:4326")
        placed = [(n, feature) for n, feature in enumerate(features) if feature.get("geometry")]
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} is not a GeoJSON of polygons: {error}") from error
    for number, feature in placed:
        try:
            zones.append(_zone(path, number, feature))
            rings.append(_rings(feature["geometry"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(
                f"{path}, feature {number}, is no polygon: {error}; remove or repair it"
            ) from error
    _require_one_split(path, zones)
    try:
        CRS.from_user_input(named)
    except (CRSError, ValueError) as error:
        raise DatasetError(
            f"{path} names the CRS {named!r}, which GDAL does not know; name it like EPSG:32633, "
            "or leave crs out for degrees"
        ) from error
    return _ZoneFile(zones, rings, named, len(features) - len(placed))


def _polygon_zones(places: Sequence[PatchPlace], path: Path) -> list[Zone | None]:
    zones, rings, named, empty = _polygons(path)
    if empty:
        print(f"note: {empty} features of {path} without geometry are left out", file=sys.stderr)
    # The dates of a tile have the same centres.
    centers, center_of = np.unique(_centers(places, named), axis=0, return_inverse=True)
    found: list[Zone | None] = [None] * len(centers)
    for zone, inside in zip(zones, inside_of(rings, centers), strict=True):
        for number in inside:
            if found[number] is None:
                found[number] = zone
    return [found[number] for number in center_of.ravel()]


def _zone(path: Path, number: int, feature: dict[str, Any]) -> Zone:
    values = feature.get("properties") or {}
    split = values.get("split")
    if split is not None and split not in SPLITS:
        raise DatasetError(
            f"{path}, feature {number}: split must be one of {', '.join(SPLITS)}, got {split!r}"
        )
    return Zone(name=str(values.get("zone", split or number)), split=split)


def _require_one_split(path: Path, zones: Sequence[Zone]) -> None:
    first: dict[str, Zone] = {}
    for zone in zones:
        before = first.setdefault(zone.name, zone)
        if before.split != zone.split:
            raise DatasetError(
                f"{path} puts zone {zone.name} into {before.split or 'no split'} in one feature "
                f"and into {zone.split or 'no split'} in another; a zone is one unit, name them "
                "apart"
            )


def _rings(geometry: dict[str, Any]) -> list[np.ndarray]:
    """Returns all rings of a polygon; even-odd counting takes care of holes and parts."""
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        raise TypeError(f"expected Polygon or MultiPolygon, got {geometry['type']}")
    parts = geometry["coordinates"]
    polygons = [parts] if geometry["type"] == "Polygon" else parts
    rings = [np.asarray(ring, float) for polygon in polygons for ring in polygon]
    if any(ring.ndim != 2 or ring.shape[1] < 2 for ring in rings):
        raise ValueError("expected rings of positions [x, y]")
    return [ring[:, :2] for ring in rings]


def inside_of(shapes: Sequence[Sequence[np.ndarray]], points: np.ndarray) -> Iterator[np.ndarray]:
    """Yields which points lie inside each shape, given by its rings; ascending, int [inside].

    A ray to the right of such a point meets an odd number of edges. An edge is compared with the
    points between the heights of its ends only.
    """
    upwards = np.argsort(points[:, 1], kind="stable")
    x, y = points[upwards].T
    for rings in shapes:
        inside = np.zeros(len(points), bool)
        for ring in rings:
            spans = edge_spans(ring, y)
            for edge in np.flatnonzero(spans[:, 0] < spans[:, 1]):
                (x0, y0), (x1, y1) = ring[edge : edge + 2]
                span = slice(*spans[edge])
                inside[span] ^= x[span] < (x1 - x0) * (y[span] - y0) / (y1 - y0) + x0
        yield np.sort(upwards[inside])


def edge_spans(ring: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the points that are as high as each edge of a ring: first and end, int [edges, 2].

    Args:
        ring: Positions, float64 [edges + 1, 2].
        y: Heights of the points, ascending, float64 [points].
    """
    place = np.searchsorted(y, ring[:, 1])
    return np.sort(np.column_stack([place[:-1], place[1:]]), axis=1)


def _raster_zones(places: Sequence[PatchPlace], path: Path) -> list[Zone | None]:
    with opened(path, "the zones", error=DatasetError) as raster:
        if not raster.crs:
            raise DatasetError(f"zone raster {path} has no CRS")
        centers = _centers(places, raster.crs.to_string())
        found = [value[0].item() for value in raster.sample(centers.tolist(), masked=False)]
        nodata = raster.nodata
    # NaN is outside, as 0 is.
    inside = [value not in (0, nodata) and value == value for value in found]
    parts = [v for v, is_inside in zip(found, inside, strict=True) if is_inside and v % 1]
    if parts:
        raise DatasetError(f"zone raster {path} holds {parts[0]:g}; expected whole numbers")
    return [
        Zone(name=str(int(value))) if is_inside else None
        for value, is_inside in zip(found, inside, strict=True)
    ]
