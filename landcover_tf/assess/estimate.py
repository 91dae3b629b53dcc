"""`landcover assess estimate`: estimate a map's accuracy from labelled points."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from landcover_tf.configs import config_files, flag_ranges
from landcover_tf.configs.config_parts import part
from landcover_tf.errors import ConfigError
from landcover_tf.system.files import atomic_files


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
    overwrite: bool = False
    """Replace what is there of another map, of other points or of no assessment at all; one of the
    same map and file of points is replaced anyway."""
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
    """Legend of the reference's codes and class names, when it is not the map's; it needs a
    crosswalk to it."""
    points_crs: str | None = None
    """Reference system of a CSV file's x and y, such as EPSG:4326; by default that of the
    design.json beside it, or else the map's, unless --strata-map is in another one. Of a GeoPackage
    only where the layer names none."""
    unknown_labels: Literal["error", "ignore"] = "error"
    """What to do with classes that the legend does not know: refuse them, or leave the points
    out and count them."""
    probabilities: Path | None = None
    """Raster with one band a class; checked and judged at the points."""
    legend: str | None = None
    """Name or TOML file of the map's legend; by default the one that the points were drawn from
    this map in, or that its tags name, or else landcover9."""
    exclude_codes: tuple[int, ...] = ()
    """Map codes to treat as no data; those of the design by default."""
    confidence_level: float = 0.95
    """Confidence level of the intervals."""
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


def estimate_accuracy(config: EstimateConfig) -> Path:
    """Writes the estimates of accuracy and area, prints them, and returns estimate.json.

    Raises:
        LandCoverError: Map, points or strata are unfit, or other results would be replaced.
    """
    from landcover_tf.accuracy.assessment_files import REPORT, write_assessment
    from landcover_tf.accuracy.assessment_folder import require_own, settings_file
    from landcover_tf.accuracy.assessment_sentences import sentences
    from landcover_tf.accuracy.estimation import Survey, estimate_survey

    folder = config.output_dir or config.reference.parent / "assessment"
    require_own(folder, "estimate", config.map, config.reference, overwrite=config.overwrite)
    values = estimate_survey(
        part(
            Survey,
            config,
            probability_sample=not config.not_a_probability_sample,
            confidence=config.confidence_level,
        )
    )
    with atomic_files(folder, first="estimate.json") as new:
        write_assessment(new, values)
        # A request for one run: not stored in the settings, which may be used again.
        again = replace(config, overwrite=False)
        config_files.write_config(again, settings_file(new, "estimate"))
    print("\n".join(sentences(values)))
    print(f"assessment: {folder / REPORT}")
    return folder / "estimate.json"
