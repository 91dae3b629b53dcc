"""Problems of the ground truth of a product, before anything is written."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import LabelError, ProductError
from landcover_tf.sentinel2.checks import Finding, Severity
from landcover_tf.sentinel2.label_rasters import LabelRaster, rasters_of
from landcover_tf.sentinel2.labels import warp_labels
from landcover_tf.sentinel2.product import SafeProduct

SHIFT_REACH_PX = 3
"""Pixels of 60 m by which labels are moved, at most, to see whether they fit the image better."""


def check_labels(
    product: SafeProduct,
    rasters: Sequence[LabelRaster],
    crosswalk: Crosswalk,
    *,
    unknown: str = "error",
) -> list[Finding]:
    """Returns what speaks against the ground truth of a product.

    Args:
        product: Its metadata has been read.
        rasters: Ground truth of all products.
        crosswalk: From source codes to the target legend.
        unknown: "error" finds fault with codes that the crosswalk does not know.
    """

    def finding(check: str, severity: Severity, message: str) -> Finding:
        return Finding(product=product.name, check=check, severity=severity, message=message)

    meeting = rasters_of(rasters, product.name, product.grids[10])
    if not meeting:
        message = (
            f"no label raster overlaps {product.name}; check the tile and the CRS of the labels"
        )
        return [finding("label-overlap", "fatal", message)]
    try:
        # Every label pixel is looked at; only the result is coarse.
        warped = warp_labels(
            meeting,
            crosswalk,
            grid=product.grids[60],
            unknown="ignore",
            min_labelled_fraction=0.0,  # What is sparse at 60 m may be dense enough at 10 m.
        )
        if unknown != "ignore":
            names = ", ".join(warped.sources)
            crosswalk.refuse_unknown(warped.unknown, names, legend_flag="--source-legend")
    except LabelError as error:
        return [finding("labels", "fatal", str(error))]
    found = [
        finding("label-nodata", "warning", message)
        for message in _hidden_classes(meeting, crosswalk)
    ]
    if not warped.labelled_fraction:
        names = ", ".join(warped.sources)
        message = (
            f"{names} has no known class inside {product.name}; check the tile, the CRS of the "
            "labels and --source-legend"
        )
        return [*found, finding("label-overlap", "fatal", message)]
    try:
        hint = label_shift_hint(_coarse_nir(product), warped.codes)
    except ProductError:
        return found  # The checks of the product tell what is wrong with the band.
    return [*found, finding("label-shift", "warning", hint)] if hint else found


def _hidden_classes(rasters: Sequence[LabelRaster], crosswalk: Crosswalk) -> list[str]:
    """Returns what to say of rasters whose no-data value is the code of a class."""
    return [
        f"{raster.path} declares code {raster.nodata:g} no data, which is a class of "
        f"{crosswalk.source}; its pixels count as no data, unset that (gdal_edit.py "
        "-unsetnodata) if they should not"
        for raster in rasters
        if crosswalk.hides_class(raster.nodata)
    ]


def _coarse_nir(product: SafeProduct) -> np.ndarray:
    """Returns B08 at 60 m as the file's overviews have it, float32."""
    with product.opened_band("B08") as dataset:
        dn = dataset.read(1, out_shape=product.grids[60].shape)
    return np.asarray(dn.astype(np.float32))


def label_shift_hint(nir: np.ndarray, codes: np.ndarray) -> str | None:
    """Returns a warning if the labels' edges fit the image better after a shift.

    Edges of near infrared and edges of labels are correlated at 60 m for shifts of up to
    `SHIFT_REACH_PX`; a better fit elsewhere than in place hints at a wrong CRS or transform of
    the labels.

    Args:
        nir: B08 at 60 m, float32 [height, width].
        codes: Legend codes at 60 m, uint8 [height, width].
    """
    edges = np.hypot(ndimage.sobel(nir, 0), ndimage.sobel(nir, 1))
    # Cloud edges and other extremes would outweigh the fields.
    edges = np.minimum(edges, np.percentile(edges, 95))
    borders = ndimage.maximum_filter(codes, 3) != ndimage.minimum_filter(codes, 3)
    if min(edges.shape) <= 8 * SHIFT_REACH_PX or not borders.any() or not edges.any():
        return None
    scores = shift_scores(edges, borders)
    if (0, 0) not in scores:
        return None  # Labels without borders inside fit everywhere alike.
    best = max(scores, key=scores.__getitem__)
    if best == (0, 0) or scores[best] < 0.1 or scores[best] < 1.3 * scores[0, 0]:
        return None
    return (
        f"the labels' edges fit the image better when moved {best[1] * 60} m east and "
        f"{-best[0] * 60} m north (correlation {scores[best]:.2f} against {scores[0, 0]:.2f}); "
        "check the CRS and transform of the label raster"
    )


def shift_scores(edges: np.ndarray, borders: np.ndarray) -> dict[tuple[int, int], float]:
    """Returns the correlation of two images inside for each shift of the second, (rows, columns).

    Of a shift that moves no or only borders inside there is none. For edges e with mean m and
    standard deviation s, and a share f of borders among n pixels, it is
    sum over borders (e - m) / (n s sqrt(f (1 - f))).

    Args:
        edges: Strength of edges, float [height, width].
        borders: Where the labels have borders, bool [height, width].
    """
    reach = SHIFT_REACH_PX
    height, width = borders.shape
    core = edges[reach:-reach, reach:-reach].astype(np.float64)
    core -= core.mean()
    deviation = core.std()
    scores = {}
    for rows in range(-reach, reach + 1):
        for cols in range(-reach, reach + 1):
            moved = borders[
                reach - rows : height - reach - rows, reach - cols : width - reach - cols
            ]
            share = moved.mean()
            if 0 < share < 1:
                spread = core.size * deviation * np.sqrt(share * (1 - share))
                scores[rows, cols] = float(core[moved].sum() / spread)
    return scores
