"""Polygons of a vector file with one attribute, read by area. Needs the extra `[vector]`."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform, transform_bounds

from landcover_tf.errors import ConfigError, LabelError
from landcover_tf.rasters.bounds import Bounds, reprojected
from landcover_tf.rasters.raster_windows import RASTERIO_ERRORS

POLYGON, COLLECTION = 3, 7
"""In shapely's numbering, where kinds of several parts come after the polygon."""
POLYGON_TYPES = (POLYGON, 6)
"""Polygon and MultiPolygon."""
_POINTS_OR_LINES = re.compile("Point|Line")
"""In GDAL's names of geometry types; the others, such as Unknown, may hold polygons."""
_STEPS = 100
"""A straight edge in one CRS is bent in another; none is longer than this share of an area read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Polygons:
    """Features of an area, in the file's order."""

    ids: np.ndarray
    """Number of each in the file, int64 [features]."""
    geometries: np.ndarray
    """Polygons and multipolygons of shapely, object [features]."""
    values: np.ndarray
    """The attribute of each, [features]; None or NaN where it has none."""

    def chosen(self, which: np.ndarray) -> "Polygons":
        """Returns some of them, given as bool or integer [features]."""
        return Polygons(
            ids=self.ids[which], geometries=self.geometries[which], values=self.values[which]
        )


