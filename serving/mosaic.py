"""Maps of overlapping rasters merged into one: the more confident pixel wins."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioIOError

from landcover_tf.errors import OutputError, RasterError
from landcover_tf.grid import Window
from landcover_tf.legend import IGNORED, Legend
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_windows import opened, rasterio_window
from landcover_tf.sentinel2.product import attribution
from landcover_tf.system.files import beside, bytes_in, require_space, write_json
from serving import outputs
from serving.intents import discard, empty
from serving.map_writing import Result
from serving.objects import without_small_objects
from serving.options import OutputOptions
from serving.postprocess import Cleaning
from serving.raster_io import BLOCK_PX
from serving.row_band_content import BASE_LAYERS
from serving.row_bands import BandStore
from serving.source import Source
from serving.targets import CONFIDENCE, RECORD, check_targets, work_folder


def check_mosaic(
    sources: Sequence[Source], path: Path, wanted: OutputOptions, *, overwrite: bool
) -> None:
    """Checks that rasters can be merged into `path`, before any of them is predicted.

    Raises:
        RasterError: Another CRS, another pixel size, or shifted pixels.
        OutputError: A file to be written exists already or is an input's, or the disk cannot hold
            the merged bands and rasters.
    """
    check_targets(path, wanted.of_mosaic(), sources, overwrite=overwrite)
    # Those of a killed run are deleted first.
    needed = work_bytes(whole_grid(sources)) - bytes_in(work_folder(path))
    folder = next(parent for parent in path.parents if parent.exists())
    require_space(folder, needed, "the work until the mosaic is written")


def whole_grid(sources: Sequence[Source]) -> RasterGrid:
    """Returns the grid of the mosaic of rasters.

    Raises:
        RasterError: Another CRS, another pixel size, or shifted pixels.
    """
    return place([s.grid for s in sources], [str(s.path) for s in sources])[0]


def work_bytes(grid: RasterGrid) -> int:
    """Returns the disk space of a mosaic's merged bands and rasters until its map is written."""
    # The rasters are map and confidence, one after another written from a copy in the work folder.
    # A level that does not compress takes 1 byte per pixel, and a third more with its overviews.
    rasters, copies = 2, 1
    return (len(BASE_LAYERS) + rasters + copies) * grid.height * grid.width


def place(grids: Sequence[RasterGrid], names: Sequence[str]) -> tuple[RasterGrid, list[Window]]:
    """Returns the grid that covers all rasters, and where each lies on it.

    Args:
        grids: The rasters.
        names: Their names for messages.

    Raises:
        RasterError: They do not share one grid.
    """
    first = grids[0]
    for grid, name in zip(grids, names, strict=True):
        if grid.crs is None or first.crs is None:
            raise RasterError(f"{name} has no CRS, so its place in a mosaic is unknown")
        if grid.crs != first.crs:
            raise RasterError(
                f"{name} is in {grid.crs.to_string()}, {names[0]} in {first.crs.to_string()}; a "
                "mosaic needs one CRS, so merge each zone by itself"
            )
        if not _aligned(grid, first):
            raise RasterError(
                f"the pixels of {name} do not lie on the grid of {names[0]}; a mosaic needs one "
                "grid"
            )
    offsets = [_offset(g, first) for g in grids]
    left, top = (min(round(o[axis]) for o in offsets) for axis in (0, 1))
    placed = [
        Window(row_off=round(row) - top, col_off=round(col) - left, height=g.height, width=g.width)
        for (col, row), g in zip(offsets, grids, strict=True)
    ]
    whole = Window(
        row_off=top,
        col_off=left,
        height=max(p.row_end for p in placed),
        width=max(p.col_end for p in placed),
    )
    return first.part(whole), placed


def scenes_of(path: Path) -> list[str]:
    """Returns the names of the scenes that a mosaic was merged from; none of another file."""
    try:
        with rasterio.open(path) as dataset:
            return [str(name) for name in json.loads(dataset.tags().get("source", ""))]
    except (RasterioIOError, TypeError, ValueError):  # The last two of a map that is no mosaic.
        return []


def merge(
    parts: Sequence[Path],
    legend: Legend,
    path: Path,
    wanted: OutputOptions,
    record: Mapping[str, Any],
    *,
    cleaning: Cleaning,
) -> Result:
    """Writes the merged map, its confidence and what is wanted beside them; returns the map.

    Where maps overlap, the pixel of the highest confidence wins; of equal ones the first map's.
    Rows are merged block by block, so memory does not grow with the mosaic's height.

    Args:
        parts: Maps of one grid, each with its confidence beside it.
        legend: Classes of all of them.
        path: The mosaic.
        wanted: What to write of the mosaic: picture, polygons, STAC item.
        record: The settings, for `predict.json`; it comes with the other files, so that a mosaic
            never stands beside settings of another.
        cleaning: Its votes were taken in each map; small objects are removed here, as they are
            only known once the maps beside each other, or over each other, are merged.

    Raises:
        RasterError: A map or its confidence cannot be read.
        OutputError: The disk refuses.
    """
    try:
        grids, tags = _headers(parts)
        grid, placed = place(grids, [str(part) for part in parts])
        work = work_folder(path)
        spans = [(r, min(r + BLOCK_PX, grid.height)) for r in range(0, grid.height, BLOCK_PX)]
        empty(path)
        store = BandStore(work / "merged", BASE_LAYERS, spans)
        store.fill(_merged(parts, placed, grid, legend))
        files = work / "files"
        files.mkdir()
        # Before the map, as of a single one.
        write_json(beside(files / path.name, RECORD), record)
        shared = _shared_tags(tags, parts)
        if "post_processing" in shared:
            before = shared["post_processing"]
            steps = ["maps merged", *cleaning.removals]
            shared["post_processing"] = "; ".join(steps if before == "none" else [before, *steps])
        codes = _without_small_objects(store, legend, cleaning)
        about = cleaning.confidence
        counts = _write(files / path.name, store, codes, grid, legend, shared, wanted, about)
        outputs.publish(files, path)
        discard(path)
        return Result(map_path=path, legend=legend, counts=counts)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error


