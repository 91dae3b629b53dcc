"""`patches.jsonl`: one line for each record of a dataset, in shard order, for sampling and looking.

Each line is a JSON object; the classes of a patch are legend codes with their usable pixels.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.datasets.dataset_shards import ShardInfo
from landcover_tf.errors import DatasetError
from landcover_tf.legend import Legend
from landcover_tf.system.files import atomic_path

FILE_NAME = "patches.jsonl"


@dataclass(frozen=True, kw_only=True)
class PatchEntry:
    """What the index knows of one record."""

    key: str
    """Raster, row and column, such as `T32UQD:00160:00000`."""
    split: str
    shard: str
    """File name of the shard."""
    position: int
    """Place within the shard, from 0."""
    product: str
    group: str
    """What was kept whole in the split: a block, tile, zone or group."""
    row_off: int
    col_off: int
    crs: str
    """EPSG:n or WKT of `x` and `y`; empty when the raster has none."""
    x: float
    """Centre of the patch in the raster's coordinates."""
    y: float
    valid_fraction: float
    """Usable pixels by validity, as a share of the patch's part inside the raster."""
    labelled_fraction: float
    """Usable pixels with a label, as the same share."""
    class_pixels: Mapping[int, int] = field(default_factory=dict)
    """Usable pixels of each legend code."""

    @property
    def raster(self) -> str:
        """Name of the raster that the patch was cut from; a product may have several."""
        return self.key.removesuffix(f":{self.row_off:05d}:{self.col_off:05d}")

    def to_json(self) -> str:
        """Returns the line of this entry, without the line break."""
        values = self.__dict__ | {
            "class_pixels": {str(c): n for c, n in sorted(self.class_pixels.items())}
        }
        return json.dumps(values, separators=(",", ":"))

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "PatchEntry":
        """Returns the entry of a parsed line."""
        pixels = {int(code): count for code, count in values["class_pixels"].items()}
        return PatchEntry(**(dict(values) | {"class_pixels": pixels}))


def write_index(folder: str | Path, entries: Iterable[PatchEntry]) -> None:
    """Writes the index of a dataset, atomically."""
    with atomic_path(Path(folder) / FILE_NAME) as temporary, temporary.open("w") as file:
        file.writelines(entry.to_json() + "\n" for entry in entries)


def read_index(folder: str | Path, split: str | None = None) -> list[PatchEntry]:
    """Returns the entries of a split, or of all, in the order of the records in their shards.

    Raises:
        DatasetError: The index is missing or malformed.
    """
    return list(_entries(Path(folder) / FILE_NAME, split))


def split_index(folder: str | Path, split: str, shards: Sequence[ShardInfo]) -> list[PatchEntry]:
    """Returns the entries of a split, one for each record of its shards in their order.

    Raises:
        DatasetError: The index is missing, malformed or of other records.
    """
    entries = read_index(folder, split)
    records = [(shard.file, place) for shard in shards for place in range(shard.records)]
    if [(entry.shard, entry.position) for entry in entries] != records:
        raise DatasetError(
            f"{Path(folder) / FILE_NAME} lists {len(entries)} patches of split {split}, which are "
            f"not the {len(records)} records of its shards in their order; copy or build the "
            "dataset again"
        )
    return entries


def class_matrix(entries: Iterable[PatchEntry], legend: Legend) -> np.ndarray:
    """Returns usable pixels, int64 [patches, classes], in the legend's dense order."""
    rows = [[entry.class_pixels.get(code, 0) for code in legend.codes] for entry in entries]
    return np.array(rows, np.int64).reshape(-1, len(legend.codes))


def _entries(path: Path, split: str | None) -> Iterator[PatchEntry]:
    try:
        with path.open() as file:
            for number, line in enumerate(file, start=1):
                try:
                    entry = PatchEntry.from_dict(json.loads(line))
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise DatasetError(f"{path}, line {number}, is not a patch: {error}") from error
                if split in (None, entry.split):
                    yield entry
    except OSError as error:
        raise DatasetError(
            f"cannot read the patch index {path}: {error.strerror}; copy or build the dataset again"
        ) from error
