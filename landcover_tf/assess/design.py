"""`landcover assess design`: draw a sample of a map, to be labelled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landcover_tf.configs import cli, config_files, flag_ranges
from landcover_tf.configs.config_parts import part
from landcover_tf.errors import ConfigError


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


def draw_points(config: DesignConfig) -> Path:
    """Draws the sample, writes its points and their record, and returns points.gpkg.

    Raises:
        LandCoverError: The map or the image is unfit, or the folder exists.
    """
    from landcover_tf.accuracy.class_map import ClassMap
    from landcover_tf.accuracy.drawing import Request, draw_sample

    class_map = ClassMap.open(config.map, config.legend, config.exclude_codes)
    design = draw_sample(
        class_map,
        config.output_dir,
        part(Request, config, target_se=None if config.samples else config.target_se),
    )
    config_files.write_config(config, config.output_dir / "assess_design.json")
    if class_map.legend_assumed:
        print(
            f"the tags of {config.map} name no legend, so it is read as {class_map.legend.name}; "
            "--legend says otherwise"
        )
    for stratum in design.strata:
        print(
            f"{stratum.code:4} {stratum.name:24} {stratum.pixels:12,} px {stratum.points:6} points"
        )
    total, points = sum(s.points for s in design.strata), config.output_dir / "points.gpkg"
    if config.samples is not None and total > config.samples:
        print(f"more than --samples {config.samples}, for --min-per-class {config.min_per_class}")
    if config.samples is None and design.expected_se > config.target_se * (1 + 1e-9):
        print(f"--target-se {config.target_se:g} is out of reach: these are all pixels of the map")
    print(
        f"{total} points, expected standard error of overall accuracy {design.expected_se:.4f}: "
        f"{points}; fill in its column `reference`"
    )
    legend = {} if config.legend is None else {"legend": config.legend}
    cli.print_next("assess estimate", map=config.map, reference=points, **legend)
    return points
