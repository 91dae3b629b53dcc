"""What a build says of bands that lack data where others have some."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tfrecords_builder.rasters import SourceRaster

LEAST_FRACTION = 0.1
"""Share of an image's pixels that a band lacks more than its most complete one, to be told."""


def incomplete_bands(
    rasters: Sequence[SourceRaster], lacking_px: Sequence[Mapping[int, int]]
) -> list[str]:
    """Returns what is said of bands by which many pixels are lost, for a pixel needs all of them.

    Args:
        rasters: The images.
        lacking_px: Pixels of each that single bands have no data for, by the band's position.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    first: dict[str, SourceRaster] = {}
    for raster, counts in zip(rasters, lacking_px, strict=True):
        pixels = raster.height * raster.width
        least = min(counts.get(band, 0) for band in range(len(raster.bands)))
        for band, count in sorted(counts.items()):
            if count - least >= LEAST_FRACTION * pixels:
                name = raster.bands[band].name
                first.setdefault(name, raster)
                shares[name].append(count / pixels)
    return [_sentence(name, found, first[name]) for name, found in shares.items()]


def _sentence(name: str, shares: Sequence[float], first: SourceRaster) -> str:
    images = (
        f"{len(shares)} images, {first.source.image} first" if shares[1:] else first.source.image
    )
    return (
        f"band {name} has no data in {sum(shares) / len(shares):.0%} of the pixels of {images}, "
        "other bands lack fewer, and a pixel needs all bands; leave it out with --bands"
    )