class PolygonLayer:
    """A layer of polygons, which is read again for every area unless its format has no index."""

    def __init__(self, path: Path, attribute: str, layer: str | None = None) -> None:
        """Reads the header.

        Args:
            path: Any format that GDAL reads: GeoPackage, shapefile, GeoJSON, FlatGeobuf...
            attribute: Field of the class.
            layer: Name of the layer; the only one that may hold polygons by default.

        Raises:
            ConfigError: The extra is not installed.
            LabelError: The file cannot be read, or has no such layer or attribute, several
                layers, no CRS, or coordinates that its CRS does not have.
        """
        try:
            import pyogrio
            import shapely
        except ImportError as error:
            raise ConfigError(
                "polygons are read by pyogrio and shapely; install landcover-tf[vector]"
            ) from error
        self._pyogrio, self._shapely = pyogrio, shapely
        self.path, self.attribute = path, attribute
        self.name = self._only_layer() if layer is None else layer
        info = self._ask(
            pyogrio.read_info, layer=self.name, force_feature_count=True, force_total_bounds=True
        )
        fields = [str(field) for field in info["fields"]]
        if attribute not in fields:
            raise LabelError(
                f"{path} has no attribute {attribute!r}; it has {', '.join(fields) or 'none'}"
            )
        self.count = int(info["features"])
        bounds = np.array(info["total_bounds"] or [np.nan] * 4, float)
        if not self.count or not np.isfinite(bounds).all():
            raise LabelError(f"layer {self.name!r} of {path} has no feature with a geometry")
        west, south, east, north = bounds.tolist()
        self.bounds: Bounds = (west, south, east, north)
        self.crs = self._known_crs(info["crs"])
        # A degree more, because outlines of the whole Earth are not exact.
        if self.crs.is_geographic and (min(west, -east) < -361 or min(south, -north) < -91):
            raise self._misplaced()
        self._indexed = bool(info["capabilities"]["fast_spatial_filter"])

    def value_counts(self) -> Mapping[Any, int]:
        """Returns how many features have each value of the attribute; None stands for no value."""
        values = self._read(read_geometry=False)[2]
        counts = Counter(plain(value) for value in values.tolist())
        return dict(sorted(counts.items(), key=lambda item: str(item[0])))

    def without_geometry(self, values: Collection[Any]) -> int:
        """Returns how many features that have one of some values have no geometry."""
        ids, bounds = self._ask(self._pyogrio.read_bounds, layer=self.name)
        # The bounds of an empty geometry are zeros in some formats.
        missing = ids[~np.isfinite(bounds).all(axis=0) | ~bounds.any(axis=0)]
        _, ids, found = self._read(read_geometry=False)
        return sum(plain(value) in values for value in found[np.isin(ids, missing)].tolist())

    def bounds_in(self, crs: CRS) -> Bounds:
        """Returns west, south, east and north of all features in another CRS.

        Raises:
            LabelError: They are not places of the layer's own CRS, or not of the other.
        """
        try:
            west, south, east, north = transform_bounds(self.crs, crs, *self.bounds)
        except RASTERIO_ERRORS as error:
            raise self._misplaced() from error
        if not np.isfinite([west, south, east, north]).all():
            raise self._misplaced()
        return west, south, east, north

    def within(self, bounds: Bounds, crs: CRS) -> Polygons:
        """Returns the features whose boxes meet an area, in that area's CRS.

        Args:
            bounds: West, south, east, north.
            crs: CRS of the bounds and of the answer.

        Raises:
            LabelError: A feature is a point or a line, has coordinates that its CRS does not, or
                the file is damaged.
        """
        try:
            areas = reprojected(bounds, crs, self.crs)
        except (CRSError, *RASTERIO_ERRORS):
            nothing = np.empty(0, object)
            return Polygons(ids=nothing, geometries=nothing, values=nothing)
        if self._indexed:
            found = self._decoded(*self._read(*areas))
        else:
            found = self._whole
            boxes = self._shapely.bounds(found.geometries)
            meets = [
                (boxes[:, 0] <= east)
                & (boxes[:, 2] >= west)
                & (boxes[:, 1] <= north)
                & (boxes[:, 3] >= south)
                for west, south, east, north in areas
            ]
            found = found.chosen(np.any(meets, axis=0))
        if self.crs == crs:
            return found
        side = max(max(east - west, north - south) for west, south, east, north in areas)
        moved = self._moved(found.geometries, crs, longest=side / _STEPS)
        return replace(found, geometries=moved)

    @cached_property
    def _whole(self) -> Polygons:
        """All features: a format without an index would else be parsed for every area."""
        return self._decoded(*self._read())

    def _decoded(self, wkb: np.ndarray, ids: np.ndarray, values: np.ndarray) -> Polygons:
        # What it cannot mend, such as a ring left open, it leaves out; a geometry that is not there
        # was None before.
        geometries = self._shapely.from_wkb(wkb, on_invalid="fix")
        there = np.array([one is not None for one in wkb], bool)
        lost = np.count_nonzero(self._shapely.is_missing(geometries) & there)
        if lost:
            raise LabelError(
                f"layer {self.name!r} of {self.path} holds {lost} damaged geometries; mend them "
                "(ogr2ogr -makevalid)"
            )
        filled = ~(self._shapely.is_missing(geometries) | self._shapely.is_empty(geometries))
        kinds = self._shapely.get_type_id(geometries)
        for number in np.flatnonzero(kinds == COLLECTION):
            geometries[number] = self._polygons_of(geometries[number])
        kinds = self._shapely.get_type_id(geometries)
        wrong = filled & ~np.isin(kinds, POLYGON_TYPES)
        if wrong.any():
            first = geometries[np.flatnonzero(wrong)[0]]
            raise LabelError(
                f"layer {self.name!r} of {self.path} holds a {first.geom_type}; polygons are "
                "expected"
            )
        return Polygons(ids=ids, geometries=geometries, values=values).chosen(filled)

    def _polygons_of(self, collection: Any) -> Any:
        """Returns the polygons of a collection as one geometry, or the collection without any."""
        parts = self._shapely.get_parts(collection)
        while (nested := self._shapely.get_type_id(parts) > POLYGON).any():
            parts = np.append(parts[~nested], self._shapely.get_parts(parts[nested]))
        polygons = parts[self._shapely.get_type_id(parts) == POLYGON]
        return self._shapely.multipolygons(polygons) if len(polygons) else collection

    def _moved(self, geometries: np.ndarray, crs: CRS, *, longest: float) -> np.ndarray:
        def move(points: np.ndarray) -> np.ndarray:
            x, y = transform(self.crs, crs, points[:, 0].tolist(), points[:, 1].tolist())
            return np.stack([x, y], axis=1)

        flat = self._shapely.force_2d(geometries)
        try:
            moved: np.ndarray = self._shapely.transform(
                self._shapely.segmentize(flat, longest), move
            )
        except RASTERIO_ERRORS as error:
            raise self._misplaced() from error
        return moved

    def _misplaced(self) -> LabelError:
        west, south, east, north = self.bounds
        return LabelError(
            f"the coordinates of {self.path}, {west:.9g} to {east:.9g} and {south:.9g} to "
            f"{north:.9g}, do not fit its CRS {self.crs.to_string()}; give it the right one "
            "(ogr2ogr -a_srs EPSG:n)"
        )

    def _only_layer(self) -> str:
        kinds = {str(name): kind for name, kind in self._ask(self._pyogrio.list_layers)}
        # Tables without geometry come along, such as the `layer_styles` of QGIS.
        shaped = [name for name, kind in kinds.items() if kind is not None] or [*kinds]
        polygons = [name for name in shaped if not _POINTS_OR_LINES.search(str(kinds[name]))]
        names = polygons if len(polygons) == 1 else shaped
        if len(names) != 1:
            raise LabelError(f"{self.path} has the layers {', '.join(names)}; name one by --layer")
        return names[0]

    def _known_crs(self, text: str | None) -> CRS:
        if text is None:
            raise LabelError(f"{self.path} has no CRS; give it one (ogr2ogr -a_srs EPSG:n)")
        try:
            return CRS.from_user_input(text)
        except CRSError as error:
            raise LabelError(f"{self.path} has a CRS that GDAL does not know: {error}") from error

    def _read(self, *areas: Bounds, **options: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        """Returns well-known binary, number and attribute of features, in the file's order.

        Args:
            areas: Only features whose boxes meet one of them.
            options: pyogrio's reading options.
        """
        parts = [
            self._ask(
                self._pyogrio.raw.read,
                layer=self.name,
                columns=[self.attribute],
                return_fids=True,
                bbox=area,
                **options,
            )
            for area in areas or (None,)
        ]
        ids = np.concatenate([part[1] for part in parts])
        # A spatial index gives them in an order of its own, another one for each area.
        order = np.argsort(ids, kind="stable")
        if len(parts) > 1:  # What meets both areas was read twice.
            _, order = np.unique(ids, return_index=True)
        values = np.concatenate([part[3][0] for part in parts])[order]
        if parts[0][2] is None:
            return None, ids[order], values
        return np.concatenate([part[2] for part in parts])[order], ids[order], values

    def _ask(self, function: Any, **options: Any) -> Any:
        try:
            return function(self.path, **options)
        except (self._pyogrio.errors.DataSourceError, ValueError) as error:
            raise LabelError(
                f"{self.path} cannot be read as a vector file: {str(error).rstrip('.')}"
            ) from error


def plain(value: Any) -> Any:
    """Returns a value as a whole number or a text where it is one; None for no value."""
    if isinstance(value, list | np.ndarray):
        return str(value)  # A list is no class, whatever it holds.
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = str(value).strip() if isinstance(value, str) else value
    return None if text == "" else text
