"""What a build says of its plan: how many patches each split gets, and what looks amiss."""

from collections import defaultdict

from tfrecords_builder.config import BuildConfig
from tfrecords_builder.incomplete_bands import incomplete_bands
from tfrecords_builder.lost_labels import dropped_fractions, label_warnings
from tfrecords_builder.nodata_notes import assumed, unassumed
from tfrecords_builder.planning import BuildInput, Plan


def summary(plan: Plan, found: BuildInput, config: BuildConfig) -> str:
    """Returns how many patches are kept and why others are dropped, for people."""
    lines = [f"{len(plan.candidates)} possible patches"]
    for split in config.fractions if config.split != "given" else ("train", "val", "test"):
        numbers = plan.kept(split)
        groups = len({plan.placements[number].group for number in numbers})
        lines.append(f"  {split:5} {len(numbers):7} patches in {groups} {_groups_word(config)}")
    shares = dropped_fractions(plan.candidates, plan.placements)
    lines += [
        f"  drop  {count:7} patches: {why} ({shares[why]:.0%} of the labelled pixels)"
        for why, count in plan.dropped().items()
    ]
    lines += assumed(found, plan.nodata_px)
    without = sum(not raster.crs for raster in found.rasters)
    if without > 1:
        lines.append(
            f"{without} images have no CRS, so the gap between them is unknown; "
            "landcover audit finds pixels that they share"
        )
    return "\n".join(lines)


def doubts(plan: Plan, found: BuildInput) -> list[str]:
    """Returns what is said of a plan that may not be what was meant."""
    told = label_warnings(plan.candidates, plan.placements, found.legend)
    told += unassumed(found, plan.alike_px) + incomplete_bands(found.rasters, plan.lacking_px)
    divided = divided_groups(plan, found)
    if divided:
        told.append(
            f"{len(divided)} groups of the input have patches in more than one split, for example "
            f"{divided[0]}; --split group keeps them whole, or prescribe one split for each"
        )
    if not plan.kept("val"):
        told.append(
            "the dataset has no validation split, which landcover train needs; give a "
            "--val-fraction above 0, or prescribe val where splits are prescribed"
        )
    return told


def divided_groups(plan: Plan, found: BuildInput) -> list[str]:
    """Returns the groups of the list of pairs that have patches in more than one split."""
    splits = defaultdict(set)
    for candidate, placement in zip(plan.candidates, plan.placements, strict=True):
        splits[found.rasters[candidate.source].source.group].add(placement.split)
    return sorted(group for group, held in splits.items() if group and len(held - {None}) > 1)


def _groups_word(config: BuildConfig) -> str:
    words = {"given": "groups", "group": "groups", "random": "random patches"}
    return words.get(config.split, config.split)
