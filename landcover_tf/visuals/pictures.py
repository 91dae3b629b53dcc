"""Images, class maps and shares as coloured pictures, the same way everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landcover_tf.bands import sentinel2_names
from landcover_tf.legend import Legend

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

TRUE_COLOUR = ("B04", "B03", "B02")
FALSE_COLOUR = ("B08", "B04", "B03")


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """How bright values are drawn: linear between two limits, then lightened in the shadows."""

    low: float | np.ndarray
    """One for all bands, or [bands]."""
    high: float | np.ndarray

    @staticmethod
    def of(values: np.ndarray) -> "Stretch":
        """Returns the stretch between the 2nd and 98th percentile; of nothing, from 0 to 1."""
        low, high = np.percentile(values, (2, 98)) if values.size else (0.0, 1.0)
        return Stretch(low=float(low), high=float(high))

    @staticmethod
    def of_bands(low: np.ndarray, high: np.ndarray) -> "Stretch":
        """Returns that between usual values of each band, both [bands].

        Each band is black at its own low value, or haze, which is strongest in blue, would tint
        everything; all have the span of the widest, or the colours of the ground would be lost.
        """
        return Stretch(low=low, high=low + np.max(high - low))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Returns the brightness of values of any shape, uint8; NaN is black."""
        span = np.maximum(np.subtract(self.high, self.low), 1e-6).astype(np.float32)
        scaled = (values.astype(np.float32) - np.asarray(self.low, np.float32)) / span
        scaled = np.clip(np.nan_to_num(scaled, copy=False), 0, 1)
        return np.asarray((scaled**0.8 * 255).astype(np.uint8))


def picture_bands(
    names: Sequence[str | None], wanted: Sequence[str] = TRUE_COLOUR
) -> tuple[int, int, int]:
    """Returns the bands to draw in red, green and blue, counted from 1 as rasterio does.

    Args:
        names: All bands of the raster: those of Sentinel-2 (also as GDAL describes them), or
            others that stand for them, such as blue, green, red and nir, or b, g and r. Without the
            wanted ones its first three are drawn, or of fewer the first.
        wanted: Sentinel-2 names for red, green and blue.
    """
    known = sentinel2_names([name or "" for name in names])
    if set(wanted) <= set(known):
        red, green, blue = (known.index(name) + 1 for name in wanted)
        return red, green, blue
    return (1, 2, 3) if len(names) >= 3 else (1, 1, 1)


def composite(
    reflectance: np.ndarray,
    band_names: Sequence[str],
    *,
    wanted: Sequence[str] = TRUE_COLOUR,
    valid: np.ndarray | None = None,
    clear: np.ndarray | None = None,
    limits: np.ndarray | None = None,
) -> np.ndarray:
    """Returns a stretched colour picture of the bands that `picture_bands` chooses.

    Args:
        reflectance: [height, width, bands], any scale.
        band_names: Names of the bands.
        wanted: Sentinel-2 names for red, green and blue.
        valid: True where pixels are drawn, bool [height, width].
        clear: True where pixels are no clouds, which would take the whole range of the stretch and
            leave the ground nearly black, bool [height, width]; all by default.
        limits: Usual lowest and highest values of each band, [2, bands], for pictures that are to
            look alike, as `DatasetInfo.usual_range`.

    Returns:
        uint8 [height, width, 3], stretched as `Stretch.of_bands` does between `limits`; without
        them between the 2nd and 98th percentile of all three bands of this picture, where it is
        clear.
    """
    chosen = [index - 1 for index in picture_bands(band_names, wanted)]
    picture = reflectance[..., chosen].astype(np.float32)
    if valid is None:
        valid = np.asarray(np.isfinite(picture).all(axis=-1))
    if not valid.any():
        return np.zeros((*picture.shape[:2], 3), np.uint8)
    if limits is None:
        counted = valid if clear is None else valid & clear
        stretch = Stretch.of(picture[counted if counted.any() else valid])
    else:
        stretch = Stretch.of_bands(*limits[:, chosen])
    drawn = stretch.apply(picture)
    drawn[~valid] = 0
    return drawn


def class_picture(codes: np.ndarray, legend: Legend) -> np.ndarray:
    """Returns legend codes ([height, width]) in the legend's colours, uint8 [.., .., 3].

    No data is near-white; codes outside the legend are magenta, so that they are seen.
    """
    table = np.full((256, 3), (255, 0, 255), np.uint8)
    table[legend.nodata] = (240, 240, 240)
    for land_cover in legend.classes:
        table[land_cover.code] = land_cover.rgb
    return np.asarray(table[codes])


def grey_picture(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns values between `low` and `high` in the viridis colours, uint8 [.., .., 3]."""
    import matplotlib

    scaled = np.clip((values.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1)
    colours = np.asarray(matplotlib.colormaps["viridis"](scaled))
    return (colours[..., :3] * 255).astype(np.uint8)
