"""The bits that say why a pixel must not be trusted."""

import enum

import numpy as np


class ValidityBit(enum.IntFlag):
    """Bits of a pixel, in `validity.tif` and in records; 0 is a good one."""

    NODATA = 1
    DEFECTIVE = 2
    SATURATED = 4
    CLOUD = 8
    CIRRUS = 16
    SHADOW = 32
    SNOW = 64
    BUFFER = 128


INVALID_FOR_TRAINING = int(sum(bit for bit in ValidityBit if bit != ValidityBit.SNOW))
"""Bits that keep a pixel out of training and scoring; snow is land cover too and stays in."""


FILE_NAME = "validity.tif"
"""The bits of a prepared scene, beside its image."""


def bits_by_name() -> dict[str, int]:
    """Returns each bit by its name in small letters, as flags and files have it."""
    return {(bit.name or "").lower(): int(bit) for bit in ValidityBit}


def set_bit(bits: np.ndarray, marked: np.ndarray, bit: ValidityBit) -> None:
    """Sets `bit` in `bits` (uint8) where `marked` (bool) is True.

    Arithmetic on all pixels is several times faster than indexing with a mask.
    """
    bits |= marked.view(np.uint8) * np.uint8(bit)


def has_bit(bits: np.ndarray, bit: ValidityBit) -> np.ndarray:
    """Returns True where `bit` is set in `bits` (uint8), bool of the same shape."""
    # As it is, a member of the enumeration would make the array int64, eight times as large.
    return np.asarray((bits & np.uint8(bit)) != 0)


def usable(validity: np.ndarray, invalid_bits: int = INVALID_FOR_TRAINING) -> np.ndarray:
    """Returns True where none of `invalid_bits` is set, bool of the same shape."""
    return np.asarray((validity & np.uint8(invalid_bits)) == 0)


def fractions_of_counts(counts: np.ndarray) -> dict[str, float]:
    """Returns the share of pixels that carry each bit.

    Args:
        counts: Pixels of each validity value, int [256].
    """
    values, total = np.arange(256), max(int(counts.sum()), 1)
    shares = {
        name: float(counts[(values & bit) != 0].sum() / total)
        for name, bit in bits_by_name().items()
    }
    shares["unusable"] = float(counts[(values & INVALID_FOR_TRAINING) != 0].sum() / total)
    return shares
