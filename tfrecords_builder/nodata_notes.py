"""What a build says of no-data values that the images do not declare."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tfrecords_builder.planning import BuildInput
from tfrecords_builder.rasters import SourceRaster

LEAST_FRACTION = 0.01
"""Share of an image's pixels above which a value in all bands is told."""


def assumed(found: BuildInput, nodata_px: Sequence[int]) -> list[str]:
    """Returns what is said of images for which a no-data value is assumed.

    Args:
        found: The images.
        nodata_px: Pixels of each without data.
    """
    numbers = [
        number
        for number, raster in enumerate(found.rasters)
        if raster.nodata is None and not raster.all_data and not raster.source.trusted_validity
    ]
    without = sum(nodata_px[number] for number in numbers)
    pixels = sum(_pixels(found.rasters[number]) for number in numbers)
    if not without:
        return []
    return [
        f"{len(numbers)} images declare no no-data value, so {found.fill:g} is taken for it; "
        f"{without / pixels:.2%} of their pixels have no data, masked ones included; --nodata "
        "none keeps those of that value"
    ]


def unassumed(found: BuildInput, alike_px: Sequence[Mapping[float, int]]) -> list[str]:
    """Returns what is said of values that many pixels hold in all bands, as no-data values are.

    Args:
        found: The images.
        alike_px: Pixels of each that hold a value in all bands and count as data, by that value.
    """
    holders: dict[float, list[tuple[SourceRaster, int]]] = defaultdict(list)
    for raster, counts in zip(found.rasters, alike_px, strict=True):
        for value, count in counts.items():
            if count > LEAST_FRACTION * _pixels(raster):
                holders[value].append((raster, count))
    return [_hint(value, holders[value]) for value in sorted(holders)]


def _hint(value: float, holders: Sequence[tuple[SourceRaster, int]]) -> str:
    share = sum(count for _, count in holders) / sum(_pixels(raster) for raster, _ in holders)
    first = holders[0][0]
    images = f"{len(holders)} images, {first.source.image} first," if holders[1:] else ""
    flag = f"--nodata {value:.9g}"
    declared = {raster.nodata for raster, _ in holders} - {None}
    advice = (
        f"if that is no data too, mask these pixels in the file, for {flag} would take the place "
        f"of the declared {declared.pop():g}"
        if declared
        else f"if that is no data, give {flag}"
    )
    return (
        f"{share:.1%} of the pixels of {images or first.source.image} hold {value:.9g} in all "
        f"bands; {advice}"
    )


def _pixels(raster: SourceRaster) -> int:
    return raster.height * raster.width
