"""The block size to take where that of the build leaves a split without patches."""

from collections.abc import Callable
from dataclasses import replace

from tfrecords_builder.config import BuildConfig
from tfrecords_builder.placements import TooFewError

SHRINK, TRIES = 0.8, 12
MOST_PATCHES = 10_000
"""Of more the search would take minutes."""


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
