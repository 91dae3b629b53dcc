"""The settings of a build."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from landcover_tf.configs import flag_ranges
from landcover_tf.configs.config_files import config_dict
from landcover_tf.datasets.normalizer import NormalizerKind
from landcover_tf.errors import ConfigError
from landcover_tf.grid import PatchGrid, kept_gap_px
from landcover_tf.validity import INVALID_FOR_TRAINING, bits_by_name

SplitMethod = Literal["blocks", "scenes", "tiles", "zones", "group", "given", "random"]
InvalidPixel = Literal[
    "nodata", "defective", "saturated", "cloud", "cirrus", "shadow", "snow", "buffer"
]
_INVALID_FOR_TRAINING: tuple[InvalidPixel, ...] = tuple(
    name for name in get_args(InvalidPixel) if bits_by_name()[name] & INVALID_FOR_TRAINING
)


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Builds sharded TFRecords with dataset.json from prepared scenes or image/label rasters.

    The data folder holds prepared scenes (the output of `landcover prepare`), or `images/` and
    `labels/` with rasters of the same names, or a `pairs.csv` with the columns image, label and,
    as needed, group, split, validity, product.
    """

    data_dir: Path
    """Folder with the input, as described above."""
    output_dir: Path
    """Folder for the shards and dataset.json; must be new or empty."""
    name: str | None = None
    """Name of the dataset; the output folder's name by default."""

    patch_size: int = 256
    """Patch height and width in pixels."""
    patch_overlap: int = 96
    """Pixels that neighbouring patches share."""
    min_valid_fraction: float = 0.25
    """Least share of usable pixels, of a patch's part inside the raster, however small that is;
    others are dropped."""
    min_labelled_fraction: float = 0.1
    """Least share of usable pixels that carry a label; others are dropped."""
    invalid: tuple[InvalidPixel, ...] = _INVALID_FOR_TRAINING
    """Kinds of pixel that are not used for training and scoring; nodata always is one."""

    bands: tuple[str, ...] = ()
    """Bands to take, by name; all by default. Names the bands given by --band-indexes, or all
    bands of rasters without band names."""
    band_indexes: tuple[int, ...] = ()
    """Bands to take, by number from 1, when the rasters do not name them (needs --bands)."""
    scale: float | None = None
    """Reflectance per stored unit, for example 1e-4; from the raster's tags by default."""
    offset: float | None = None
    """Reflectance of stored value 0; from the raster's tags by default."""
    nodata: float | Literal["none"] | None = None
    """Stored value of pixels without data; from the raster's tags by default, or else 0 in all
    bands of unsigned integers. none: no value marks missing data, and data that equals the padding
    value is moved by 1. Masks, alpha bands and NaN always count as no data."""

    legend: str | None = None
    """Legend of the dataset, a name or a .toml file; by default the one that all prepared scenes
    are in, or else landcover9."""
    source_legend: str | None = None
    """Legend of the label rasters, a name or a .toml file; by default what the scene says, or
    the shipped one that the raster's tag `legend` or colours name, or the dataset's legend.
    Another one than a scene or a raster says is refused."""
    unknown_labels: Literal["error", "ignore"] = "error"
    """Refuse label codes that the legend or crosswalk does not know, or make them no data."""

    split: SplitMethod = "blocks"
    """How patches are split: square blocks of ground, whole scenes, whole MGRS tiles, zones
    (--zones), the group column, the split column, or at random (leaks; see --i-know-it-leaks)."""
    val_fraction: float = 0.15
    """Share of the validation split."""
    test_fraction: float = 0.15
    """Share of the test split."""
    block_size_m: float = 5000.0
    """Side of a block in metres. In degrees, feet or several coordinate systems, blocks are those
    of the equal-area grid EPSG:6933, which far from 30 degrees of latitude are no squares: 5 km
    are 2.9 km wide and 8.7 km high at 60 degrees."""
    block_size_px: int | None = None
    """Side of a block in pixels instead; the only choice for rasters without a CRS."""
    gap_px: int | None = None
    """Least distance between patches of different splits in pixels; the patch size by default."""
    zones: Path | None = None
    """GeoJSON polygons (property `split`, or `zone`) or a raster of zone numbers."""
    split_like: tuple[Path, ...] = ()
    """Earlier datasets: blocks that hold patches of theirs keep their split, others are split as
    usual, and no ground changes its split (needs --split blocks)."""
    i_know_it_leaks: bool = False
    """Confirms --split random, whose patches overlap between splits."""

    normalizer: NormalizerKind = "reflectance"
    """Kind of the normalizer stored in dataset.json and built into the model: reflectance clips
    to 0..1, as pretrained encoders expect; log suits encoders that start from random weights."""
    compression: Literal["none", "gzip"] = "none"
    """Compression of the shards; gzip makes them smaller and everything else slower,
    docs/records.md says by how much."""
    shard_size_mb: float = 128.0
    """Aimed size of a shard in MB before compression."""
    seed: int = 0
    """Seed of the split and of the order of records."""

    jobs: int | None = None
    """Processes; one per core by default, 1 works in this process."""
    scheduler: str | None = None
    """Address or file of a Dask scheduler to run on instead of local processes."""
    resume: bool = False
    """Continue a build that was interrupted; finished parts are not done again."""

    def __post_init__(self) -> None:
        flag_ranges.chosen(self)
        try:
            PatchGrid(patch_size=self.patch_size, patch_overlap=self.patch_overlap)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        flag_ranges.within(self, 0, 1, "min_valid_fraction", "min_labelled_fraction")
        self._check_split()
        if self.band_indexes and len(self.band_indexes) != len(self.bands):
            raise ConfigError(
                f"--band-indexes has {len(self.band_indexes)} numbers for {len(self.bands)} "
                "--bands; expected one name for each number"
            )
        twice = sorted(name for name, count in Counter(self.bands).items() if count > 1)
        if twice:
            raise ConfigError(f"--bands names {', '.join(twice)} more than once")
        if isinstance(self.nodata, float) and not math.isfinite(self.nodata):
            raise ConfigError(
                f"--nodata must be a finite number or none, got {self.nodata}; NaN and infinity "
                "are no data anyway"
            )
        flag_ranges.above_zero(self, "scale", "shard_size_mb")
        flag_ranges.finite(self, "offset")
        flag_ranges.at_least(self, 0, "seed")
        flag_ranges.at_least(self, 1, "jobs")

    def _check_split(self) -> None:
        held_out = self.val_fraction, self.test_fraction
        if min(held_out) < 0 or sum(held_out) >= 1:
            raise ConfigError(
                "--val-fraction and --test-fraction must be at least 0 and leave a share for "
                f"training, got {held_out[0]} and {held_out[1]}"
            )
        if self.split == "random" and not self.i_know_it_leaks:
            raise ConfigError(
                "--split random puts overlapping patches into different splits, so scores come "
                "out too high; choose --split blocks, or add --i-know-it-leaks"
            )
        if (self.split == "zones") != (self.zones is not None):
            raise ConfigError("--split zones and --zones FILE need each other")
        if self.split_like and self.split != "blocks":
            raise ConfigError(f"--split-like needs --split blocks, got {self.split}")
        flag_ranges.above_zero(self, "block_size_m")
        flag_ranges.at_least(self, 1, "block_size_px")
        flag_ranges.at_least(self, 0, "gap_px")

    @property
    def patch_grid(self) -> PatchGrid:
        """Where patches lie on a raster."""
        return PatchGrid(patch_size=self.patch_size, patch_overlap=self.patch_overlap)

    @property
    def invalid_bits(self) -> int:
        """Validity bits of the pixels that are not used."""
        return sum(bits_by_name()[name] for name in {"nodata", *self.invalid})

    @property
    def gap(self) -> int:
        """Least distance between patches of different splits in pixels."""
        return kept_gap_px(self.split, self.gap_px, self.patch_size)

    @property
    def fractions(self) -> dict[str, float]:
        """Aimed share of each split that is to have patches."""
        aims = {
            "train": 1 - self.val_fraction - self.test_fraction,
            "val": self.val_fraction,
            "test": self.test_fraction,
        }
        return {name: share for name, share in aims.items() if share > 0}

    def build_settings(self) -> dict[str, Any]:
        """Returns the settings that shape the data: not where it goes nor how it is computed."""
        outside = ("output_dir", "name", "jobs", "scheduler", "resume")
        return {k: v for k, v in config_dict(self).items() if k not in outside}
