"""Whether training pixels are reflectance, where the normalizer clips to the range of it."""

import math
from collections.abc import Mapping, Sequence

from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.normalizer import (
    MOST_OUTSIDE,
    REFLECTANCE_RANGE,
    outside_reflectance,
)
from landcover_tf.validity import usable
from tfrecords_builder.checks import raise_problems
from tfrecords_builder.patches import Candidate, SceneJob
from tfrecords_builder.pixels import open_raster
from tfrecords_builder.rasters import SourceRaster

CLIPPING = ("reflectance", "log")
"""Kinds of normalizer that clip to the range of reflectance, whatever the data are."""
DARK = 0.03
"""Reflectance below which nearly all pixels of all bands lie over deep water at most."""
LOOKED_AT = 12
"""Images that are looked at before any is cut, at most."""
PLAINLY_OUTSIDE = 0.9
"""Share of a patch that is no reflectance where an image is of other units, and not only bright."""


def look_ahead(jobs: Sequence[SceneJob], training: Sequence[Candidate], normalizer: str) -> None:
    """Refuses images of other units by one training patch each, before hours of cutting.

    Args:
        jobs: All scenes.
        training: The training patches.
        normalizer: Its kind.

    Raises:
        DatasetError: There are such images among those looked at; `require_reflectance` judges all.
    """
    if normalizer not in CLIPPING:
        return
    first = {patch.source: patch for patch in reversed(training)}
    wanted = sorted(first)[:: max(math.ceil(len(first) / LOOKED_AT), 1)]
    looked_at: dict[int, list[int]] = {}
    for job in jobs:
        for number in range(len(job.rasters)):
            if job.first + number in wanted:
                patch = first[job.first + number]
                looked_at[patch.source] = _training_px(job, number, patch)
    if any(max(outside) > PLAINLY_OUTSIDE * pixels for pixels, *outside in looked_at.values()):
        rasters = [raster for job in jobs for raster in job.rasters]
        require_reflectance(rasters, looked_at, normalizer)


def _training_px(job: SceneJob, number: int, patch: Candidate) -> list[int]:
    """Returns the usable pixels of a patch, and how many each band has outside of reflectance."""
    bands = job.rasters[number].bands
    with open_raster(job.rasters[number], job.crosswalks[number], job.fill) as reader:
        pixels = reader.read(patch.window)
    if pixels.image is None:
        raise ValueError("reading a patch must give its image")
    chosen = pixels.image[usable(pixels.validity, job.invalid_bits)]
    found = BandStatistics.from_pixels(chosen, [band.name for band in bands])
    outside = outside_reflectance(found, [b.scale for b in bands], [b.offset for b in bands])
    return [found.count, *outside.tolist()]


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
