"""Shapes of masks: grown, cleaned of specks, and thrown as shadows."""

import numpy as np


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
