"""The bits that say why a pixel of a prepared scene must not be trusted."""

import enum

import numpy as np


class ValidityBit(enum.IntFlag):
    """Bits of `validity.tif`; 0 is a good pixel."""

    NODATA = 1
    DEFECTIVE = 2
    SATURATED = 4
    CLOUD = 8
    CIRRUS = 16
    SHADOW = 32
    SNOW = 64
    BUFFER = 128


INVALID_FOR_TRAINING = int(
    ValidityBit.NODATA
    | ValidityBit.DEFECTIVE
    | ValidityBit.SATURATED
    | ValidityBit.CLOUD
    | ValidityBit.CIRRUS
    | ValidityBit.SHADOW
    | ValidityBit.BUFFER
)
"""Bits that keep a pixel out of training and scoring; snow is land cover too and stays in."""

# The 15-bit code streams cannot hold the declared special value 65535, so the largest value they
# can hold counts as saturated too (ESA: "DN in [1; 2^15-1]").
LARGEST_15_BIT_DN = 2**15 - 1


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
        (bit.name or "").lower(): float(counts[(values & bit) != 0].sum() / total)
        for bit in ValidityBit
    }
    shares["unusable"] = float(counts[(values & INVALID_FOR_TRAINING) != 0].sum() / total)
    return shares


def dilate(marked: np.ndarray, distance_m: float, pixel_m: float) -> np.ndarray:
    """Returns `marked` grown by a disc, measured between pixel centres.

    Args:
        marked: bool [height, width].
        distance_m: Radius of the disc in m; 0 returns `marked`.
        pixel_m: Pixel size in m.
    """
    if distance_m <= 0 or not marked.any():
        return marked.copy()
    from scipy import ndimage

    # A distance transform costs the same for every radius; a disc-shaped dilation does not.
    return np.asarray(ndimage.distance_transform_edt(~marked, sampling=pixel_m) <= distance_m)


def opened(marked: np.ndarray) -> np.ndarray:
    """Returns the opening of `marked` by a plus of one pixel, which removes specks and threads."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_opening(marked, ndimage.generate_binary_structure(2, 1)))


def project_shadow(
    cloud: np.ndarray,
    *,
    sun_zenith_deg: float,
    sun_azimuth_deg: float,
    pixel_m: float,
    lowest_m: float = 200.0,
    highest_m: float = 6000.0,
) -> np.ndarray:
    """Returns where clouds of any height in a range could throw their shadow.

    A cloud at height h throws it d = h tan(zenith) away from the sun: east by -d sin(azimuth),
    north by -d cos(azimuth). View angles are ignored.

    Args:
        cloud: bool [height, width], north up.
        sun_zenith_deg: 0 is overhead.
        sun_azimuth_deg: Clockwise from north.
        pixel_m: Pixel size in m.
        lowest_m: Lowest cloud height in m.
        highest_m: Highest cloud height in m.
    """
    shadow = np.zeros_like(cloud)
    slope = np.tan(np.radians(np.clip(sun_zenith_deg, 0.0, 85.0)))
    azimuth = np.radians(sun_azimuth_deg)
    # Half-pixel steps leave no gap along diagonals.
    distances = np.arange(lowest_m * slope, highest_m * slope + pixel_m, pixel_m / 2)
    offsets = {
        (round(d * np.cos(azimuth) / pixel_m), round(-d * np.sin(azimuth) / pixel_m))
        for d in distances
    }
    for rows, cols in sorted(offsets):
        _or_shifted(shadow, cloud, rows, cols)
    return shadow


def _or_shifted(target: np.ndarray, source: np.ndarray, rows: int, cols: int) -> None:
    """Sets `target` where `source`, moved down by `rows` and right by `cols`, is set."""
    height, width = source.shape
    if abs(rows) >= height or abs(cols) >= width:
        return
    to = slice(max(rows, 0), height + min(rows, 0)), slice(max(cols, 0), width + min(cols, 0))
    origin = (
        slice(max(-rows, 0), height + min(-rows, 0)),
        slice(max(-cols, 0), width + min(-cols, 0)),
    )
    target[to] |= source[origin]