def _headers(parts: Sequence[Path]) -> tuple[list[RasterGrid], list[dict[str, str]]]:
    """Returns the grid and the tags of each map."""
    grids, tags = [], []
    for part in parts:
        with opened(part) as dataset:
            grids.append(RasterGrid.of(dataset))
            # GDAL's own tag is of the file, not of the map.
            tags.append({k: v for k, v in dataset.tags().items() if k != "AREA_OR_POINT"})
    return grids, tags


def _merged(
    parts: Sequence[Path],
    placed: Sequence[Window],
    grid: RasterGrid,
    legend: Legend,
) -> Iterator[np.ndarray]:
    for strip in grid.window.strips(BLOCK_PX):
        shape = strip.height, strip.width
        classes = np.full(shape, legend.nodata, np.uint8)
        confidence = np.full(shape, IGNORED, np.uint8)
        best = np.full(shape, -1, np.int16)
        for path, where in zip(parts, placed, strict=True):
            map_window = where.relative_to(strip)
            inside = map_window.clip(*shape)
            if inside is None:
                continue
            window, part = inside.relative_to(map_window), inside.slices
            codes, value = (_read(p, window) for p in (path, beside(path, CONFIDENCE)))
            better = (codes != legend.nodata) & (value.astype(np.int16) > best[part])
            classes[part][better] = codes[better]
            confidence[part][better] = value[better]
            best[part][better] = value[better]
        yield np.stack([classes, confidence])


def _read(path: Path, window: Window) -> np.ndarray:
    """Returns a window of a part, which is open no longer: there may be more than can be."""
    with opened(path) as dataset:
        return np.asarray(dataset.read(1, window=rasterio_window(window)))


def _shared_tags(found: Sequence[dict[str, str]], parts: Sequence[Path]) -> dict[str, str]:
    """Returns the provenance that all maps have in common, their names and when they were sensed.

    The first and last time are told where times differ and each map has one.
    """
    first, *others = found
    shared = {k: v for k, v in first.items() if all(tags.get(k) == v for tags in others)}
    times = [tags["sensing_time"] for tags in found if "sensing_time" in tags]
    if len(times) == len(found) and "sensing_time" not in shared:
        times.sort(key=datetime.fromisoformat)
        shared |= {"first_sensing_time": times[0], "last_sensing_time": times[-1]}
    if times:
        shared["attribution"] = attribution(times)
    # Names have commas, too.
    names = [part.parent.name for part in parts]
    return shared | {"source": json.dumps(names, ensure_ascii=False)}


def _without_small_objects(
    store: BandStore, legend: Legend, cleaning: Cleaning
) -> Iterator[np.ndarray]:
    """Yields the codes of a merged map in blocks, uint8 [1, rows, width]."""
    if not cleaning.removes_objects:
        yield from store.blocks((0,), BLOCK_PX)
        return
    dense, codes = np.full(256, IGNORED, np.uint8), np.full(256, legend.nodata, np.uint8)
    class_codes = [c.code for c in cleaning.classes]
    dense[class_codes] = range(len(class_codes))
    codes[: len(class_codes)] = class_codes

    def blocks() -> Iterator[np.ndarray]:
        for block in store.blocks((0, 1), BLOCK_PX):
            yield np.stack([dense[block[0]], block[1]])

    for block in without_small_objects(blocks, cleaning.least_sizes):
        yield codes[block[:1]]


def _write(
    path: Path,
    store: BandStore,
    codes: Iterable[np.ndarray],
    grid: RasterGrid,
    legend: Legend,
    tags: dict[str, str],
    wanted: OutputOptions,
    confidence_description: str,
) -> dict[int, int]:
    """Writes all files of the mosaic and returns its pixels per legend code."""
    counts = outputs.write_codes(
        path, codes, legend=legend, grid=grid, tags=tags, staging=store.folder
    )
    confidence = beside(path, CONFIDENCE)
    outputs.write_levels(
        confidence, store, (1,), grid=grid, descriptions=(confidence_description,), tags=tags
    )
    files = [path, confidence, *outputs.write_areas_and_style(path, counts, legend, grid)]
    # The item is named after the mosaic; the products' names would make a very long one.
    tags = tags | {"source": ", ".join(json.loads(tags["source"]))}
    outputs.write_companions(
        files, None, legend=legend, info=None, wanted=wanted, tags=tags, title=path.stem
    )
    return counts


def _aligned(grid: RasterGrid, other: RasterGrid) -> bool:
    """Returns whether the pixels of two grids are those of one, on which both lie."""
    col, row = (round(offset) for offset in _offset(grid, other))
    place = Window(row_off=row, col_off=col, height=grid.height, width=grid.width)
    return other.part(place).same_pixels(grid)


def _offset(grid: RasterGrid, other: RasterGrid) -> tuple[float, float]:
    """Returns the column and row on another grid of the upper-left corner of one."""
    col, row = ~other.transform @ (grid.transform.c, grid.transform.f)
    return float(col), float(row)
