"""Reads a dataset again, whole: `python -m tfrecords_builder.validate DATASET`."""

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from landcover_tf import cli
from landcover_tf.dataset_info import DatasetInfo
from landcover_tf.errors import DatasetError
from landcover_tf.files import write_json
from landcover_tf.patch_index import PatchEntry, read_index
from landcover_tf.progress import progress
from landcover_tf.records import Patch, decode
from landcover_tf.sentinel2.validity import ValidityBit
from landcover_tf.tfrecord import read_records
from tfrecords_builder.mismatch import LabelShift, OddSpectra

REFLECTANCE_RANGE = (-0.5, 2.5)
"""Reflectance beyond this is a wrong scale or offset; snow and glint stay below."""


@dataclass(frozen=True, kw_only=True)
class ValidateConfig:
    """Reads every byte of a dataset again and checks it.

    Exit code 1 when something is wrong; hints, which may be right, do not change it.
    """

    data_dir: Annotated[Path, tyro.conf.Positional]
    """Folder with dataset.json; also as --data-dir."""
    report: Path | None = None
    """JSON file to write the findings to."""
    limit: int = 20
    """Most problems and hints to print; the report has all."""


@dataclass(kw_only=True)
class Findings:
    """What a validation found."""

    records: int = 0
    problems: list[str] = field(default_factory=list)
    """What is wrong; each names shard and record."""
    hints: list[str] = field(default_factory=list)
    """What looks strange."""


