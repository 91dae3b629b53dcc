"""Reference points laid on the assessed map; what cannot be used is named and counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import rowcol
from rasterio.warp import transform

from landcover_tf.accuracy.class_map import ClassMap, SampledPixels
from landcover_tf.accuracy.points import UNLABELLED, ReferencePoints
from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import LabelError, SampleError, listed
from landcover_tf.legend import IGNORED
from landcover_tf.rasters.raster_windows import RASTERIO_ERRORS

OUTSIDE = "outside the map"
UNPLACED = "without a position"
NODATA = "where the map has no class"
UNLABELLED_POINTS = "without a reference class"
WITHOUT_CLASS = "of a code without a class in the map's legend"
UNKNOWN = "of an unknown class"
DUPLICATE = "in a pixel that another point has"
NOT_A_PLACE = -1
"""Row and column of a position that has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchedPoints:
    """The usable points; the reasons hold the ids of all others."""

    ids: tuple[str, ...]
    row: np.ndarray
    """Row on the map, which may lie outside, int64 [points]."""
    col: np.ndarray
    """Column on the map, int64 [points]."""
    unit_row: np.ndarray
    """Row on the grid whose pixels were sampled, int64 [points]."""
    unit_col: np.ndarray
    """Column on that grid, int64 [points]."""
    mapped: np.ndarray
    """Dense class of the map, -1 where it has none, int64 [points]."""
    reference: np.ndarray
    """Dense class of the reference, int64 [points]."""
    stratum: np.ndarray | None
    """Code of the recorded stratum, int64 [points]."""
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids of the points left out, by reason."""
    reprojected_from: str | None = None
    """The points' CRS when it is not the map's."""
    assumed_crs: str | None = None
    """The points' CRS and whose it is, when nothing names it."""


def match(
    points: ReferencePoints,
    class_map: ClassMap,
    crosswalk: Crosswalk,
    *,
    units: SampledPixels,
    keep_unmapped: bool,
    unknown: str = "error",
) -> MatchedPoints:
    """Returns the points with their class on the map.

    Args:
        points: As read from a file.
        class_map: The assessed map.
        crosswalk: From the reference's codes to the map's legend.
        units: What was sampled: two points in one of these pixels are duplicates.
        keep_unmapped: Keep points where the map has no class, because they count in a stratum
            that reaches beyond the map; otherwise they are excluded.
        unknown: "error" refuses classes that the crosswalk lacks, "ignore" excludes them.

    Raises:
        LabelError: A reference class is unknown and `unknown` is "error".
        SampleError: No point is left, or two points of one pixel contradict each other.
    """
    assessed = class_map.sampled
    rows, cols = _places(points, assessed, assessed)
    unit_rows, unit_cols = rows, cols
    if units != assessed:
        unit_rows, unit_cols = _places(points, units, assessed)
    height, width = class_map.grid.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    reference = _dense_reference(points, crosswalk, unknown)
    index = class_map.legend.index_of_code
    mapped = np.full(len(rows), -1, np.int64)
    dense = index[class_map.at(rows[inside], cols[inside])].astype(np.int64)
    mapped[inside] = np.where(dense == IGNORED, -1, dense)
    # A point coded as the legend's own no data was not labelled either.
    nodata = (reference < 0) & (points.reference == class_map.legend.nodata)
    reasons = {
        UNPLACED: np.isnan(points.x) | np.isnan(points.y),
        UNLABELLED_POINTS: (points.reference == UNLABELLED) | nodata,
        # Such as clouds: the crosswalk knows the code, and makes it no data.
        WITHOUT_CLASS: (reference < 0) & np.isin(points.reference, list(crosswalk.codes)),
        UNKNOWN: reference < 0,
        OUTSIDE: ~inside & (not keep_unmapped),
        NODATA: inside & (mapped < 0) & (not keep_unmapped),
    }
    usable, excluded = _exclude(points.ids, reasons)
    repeated = _repeated(points, unit_rows, unit_cols, reference, usable)
    if repeated.any():
        excluded[DUPLICATE] = tuple(points.ids[i] for i in np.flatnonzero(repeated))
        usable &= ~repeated
    _check_some(usable, mapped, excluded, class_map)
    return MatchedPoints(
        ids=tuple(points.ids[i] for i in np.flatnonzero(usable)),
        row=rows[usable],
        col=cols[usable],
        unit_row=unit_rows[usable],
        unit_col=unit_cols[usable],
        mapped=mapped[usable],
        reference=reference[usable],
        stratum=None if points.stratum is None else points.stratum[usable],
        excluded=excluded,
        reprojected_from=_name(points.crs) if _differs(points.crs, class_map.grid.crs) else None,
        assumed_crs=_assumed(points, class_map),
    )


def _assumed(points: ReferencePoints, class_map: ClassMap) -> str | None:
    crs = points.crs or class_map.grid.crs
    if crs is None or not points.crs_assumed:
        return None
    return f"{_name(crs)}, that of {'the map' if points.crs is None else 'the sampling design'}"


