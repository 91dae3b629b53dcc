"""What is looked at in each record of a shard on its own; many shards can be checked at once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.records import Patch, decode
from landcover_tf.datasets.tfrecord import read_records
from landcover_tf.errors import DatasetError
from landcover_tf.legend import code_counts
from landcover_tf.validity import ValidityBit, has_bit
from tfrecords_builder.mismatch import ENOUGH_BORDERS, LabelShift, OddSpectra
from tfrecords_builder.reading import StoredShard

REFLECTANCE_RANGE = (-0.5, 2.5)
"""Reflectance beyond this is a wrong scale or offset; snow and glint stay below."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenRecord:
    """What a record says to be compared with other records and the index."""

    where: str
    key: str
    content: bytes
    """Digest of its image."""
    constant: bool
    """All its values are the same."""
    class_pixels: dict[int, int] | None
    """Usable pixels of each code; None if its form is wrong."""
    problems: tuple[str, ...]


@dataclass(kw_only=True, eq=False)
class ShardFindings:
    """What was found in a shard."""

    readable: int = 0
    """Records that came out of the file."""
    damaged: list[int] = field(default_factory=list)
    """Positions of records whose checksum differs."""
    broken_at: int | None = None
    """Position from which on nothing can be read, if there is one."""
    records: list[SeenRecord | str] = field(default_factory=list)
    """Records in order; a sentence for one that cannot be decoded."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the file as a whole."""
    hints: list[str] = field(default_factory=list)
    shift: LabelShift = field(default_factory=LabelShift)
    spectra: OddSpectra = field(default_factory=OddSpectra)


def check_shard(job: StoredShard) -> ShardFindings:
    """Returns what one reading of a shard finds; all together see enough borders of labels."""
    path, shard = job.folder / job.shard.file, job.shard
    shards = sum(len(split.shards) for split in job.info.splits.values())
    found = ShardFindings(shift=LabelShift(enough_borders=ENOUGH_BORDERS // shards))
    digest, damaged = hashlib.sha256(), found.damaged
    try:
        for record in read_records(path, job.info.compression, digest=digest, damaged=damaged):
            where = f"{shard.file}, record {found.readable + len(damaged)}"
            found.readable += 1
            _check_record(record, where, job.info, found)
    except DatasetError as error:
        found.broken_at = found.readable + len(damaged)
        found.problems.append(str(error))
    found.problems += [
        f"{shard.file}, record {position}: corrupted record, its checksum differs; copy or build "
        "the dataset again"
        for position in damaged
    ]
    records = found.readable + len(damaged)
    if found.broken_at is None and records != shard.records:
        found.problems.append(
            f"{shard.file} has {records} records; dataset.json says {shard.records}"
        )
    # What was found so far changes the SHA-256 as well.
    if not found.problems and digest.hexdigest() != shard.sha256:
        found.problems.append(
            f"{shard.file} differs from its SHA-256; copy or build the dataset again"
        )
    return found


def is_lost(found: ShardFindings, position: int) -> bool:
    """Returns whether damage that was found hides the record at a position."""
    behind = found.broken_at is not None and position >= found.broken_at
    return behind or position in found.damaged


def _check_record(record: bytes, where: str, info: DatasetInfo, found: ShardFindings) -> None:
    """Adds what a record holds and what is wrong with it to `found`."""
    try:
        patch = decode(record, where=where)
    except DatasetError as error:
        found.records.append(str(error))
        return
    where = f"{where} ({patch.key})"
    wrong = _form_problems(patch, info)
    class_pixels = None
    if not wrong:
        wrong += _value_problems(patch, info)
        usable = info.usable(patch.validity)
        labels = np.where(usable, patch.label, np.uint8(info.legend.nodata))
        class_pixels = code_counts(labels, nodata=info.legend.nodata)
        reflectance = info.reflectance(patch.image)
        hints = _value_hints(patch.band_names, reflectance, usable)
        found.hints += [f"{where}: {hint}" for hint in hints]
        found.shift.add(reflectance, labels, usable, info.legend.nodata)
        found.spectra.add(where, reflectance, labels, info.legend)
    found.records.append(
        SeenRecord(
            where=where,
            key=patch.key,
            content=hashlib.blake2b(patch.image.tobytes(), digest_size=16).digest(),
            constant=bool(patch.image.min() == patch.image.max()),
            class_pixels=class_pixels,
            problems=tuple(wrong),
        )
    )


def _form_problems(patch: Patch, info: DatasetInfo) -> list[str]:
    size = info.patch_grid.patch_size
    expected = {
        "image shape": ((size, size, len(info.bands)), patch.image.shape),
        "data type": (info.dtype, patch.image.dtype.name),
        "bands": (info.band_names, patch.band_names),
        "window size": ((size, size), (patch.window.height, patch.window.width)),
    }
    return [
        f"has {name} {got}; dataset.json says {want}"
        for name, (want, got) in expected.items()
        if want != got
    ]


def _value_problems(patch: Patch, info: DatasetInfo) -> list[str]:
    wrong = []
    unknown = info.legend.unknown_codes(patch.label)
    if unknown:
        wrong.append(f"has label codes outside the legend: {sorted(unknown)}")
    if patch.image.dtype.kind == "f" and not np.isfinite(patch.image).all():
        wrong.append("has values that are not finite")
    nodata = has_bit(patch.validity, ValidityBit.NODATA)
    empty = (patch.image == np.dtype(info.dtype).type(info.nodata)).all(axis=-1)
    if (nodata & ~empty).any():
        wrong.append(f"has {int((nodata & ~empty).sum())} no-data pixels with image values")
    if (empty & ~nodata).any():
        wrong.append(f"has {int((empty & ~nodata).sum())} empty pixels not marked as no data")
    return wrong


def _value_hints(
    band_names: Sequence[str], reflectance: np.ndarray, usable: np.ndarray
) -> list[str]:
    if not usable.any():
        return ["no usable pixel"]
    values, hints = reflectance[usable], []
    low, high = values.min(axis=0), values.max(axis=0)
    constant = [n for n, a, b in zip(band_names, low, high, strict=True) if a == b]
    if constant:
        hints.append(f"band {', '.join(constant)} is constant")
    if low.min() < REFLECTANCE_RANGE[0] or high.max() > REFLECTANCE_RANGE[1]:
        hints.append(f"reflectance reaches from {low.min():.3g} to {high.max():.3g}")
    return hints
