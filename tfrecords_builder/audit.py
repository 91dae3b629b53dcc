"""Proves that no pixel is in two splits: `python -m tfrecords_builder.audit DATASET`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from landcover_tf.configs import cli, flag_ranges
from landcover_tf.datasets.dataset_info import DatasetInfo, ProductInfo
from landcover_tf.system.earlier_reports import require_report
from landcover_tf.system.files import write_json

if TYPE_CHECKING:
    from tfrecords_builder.shard_facts import Facts

BENT_EDGE_PX = 0.1
"""Edges that are straight in one coordinate system are bent by less than this in another."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Reads every record of a dataset and proves that its splits share nothing.

    Exit code 1 when two splits share ground, image content or a group of the list of pairs, or come
    nearer than the gap.
    """

    data_dir: Annotated[Path, tyro.conf.Positional]
    """Folder with dataset.json; also as --data-dir."""
    report: Path | None = None
    """JSON file to write the findings to."""
    min_distance_px: float | None = None
    """Least distance between splits; by default the gap that the dataset was built with."""
    jobs: int | None = None
    """Processes; by default one per core as far as there is work for them, 1 works in this one."""

    def __post_init__(self) -> None:
        flag_ranges.at_least(self, 1, "jobs")


@dataclass(frozen=True, kw_only=True)
class PairFinding:
    """What two splits have in common."""

    splits: tuple[str, str]
    overlapping_patches: int
    """Pairs of patches, one from each, that cover common ground."""
    shared_pixels: int
    """Pixels of common ground, summed over these pairs."""
    example: tuple[str, str] | None
    """Keys of the pair with the largest overlap."""
    min_distance_px: float | None
    """Least distance of two patches; None when no two have common coordinates."""
    same_content: int
    """Patches whose pixels occur in the other split, told without coordinates."""
    content_example: str | None
    """Key of the patch with the most such pixels."""
    common_products: int
    common_tiles: int
    common_orbits: int


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Findings of an audit."""

    dataset: str
    records: dict[str, int]
    pairs: tuple[PairFinding, ...]
    class_fractions: dict[str, dict[str, float]]
    """Share of each class among the usable pixels of each split."""
    required_distance_px: float
    leaks: tuple[str, ...]
    """One sentence for each leak; empty when the splits are clean."""


def main(argv: list[str] | None = None) -> int:
    """Returns 0 when the splits are clean, 1 on a leak."""
    return cli.run(AuditConfig, _program, argv, prog="landcover audit")


def audit_dataset(
    folder: Path, *, min_distance_px: float | None = None, jobs: int | None = 1
) -> Audit:
    """Returns what the splits of a dataset have in common.

    Args:
        folder: Folder with dataset.json.
        min_distance_px: Least distance between splits; by default the gap of the build.
        jobs: Processes that read shards; None is one per core as far as there is work for them.

    Raises:
        DatasetError: The dataset is missing or damaged.
    """
    from tfrecords_builder.content import shared_fractions
    from tfrecords_builder.shard_facts import collect

    info = DatasetInfo.load(folder)
    info.verify(folder, checksums=False)
    names = tuple(info.splits)
    facts = collect(folder, info, jobs=jobs)
    required = float(info.gap_px) if min_distance_px is None else min_distance_px
    share, same = shared_fractions(facts.samples, facts.split, len(names))
    pairs = tuple(
        _pair(facts, info, names, first, second, share, same)
        for first, second in combinations(range(len(names)), 2)
    )
    return Audit(
        dataset=info.name,
        records={name: int((facts.split == n).sum()) for n, name in enumerate(names)},
        pairs=pairs,
        class_fractions=_class_fractions(facts, info, names),
        required_distance_px=required,
        leaks=(
            *(sentence for pair in pairs for sentence in _leaks(pair, required)),
            *_divided_groups(info),
        ),
    )


def _program(config: AuditConfig) -> int:
    require_report(config.report, [f.name for f in fields(Audit)])
    found = audit_dataset(config.data_dir, min_distance_px=config.min_distance_px, jobs=config.jobs)
    if config.report is not None:
        write_json(config.report, asdict(found))
    print(_text(found))
    return 1 if found.leaks else 0


