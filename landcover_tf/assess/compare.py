"""`landcover assess compare`: compare a map with a reference raster."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from landcover_tf.configs import config_files, flag_ranges
from landcover_tf.errors import ConfigError
from landcover_tf.system.files import atomic_files

if TYPE_CHECKING:
    import numpy as np

    from landcover_tf.accuracy.class_map import ClassMap
    from landcover_tf.crosswalk import Crosswalk
    from landcover_tf.grid import Window
    from landcover_tf.rasters.raster_legends import ChosenLegend

MOST_SQUARES = 10_000
"""So many say enough; the resampling needs 16 bytes for each square and sample."""


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
    """Reference raster, or a folder of them, in which maps of `predict` do not count."""
    output_dir: Path | None = None
    """Receives compare.json, tables, report.md, a picture and agreement.tif; `comparison` beside
    the map by default."""
    overwrite: bool = False
    """Replace what is there of another map, with another reference or of no comparison at all; one
    of the same map and reference is replaced anyway."""
    reference_legend: str | None = None
    """Legend of the reference, such as worldcover; by default the one that its tags name, or else
    the map's."""
    unknown_labels: Literal["error", "ignore"] = "error"
    """What to do with reference codes that the crosswalk does not know: refuse them or read them
    as no data."""
    block_size_m: float = 5000.0
    """Side of the squares that are resampled for the intervals; it should exceed the distance
    over which errors resemble each other. Without a projected CRS, a pixel counts as 10 m."""
    bootstrap_samples: int = 1000
    """Number of resamples."""
    seed: int = 0
    """Random seed of the resampling."""
    legend: str | None = None
    """Name or TOML file of the map's legend; by default the one that its tags name, or else
    landcover9."""
    exclude_codes: tuple[int, ...] = ()
    """Map codes to treat as no data, such as that of uncertain pixels."""
    confidence_level: float = 0.95
    """Confidence level of the intervals."""
    rows_per_strip: int = 512
    """Most map rows in memory, at most 16.8 million pixels; the result does not depend on it."""

    def __post_init__(self) -> None:
        flag_ranges.at_least(self, 0, "seed")
        flag_ranges.at_least(self, 1, "bootstrap_samples", "rows_per_strip")
        flag_ranges.above_zero(self, "block_size_m")
        flag_ranges.within(self, 0, 1, "confidence_level", ends="()")


def compare_maps(config: CompareConfig) -> Path:
    """Writes the agreement of the two maps, prints it, and returns compare.json.

    Raises:
        LandCoverError: Map or reference are unfit, or other results would be replaced.
    """
    from landcover_tf.accuracy.agreement import compare
    from landcover_tf.accuracy.agreement_map import agreement_map
    from landcover_tf.accuracy.assessment_files import REPORT, write_assessment
    from landcover_tf.accuracy.assessment_folder import AGREEMENT, require_own, settings_file
    from landcover_tf.accuracy.assessment_sentences import sentences
    from landcover_tf.accuracy.class_map import ClassMap
    from landcover_tf.accuracy.summaries import compare_values
    from landcover_tf.crosswalk import load_crosswalk

    class_map = ClassMap.open(config.map, config.legend, config.exclude_codes)
    # Before hours of counting, if something is unfit.
    block_px = _block_px(config, class_map)
    folder = config.output_dir or config.map.parent / "comparison"
    require_own(folder, "compare", config.map, config.reference_map, overwrite=config.overwrite)
    pixels = class_map.count(config.rows_per_strip)
    unknown: Counter[int] = Counter()
    chosen = _reference_legend(config, class_map)
    crosswalk = load_crosswalk(chosen.source, class_map.legend_source)
    reference = _reference_reader(config, crosswalk, class_map, unknown)
    with atomic_files(folder, first="compare.json") as new:
        with agreement_map(new / AGREEMENT, class_map) as write:
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
        write_assessment(new, values)
        # A request for one run: not stored in the settings, which may be used again.
        again = replace(config, overwrite=False)
        config_files.write_config(again, settings_file(new, "compare"))
    print("\n".join(sentences(values)))
    print(f"comparison: {folder / REPORT}")
    return folder / "compare.json"


def _block_px(config: CompareConfig, class_map: "ClassMap") -> int:
    """Returns the side of a resampled square in pixels."""
    side = max(round(config.block_size_m / (class_map.grid.pixel_side_m or 10.0)), 1)
    squares = math.prod(-(-length // side) for length in class_map.grid.shape)
    if squares > MOST_SQUARES:
        raise ConfigError(
            f"--block-size-m {config.block_size_m:g} cuts the map into {squares:,} squares, more "
            f"than the {MOST_SQUARES:,} that are resampled; take larger ones"
        )
    return side


def _reference_legend(config: CompareConfig, class_map: "ClassMap") -> "ChosenLegend":
    """Returns the legend of the reference raster, or of the folder's; refuses the map itself."""
    from landcover_tf.rasters.raster_legends import choose_legend
    from landcover_tf.sentinel2.label_rasters import find_label_rasters

    path = config.reference_map
    # A raster alone may lack a CRS, if it has the map's grid.
    rasters = [path] if path.is_file() else [r.path for r in find_label_rasters(path, quiet=True)]
    if any(raster.samefile(config.map) for raster in rasters if raster.exists()):
        raise ConfigError(f"--reference-map {path} is or holds {config.map} itself; give another")
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
        class_map.grid,
        unknown=config.unknown_labels,
        found_unknown=unknown,
    )
