"""Polygons of a square kilometre as vector files, and `landcover rasterize` on them.

A test that imports this is left out where the extra `[vector]` is not installed.
"""

from pathlib import Path

import numpy as np
import pytest

from landcover_tf import rasterize

pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

UTM = "EPSG:32634"
SQUARE = shapely.box(600_000, 4_199_000, 600_500, 4_200_000)
TRIANGLE = shapely.Polygon([(600_500, 4_199_000), (601_000, 4_199_000), (600_750, 4_199_500)])
ISLAND = shapely.box(600_100, 4_199_900, 600_200, 4_199_990)
RING = shapely.box(600_500, 4_199_500, 601_000, 4_200_000).difference(
    shapely.box(600_700, 4_199_700, 600_800, 4_199_800)
)


def write_polygons(
    path: Path, features, *, crs=UTM, driver="GPKG", kind="Polygon", layer=None
) -> Path:
    """Writes (geometry, class) pairs; a geometry may be None."""
    shapes = np.array([g if g is None else shapely.to_wkb(g) for g, _ in features], object)
    values = [np.array([value for _, value in features])]
    pyogrio.raw.write(
        path, shapes, values, ["class"], geometry_type=kind, crs=crs, driver=driver,
        layer=layer, append=path.exists(),
    )  # fmt: skip
    return path


def run_rasterize(path: Path, *flags: object) -> tuple[int, Path]:
    """Returns the exit code and the raster's path."""
    output = path.with_suffix(".tif")
    arguments = ["--polygons", path, "--attribute", "class", "--output-raster", output, *flags]
    return rasterize.main([str(a) for a in arguments]), output