def _pair(
    facts: "Facts",
    info: DatasetInfo,
    names: Sequence[str],
    first: int,
    second: int,
    share: np.ndarray,
    same: np.ndarray,
) -> PairFinding:
    members = np.flatnonzero((facts.split == first) | (facts.split == second))
    prints, group = facts.footprints.subset(members), facts.split[members]
    overlapping = prints.close_pairs(0, group)
    area = prints.shared_pixels(overlapping)
    largest = members[overlapping[int(area.argmax())]] if len(overlapping) else None
    crossing = np.where(facts.split == first, share[:, second], share[:, first])
    crossing[~np.isin(facts.split, (first, second))] = 0
    flagged = (same[:, second] & (facts.split == first)) | (
        same[:, first] & (facts.split == second)
    )
    return PairFinding(
        splits=(names[first], names[second]),
        overlapping_patches=len(overlapping),
        shared_pixels=round(float(area.sum())),
        example=None if largest is None else (facts.keys[largest[0]], facts.keys[largest[1]]),
        min_distance_px=prints.min_distance(group),
        same_content=int(flagged.sum()),
        content_example=facts.keys[int(crossing.argmax())] if flagged.any() else None,
        **_common(facts, info, first, second),
    )


def _common(facts: "Facts", info: DatasetInfo, first: int, second: int) -> dict[str, int]:
    of_id = {product.id: product for product in info.products}

    def seen(split: int) -> list[ProductInfo]:
        ids = {facts.products[i] for i in np.flatnonzero(facts.split == split)}
        return [of_id[i] for i in ids if i in of_id]

    ours, theirs = seen(first), seen(second)
    return {
        "common_products": len({p.id for p in ours} & {p.id for p in theirs}),
        "common_tiles": len({p.tile for p in ours} & {p.tile for p in theirs} - {None}),
        "common_orbits": len({p.orbit for p in ours} & {p.orbit for p in theirs} - {None}),
    }


def _class_fractions(
    facts: "Facts", info: DatasetInfo, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    fractions = {}
    for number, name in enumerate(names):
        counts = facts.codes[number]
        total = max(int(sum(counts[code] for code in info.legend.codes)), 1)
        fractions[name] = {c.name: float(counts[c.code]) / total for c in info.legend.classes}
    return fractions


def _leaks(pair: PairFinding, required_px: float) -> list[str]:
    between = f"{pair.splits[0]} and {pair.splits[1]}"
    leaks = []
    if pair.overlapping_patches and pair.example:
        leaks.append(
            f"{between} share ground: {pair.overlapping_patches} pairs of patches, for example "
            f"{pair.example[0]} and {pair.example[1]}"
        )
    elif pair.min_distance_px is not None and pair.min_distance_px < required_px - BENT_EDGE_PX:
        leaks.append(
            f"{between} come within {pair.min_distance_px:.1f} pixels; required are {required_px:g}"
        )
    if pair.same_content:
        leaks.append(
            f"{between} share image content: {pair.same_content} patches, for example "
            f"{pair.content_example}"
        )
    return leaks


def _divided_groups(info: DatasetInfo) -> list[str]:
    """Returns a sentence where the build found groups, which belong together, in several splits."""
    divided = info.build_config.get("divided_groups", ())
    if not divided:
        return []
    return [f"splits share groups: {len(divided)} of the input, for example {divided[0]}"]


def _text(found: Audit) -> str:
    lines = [f"dataset {found.dataset}: " + ", ".join(f"{k} {n}" for k, n in found.records.items())]
    lines.append(
        f"\n{'splits':<14}{'shared px':>11}{'distance px':>13}{'same content':>14}"
        f"{'products':>10}{'tiles':>7}{'orbits':>8}"
    )
    for pair in found.pairs:
        near = "-" if pair.min_distance_px is None else f"{pair.min_distance_px:.1f}"
        lines.append(
            f"{' / '.join(pair.splits):<14}{pair.shared_pixels:>11}{near:>13}"
            f"{pair.same_content:>14}{pair.common_products:>10}{pair.common_tiles:>7}"
            f"{pair.common_orbits:>8}"
        )
    splits = list(found.class_fractions)
    lines.append(f"\n{'class':<28}" + "".join(f"{split:>9}" for split in splits))
    for name in next(iter(found.class_fractions.values()), {}):
        of_splits = [found.class_fractions[split][name] for split in splits]
        shares = "".join(f"{share:>9.2%}" if share else f"{'none':>9}" for share in of_splits)
        lines.append(f"{name:<28}{shares}")
    lines += ["", *(f"LEAK: {leak}" for leak in found.leaks)]
    return "\n".join(lines) if found.leaks else "\n".join([*lines, "no leak between the splits"])


if __name__ == "__main__":
    sys.exit(main())
