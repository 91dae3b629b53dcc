"""Which stratum each point was drawn from, and whether each has enough points."""

from dataclasses import dataclass

import numpy as np

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.matching import MatchedPoints
from landcover_tf.accuracy.sampling import DrawnPoints
from landcover_tf.errors import SampleError, listed

MINIMUM = 2
"""Points of a stratum without which its variance is unknown."""
_NOT_DRAWN = -1
_OTHER_FLAGS = (
    "if they are of several designs of one map, give that as --strata-map, and if nobody drew them "
    "at random, --not-a-probability-sample"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Strata:
    """The strata of a sample and the stratum of each of its points."""

    codes: tuple[int, ...]
    pixels: np.ndarray
    """Pixels N_h, int64 [strata]."""
    of_point: np.ndarray
    """Position in `codes`, int64 [points]."""
    used: np.ndarray
    """True for points of strata that are not left out, bool [all matched points]."""
    left_out: dict[int, int]
    """Pixels of the strata that the user left out, by code."""


def from_record(points: MatchedPoints, drawn: DrawnPoints) -> np.ndarray:
    """Returns the code of each point's stratum as a design drew it, int64 [points].

    Args:
        points: Matched with the sampled pixels as units.
        drawn: The pixels that the design drew.

    Raises:
        SampleError: Points were not drawn, or have another stratum.
    """
    pixels = zip(drawn.row.tolist(), drawn.col.tolist(), strict=True)
    stratum_of = dict(zip(pixels, drawn.stratum.tolist(), strict=True))
    places = zip(points.unit_row.tolist(), points.unit_col.tolist(), strict=True)
    stratum = np.array([stratum_of.get(place, _NOT_DRAWN) for place in places], np.int64)
    foreign = np.flatnonzero(stratum == _NOT_DRAWN)
    if len(foreign):
        raise SampleError(
            f"{len(foreign)} of {len(stratum)} points lie in no pixel that the design drew: "
            f"{listed([points.ids[i] for i in foreign])}; remove them, or restore the positions of "
            f"those that were moved; {_OTHER_FLAGS}"
        )
    if points.stratum is not None:
        other = np.flatnonzero(points.stratum != stratum)
        if len(other):
            raise SampleError(
                f"points {listed([points.ids[i] for i in other])} have another stratum than the "
                "one that their pixels were drawn from; restore the column stratum, or remove it"
            )
    return stratum


def from_map(points: MatchedPoints, strata_map: ClassMap) -> np.ndarray:
    """Returns the class of another map at each point, int64 [points].

    Args:
        points: Matched with that map's pixels as units.
        strata_map: Map of the strata, of any grid and legend.

    Raises:
        SampleError: A point lies outside that map or on its no data.
    """
    row, col = points.unit_row, points.unit_col
    height, width = strata_map.grid.shape
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    codes = np.full(len(row), strata_map.legend.nodata, np.int64)
    codes[inside] = strata_map.at(row[inside], col[inside])
    outside = np.flatnonzero(codes == strata_map.legend.nodata)
    if len(outside):
        raise SampleError(
            f"points {listed([points.ids[i] for i in outside])} lie outside the strata of "
            f"{strata_map.path}, so they were not drawn from them; remove them"
        )
    return codes


def arrange(
    stratum: np.ndarray, pixels: dict[int, int], left_out: tuple[int, ...], ids: tuple[str, ...]
) -> Strata:
    """Returns the strata of a sample, after checking that every one can be estimated.

    Args:
        stratum: Code of each point's stratum, int64 [points].
        pixels: Pixels of each stratum.
        left_out: Codes of strata that the estimate shall not cover.
        ids: Names of the points.

    Raises:
        SampleError: A stratum is unknown, has no points, or has one only.
    """
    foreign = np.flatnonzero(~np.isin(stratum, list(pixels)))
    if len(foreign):
        raise SampleError(
            f"points {listed([ids[i] for i in foreign])} name strata "
            f"{sorted({int(stratum[i]) for i in foreign})} that the design does not have; it has "
            f"{sorted(pixels)}"
        )
    absent = [code for code in left_out if code not in pixels]
    if absent:
        raise SampleError(f"--leave-out-strata {absent} are no strata; there are {sorted(pixels)}")
    codes = tuple(c for c, n in pixels.items() if n and c not in left_out)
    if not codes:
        raise SampleError("--leave-out-strata leaves no stratum, so there is nothing to estimate")
    poor = {}
    for code in codes:
        points = int((stratum == code).sum())
        if points < min(MINIMUM, pixels[code]):
            poor[code] = points
    if poor:
        text = ", ".join(
            f"{code} ({pixels[code]:,} px) has {points or 'no'} labelled point{'s' * (points != 1)}"
            for code, points in poor.items()
        )
        raise SampleError(
            f"every stratum needs {MINIMUM} labelled points: stratum {text}; label more, or leave "
            f"its area out of every figure with --leave-out-strata {' '.join(map(str, poor))}"
        )
    used = np.isin(stratum, codes)
    place = {code: i for i, code in enumerate(codes)}
    return Strata(
        codes=codes,
        pixels=np.array([pixels[c] for c in codes], np.int64),
        of_point=np.array([place[int(c)] for c in stratum[used]], np.int64),
        used=used,
        left_out={code: pixels[code] for code in left_out},
    )
