"""Class polygons of a map as a GeoPackage."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import rasterio
from rasterio import features

from landcover_tf.legend import Legend
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.vectors.geopackage import Layer, polygon_blob, write_layer

LAYER = "land_cover"


def write_polygons(path: Path, map_path: Path, legend: Legend) -> int:
    """Writes the 4-connected regions of a class map as polygons and returns their number.

    Each has the class code, its name and, where the map's pixels have one area on the ground, its
    area in hectares. The map is scanned line by line; the polygons themselves are held in memory.

    Args:
        path: GeoPackage to write, layer `land_cover`.
        map_path: Map of legend codes.
        legend: Names of the codes.
    """
    names = {c.code: c.name for c in legend.classes}
    with rasterio.open(map_path) as dataset:
        grid = RasterGrid.of(dataset)
        pixel_m2 = grid.pixel_area_m2
        hectare = None  # In square units of the CRS.
        if pixel_m2 is not None:
            hectare = 10_000 * abs(dataset.transform.determinant) / pixel_m2
        layer = Layer(
            name=LAYER,
            geometry="POLYGON",
            columns={"code": "INTEGER NOT NULL", "name": "TEXT NOT NULL", "area_ha": "DOUBLE"},
            crs=dataset.crs,
            bounds=grid.bounds,
        )
        rows = _rows(dataset, names, legend.nodata, layer.srs_id, hectare)
        return write_layer(path, layer, rows)


def _rows(
    dataset: rasterio.DatasetReader,
    names: dict[int, str],
    nodata: int,
    srs_id: int,
    hectare: float | None,
) -> Iterator[tuple[bytes, int, str, float | None]]:
    shapes = features.shapes(rasterio.band(dataset, 1), connectivity=4, transform=dataset.transform)
    for shape, value in shapes:
        code = int(value)
        if code == nodata:
            continue
        rings = shape["coordinates"]
        area = None if hectare is None else _area(rings) / hectare
        yield polygon_blob(rings, srs_id), code, names.get(code, ""), area


def _area(rings: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Returns the area of a polygon with holes by the shoelace formula."""
    areas = []
    for ring in rings:
        pairs = itertools.pairwise(ring)
        areas.append(abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2)
    return areas[0] - sum(areas[1:])
