"""Whether training pixels are reflectance, where the normalizer clips to the range of it."""

from collections.abc import Mapping, Sequence

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.normalizer import MOST_OUTSIDE, REFLECTANCE_RANGE
from tfrecords_builder.checks import raise_problems
from tfrecords_builder.rasters import SourceRaster

CLIPPING = ("reflectance", "log")
"""Kinds of normalizer that clip to the range of reflectance, whatever the data are."""
DARK = 0.03
"""Reflectance below which nearly all pixels of all bands lie over deep water at most."""


def require_reflectance(
    rasters: Sequence[SourceRaster], training_px: Mapping[int, Sequence[int]], normalizer: str
) -> None:
    """Refuses images of which a band would become a constant, or lose much of what it tells.

    Args:
        rasters: The images.
        training_px: For each image by its position, the usable training pixels, and how many of
            them each band has outside the range of reflectance.
        normalizer: Its kind.

    Raises:
        DatasetError: There are such images; bands and images are named.
    """
    if normalizer not in CLIPPING:
        return
    problems = []
    for number, (pixels, *outside) in sorted(training_px.items()):
        bands = [
            f"{band.name} {count / pixels:.0%}"
            for band, count in zip(rasters[number].bands, outside, strict=True)
            if count > MOST_OUTSIDE * pixels
        ]
        if bands:
            problems.append(f"{rasters[number].source.image}: {', '.join(bands)}")
    low, high = REFLECTANCE_RANGE
    raise_problems(
        problems,
        f"bands of {len(problems)} of {len(training_px)} images have much of their training pixels "
        f"below {low:g} or above {high:g}, which is no reflectance; give --scale (for example "
        "1e-4) and --offset, bring images of other units to that of the rest, leave bands out "
        f"with --bands, or take another --normalizer than {normalizer}",
    )


def darkness(
    statistics: BandStatistics, scale: Sequence[float], offset: Sequence[float], normalizer: str
) -> list[str]:
    """Returns what is said of data that are nearly all darker than land is.

    Args:
        statistics: Training pixels, stored units.
        scale: Reflectance per stored unit, per band.
        offset: Reflectance of stored value 0, per band.
        normalizer: Its kind.
    """
    if normalizer not in CLIPPING or not statistics.count:
        return []
    brightest = float((statistics.percentile(98) * scale + offset).max())
    if brightest >= DARK:
        return []
    return [
        f"98% of the training pixels of every band have a reflectance of {brightest:.2g} at most, "
        "as hardly anything on land has; is --scale, or the scale in the images' tags, too small?"
    ]
