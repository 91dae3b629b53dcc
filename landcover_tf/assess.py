"""`landcover assess`: draw a sample of a map, estimate its accuracy, compare it with another."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from landcover_tf import cli, flag_ranges
from landcover_tf.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from landcover_tf.accuracy.class_map import ClassMap
    from landcover_tf.grid import Window
    from landcover_tf.legend import Crosswalk
    from landcover_tf.raster_legends import ChosenLegend

MOST_SQUARES = 10_000
"""So many say enough; the resampling needs 16 bytes for each square and sample."""
USAGE = """usage: landcover assess {design,estimate,compare} [flags]

  design     draw a stratified random sample of a map, to be labelled
  estimate   accuracy and area of a map from labelled points
  compare    agreement of a map with a reference raster

landcover assess NAME --help lists the flags."""


@dataclass(frozen=True, kw_only=True)
class DesignConfig:
    """Draw a stratified random sample of a map, to be labelled.

    The strata are the map's classes. Writes points.gpkg, points.csv, a QGIS style and design.json,
    which `landcover assess estimate` needs beside the points. Label the column `reference`.
    """

    map: Path
    """Class map of one uint8 band."""
    output_dir: Path
    """New folder for the points; an existing one is refused, because it may hold labels."""
    target_se: float = 0.01
    """Standard error of overall accuracy that the sample shall reach."""
    samples: int | None = None
    """Number of points, instead of --target-se."""
    expected_accuracy: tuple[str, ...] = ("0.8",)
    """User's accuracy to expect: one for all, and CODE=VALUE where a class differs."""
    allocation: Literal["proportional", "optimal", "equal"] = "proportional"
    """How points are shared out among classes: to area; to area times expected standard deviation
    (Neyman); or evenly."""
    min_per_class: int = 50
    """Least points of a class, if it has as many pixels."""
    seed: int = 0
    """Decides which pixels are drawn."""
    legend: str | None = None
    """Name or TOML file of the map's legend; by default the one that its tags name, or else
    landcover9."""
    exclude_codes: tuple[int, ...] = ()
    """Map codes to treat as no data, such as that of uncertain pixels."""
    image: Path | None = None
    """Raster with named bands, to draw the surroundings of each point."""
    picture_m: float = 640.0
    """Side of those pictures."""
    rows_per_strip: int = 512
    """Most map rows in memory, at most 16.8 million pixels; the sample does not depend on it."""

    def __post_init__(self) -> None:
        flag_ranges.within(self, 0, 0.5, "target_se", ends="()")
        flag_ranges.at_least(self, 1, "samples", "rows_per_strip")
        if self.min_per_class < 2:
            raise ConfigError(
                f"--min-per-class must be at least 2, got {self.min_per_class}; one point says "
                "nothing about its own uncertainty"
            )
        flag_ranges.at_least(self, 0, "seed")
        flag_ranges.above_zero(self, "picture_m")


