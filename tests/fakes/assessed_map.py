"""A small map beside its truth, and the programs of `landcover assess` run on them."""

import json
import sqlite3

import numpy as np
import rasterio

from landcover_tf.assess.__main__ import main
from landcover_tf.vectors.geopackage import read_points

CLASSES = np.array([10, 20, 60], np.uint8)
SIZE = 120
GRID = rasterio.Affine(10, 0, 500_000, 0, -10, 4_400_000)


def write(path, values, *, crs="EPSG:32634", grid=GRID, nodata=0, names=(), tags=None):
    values = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[1], width=values.shape[2],
        count=len(values), dtype=values.dtype, crs=crs, transform=grid, nodata=nodata,
    ) as raster:  # fmt: skip
        raster.write(values)
        raster.update_tags(**(tags or {}))
        for i, name in enumerate(names, 1):
            raster.set_band_description(i, name)
    return path


def make_world(folder):
    """Writes map.tif, which is wrong in every fifth pixel and has no data, and truth.tif."""
    rng = np.random.default_rng(5)
    truth = np.kron(rng.choice(CLASSES, (12, 12), p=[0.6, 0.3, 0.1]), np.ones((10, 10), np.uint8))
    mapped = np.where(rng.random(truth.shape) < 0.2, rng.choice(CLASSES, truth.shape), truth)
    mapped[:10, :20] = 0
    write(folder / "map.tif", mapped.astype(np.uint8), tags={"legend": "landcover9"})
    write(folder / "truth.tif", truth)
    return folder


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


def run(*arguments):
    return main([str(a) for a in arguments])


def design(world, *arguments, out="sample"):
    code = run("design", "--map", world / "map.tif", "--output-dir", world / out, *arguments)
    assert code == 0
    return world / out


def label(folder, truth):
    """Fills the column `reference` of points.gpkg with what the truth has there."""
    points = read_points(folder / "points.gpkg")
    with rasterio.open(truth) as raster:
        codes = [int(v[0]) for v in raster.sample(zip(points.x, points.y, strict=True))]
    with sqlite3.connect(folder / "points.gpkg") as connection:
        for row, code in zip(points.rows, codes, strict=True):
            connection.execute("UPDATE points SET reference = ? WHERE fid = ?", (code, row["fid"]))
    return folder / "points.gpkg"


def estimate(world, reference, *arguments):
    """Returns exit code and values of an estimate of the world's map."""
    out = world / "result"
    code = run("estimate", "--map", world / "map.tif", "--reference", reference,
               "--output-dir", out, "--overwrite", *arguments)  # fmt: skip
    path = out / "estimate.json"
    return code, json.loads(path.read_text()) if code == 0 else None


def change(path, sql, *values):
    with sqlite3.connect(path) as connection:
        connection.execute(sql, values)


def compare(world, *arguments):
    out = world / "comparison"
    code = run("compare", "--map", world / "map.tif", "--block-size-m", 300,
               "--bootstrap-samples", 200, "--output-dir", out,
               "--overwrite", "--reference-map", *arguments)  # fmt: skip
    return code, json.loads((out / "compare.json").read_text()) if code == 0 else None


def estimated(values):
    """Returns the figures of the classes but for the areas on the map, which may be counted."""
    return [
        {name: v for name, v in land_cover.items() if not name.startswith("mapped_")}
        for land_cover in values["classes"]
    ]
