"""The rasters of the report's viewer, opened on the map's grid and brought to bytes."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from landcover_tf.accuracy.probabilities import FLOAT_STEP, require_probabilities
from landcover_tf.crosswalk import Crosswalk
from landcover_tf.errors import RasterError
from landcover_tf.grid import Window
from landcover_tf.legend import Legend
from landcover_tf.rasters.pixel_sizes import on_earth
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.report.map_facts import named_classes, require_class_map
from landcover_tf.sentinel2.label_rasters import source_windows
from landcover_tf.sentinel2.reference_raster import on_grid_of


@dataclass(frozen=True, kw_only=True)
class MapLayers:
    """The rasters that the viewer shows; all are read on the grid of `map`."""

    map: Path
    """Legend codes."""
    image: Path | None = None
    """Any raster with named bands, drawn in true colour."""
    confidence: Path | None = None
    """Largest probability: float 0-1, or integers times the band's scale; without a scale the
    largest integer stands for 1."""
    reference: Path | None = None
    """Legend codes to compare with."""
    probabilities: Path | None = None
    """One band per class of the legend, in its order, as `confidence`."""


class OpenLayers:
    """Open rasters, warped to the map's grid where theirs is another.

    Raises:
        RasterError: The map is not one band of uint8, a raster cannot be placed on its grid or
            does not overlap it, confidence or probabilities have other bands or are of another
            model, or the reference has codes that neither the legend nor its own tags name.
        LabelError: The reference is no raster of codes, or does not overlap the map.
    """

    def __init__(self, layers: MapLayers, legend: Legend, stack: ExitStack) -> None:
        # Overviews of other programs may be means of codes, which are other classes.
        self.map = stack.enter_context(rasterio.open(layers.map, OVERVIEW_LEVEL="NONE"))
        require_class_map(self.map)
        self.nodata = legend.nodata
        self._grid = RasterGrid.of(self.map)
        self._stack = stack
        self.image = self._aligned(layers.image, Resampling.bilinear)
        self.reference = self._placed(layers.reference, legend)
        self.confidence = self._shares(layers.confidence, 1, "1 band")
        classes = len(legend.classes)
        wanted = f"{classes} bands, one per class of legend {legend.name}"
        self.probabilities = self._shares(layers.probabilities, classes, wanted)

    def _placed(self, path: Path | None, legend: Legend) -> Any:
        if path is None:
            return None
        crosswalk, unknown = Crosswalk.identity(_with_named(legend, path)), Counter[int]()
        placed = self._stack.enter_context(on_grid_of(self._grid, path, crosswalk, unknown))
        if unknown:
            raise RasterError(
                f"--reference-map {path} has codes {sorted(unknown)[:5]} that legend "
                f"{legend.name!r} does not have; remap the labels first"
            )
        return placed

    def _shares(self, path: Path | None, bands: int, wanted: str) -> "Shares | None":
        if path is None:
            return None
        raster = self._stack.enter_context(rasterio.open(path))
        if raster.count != bands:
            raise RasterError(f"{path} must have {wanted}, it has {raster.count}")
        models = [one.tags().get("model_sha256") for one in (self.map, raster)]
        if all(models) and models[0] != models[1]:
            raise RasterError(
                f"{path} is of another model than {self.map.name} by the tag model_sha256; "
                "remove it, or predict map and shares again"
            )
        kind, scale = np.dtype(raster.dtypes[0]), raster.scales[0]
        if kind.kind in "iu" and scale == 1:
            scale = 1 / np.iinfo(kind).max
        aligned = self._aligned(path, Resampling.nearest)
        return Shares(
            path=path,
            raster=aligned,
            scale=scale,
            nodata=raster.nodata,
            description=raster.descriptions[0] or "",
        )

    def _aligned(self, path: Path | None, resampling: Resampling) -> Any:
        if path is None:
            return None
        raster = self._stack.enter_context(rasterio.open(path))
        if self._grid.fits(RasterGrid.of(raster)):
            return raster
        if not (on_earth(raster.crs) and on_earth(self.map.crs)):
            raise RasterError(
                f"{path} is on another grid than {self.map.name} and one of them has no CRS of the "
                "Earth; give rasters of one grid"
            )
        if not source_windows(RasterGrid.of(raster), self._grid):
            raise RasterError(
                f"{path} does not overlap the map {self.map.name}; check its position and CRS, or "
                "leave it out"
            )
        return self._stack.enter_context(
            WarpedVRT(raster, **self._grid.profile, resampling=resampling)
        )


@dataclass(frozen=True, kw_only=True)
class Shares:
    """A raster of shares on the map's grid."""

    path: Path
    raster: Any
    scale: float
    nodata: float | None
    description: str
    """Description of the first band."""

    def require_probabilities(self, stored: np.ndarray, mapped: np.ndarray, window: Window) -> None:
        """Refuses a window in which the shares of some pixel do not make one.

        Args:
            stored: Stored values of all bands, [bands, height, width].
            mapped: Where the map has a class, bool [height, width].
            window: Where in the map the pixels lie.

        Raises:
            RasterError: They are no probabilities, where there are any.
        """
        # All zero, as beside the raster, or all no data.
        known = mapped & (stored != 0).any(axis=0)
        if self.nodata is not None:
            same = np.isnan(stored) if np.isnan(self.nodata) else stored == self.nodata
            known &= ~same.all(axis=0)
        step = self.scale if stored.dtype.kind in "iu" else FLOAT_STEP
        rows, cols = np.nonzero(known)

        def name(i: int) -> str:
            return f"row {window.row_off + rows[i]} column {window.col_off + cols[i]}"

        require_probabilities(self.path, stored[:, known].T * self.scale, step, "pixels", name)

    def to_bytes(self, stored: np.ndarray) -> np.ndarray:
        """Returns shares in 1/255, uint8, 0 where there are none.

        The largest of up to 255 probabilities is never 0, so in a confidence 0 is no value.
        """
        share = np.nan_to_num(stored.astype(np.float32) * np.float32(self.scale))
        if self.nodata is not None:
            share[stored == self.nodata] = 0
        return np.asarray(np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8))


def _with_named(legend: Legend, path: Path) -> Legend:
    """Returns a legend with the codes that a raster's tags name besides, such as of uncertain."""
    if not path.is_file():
        return legend
    with rasterio.open(path) as raster:
        named = named_classes(raster)
    # Names of their own could be those of other classes of the legend.
    more = [
        replace(c, name=f"code {c.code}")
        for c in named
        if c.code not in {legend.nodata, *legend.codes}
    ]
    return replace(legend, classes=(*legend.classes, *more))