@dataclass(frozen=True, kw_only=True)
class EstimateConfig:
    """Estimate the accuracy and the class areas of a map from labelled points.

    The points must be a probability sample: drawn by `landcover assess design`, whose design.json
    lies beside them, or within the classes of --strata-map. Intervals by Olofsson et al. (2014)
    when the strata are the map's own classes, by Stehman (2014) otherwise.
    """

    map: Path
    """Class map of one uint8 band."""
    reference: Path
    """Labelled points: GeoPackage, or CSV with x and y (or lon and lat)."""
    layer: str | None = None
    """Layer of the GeoPackage; by default its only one of points."""
    output_dir: Path | None = None
    """Receives estimate.json, tables, report.md and a picture; `assessment` beside the points by
    default."""
    design: Path | None = None
    """Record of the sampling design; design.json beside the points by default."""
    strata_map: Path | None = None
    """Map in whose classes the points were drawn at random; instead of a design record. Each of
    its codes is a stratum, known to its legend or not."""
    strata_legend: str | None = None
    """Name or TOML file of that map's legend, which says what is no data; by default the one
    that its tags name, or else landcover9."""
    not_a_probability_sample: bool = False
    """The points were not drawn at random: report agreement with them, no areas, no intervals."""
    leave_out_strata: tuple[int, ...] = ()
    """Strata, by code, that no figure shall cover, for example because nobody labelled them."""
    reference_column: str = "reference"
    """Column with the class code or class name."""
    reference_legend: str | None = None
    """Legend of the reference classes, when it is not the map's; it needs a crosswalk to it."""
    points_crs: str | None = None
    """Reference system of a CSV file's x and y, such as EPSG:4326; by default that of the
    design, or else the map's. Of a GeoPackage only where the layer names none."""
    unknown_labels: Literal["error", "ignore"] = "error"
    """What to do with classes that the legend does not know: refuse them, or leave the points
    out and count them."""
    probabilities: Path | None = None
    """Raster with one band a class; checked and judged at the points."""
    legend: str | None = None
    """Name or TOML file of the map's legend; by default the one that its tags name, or else
    landcover9."""
    exclude_codes: tuple[int, ...] = ()
    """Map codes to treat as no data; those of the design by default."""
    confidence_level: float = 0.95
    """Of the intervals."""
    rows_per_strip: int = 512
    """Most map rows in memory, at most 16.8 million pixels."""

    def __post_init__(self) -> None:
        if self.not_a_probability_sample and (self.strata_map or self.design):
            raise ConfigError("--not-a-probability-sample excludes --design and --strata-map")
        if self.not_a_probability_sample and self.leave_out_strata:
            raise ConfigError(
                "--not-a-probability-sample knows no strata and excludes --leave-out-strata"
            )
        if self.design and self.strata_map:
            raise ConfigError("the strata come from --design or from --strata-map, not from both")
        if self.strata_legend and not self.strata_map:
            raise ConfigError("--strata-legend is that of --strata-map, which is not given")
        flag_ranges.within(self, 0, 1, "confidence_level", ends="()")
        flag_ranges.at_least(self, 1, "rows_per_strip")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Compare a map with a reference raster, pixel by pixel.

    The reference is brought to the map's grid: by the commonest class where it is finer, without
    class where it covers less than half of a pixel; else by the nearest pixel. The result is
    agreement with another map, not accuracy.
    """

    map: Path
    """Class map of one uint8 band."""
    reference_map: Path
    """Reference raster, or a folder of them."""
    output_dir: Path | None = None
    """Receives compare.json, tables, report.md, a picture and agreement.tif; `comparison` beside
    the map by default."""
    reference_legend: str | None = None
    """Legend of the reference, such as worldcover; by default the one that its tags name, or else
    the map's."""
    unknown_labels: Literal["error", "ignore"] = "error"
    """What to do with reference codes that the crosswalk does not know: refuse them or read them
    as no data."""
    block_m: float = 5000.0
    """Side of the squares that are resampled for the intervals; it should exceed the distance
    over which errors resemble each other. Without a projected CRS, a pixel counts as 10 m."""
    bootstrap_samples: int = 1000
    """How often they are resampled."""
    seed: int = 0
    """Of the resampling."""
    legend: str | None = None
    """Name or TOML file of the map's legend; by default the one that its tags name, or else
    landcover9."""
    exclude_codes: tuple[int, ...] = ()
    """Map codes to treat as no data, such as that of uncertain pixels."""
    confidence_level: float = 0.95
    """Of the intervals."""
    rows_per_strip: int = 512
    """Most map rows in memory, at most 16.8 million pixels; the result does not depend on it."""

    def __post_init__(self) -> None:
        flag_ranges.at_least(self, 0, "seed")
        flag_ranges.at_least(self, 1, "bootstrap_samples", "rows_per_strip")
        flag_ranges.above_zero(self, "block_m")
        flag_ranges.within(self, 0, 1, "confidence_level", ends="()")


