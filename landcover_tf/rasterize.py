"""Makes label rasters of polygons: `python -m landcover_tf.rasterize`."""

import csv
import re
import shlex
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from landcover_tf.configs import cli, flag_ranges
from landcover_tf.crosswalk import source_codes
from landcover_tf.errors import ConfigError, LabelError, OutputError, listed
from landcover_tf.legend import Legend, legend_names, load_legend, some_codes
from landcover_tf.system.files import require_new
from landcover_tf.system.tables import read_csv

if TYPE_CHECKING:
    from landcover_tf.vectors.label_burning import Burnt
    from landcover_tf.vectors.polygon_layers import PolygonLayer


@dataclass(frozen=True, kw_only=True)
class RasterizeConfig:
    """Make a label raster of the polygons of a vector file, for `landcover prepare`.

    A pixel gets the class of the polygon that its centre lies in; of several, of the last in the
    file. Pixels finer than the image's let `prepare` decide by the largest area. Needs the extra
    landcover-tf[vector].
    """

    polygons: Path
    """GeoPackage, shapefile, GeoJSON, FlatGeobuf or another file that GDAL reads."""
    attribute: str
    """Field with class codes or class names."""
    output_raster: Path
    """GeoTIFF to write."""
    layer: str | None = None
    """Layer of the file, where several of its layers may hold polygons."""
    legend: str = "landcover9"
    """Legend whose codes or names the attribute holds: a shipped one or a .toml file."""
    class_table: Path | None = None
    """CSV with the columns value and code, for an attribute of other words or numbers."""
    unknown_labels: Literal["error", "ignore"] = "error"
    """What to do with values that are no class; ignored ones become no data."""
    like: Path | None = None
    """Raster whose CRS and grid the labels get, instead of --crs and --pixel-size."""
    crs: str | None = None
    """Projected CRS of the raster; that of the polygons, or the UTM zone of their middle where
    theirs is in degrees."""
    pixel_size: float = 5.0
    """Side of a pixel in the unit of the CRS."""
    overwrite: bool = False
    """Replace the raster if it is there."""

    def __post_init__(self) -> None:
        flag_ranges.chosen(self)
        flag_ranges.above_zero(self, "pixel_size")
        if self.like is not None and self.crs is not None:
            raise ConfigError("--like and --crs both say where the pixels lie; give one of them")


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    return cli.run(RasterizeConfig, _program, argv, prog="landcover rasterize")


def _program(config: RasterizeConfig) -> None:
    rasterize_polygons(config)


def rasterize_polygons(config: RasterizeConfig) -> Path:
    """Writes a label raster, prints the area of each class, and returns the raster's path.

    Raises:
        LandCoverError: The polygons, their values, the grid or the output are unfit.
    """
    from landcover_tf.vectors.label_burning import grid_like, grid_over, write_labels
    from landcover_tf.vectors.polygon_layers import PolygonLayer

    _require_free(config)
    legend = load_legend(config.legend)
    layer = PolygonLayer(config.polygons, config.attribute, config.layer)
    counts = layer.value_counts()
    codes = codes_of(counts, legend, config)
    grid = (
        grid_like(config.like) if config.like else grid_over(layer, config.crs, config.pixel_size)
    )
    burnt = write_labels(config.output_raster, layer, codes, grid, legend)
    names = {c.code: c.name for c in legend.classes}
    area_m2 = grid.pixel_area_m2
    for code, count in burnt.pixels.items():
        size = f"{count:,} px" if area_m2 is None else f"{count * area_m2 / 1e4:,.1f} ha"
        print(f"{code:5} {names.get(code, ''):32} {size:>18}")
    left_out = _left_out(counts, codes, burnt, layer)
    if left_out:
        print(f"left out: {', '.join(left_out)}")
    print(
        f"{burnt.shown:,} of {layer.count:,} polygons on {grid.height} x {grid.width} pixels; take "
        f"them by `{_prepare_command(config, legend, burnt.pixels)}`"
    )
    return config.output_raster


def _left_out(
    counts: Mapping[Any, int], codes: Mapping[Any, int], burnt: "Burnt", layer: "PolygonLayer"
) -> list[str]:
    """Returns how many features have no pixel, by reason."""
    unknown = [str(value) for value in counts if value is not None and value not in codes]
    classed = sum(counts[value] for value in codes)
    shapeless = layer.without_geometry(codes) if classed > burnt.met else 0
    reasons = {
        f"without a value of {layer.attribute}": counts.get(None, 0),
        f"of no class ({some_codes(unknown)})": layer.count - counts.get(None, 0) - classed,
        "without geometry": shapeless,
        "outside the raster": classed - burnt.met - shapeless,
        "in which no pixel's centre lies, or under later ones": burnt.met - burnt.shown,
    }
    return [f"{number:,} {reason}" for reason, number in reasons.items() if number]


