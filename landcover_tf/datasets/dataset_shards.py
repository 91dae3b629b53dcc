"""The shards of a dataset: what each holds, and whether it is still what was written."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from landcover_tf.legend import code_fractions
from landcover_tf.system.executors import usable_cores
from landcover_tf.system.files import KnownHashes
from landcover_tf.system.progress import progress


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """One TFRecord file."""

    file: str
    """Name relative to the dataset folder."""
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """The shards of one split."""

    shards: tuple[ShardInfo, ...]
    class_pixels: Mapping[int, int] = field(default_factory=dict)
    """Usable, labelled pixels of each legend code, each counted once."""

    @property
    def records(self) -> int:
        """Number of patches."""
        return sum(shard.records for shard in self.shards)

    @property
    def labelled_pixels(self) -> int:
        """Number of usable pixels with a label; those of overlaps count once."""
        return sum(self.class_pixels.values())

    @property
    def class_fractions(self) -> dict[int, float]:
        """Share of each legend code that occurs in the labelled pixels."""
        return code_fractions(self.class_pixels)


def find_problems(
    shards: Sequence[ShardInfo],
    folder: Path,
    *,
    checksums: bool = True,
    hashes: KnownHashes | None = None,
) -> list[str]:
    """Returns what is wrong with shards: missing or changed, each in a few words.

    Args:
        shards: As they were written.
        folder: The dataset folder.
        checksums: Also read every byte and compare SHA-256; without, only sizes.
        hashes: What is known of files that were read before; gets what is read now.
    """
    sha256_of = (hashes or KnownHashes()).sha256_of if checksums else None
    # In threads, because one core hashes slower than many disks read.
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = pool.map(lambda shard: _problem(shard, folder, sha256_of), shards)
        if checksums:
            found = progress(found, label="checking shards", total=len(shards), unit="shard")
        return [problem for problem in found if problem]


def _problem(shard: ShardInfo, folder: Path, sha256_of: Callable[[Path], str] | None) -> str | None:
    path = folder / shard.file
    if not path.is_file():
        return f"{shard.file} is missing"
    if path.stat().st_size != shard.bytes:
        return f"{shard.file} has {path.stat().st_size} bytes instead of {shard.bytes}"
    if sha256_of is not None and sha256_of(path) != shard.sha256:
        return f"{shard.file} differs from its SHA-256"
    return None