def main(argv: list[str] | None = None) -> int:
    """Runs the named part of the program and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    name, flags = arguments[0], arguments[1:]
    prog = cli.command("landcover assess", argv)
    if name == "design":
        return cli.run(DesignConfig, _design, flags, prog=f"{prog} design")
    if name == "estimate":
        return cli.run(EstimateConfig, _estimate, flags, prog=f"{prog} estimate")
    if name == "compare":
        return cli.run(CompareConfig, _compare, flags, prog=f"{prog} compare")
    print(f"error: no part {name!r}\n\n{USAGE}", file=sys.stderr)
    return 2


def _design(config: DesignConfig) -> None:
    from landcover_tf.accuracy.class_map import ClassMap
    from landcover_tf.accuracy.drawing import Request, draw_sample

    class_map = ClassMap.open(config.map, config.legend, config.exclude_codes)
    design = draw_sample(
        class_map,
        config.output_dir,
        Request(
            target_se=None if config.samples else config.target_se,
            samples=config.samples,
            expected_accuracy=config.expected_accuracy,
            allocation=config.allocation,
            min_per_class=config.min_per_class,
            seed=config.seed,
            image=config.image,
            picture_m=config.picture_m,
            rows_per_strip=config.rows_per_strip,
        ),
    )
    cli.write_config(config, config.output_dir / "assess_design.json")
    if class_map.legend_assumed:
        print(
            f"the tags of {config.map} name no legend, so it is read as {class_map.legend.name}; "
            "--legend says otherwise"
        )
    for stratum in design.strata:
        print(
            f"{stratum.code:4} {stratum.name:24} {stratum.pixels:12,} px {stratum.points:6} points"
        )
    total = sum(s.points for s in design.strata)
    if config.samples is not None and total > config.samples:
        print(f"more than --samples {config.samples}, for --min-per-class {config.min_per_class}")
    if config.samples is None and design.expected_se > config.target_se * (1 + 1e-9):
        print(f"--target-se {config.target_se:g} is out of reach: these are all pixels of the map")
    print(
        f"{total} points, expected standard error of overall accuracy {design.expected_se:.4f}: "
        f"{config.output_dir / 'points.gpkg'}"
    )


def _estimate(config: EstimateConfig) -> None:
    from landcover_tf.accuracy.assessment_files import write_assessment
    from landcover_tf.accuracy.assessment_sentences import sentences
    from landcover_tf.accuracy.estimation import Survey, estimate_survey

    values = estimate_survey(
        Survey(
            map=config.map,
            legend=config.legend,
            exclude_codes=config.exclude_codes,
            reference=config.reference,
            layer=config.layer,
            reference_column=config.reference_column,
            reference_legend=config.reference_legend,
            points_crs=config.points_crs,
            unknown_labels=config.unknown_labels,
            design=config.design,
            strata_map=config.strata_map,
            strata_legend=config.strata_legend,
            probability_sample=not config.not_a_probability_sample,
            leave_out_strata=config.leave_out_strata,
            probabilities=config.probabilities,
            confidence=config.confidence_level,
            rows_per_strip=config.rows_per_strip,
        )
    )
    folder = config.output_dir or config.reference.parent / "assessment"
    path = write_assessment(folder, values)
    cli.write_config(config, folder / "assess_estimate.json")
    print("\n".join(sentences(values)))
    print(f"assessment: {path.with_name('report.md')}")


def _compare(config: CompareConfig) -> None:
    from landcover_tf.accuracy.agreement import compare
    from landcover_tf.accuracy.agreement_map import agreement_map
    from landcover_tf.accuracy.assessment_files import write_assessment
    from landcover_tf.accuracy.assessment_sentences import sentences
    from landcover_tf.accuracy.class_map import ClassMap
    from landcover_tf.accuracy.summaries import compare_values
    from landcover_tf.legend import load_crosswalk

    class_map = ClassMap.open(config.map, config.legend, config.exclude_codes)
    block_px = _block_px(config, class_map)  # Before hours of counting, if it is unfit.
    pixels = class_map.count(config.rows_per_strip)
    unknown: Counter[int] = Counter()
    chosen = _reference_legend(config, class_map)
    crosswalk = load_crosswalk(chosen.source, class_map.legend_source)
    reference = _reference_reader(config, crosswalk, class_map, unknown)
    folder = config.output_dir or config.map.parent / "comparison"
    with agreement_map(folder / "agreement.tif", class_map) as write:
        found = compare(
            class_map, reference, block_px=block_px, rows_per_strip=config.rows_per_strip,
            write=write,
        )  # fmt: skip
        if not found.matrix.any():
            raise ConfigError(
                f"{config.map} and {config.reference_map} have no pixel with a class in both"
            )
    values = compare_values(
        class_map, found, excluded=pixels.excluded, block_px=block_px,
        samples=config.bootstrap_samples, seed=config.seed, confidence=config.confidence_level,
    )  # fmt: skip
    values["reference"] = config.reference_map.name
    values["reference_legend"] = crosswalk.source
    values["reference_legend_assumed"] = chosen.assumed
    values["unknown_reference_codes"] = {str(c): n for c, n in sorted(unknown.items())}
    path = write_assessment(folder, values)
    cli.write_config(config, folder / "assess_compare.json")
    print("\n".join(sentences(values)))
    print(f"comparison: {path.with_name('report.md')}")


def _block_px(config: CompareConfig, class_map: "ClassMap") -> int:
    """Returns the side of a resampled square in pixels."""
    side = max(round(config.block_m / (class_map.pixel_m or 10.0)), 1)
    squares = -(-class_map.height // side) * -(-class_map.width // side)
    if squares > MOST_SQUARES:
        raise ConfigError(
            f"--block-m {config.block_m:g} cuts the map into {squares:,} squares, more than the "
            f"{MOST_SQUARES:,} that are resampled; take larger ones"
        )
    return side


def _reference_legend(config: CompareConfig, class_map: "ClassMap") -> "ChosenLegend":
    """Returns the legend of the reference raster, or of the folder's."""
    from landcover_tf.raster_legends import choose_legend
    from landcover_tf.sentinel2.label_rasters import find_label_rasters

    path = config.reference_map
    # A raster alone may lack a CRS, if it has the map's grid.
    rasters = [path] if path.is_file() else [r.path for r in find_label_rasters(path)]
    return choose_legend(
        rasters, config.reference_legend, class_map.legend_source, flag="--reference-legend"
    )


def _reference_reader(
    config: CompareConfig, crosswalk: "Crosswalk", class_map: "ClassMap", unknown: "Counter[int]"
) -> "Callable[[Window], np.ndarray]":
    """Returns a function that reads the reference on a window of the map's grid."""
    from landcover_tf.sentinel2.reference_raster import reader

    return reader(
        config.reference_map,
        crosswalk,
        height=class_map.height,
        width=class_map.width,
        crs=class_map.crs,
        transform=class_map.transform,
        unknown=config.unknown_labels,
        found_unknown=unknown,
    )


if __name__ == "__main__":
    sys.exit(main())