def _prepare_command(config: RasterizeConfig, legend: Legend, codes: Iterable[int]) -> str:
    """Returns the flags of `landcover prepare` that keep the classes of an own legend.

    A shipped one is made to be remapped, and codes such as CORINE's of level 3 can only be.
    """
    words = ["--ground-truth", str(config.output_raster), "--source-legend", config.legend]
    if legend.name not in legend_names() and {*codes} <= {*legend.codes}:
        words += ["--legend", config.legend]
    return f"landcover prepare {shlex.join(words)}"


def _require_free(config: RasterizeConfig) -> None:
    """Refuses to write over what is read, and over any other file without --overwrite."""
    output = config.output_raster
    if not output.exists():
        return
    read = {"polygons": config.polygons, "like": config.like, "class-table": config.class_table}
    for flag, path in read.items():
        if path is not None and path.exists() and output.samefile(path):
            raise OutputError(f"{output} would replace --{flag}; choose another --output-raster")
    require_new([output], overwrite=config.overwrite)


def codes_of(counts: Mapping[Any, int], legend: Legend, config: RasterizeConfig) -> dict[Any, int]:
    """Returns the code of every value of the attribute that is a class.

    Args:
        counts: Features of each value; None is no value.
        legend: Gives codes and names.
        config: The class table, and what to do with other values.

    Raises:
        LabelError: A value is no class, or none is.
    """
    table = (
        _class_table(config.class_table, legend, source_codes(config.legend))
        if config.class_table
        else _own_words(legend, config.legend)
    )
    codes, unknown = {}, {}
    for value, count in counts.items():
        if value is None:
            continue  # Its text may be the name of a class: "none".
        code = table.get(_word(value))
        if code is None:
            unknown[value] = count
        else:
            codes[value] = code
    if None in counts and config.unknown_labels == "error":
        print(
            f"warning: {counts[None]} of {sum(counts.values())} polygons of {config.polygons} have "
            f"no value of {config.attribute}; they are left out, fill it in if they have a class",
            file=sys.stderr,
        )
    if unknown and config.unknown_labels == "error":
        # A wrong attribute has thousands of values.
        values = listed([f"{value!r} ({count})" for value, count in unknown.items()])
        raise LabelError(
            f"{config.attribute} of {config.polygons} has values that are no class of legend "
            f"{legend.name}: {values}; name another --legend, list them in a --class-table, "
            "or pass --unknown-labels ignore"
        )
    if not codes:
        raise LabelError(f"no polygon of {config.polygons} has a class in {config.attribute}")
    return codes


def _own_words(legend: Legend, source: str) -> dict[Any, int]:
    """Returns the code of every name and code of a legend, such as CORINE's of level 3 as well."""
    return {_word(c.name): c.code for c in legend.classes} | {c: c for c in source_codes(source)}


def _class_table(path: Path, legend: Legend, allowed: Sequence[int]) -> dict[Any, int]:
    try:
        table = read_csv(path)
        if not {"value", "code"} <= {*table.columns}:
            raise LabelError(
                f"{path} needs the columns value and code; it has "
                f"{', '.join(table.columns) or 'none'}"
            )
        codes = {_word(row["value"]): int(_word(row["code"])) for row in table.rows}
    except UnicodeDecodeError as error:
        raise LabelError(
            f"{path} is not a table in UTF-8 ({error}); save it as CSV UTF-8, as spreadsheets offer"
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise LabelError(
            f"{path} is no table of values and whole numbers as codes: {error}"
        ) from error
    wrong = sorted({code for code in codes.values() if code not in allowed})
    if wrong:
        raise LabelError(f"{path} has codes that legend {legend.name} does not know: {wrong}")
    return codes


def _word(value: Any) -> Any:
    """Returns what values are compared by: texts without case, whole numbers in texts as numbers.

    Letters with marks are one character or two, by the system that wrote them; they count alike.
    """
    text = unicodedata.normalize("NFC", " ".join(str(value).split()).casefold())
    # A column with gaps is written as 10.0 by some programs.
    whole = re.fullmatch(r"(-?[0-9]{1,18})(\.0*)?", text)
    return int(whole[1]) if whole else text


if __name__ == "__main__":
    sys.exit(main())
