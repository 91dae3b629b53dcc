"""A pyramid of picture and value tiles, which a page opened from a local file can read.

A browser does not let a page from a file read pixels of image files beside it, but it lets it
run scripts; so every tile is text: embedded in the page when all of them are small, otherwise a
script file of its own.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterWindow

from landcover_tf.errors import OutputError, RasterError
from landcover_tf.grid import Window
from landcover_tf.legend import Legend
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.report.map_layers import MapLayers, OpenLayers, Shares
from landcover_tf.system.files import atomic_folder, remove_leftovers, require_space
from landcover_tf.system.progress import progress
from landcover_tf.visuals.html_pages import picture_url
from landcover_tf.visuals.image_colours import ImageColours

TILE_PX = 256
EMBED_LIMIT_BYTES = 24_000_000
SAMPLED_TILES = 16
"""Tiles of the finest level that tell how large all are."""

Key = tuple[int, int, int]
"""Level, row and column of a tile."""


@dataclass(frozen=True, kw_only=True)
class TilePyramid:
    """What the page needs to show the tiles."""

    description: dict[str, Any]
    """Size, levels, transform and which layers there are."""
    embedded: dict[str, dict[str, str]] | None
    """Data URLs by tile key and layer; None when the tiles are script files."""


def build_pyramid(layers: MapLayers, folder: Path, legend: Legend) -> TilePyramid:
    """Returns the tiles of the layers, written as scripts into `folder` when they are large.

    Tiles of an earlier report are replaced once all of the new ones are there.

    Raises:
        RasterError: A raster cannot be opened or brought onto the map's grid, or lies elsewhere;
            the map is not one band of uint8; the probabilities of a pixel do not sum to one; or the
            reference has codes that the legend lacks.
        LabelError: The reference is no raster of codes, or does not overlap the map.
        OutputError: `folder` holds something else, or the disk refuses.
    """
    try:
        with ExitStack() as stack:
            sources = OpenLayers(layers, legend, stack)
            return _build(sources, folder)
    except rasterio.errors.RasterioIOError as error:
        raise RasterError(f"cannot read a raster of the report: {error}") from error


def _build(sources: OpenLayers, folder: Path) -> TilePyramid:
    height, width = sources.map.shape
    levels = max(int(np.ceil(np.log2(max(height, width) / TILE_PX))), 0) + 1
    description = {
        "height": height,
        "width": width,
        "levels": levels,
        "tile": TILE_PX,
        "transform": list(sources.map.transform)[:6],
        "crs": _crs_name(sources.map.crs),
        "pixel_m": RasterGrid.of(sources.map).pixel_side_m,
        "image": sources.image is not None,
        "confidence": sources.confidence is not None,
        "confidence_of": _of_what(sources.confidence),
        "reference": sources.reference is not None,
        "probabilities": sources.probabilities.raster.count if sources.probabilities else 0,
    }
    colours = ImageColours.of(sources.image) if sources.image is not None else None
    keys = list(_keys(height, width, levels))
    bar = progress(keys, label="map tiles", unit="tile")
    encoded = ((key, _tile(sources, key, levels, colours)) for key in bar)
    kept: dict[str, dict[str, str]] = {}
    size = 0
    for key, tile in encoded:
        kept[_name(key)] = tile
        size += sum(map(len, tile.values()))
        if size > EMBED_LIMIT_BYTES:
            break
    else:
        return TilePyramid(description=description, embedded=kept)
    fresh = folder.with_name(f"{folder.name}.new")
    remove_leftovers(fresh)
    needed = _expected_bytes(keys, levels, lambda key: _tile(sources, key, levels, colours))
    require_space(folder.parent, needed, f"{folder.name} of {len(keys)} map tiles")
    print(f"writing {len(keys)} map tiles, about {needed / 1e6:.1f} MB, to {folder}", flush=True)
    # A run that was killed before it could put them in place leaves them.
    with atomic_folder(fresh, replace=_holds_tiles(fresh)) as temporary:
        for name, tile in kept.items():
            _write_script(temporary, name, tile)
        kept.clear()
        for key, tile in encoded:
            _write_script(temporary, _name(key), tile)
    _replace(folder, fresh)
    return TilePyramid(description=description | {"folder": folder.name}, embedded=None)


def _of_what(confidence: Shares | None) -> str:
    """Returns what the band says of a confidence, such as of which class it is."""
    said = "" if confidence is None else confidence.description
    return said.removeprefix("confidence").removeprefix(": ")


def _expected_bytes(
    keys: Sequence[Key], levels: int, encode: Callable[[Key], dict[str, str]]
) -> float:
    """Returns about how large all tiles are, by some of the finest level, which most belong to."""
    finest = [key for key in keys if key[0] == levels - 1]
    some = finest[:: -(-len(finest) // SAMPLED_TILES)]
    mean = sum(sum(map(len, encode(key).values())) for key in some) / len(some)
    return mean * len(keys)


def _holds_tiles(folder: Path) -> bool:
    return (folder / f"{_name((0, 0, 0))}.js").is_file()


def _replace(folder: Path, fresh: Path) -> None:
    """Puts new tiles in the place of those of an earlier report."""
    try:
        if _holds_tiles(folder):
            shutil.rmtree(folder)
        fresh.replace(folder)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise OutputError(f"cannot write the map tiles to {folder}: {error}") from error


def _crs_name(crs: Any) -> str | None:
    if crs is None:
        return None
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else "Position"


def _keys(height: int, width: int, levels: int) -> Iterator[Key]:
    for level in range(levels):
        step = TILE_PX << (levels - 1 - level)
        for row in range(-(-height // step)):
            for col in range(-(-width // step)):
                yield level, row, col


def _name(key: Key) -> str:
    return "{}/{}/{}".format(*key)


def _tile(
    sources: OpenLayers, key: Key, levels: int, colours: ImageColours | None
) -> dict[str, str]:
    level, row, col = key
    zoom = 1 << (levels - 1 - level)
    window, shape = _extent(sources.map.shape, row, col, TILE_PX * zoom, zoom)

    def read(raster: Any, bands: Any, resampling: Resampling) -> np.ndarray:
        out_shape = shape if isinstance(bands, int) else (len(bands), *shape)
        return np.asarray(
            raster.read(bands, window=window, out_shape=out_shape, resampling=resampling)
        )

    # Of the finest level each pixel is one of the raster's, which a mode takes longer to find.
    codes = Resampling.nearest if zoom == 1 else Resampling.mode
    values = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    inside = np.s_[: shape[0], : shape[1]]
    values[(*inside, 0)] = read(sources.map, 1, codes)
    if sources.confidence is not None:
        shares = sources.confidence
        values[(*inside, 1)] = shares.to_bytes(read(shares.raster, 1, Resampling.nearest))
    if sources.reference is not None:
        values[(*inside, 2)] = read(sources.reference, 1, codes)
    tile = {"values": picture_url(values)}
    if colours is not None:
        picture = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
        picture[inside] = colours.picture(read(sources.image, colours.bands, Resampling.average))
        tile["image"] = picture_url(picture, "jpeg")
    if sources.probabilities is not None and zoom == 1:
        shares = sources.probabilities
        count = shares.raster.count
        stacked = np.zeros((count, TILE_PX, TILE_PX), np.uint8)
        bands = read(shares.raster, list(range(1, count + 1)), Resampling.nearest)
        place = Window(
            row_off=row * TILE_PX, col_off=col * TILE_PX, height=shape[0], width=shape[1]
        )
        shares.require_probabilities(bands, values[(*inside, 0)] != sources.nodata, place)
        stacked[(slice(None), *inside)] = shares.to_bytes(bands)
        tile["probabilities"] = picture_url(stacked.reshape(-1, TILE_PX))
    return tile


def _extent(
    shape: tuple[int, int], row: int, col: int, step: int, zoom: int
) -> tuple[RasterWindow, tuple[int, int]]:
    height = min(step, shape[0] - row * step)
    width = min(step, shape[1] - col * step)
    window = RasterWindow(col * step, row * step, width, height)
    return window, (-(-height // zoom), -(-width // zoom))


def _write_script(folder: Path, name: str, tile: dict[str, str]) -> None:
    path = folder / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"landcoverTile({json.dumps(name)},{json.dumps(tile)})\n")
