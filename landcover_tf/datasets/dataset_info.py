"""`dataset.json`: everything a reader needs to know of the shards beside it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.configs.settings_changes import change
from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_shards import ShardInfo, SplitInfo, find_problems
from landcover_tf.datasets.normalizer import Normalizer
from landcover_tf.errors import ConfigError, DatasetError
from landcover_tf.grid import PatchGrid, kept_gap_px
from landcover_tf.legend import Legend
from landcover_tf.system.files import KnownHashes, write_json
from landcover_tf.upsampling import Upsampling
from landcover_tf.validity import usable

SCHEMA_VERSION = 1
FILE_NAME = "dataset.json"
FORMULAS = {
    "reflectance": "stored * scale + offset, with the scale and offset of each band",
    "has data": "(validity & 1) == 0",
    "usable": "(validity & invalid_bits) == 0",
}
"""How a record's values are meant, for people who read dataset.json."""


@dataclass(frozen=True, kw_only=True)
class BandInfo:
    """A stored band: reflectance = stored * scale + offset."""

    name: str
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FeatureInfo:
    """A feature of a record, described for readers that do not have this software."""

    name: str
    type: str
    """Which list of tf.train.Feature holds it: `bytes_list` or `int64_list`."""
    dtype: str
    """NumPy name of the values' type, or `utf-8`."""
    shape: tuple[int, ...]
    meaning: str


