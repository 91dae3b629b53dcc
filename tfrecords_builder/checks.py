"""Whether sources belong in one dataset; all problems are reported together."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median_low
from typing import Any

import numpy as np

from landcover_tf.errors import DatasetError
from landcover_tf.rasters.nodata import assumed_nodata
from landcover_tf.rasters.pixel_sizes import DATASET_TOLERANCE
from landcover_tf.upsampling import Upsampling, any_coarse
from tfrecords_builder.rasters import SourceRaster

LISTED = 12
"""Problems written out before the rest is only counted."""


def require_uniform(rasters: Sequence[SourceRaster]) -> None:
    """Checks that all images have the same bands, scales, data type, pixel size and upsampling.

    Raises:
        DatasetError: Names every image that differs from the majority.
    """
    resolution_m = dataset_resolution_m(rasters)
    features: Mapping[str, Callable[[SourceRaster], Any]] = {
        "bands": lambda r: ", ".join(band.name for band in r.bands),
        "data type": lambda r: r.dtype,
        "scale and offset": lambda r: ", ".join(f"{b.scale:g}/{b.offset:g}" for b in r.bands),
        "pixel size in m": lambda r: _usual_or_own(r.resolution_m, resolution_m),
        "20 m and 60 m bands made with": _upsampling,
    }
    problems = []
    for title, feature in features.items():
        values = [feature(raster) for raster in rasters]
        usual, _ = Counter(values).most_common(1)[0]
        problems += [
            f"{raster.source.image} has {title} {value}, most have {usual}"
            for raster, value in zip(rasters, values, strict=True)
            if value != usual
        ]
    raise_problems(problems, "the images do not fit into one dataset")


def dataset_upsampling(rasters: Sequence[SourceRaster]) -> Upsampling | None:
    """Returns how the coarse bands of all images came to 10 m; None where nothing tells."""
    found = {raster.source.upsampling for raster in rasters}
    return found.pop() if len(found) == 1 else None


def dataset_resolution_m(rasters: Sequence[SourceRaster]) -> float | None:
    """Returns the pixel size of most images in metres; None if most have none."""
    sizes = [raster.resolution_m for raster in rasters]
    known = [size for size in sizes if size is not None]
    return median_low(known) if 2 * len(known) >= len(sizes) else None


def dataset_nodata(rasters: Sequence[SourceRaster]) -> float:
    """Returns the stored no-data value of the dataset.

    It is what most images declare; where none declares one, 0 for unsigned integers, else a value
    that real data of the type hardly takes. Where every pixel has data, the last value of the
    type. NaN and infinity become a number, because JSON knows neither.
    """
    values = [raster.nodata for raster in rasters if raster.nodata is not None]
    declared = Counter(value for value in values if math.isfinite(value))
    if declared:
        return float(declared.most_common(1)[0][0])
    dtype = np.dtype(rasters[0].dtype)
    if dtype.kind == "u" and rasters[0].all_data:
        return float(np.iinfo(dtype).max)
    return assumed_nodata(dtype)


def _upsampling(raster: SourceRaster) -> str | None:
    """Returns the flags that made the coarse bands; None where there are none to make."""
    coarse = any_coarse([band.name for band in raster.bands])
    return str(raster.source.upsampling) if coarse else None


def _usual_or_own(size: float | None, usual: float | None) -> float | None:
    """Returns the usual pixel size for one that is as good as it, else the size itself."""
    if size is None or usual is None:
        return size
    return float(f"{usual if abs(size / usual - 1) <= DATASET_TOLERANCE else size:.3g}")


def raise_problems(problems: Sequence[str], summary: str) -> None:
    """Raises one error that lists all problems, if there are any.

    Raises:
        DatasetError: There is a problem.
    """
    if not problems:
        return
    listed = "".join(f"\n  - {problem}" for problem in problems[:LISTED])
    more = f"\n  - and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
    raise DatasetError(f"{summary}:{listed}{more}")
