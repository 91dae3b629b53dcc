"""The block size to take where that of the build leaves a split without patches."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tfrecords_builder.config import BuildConfig
from tfrecords_builder.footprints import Footprints
from tfrecords_builder.placements import TooFewError

SHRINK = 0.8
MOST_PATCHES, MOST_PAIRS = 10_000, 10_000_000
"""Patches, and pairs of them nearer than the gap: so many take about ten seconds."""


def is_affordable(patches: int, config: BuildConfig) -> bool:
    """Returns whether `largest_block` takes some seconds at most."""
    stride = config.patch_size - config.patch_overlap
    neighbours = min((2 * (config.gap + config.patch_size) / stride) ** 2, patches)
    return patches <= MOST_PATCHES and patches * neighbours / 2 <= MOST_PAIRS


def largest_block(
    split: Callable[[BuildConfig], object], config: BuildConfig, footprints: Footprints
) -> str:
    """Returns a sentence with the largest smaller block that leaves patches in every split.

    Sizes are tried in steps of a fifth down to the distance between patches, where each block holds
    one patch.

    Args:
        split: Splits the patches, or raises TooFewError.
        config: Settings of the build, with a block size that is too large.
        footprints: Ground of the patches.
    """
    for smaller in _smaller(config, footprints):
        try:
            split(smaller)
        except TooFewError:
            continue
        return f"{_flag(smaller)} leaves patches in every split"
    return f"no smaller {_flag(config).split()[0]} leaves patches in every split"


def _smaller(config: BuildConfig, footprints: Footprints) -> Iterator[BuildConfig]:
    """Yields the config with ever smaller blocks."""
    pixel = np.median(footprints.pixel, axis=0)
    least = (config.patch_size - config.patch_overlap) * pixel.min()
    size_px, size_m = config.block_size_px, config.block_size_m
    while (size_m if size_px is None else (size_px * pixel).min()) > least:
        if size_px is None:
            size_m = float(f"{SHRINK * size_m:.3g}")
        else:
            size_px = int(SHRINK * size_px)
        yield replace(config, block_size_px=size_px, block_size_m=size_m)


def _flag(config: BuildConfig) -> str:
    if config.block_size_px is None:
        return f"--block-size-m {config.block_size_m:g}"
    return f"--block-size-px {config.block_size_px}"