@dataclass(frozen=True, kw_only=True)
class ProductInfo:
    """Where patches came from; fields that a plain raster lacks are None."""

    id: str
    path: str
    baseline: str | None = None
    sensing_time: str | None = None
    tile: str | None = None
    orbit: int | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A built dataset, described completely."""

    name: str
    bands: tuple[BandInfo, ...]
    dtype: str
    """NumPy name of the image dtype, stored little-endian."""
    nodata: float
    """Stored value of all bands where there is no data."""
    legend: Legend
    patch_grid: PatchGrid
    resolution_m: float | None
    """Pixel size in metres; None for rasters without a CRS."""
    invalid_bits: int
    """Validity bits that make a pixel unusable for training and scoring."""
    statistics: BandStatistics
    """Usable pixels of the training split, stored units."""
    normalizer: Normalizer
    splits: Mapping[str, SplitInfo]
    products: tuple[ProductInfo, ...]
    compression: str = "none"
    """`none` or `gzip`."""
    upsampling: Upsampling | None = None
    """How the coarse bands of prepared scenes came to 10 m; None where nothing tells."""
    build_config: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    features: tuple[FeatureInfo, ...] = ()
    """What a record holds."""
    validity_bits: Mapping[str, int] = field(default_factory=dict)
    """Bit of each kind of invalid pixel in `validity`."""
    schema_version: int = SCHEMA_VERSION

    @property
    def band_names(self) -> tuple[str, ...]:
        """Band names in stored order."""
        return tuple(band.name for band in self.bands)

    @property
    def scale(self) -> tuple[float, ...]:
        """Reflectance per stored unit, per band."""
        return tuple(band.scale for band in self.bands)

    @property
    def offset(self) -> tuple[float, ...]:
        """Reflectance of stored value 0, per band."""
        return tuple(band.offset for band in self.bands)

    @property
    def usual_range(self) -> np.ndarray | None:
        """Reflectance that 2 % and 98 % of the usable training pixels do not exceed.

        float64 [2, bands]; None where there are no such pixels.
        """
        return self.band_figures(2, 98)[2:] if self.statistics.count else None

    def band_figures(self, *percentiles: float) -> np.ndarray:
        """Returns mean, standard deviation and percentiles of the bands as reflectance.

        Returns:
            Of the usable training pixels, float64 [2 + percentiles, bands]; NaN without pixels.
        """
        scale, offset = np.array(self.scale), np.array(self.offset)
        places = [self.statistics.mean, *(self.statistics.percentile(q) for q in percentiles)]
        mean, *others = np.stack(places) * scale + offset
        return np.stack([mean, self.statistics.std * scale, *others])

    def usable(self, validity: np.ndarray) -> np.ndarray:
        """Returns the pixels for training and scoring, bool of the shape of their bits (uint8)."""
        return usable(validity, self.invalid_bits)

    def reflectance(self, stored: np.ndarray) -> np.ndarray:
        """Returns stored values [..., bands] as reflectance, float32 of the same shape."""
        scale, offset = np.array(self.scale, np.float32), np.array(self.offset, np.float32)
        return np.asarray(stored.astype(np.float32) * scale + offset)

    @property
    def gap_px(self) -> int:
        """Least distance in pixels that the build kept between patches of different splits."""
        build = self.build_config
        return kept_gap_px(build.get("split"), build.get("gap_px"), self.patch_grid.patch_size)

    @property
    def data_hash(self) -> str:
        """Twelve hexadecimal digits that change with any shard, band, or class."""
        parts = [s.sha256 for split in sorted(self.splits) for s in self.splits[split].shards]
        described = f"{parts}{self.bands}{self.legend.to_dict()}{self.invalid_bits}"
        return hashlib.sha256(described.encode()).hexdigest()[:12]

    def changes_since(self, before: "DatasetInfo", *, own_normalizer: bool) -> list[str]:
        """Returns what of the data, as a network sees it, is not as in another description.

        Args:
            before: The other one.
            own_normalizer: Whether the network has a normalizer other than the dataset's, whose
                changes it does not see.
        """
        found = []
        if self.data_hash != before.data_hash:
            found.append("other shards, bands or classes")
        # Neither is in the hash, by which runs know their dataset.
        if not own_normalizer and self.normalizer != before.normalizer:
            was, now = before.normalizer.kind, self.normalizer.kind
            same = f"other values in normalizer {now}"
            found.append(same if was == now else change("normalizer", was, now))
        if self.nodata != before.nodata:
            found.append(change("nodata", before.nodata, self.nodata))
        return found

    def split(self, name: str) -> SplitInfo:
        """Returns a split.

        Raises:
            DatasetError: There is no such split, or it has no record.
        """
        if name not in self.splits:
            have = ", ".join(self.splits) or "none"
            raise DatasetError(f"dataset {self.name} has no split {name!r}; it has {have}")
        if not self.splits[name].records:
            raise DatasetError(f"split {name!r} of dataset {self.name} is empty")
        return self.splits[name]

    def class_counts(self, split: str) -> np.ndarray:
        """Returns usable pixels of each class of the legend in a split, int64 [classes].

        Raises:
            DatasetError: There is no such split, or it has no record.
        """
        pixels = self.split(split).class_pixels
        return np.array([pixels.get(code, 0) for code in self.legend.codes], np.int64)

    def shard_paths(self, folder: str | Path, split: str) -> list[Path]:
        """Returns the paths of a split's shards that hold records."""
        return [Path(folder) / s.file for s in self.split(split).shards if s.records]

    def verify(
        self,
        folder: str | Path,
        *,
        splits: Iterable[str] | None = None,
        checksums: bool = True,
        hashes: KnownHashes | None = None,
    ) -> None:
        """Checks that every shard is there and unchanged.

        Args:
            folder: The dataset folder.
            splits: Those to look at; None is all.
            checksums: Also read every byte and compare SHA-256; without, only sizes.
            hashes: What is known of files that were read before; gets what is read now.

        Raises:
            DatasetError: Names every shard that is missing or changed.
        """
        names = self.splits if splits is None else splits
        shards = [shard for name in names for shard in self.splits[name].shards]
        problems = find_problems(shards, Path(folder), checksums=checksums, hashes=hashes)
        if problems:
            raise DatasetError(
                f"dataset {folder} is damaged: {'; '.join(problems)}; copy or build it again"
            )

    def save(self, folder: str | Path) -> None:
        """Writes `dataset.json`; its presence says that the dataset is complete."""
        write_json(Path(folder) / FILE_NAME, self.to_dict())

    @staticmethod
    def load(folder: str | Path) -> "DatasetInfo":
        """Returns the description of the dataset in `folder` (or of a dataset.json file).

        Raises:
            DatasetError: There is none, or it cannot be read, is malformed or of another schema
                version.
        """
        path = Path(folder)
        path = path if path.suffix == ".json" else path / FILE_NAME
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise DatasetError(
                f"{path.parent} holds no {FILE_NAME}; expected a finished output folder of "
                "tfrecords_builder"
            ) from error
        except OSError as error:
            raise DatasetError(
                f"cannot read {path}: {error.strerror}; expected a finished output folder of "
                "tfrecords_builder that you may read"
            ) from error
        try:
            return DatasetInfo.from_dict(json.loads(text))
        except (KeyError, TypeError, AttributeError, ValueError, ConfigError) as error:
            raise DatasetError(
                f"{path} is not a valid dataset description: {error!r}; build the dataset again"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; `from_dict` reads them back."""
        return {
            "schema_version": self.schema_version,
            "name": self.name,
            "bands": [asdict(band) for band in self.bands],
            "dtype": self.dtype,
            "byte_order": "little",
            "features": [asdict(feature) for feature in self.features],
            "validity_bits": dict(self.validity_bits),
            "formulas": FORMULAS,
            "nodata": self.nodata,
            "resolution_m": self.resolution_m,
            "invalid_bits": self.invalid_bits,
            "patch_grid": asdict(self.patch_grid),
            "legend": self.legend.to_dict(),
            "splits": {
                name: {
                    "records": split.records,
                    "class_pixels": {str(c): n for c, n in sorted(split.class_pixels.items())},
                    "shards": [asdict(shard) for shard in split.shards],
                }
                for name, split in self.splits.items()
            },
            "normalizer": self.normalizer.to_dict(),
            "statistics": self.statistics.to_dict(),
            "products": [asdict(product) for product in self.products],
            "compression": self.compression,
            "upsampling": None if self.upsampling is None else asdict(self.upsampling),
            "build_config": dict(self.build_config),
            "software": dict(self.software),
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "DatasetInfo":
        """Returns the dataset that `to_dict` described.

        Raises:
            DatasetError: The schema version is another.
        """
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DatasetError(
                f"dataset has schema version {version}, this software reads {SCHEMA_VERSION}; "
                "build it again or use the matching version"
            )
        return DatasetInfo(
            name=values["name"],
            bands=tuple(BandInfo(**band) for band in values["bands"]),
            dtype=values["dtype"],
            nodata=values["nodata"],
            legend=Legend.from_dict(values["legend"]),
            patch_grid=PatchGrid(**values["patch_grid"]),
            resolution_m=values["resolution_m"],
            invalid_bits=values["invalid_bits"],
            statistics=BandStatistics.from_dict(values["statistics"]),
            normalizer=Normalizer.from_dict(values["normalizer"]),
            splits={
                name: SplitInfo(
                    shards=tuple(ShardInfo(**shard) for shard in split["shards"]),
                    class_pixels={int(c): n for c, n in split["class_pixels"].items()},
                )
                for name, split in values["splits"].items()
            },
            products=tuple(ProductInfo(**product) for product in values["products"]),
            compression=values["compression"],
            upsampling=Upsampling.from_dict(values["upsampling"]),
            build_config=values["build_config"],
            software=values["software"],
            features=tuple(
                FeatureInfo(**(feature | {"shape": tuple(feature["shape"])}))
                for feature in values["features"]
            ),
            validity_bits=values["validity_bits"],
        )
