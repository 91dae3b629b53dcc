"""The block size to take where that of the build leaves a split without patches."""

from collections.abc import Callable
from dataclasses import replace

from tfrecords_builder.config import BuildConfig
from tfrecords_builder.placements import TooFewError

SHRINK, TRIES = 0.8, 12
MOST_PATCHES, MOST_PAIRS = 10_000, 10_000_000
"""Patches, and pairs of them nearer than the gap: so many take about ten seconds."""


def is_affordable(patches: int, config: BuildConfig) -> bool:
    """Returns whether `largest_block` takes some seconds at most."""
    stride = config.patch_size - config.patch_overlap
    neighbours = min((2 * (config.gap + config.patch_size) / stride) ** 2, patches)
    return patches <= MOST_PATCHES and patches * neighbours / 2 <= MOST_PAIRS


def largest_block(split: Callable[[BuildConfig], object], config: BuildConfig) -> str:
    """Returns a sentence with the largest smaller block that leaves patches in every split.

    Sizes are tried in steps of a fifth, down to about a fifteenth of the config's.

    Args:
        split: Splits the patches, or raises TooFewError.
        config: Of the build, with a block size that is too large.
    """
    flag = "block_size_m" if config.block_size_px is None else "block_size_px"
    shown = "--" + flag.replace("_", "-")
    for step in range(1, TRIES + 1):
        size = round(getattr(config, flag) * SHRINK**step)
        if size < 1:
            break
        try:
            split(replace(config, **{flag: size}))
        except TooFewError:
            continue
        return f"{shown} {size} leaves patches in every split"
    return f"no smaller {shown} leaves patches in every split"