def _exclude(
    ids: tuple[str, ...], reasons: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, tuple[str, ...]]]:
    """Returns which points no reason speaks against, bool [points], and the ids of the others.

    The first reason that holds counts, so that the counts add up.
    """
    usable = np.ones(len(ids), bool)
    excluded: dict[str, tuple[str, ...]] = {}
    for reason, wrong in reasons.items():
        hit = np.flatnonzero(usable & wrong)
        if len(hit):
            excluded[reason] = tuple(ids[i] for i in hit)
        usable &= ~wrong
    return usable, excluded


def _check_some(
    usable: np.ndarray,
    mapped: np.ndarray,
    excluded: Mapping[str, tuple[str, ...]],
    class_map: ClassMap,
) -> None:
    """Raises SampleError when no point is left, or none where the map has a class."""
    if not usable.any():
        why = "; ".join(f"{len(ids)} {reason}" for reason, ids in excluded.items())
        raise SampleError(f"none of {len(usable)} reference points can be used: {why}")
    if not (mapped[usable] >= 0).any():
        raise SampleError(
            f"none of {int(usable.sum())} reference points lies where {class_map.path} has a "
            "class; check the position and CRS of both"
        )


def _places(
    points: ReferencePoints, pixels: SampledPixels, assessed: SampledPixels
) -> tuple[np.ndarray, np.ndarray]:
    """Returns row and column of each point among pixels; points without CRS have the map's."""
    x, y, crs = points.x, points.y, points.crs or assessed.crs
    if _differs(crs, pixels.crs):
        if pixels.crs is None:
            having = "the points have" if points.crs else f"{assessed.name} has"
            raise SampleError(
                f"{pixels.name} has no CRS but {having}; set that map's (gdal_edit.py -a_srs) "
                "and, if it was sampled, give it as --strata-map"
            )
        x, y = _reprojected(x, y, crs, pixels.crs)
    finite = np.isfinite(x) & np.isfinite(y)
    rows, cols = rowcol(
        pixels.transform, np.where(finite, x, 0.0), np.where(finite, y, 0.0), op=np.floor
    )
    rows, cols = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    return np.where(finite, rows, NOT_A_PLACE), np.where(finite, cols, NOT_A_PLACE)


def _reprojected(
    x: np.ndarray, y: np.ndarray, crs: CRS, other: CRS
) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions in another system, not finite where they have none there."""
    possible = np.isfinite(x) & np.isfinite(y)
    if crs.is_geographic:
        possible &= (np.abs(y) <= 90) & (np.abs(x) <= 360)
    # One impossible position would fail the transformation of all points.
    x, y = np.where(possible, x, 0.0), np.where(possible, y, 0.0)
    try:
        x, y = (np.array(values) for values in transform(crs, other, x, y))
    except RASTERIO_ERRORS as error:
        raise SampleError(f"the points cannot be reprojected from {_name(crs)}: {error}") from error
    x[~possible] = y[~possible] = np.nan
    return x, y


def _differs(crs: CRS | None, other: CRS | None) -> bool:
    return crs is not None and crs != other


def _dense_reference(points: ReferencePoints, crosswalk: Crosswalk, unknown: str) -> np.ndarray:
    """Returns dense classes of the map's legend, -1 for unlabelled and unknown ones."""
    known = crosswalk.codes
    foreign = [
        i for i, code in enumerate(points.reference) if code != UNLABELLED and code not in known
    ]
    if foreign and unknown != "ignore":
        codes = sorted({int(points.reference[i]) for i in foreign})
        raise LabelError(
            f"the reference has classes {codes} that the {crosswalk} does not know, at points "
            f"{listed([points.ids[i] for i in foreign])}; correct them, name the right "
            "--reference-legend, or pass --unknown-labels ignore to leave them out"
        )
    index = crosswalk.target.index_of_code
    dense = np.array(
        [index[known.get(int(code), crosswalk.target.nodata)] for code in points.reference],
        np.int64,
    )
    return np.where(dense == IGNORED, -1, dense)


def _repeated(
    points: ReferencePoints,
    rows: np.ndarray,
    cols: np.ndarray,
    reference: np.ndarray,
    usable: np.ndarray,
) -> np.ndarray:
    """Returns True for usable points whose pixel an earlier one has, bool [points]."""
    first: dict[tuple[int, int], int] = {}
    repeated = np.zeros(len(rows), bool)
    contradictions = []
    for i in np.flatnonzero(usable):
        other = first.setdefault((int(rows[i]), int(cols[i])), int(i))
        if other == i:
            continue
        repeated[i] = True
        if reference[other] != reference[i]:
            contradictions.append(f"{points.ids[other]} and {points.ids[i]}")
    if contradictions:
        raise SampleError(
            f"points {listed(contradictions)} lie in one pixel but have different reference "
            "classes; decide on one"
        )
    return repeated


def _name(crs: CRS) -> str:
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())[:60]
