"""What an interpreter gets: points to label in QGIS, and pictures of their surroundings."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import xy
from rasterio.warp import transform as transform_points

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.sampling import DrawnPoints
from landcover_tf.errors import RasterError
from landcover_tf.grid import Window
from landcover_tf.rasters.pixel_sizes import on_earth, pixel_sides_m
from landcover_tf.rasters.raster_windows import opened, read_window
from landcover_tf.system.files import write_text
from landcover_tf.system.progress import progress
from landcover_tf.system.tables import write_csv
from landcover_tf.vectors.geopackage import Layer, point_blob, write_layer
from landcover_tf.vectors.qgis_styles import point_style
from landcover_tf.visuals.image_colours import ImageColours

LAYER = "points"
PICTURE_FOLDER = "pictures"
COLUMNS = ("id", "stratum", "reference", "sure", "comment", "picture")
_SIDE_PX = 320
"""Least side of a picture in screen pixels."""
_OUTLINE_PX = 7
"""Least side of the outline of the pixel to label, so that it can be seen."""
_OUTLINE_COLOUR = (255, 0, 160)
_LINE_FRACTION = 1 / 400
"""Width of the outline's line as a share of the picture's side."""


def coordinates(class_map: ClassMap, points: DrawnPoints) -> tuple[np.ndarray, np.ndarray]:
    """Returns x and y of the centres of the points' pixels in the map's CRS, float64 [points]."""
    xs, ys = xy(class_map.grid.transform, points.row, points.col)
    return np.asarray(xs, np.float64), np.asarray(ys, np.float64)


def write_points(
    folder: Path, class_map: ClassMap, points: DrawnPoints, pictures: Sequence[str | None]
) -> None:
    """Writes points.gpkg, points.csv and the style points.qml.

    Points have the ids 1, 2, ... in the given order, the stratum, an empty column `reference`
    for the class code that the interpreter sees, and two free columns.

    Args:
        folder: Where to write.
        class_map: The map they were drawn from.
        points: The sample.
        pictures: File of the picture of each point, relative to the folder.
    """
    xs, ys = coordinates(class_map, points)
    layer = Layer(
        name=LAYER,
        geometry="POINT",
        columns={
            "id": "INTEGER NOT NULL",
            "stratum": "INTEGER NOT NULL",
            "reference": "INTEGER",
            "sure": "BOOLEAN",
            "comment": "TEXT",
            "picture": "TEXT",
        },
        crs=class_map.grid.crs,
        bounds=(xs.min(), ys.min(), xs.max(), ys.max()) if len(xs) else (0, 0, 0, 0),
    )
    table = [
        (i, int(stratum), None, None, None, picture)
        for i, (stratum, picture) in enumerate(zip(points.stratum, pictures, strict=True), 1)
    ]
    blobs = [point_blob(x, y, layer.srs_id) for x, y in zip(xs, ys, strict=True)]
    rows = [(blob, *row) for blob, row in zip(blobs, table, strict=True)]
    write_layer(folder / "points.gpkg", layer, rows)
    placed = (
        (row[0], float(x), float(y), *row[1:]) for row, x, y in zip(table, xs, ys, strict=True)
    )
    write_csv(folder / "points.csv", [COLUMNS[0], "x", "y", *COLUMNS[1:]], placed)
    write_text(folder / "points.qml", point_style(class_map.legend))


def draw_pictures(
    folder: Path, class_map: ClassMap, points: DrawnPoints, image: Path, *, side_m: float
) -> list[str | None]:
    """Draws the surroundings of each point into `pictures/ID.png`, its pixel of the map outlined.

    Args:
        folder: Where the folder of pictures goes.
        class_map: The map the points were drawn from.
        points: The sample.
        image: Raster with named bands, of any grid and CRS.
        side_m: Side of the square to show.

    Returns:
        The file of each point relative to `folder`, None where the image has no data.

    Raises:
        RasterError: The image cannot be read, lacks a CRS that the map has, or shows no point.
    """
    files: list[str | None] = [None] * len(points.row)
    with opened(image, "the image") as raster:
        (folder / PICTURE_FOLDER).mkdir(parents=True, exist_ok=True)
        outlines = _outlines(class_map, points, raster.crs, raster.transform, image)
        centres = np.floor(outlines.mean(axis=1))
        # Places that have none in the image's reference system lie outside of it.
        cols, rows = np.where(np.isfinite(centres), centres, -1).astype(int).T
        radius = max(round(side_m / _row_height_m(raster) / 2), 4)
        colours = ImageColours.of(raster)
        # In the file's order, so that neighbours share GDAL's decoded blocks.
        for i in progress(np.lexsort((cols, rows)).tolist(), label="pictures"):
            picture = _picture(raster, colours, int(rows[i]), int(cols[i]), radius, outlines[i])
            if picture is not None:
                name = files[i] = f"{PICTURE_FOLDER}/{i + 1:05d}.png"
                matplotlib.image.imsave(folder / name, picture, metadata={"Software": ""})
    if not any(files):
        raise RasterError(f"{image} shows none of the points; check its position and no data")
    return files


def _outlines(
    class_map: ClassMap, points: DrawnPoints, crs: CRS | None, grid: rasterio.Affine, image: Path
) -> np.ndarray:
    """Returns the corners of the points' pixels of the map on the image.

    Corners run around the pixel; columns and rows of the image, float64 [points, 4, 2].
    """
    if crs != class_map.grid.crs and not (on_earth(crs) and on_earth(class_map.grid.crs)):
        raise RasterError(
            f"{class_map.path} or {image} has no CRS of the Earth, so they cannot be laid on each "
            "other; set it (gdal_edit.py -a_srs)"
        )
    cols = points.col[:, None] + np.array([0, 1, 1, 0])
    rows = points.row[:, None] + np.array([0, 0, 1, 1])
    xs, ys = class_map.grid.transform @ (cols.ravel(), rows.ravel())
    if crs is not None and crs != class_map.grid.crs:
        xs, ys = map(np.asarray, transform_points(class_map.grid.crs, crs, xs, ys))
    return np.stack(~grid @ (xs, ys), axis=-1).reshape(-1, 4, 2)


def _row_height_m(raster: rasterio.DatasetReader) -> float:
    """Returns the height of a pixel; without a CRS, the transform is taken to be in metres."""
    if raster.crs is None:
        return float(np.hypot(raster.transform.b, raster.transform.e))
    return pixel_sides_m(raster.transform, raster.crs, raster.shape)[0]


def _picture(
    raster: rasterio.DatasetReader,
    colours: ImageColours,
    row: int,
    col: int,
    radius: int,
    outline: np.ndarray,
) -> np.ndarray | None:
    """Returns the surroundings of a pixel of the image, None where there is no data.

    Args:
        raster: The image.
        colours: How it is shown.
        row: Row of the pixel.
        col: Column of the pixel.
        radius: Pixels on each side of it.
        outline: Corners of what is to be labelled, as `_outlines` gives them, [4, 2].
    """
    if not (0 <= row < raster.height and 0 <= col < raster.width):
        return None
    pixel = Window(row_off=row, col_off=col, height=1, width=1)
    around = pixel.expand(radius)
    inside = around.clip(raster.height, raster.width) or pixel
    values = read_window(raster, inside, list(colours.bands))
    if not colours.has_data(values)[row - inside.row_off, col - inside.col_off]:
        return None
    small = colours.picture(values)
    padding = around.padding_inside(raster.height, raster.width)
    small = np.pad(small, (*padding, (0, 0)))
    scale = -(-_SIDE_PX // len(small))
    picture = small.repeat(scale, 0).repeat(scale, 1)
    _draw_outline(picture, (outline - (around.col_off, around.row_off)) * scale)
    return picture


def _draw_outline(picture: np.ndarray, corners: np.ndarray) -> None:
    """Draws a line around a parallelogram, farther away where that is too small to be seen.

    Args:
        picture: Drawn on, uint8 [height, width, 3].
        corners: Running around it, columns and rows of the picture, [4, 2].
    """
    centre = corners.mean(axis=0)
    sides = (corners[1] - corners[0], corners[3] - corners[0])
    for i in range(max(round(len(picture) * _LINE_FRACTION), 1)):
        # Half a pixel outwards is the middle of the row or column that touches the side.
        first, second = (
            side * (max(length := np.hypot(*side), _OUTLINE_PX - 2) + 1 + 2 * i) / length / 2
            for side in sides
        )
        ends = centre + np.array([-first - second, first - second, first + second, second - first])
        for start, end in zip(ends, np.roll(ends, -1, axis=0), strict=True):
            steps = int(np.ceil(np.abs(end - start).max())) + 1
            col, row = np.floor(np.linspace(start, end, steps)).astype(int).T
            seen = (row >= 0) & (row < picture.shape[0]) & (col >= 0) & (col < picture.shape[1])
            picture[row[seen], col[seen]] = _OUTLINE_COLOUR
