"""The files a prediction leaves: maps as COG, area table, QGIS style and more."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.legend import IGNORED, Legend
from landcover_tf.model_info import ModelInfo
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.system.files import beside, write_text
from landcover_tf.system.tables import write_csv
from landcover_tf.vectors.qgis_styles import raster_style
from serving.options import OutputOptions
from serving.raster_io import BLOCK_PX, RasterStyle, write_cog
from serving.row_band_content import LEVELS
from serving.row_bands import BandStore
from serving.source import Source
from serving.targets import CONFIDENCE, RECORD, former_targets


def publish(folder: Path, map_path: Path) -> None:
    """Moves a map's files from `folder` to where they belong, its settings first, itself last.

    So a run that is killed leaves all of them or its work folder, no file of a new map stands
    beside the settings of an old one, and no map beside files of another: what an earlier map
    brought along and this one does not is removed.
    """
    record = beside(map_path, RECORD)
    kept = {record, *(map_path.with_name(f.name) for f in folder.iterdir())}
    for path in former_targets(map_path):
        if path not in kept:
            path.unlink(missing_ok=True)
    places = {record.name: 0, map_path.name: 2}
    for file in sorted(folder.iterdir(), key=lambda f: places.get(f.name, 1)):
        file.replace(map_path.with_name(file.name))


def write_map(
    path: Path,
    store: BandStore,
    *,
    class_codes: Sequence[int],
    legend: Legend,
    grid: RasterGrid,
    tags: Mapping[str, str],
) -> dict[int, int]:
    """Writes the class map and returns its pixels per legend code.

    Args:
        path: COG to write; category names go into `<path>.aux.xml`.
        store: The first layer is the dense class.
        class_codes: The legend's code of each dense class.
        legend: Classes of the map.
        grid: Size and georeference.
        tags: Provenance.
    """
    codes = np.full(256, legend.nodata, np.uint8)
    codes[: len(class_codes)] = class_codes
    blocks = (codes[block] for block in store.blocks((0,), BLOCK_PX))
    return write_codes(path, blocks, legend=legend, grid=grid, tags=tags, staging=store.folder)


def write_codes(
    path: Path,
    blocks: Iterable[np.ndarray],
    *,
    legend: Legend,
    grid: RasterGrid,
    tags: Mapping[str, str],
    staging: Path,
) -> dict[int, int]:
    """Writes a class map of legend codes and returns its pixels per legend code.

    Args:
        path: COG to write; category names go into `<path>.aux.xml`.
        blocks: The codes in blocks of BLOCK_PX rows, uint8 [1, rows, width].
        legend: Classes of the map.
        grid: Size and georeference.
        tags: Provenance.
        staging: Folder for temporary files.
    """
    counts = np.zeros(256, np.int64)

    def counted() -> Iterator[np.ndarray]:
        nonlocal counts
        for block in blocks:
            counts += np.bincount(block.ravel(), minlength=256)
            yield block

    style = _map_style(legend, tags)
    write_cog(path, counted(), bands=1, grid=grid, style=style, staging=staging)
    _write_categories(path, legend)
    return {code: int(counts[code]) for code in (legend.nodata, *legend.codes)}


def _map_style(legend: Legend, tags: Mapping[str, str]) -> RasterStyle:
    """Returns how a class map presents itself: colours, class names, overviews by mode."""
    return RasterStyle(
        nodata=legend.nodata,
        overview_resampling="MODE",
        colormap=legend.colormap(),
        descriptions=("land cover class",),
        tags=tags,
        band_tags={f"CLASS_{c.code}": c.name for c in legend.classes},
    )


def write_levels(
    path: Path,
    store: BandStore,
    layers: Sequence[int],
    *,
    grid: RasterGrid,
    descriptions: tuple[str, ...],
    tags: Mapping[str, str],
) -> None:
    """Writes stored levels (confidence, entropy, probabilities) as a COG of scale 1/254."""
    style = RasterStyle(
        nodata=IGNORED,
        overview_resampling="AVERAGE",
        descriptions=descriptions,
        tags=tags,
        scale=1 / LEVELS,
    )
    blocks = store.blocks(layers, BLOCK_PX)
    write_cog(path, blocks, bands=len(descriptions), grid=grid, style=style, staging=store.folder)


def write_areas_and_style(
    path: Path, counts: Mapping[int, int], legend: Legend, grid: RasterGrid
) -> list[Path]:
    """Writes the area table and the QGIS style beside a map and returns their paths.

    Args:
        path: The map; QGIS finds the style beside it by its name.
        counts: Its pixels per legend code.
        legend: Its classes.
        grid: Its size and georeference.
    """
    areas, style = beside(path, "areas.csv"), path.with_suffix(".qml")
    _write_areas(areas, counts, legend, grid)
    write_text(style, raster_style(legend.classes))
    return [areas, style]


def _write_areas(path: Path, counts: Mapping[int, int], legend: Legend, grid: RasterGrid) -> None:
    """Writes pixels, hectares and share of the classified area per class as CSV.

    The last row is of the pixels without class, which are in no share.

    Hectares are pixels times pixel area; they stay empty where pixels have no common one. They
    are counts of a map, not estimates of area: the classifier's errors bias them.
    """
    pixel_ha = None if grid.pixel_area_m2 is None else grid.pixel_area_m2 / 10_000
    total = sum(n for code, n in counts.items() if code != legend.nodata)
    rows = []
    names = {c.code: c.name for c in legend.classes} | {legend.nodata: "no class"}
    for code, name in names.items():
        pixels = counts[code]
        area = None if pixel_ha is None else f"{pixels * pixel_ha:.4f}"
        share = 100 * pixels / total if total else 0.0
        rows.append([code, name, pixels, area, None if code == legend.nodata else f"{share:.4f}"])
    write_csv(path, ["code", "name", "pixels", "area_ha", "percent"], rows)


def write_companions(
    files: Sequence[Path],
    source: Source | None,
    *,
    legend: Legend,
    info: ModelInfo | None,
    wanted: OutputOptions,
    tags: Mapping[str, Any],
    title: str,
) -> None:
    """Writes picture, class polygons and STAC item of a map as asked for.

    Args:
        files: The map, then what has been written beside it.
        source: What the map was made of, for the picture; None leaves the image out.
        legend: Classes of the map.
        info: The model that made it, for the picture of the image.
        wanted: What to write.
        tags: Provenance, for the item.
        title: Title of the picture, and the item's name.
    """
    path, written = files[0], list[Path]()
    if wanted.picture:
        from serving.map_picture import write_picture

        confidence = beside(path, CONFIDENCE)
        written.append(path.with_suffix(".png"))
        write_picture(
            written[-1],
            path,
            confidence if confidence in files else None,
            source,
            legend=legend,
            info=info,
            reference=wanted.reference_map,
            title=title,
        )
    if wanted.vector:
        from serving.polygons import write_polygons

        written.append(path.with_suffix(".gpkg"))
        write_polygons(written[-1], path, legend)
    if wanted.stac:
        from serving.stac import write_item

        everything = [*files, *written]
        write_item(path.with_suffix(".json"), everything, path, legend, name=title, tags=tags)


def _write_categories(path: Path, legend: Legend) -> None:
    """Writes GDAL's sidecar of a map, with the class names that GeoTIFF has no place for."""
    names = {legend.nodata: legend.nodata_name} | {c.code: c.name for c in legend.classes}
    lines = [
        f"      <Category>{_escaped(names.get(code, ''))}</Category>"
        for code in range(max(names) + 1)
    ]
    text = "\n".join(
        [
            "<PAMDataset>",
            '  <PAMRasterBand band="1">',
            "    <CategoryNames>",
            *lines,
            "    </CategoryNames>",
            "  </PAMRasterBand>",
            "</PAMDataset>\n",
        ]
    )
    sidecar = path.with_name(path.name + ".aux.xml")
    write_text(sidecar, text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