@dataclass(kw_only=True, eq=False)
class _State:
    """What is compared between records."""

    key_at: dict[str, str] = field(default_factory=dict)
    content_at: dict[bytes, str] = field(default_factory=dict)
    shift: LabelShift = field(default_factory=LabelShift)
    spectra: OddSpectra = field(default_factory=OddSpectra)
    class_pixels: dict[str, Counter[int]] = field(default_factory=dict)


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when the dataset is sound, 1 when something is wrong."""
    return cli.run(ValidateConfig, _program, argv, prog="landcover validate")


def validate(folder: Path) -> Findings:
    """Returns everything that is wrong or strange in a dataset.

    Raises:
        DatasetError: There is no dataset, or its description is unreadable.
    """
    info = DatasetInfo.load(folder)
    found, state = Findings(), _State()
    try:
        info.verify(folder)
    except DatasetError as error:
        found.problems.append(str(error))
    index = _index(folder, found)
    shards = [(name, shard) for name, split in info.splits.items() for shard in split.shards]
    for split, shard in progress(shards, label="reading shards", unit="shard"):
        position = 0
        try:
            for record in read_records(folder / shard.file, info.compression):
                where = f"{shard.file}, record {position}"
                position += 1
                _check_record(record, where, split, info, index, found, state)
        except DatasetError as error:
            found.problems.append(str(error))
        if position != shard.records:
            found.problems.append(
                f"{shard.file} has {position} readable records; dataset.json says {shard.records}"
            )
        found.records += position
    missing = sorted(index.keys() - state.key_at.keys())
    if missing:
        found.problems.append(
            f"{len(missing)} patches of the index are in no shard, for example {missing[0]}"
        )
    found.hints += state.shift.hints() + state.spectra.hints(info.legend)
    return found


def _program(config: ValidateConfig) -> int:
    found = validate(config.data_dir)
    if config.report is not None:
        write_json(config.report, asdict(found))
    for title, sentences in (("PROBLEM", found.problems), ("hint", found.hints)):
        for sentence in sentences[: config.limit]:
            print(f"{title}: {sentence}")
        if len(sentences) > config.limit:
            print(f"{title}: and {len(sentences) - config.limit} more (--report has all)")
    state = "something is wrong" if found.problems else "the dataset is sound"
    print(
        f"{found.records} records read, {len(found.problems)} problems, {len(found.hints)} hints: "
        f"{state}"
    )
    return 1 if found.problems else 0


def _index(folder: Path, found: Findings) -> Mapping[str, PatchEntry]:
    try:
        return {entry.key: entry for entry in read_index(folder)}
    except DatasetError as error:
        found.problems.append(str(error))
        return {}


def _check_record(
    record: bytes,
    where: str,
    split: str,
    info: DatasetInfo,
    index: Mapping[str, PatchEntry],
    found: Findings,
    state: _State,
) -> None:
    """Adds what is wrong with one record to `found`."""
    try:
        patch = decode(record, where=where)
    except DatasetError as error:
        found.problems.append(str(error))
        return
    where = f"{where} ({patch.key})"
    wrong = _form_problems(patch, info)
    if not wrong:
        wrong += _value_problems(patch, info)
        usable = (patch.validity & np.uint8(info.invalid_bits)) == 0
        labels = np.where(usable, patch.label, np.uint8(info.legend.nodata))
        wrong += _index_problems(patch, labels, where.partition(",")[0], split, info, index)
        reflectance = _reflectance(patch, info)
        found.hints += [f"{where}: {hint}" for hint in _value_hints(patch, reflectance, usable)]
        state.shift.add(reflectance, labels, usable, info.legend.nodata)
        state.spectra.add(where, reflectance, labels, info.legend)
    content = hashlib.blake2b(patch.image.tobytes(), digest_size=16).digest()
    first = state.content_at.setdefault(content, where)
    if first != where and patch.image.min() != patch.image.max():
        wrong.append(f"holds the same pixels as {first}")
    first = state.key_at.setdefault(patch.key, where)
    if first != where:
        wrong.append(f"has the key of {first}")
    found.problems += [f"{where} {problem}" for problem in wrong]


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
    nodata = (patch.validity & np.uint8(ValidityBit.NODATA)) != 0
    empty = (patch.image == np.dtype(info.dtype).type(info.nodata)).all(axis=-1)
    if (nodata & ~empty).any():
        wrong.append(f"has {int((nodata & ~empty).sum())} no-data pixels with image values")
    if (empty & ~nodata).any():
        wrong.append(f"has {int((empty & ~nodata).sum())} empty pixels not marked as no data")
    return wrong


def _index_problems(
    patch: Patch,
    labels: np.ndarray,
    shard: str,
    split: str,
    info: DatasetInfo,
    index: Mapping[str, PatchEntry],
) -> list[str]:
    if not index:
        return []
    entry = index.get(patch.key)
    if entry is None:
        return ["is not in the patch index"]
    counts = np.bincount(labels.ravel(), minlength=256)
    counts[info.legend.nodata] = 0
    pixels = {int(code): int(counts[code]) for code in np.flatnonzero(counts)}
    wrong = []
    if (entry.split, entry.shard) != (split, shard):
        wrong.append(f"is in {split}, but the index says {entry.split}, {entry.shard}")
    if pixels != dict(entry.class_pixels):
        wrong.append(f"has class pixels {pixels}, but the index says {dict(entry.class_pixels)}")
    return wrong


def _reflectance(patch: Patch, info: DatasetInfo) -> np.ndarray:
    scale, offset = np.array(info.scale, np.float32), np.array(info.offset, np.float32)
    return patch.image.astype(np.float32) * scale + offset


def _value_hints(patch: Patch, reflectance: np.ndarray, usable: np.ndarray) -> list[str]:
    if not usable.any():
        return ["no usable pixel"]
    values, hints = reflectance[usable], []
    low, high = values.min(axis=0), values.max(axis=0)
    constant = [n for n, a, b in zip(patch.band_names, low, high, strict=True) if a == b]
    if constant:
        hints.append(f"band {', '.join(constant)} is constant")
    if low.min() < REFLECTANCE_RANGE[0] or high.max() > REFLECTANCE_RANGE[1]:
        hints.append(f"reflectance reaches from {low.min():.3g} to {high.max():.3g}")
    return hints


if __name__ == "__main__":
    sys.exit(main())
