"""The picture of a map: image, reference, map and confidence side by side."""

from collections import Counter
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from landcover_tf.bands import sentinel2_names
from landcover_tf.crosswalk import Crosswalk, load_crosswalk
from landcover_tf.errors import LabelError, LegendError, OutputError, RasterError
from landcover_tf.legend import IGNORED, Legend, legend_names, some_codes
from landcover_tf.model_info import ModelInfo
from landcover_tf.rasters.label_codes import decimated_codes, require_codes
from landcover_tf.rasters.pixel_sizes import pixel_sides_m
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_legends import stated_legend, worldcover_by_name
from landcover_tf.rasters.raster_windows import opened
from landcover_tf.sentinel2.label_rasters import open_codes
from landcover_tf.sentinel2.reference_raster import on_grid_of
from serving.row_band_content import LEVELS
from serving.source import Source

PICTURE_PX = 900
"""Longest side of a panel."""


def write_picture(
    path: Path,
    map_path: Path,
    confidence_path: Path | None,
    source: Source | None,
    *,
    legend: Legend,
    info: ModelInfo | None,
    reference: Path | None,
    title: str,
) -> None:
    """Writes colour image, reference, prediction and confidence side by side, with legend.

    Args:
        path: The PNG to write.
        map_path: The map.
        confidence_path: Its confidence, None where there is none.
        source: What the map was made of, None to leave it out.
        legend: Classes of the map.
        info: The model, see `image_picture`.
        reference: Labels to draw, None where there are none.
        title: Heading.
    """
    from landcover_tf.visuals.figures import save_panels
    from landcover_tf.visuals.pictures import class_picture, grey_picture

    with rasterio.open(map_path) as dataset:
        shape = _picture_shape(dataset.height, dataset.width)
        classes = dataset.read(1, out_shape=shape)
        labels = None if reference is None else read_reference(reference, dataset, shape, legend)
        metres = None
        if dataset.crs is not None and dataset.crs.is_projected:
            # The picture's scale bar lies along the rows.
            _, width_m = pixel_sides_m(dataset.transform, dataset.crs, dataset.shape)
            metres = width_m * dataset.width / shape[1]
    panels: list[tuple[str, np.ndarray]] = []
    if source is not None:
        panels.append(("image", image_picture(source, shape, info)))
    if labels is not None:
        panels.append(("reference", class_picture(labels, legend)))
    panels.append(("prediction", class_picture(classes, legend)))
    if confidence_path is not None:
        with rasterio.open(confidence_path) as dataset:
            levels = dataset.read(1, out_shape=shape)
        picture = grey_picture(levels / LEVELS, 0, 1)
        picture[levels == IGNORED] = 240
        panels.append(("confidence, 0 (dark) to 1", picture))
    save_panels(path, panels, legend=legend, title=title, metres_per_pixel=metres)


def image_picture(source: Source, shape: tuple[int, int], info: ModelInfo | None) -> np.ndarray:
    """Returns the image in colours, decimated to `shape`, uint8 [height, width, 3].

    What is brighter in all bands than the ground of the model's training data does not count for
    the brightness: clouds would take the whole range.
    """
    from landcover_tf.visuals.pictures import composite

    image, names, valid = source.preview(shape)
    usual, clear = None if info is None else info.usual_range, None
    known = [] if info is None else sentinel2_names(info.band_names)
    drawn = sentinel2_names(names)
    if usual is not None and set(drawn) <= set(known):
        brightest = usual[1, [known.index(name) for name in drawn]].max()
        clear = valid & (image <= brightest).any(axis=-1)
        if clear.sum() < valid.sum() / 4:  # Ground such as the model never saw.
            clear = None
    return composite(image, names, valid=valid, clear=clear)


def check_reference(reference: Path, legend: Legend) -> None:
    """Refuses a label raster of another legend before any work is done.

    Tells where the raster's tag names another legend, from which its codes are remapped.

    Raises:
        RasterError: It is a folder or unreadable, or holds no codes, or some that its legend does
            not have, or its legend has no crosswalk to that of the map.
    """
    if reference.is_dir():
        raise RasterError(
            f"--reference-map {reference} is a folder; give one raster, for example a .vrt of "
            "those in it"
        )
    try:
        with open_codes(reference) as labels:
            crosswalk = _crosswalk_of(labels, legend)
            require_codes(labels)
            shape = _picture_shape(labels.height, labels.width)
            codes, missing = decimated_codes(labels, shape)
    except RasterioError as error:
        raise RasterError(
            f"--reference-map: cannot read the raster {reference}: {error}"
        ) from error
    except LabelError as error:
        raise RasterError(f"--reference-map: {error}") from error
    unknown = crosswalk.unknown_counts(codes[~missing])
    foreign = crosswalk.source != legend.name
    if unknown:
        whose = "its own" if foreign else "the model's"
        raise RasterError(
            f"--reference-map {reference} has codes {some_codes(sorted(unknown))}, which "
            f"{whose} legend {crosswalk.source!r} does not have (it has "
            f"{sorted(crosswalk.codes.keys() - {legend.nodata})}); remap the labels first"
        )
    if foreign:
        print(f"note: --reference-map {reference} is drawn by the {crosswalk}, as it says itself")


def read_reference(
    reference: Path, dataset: rasterio.DatasetReader, shape: tuple[int, int], legend: Legend
) -> np.ndarray | None:
    """Returns labels on a map's grid, decimated to `shape`; tells why where there are none."""
    unknown = Counter[int]()
    try:
        with opened(reference, "the label raster", error=LabelError) as labels:
            crosswalk = _crosswalk_of(labels, legend)
        grid = RasterGrid.of(dataset)
        with on_grid_of(grid, reference, crosswalk, unknown) as placed:
            codes = np.asarray(placed.read(1, out_shape=shape))
    except (LabelError, OutputError) as error:
        # The map is there: its picture is no reason to count it as failed.
        print(f"the picture of {dataset.name} is without --reference-map: {error}")
        return None
    if unknown:  # The check before the work saw some pixels only.
        print(
            f"--reference-map {reference} is drawn without its unknown codes {sorted(unknown)[:5]}"
        )
    return codes


def _crosswalk_of(labels: rasterio.DatasetReader, legend: Legend) -> Crosswalk:
    """Returns the crosswalk to a legend from the shipped one that an open raster names.

    Raises:
        LabelError: There is none.
    """
    source = stated_legend(labels)
    if source not in (legend.name, *legend_names()):
        source = worldcover_by_name(Path(labels.name))
    if source in (None, legend.name):
        return Crosswalk.identity(legend)
    try:
        return load_crosswalk(source, legend.name)
    except LegendError as error:
        raise LabelError(
            f"{labels.name} has codes of legend {source}, as its tag, colours or name say, the "
            f"model of {legend.name}; remap the labels first"
        ) from error


def _picture_shape(height: int, width: int) -> tuple[int, int]:
    factor = max(height, width) / min(PICTURE_PX, max(height, width))
    return max(round(height / factor), 1), max(round(width / factor), 1)
