"""Sharpening coefficients of a tile, from samples all over it."""

from collections.abc import Sequence

import numpy as np

from landcover_tf.bands import band
from landcover_tf.grid import Window
from landcover_tf.sentinel2 import pansharpen, resample
from landcover_tf.sentinel2.band_reader import BandReader
from landcover_tf.sentinel2.pansharpen import PREDICTORS, RELATIVE_SIGMA_PX, Pan
from landcover_tf.upsampling import Sharpening

_BLOCKS_PER_SIDE = 10
_BLOCK_PX = 48
_CONTEXT_PX = 4
"""Coarse pixels read around a sample block, so that the blur sees no edge."""
_BLUR_REACH_PX = 3


def fit_pans(
    bands: BandReader, method: Sharpening, cloudy_60m: np.ndarray | None
) -> dict[str, Pan | None]:
    """Returns the pan of every band that can be sharpened, fitted once per tile.

    Args:
        bands: The product's bands; the 10 m bands had better be loaded.
        method: Any but `none`.
        cloudy_60m: Pixels to leave out, bool on the 60 m grid.

    Returns:
        By band name; None for bands whose method fits locally.
    """
    pans: dict[str, Pan | None] = dict.fromkeys(RELATIVE_SIGMA_PX)
    for ratio in (2, 6):
        methods = {
            name: pansharpen.effective(method, name, ratio)
            for name in RELATIVE_SIGMA_PX
            if band(name).resolution_m == 10 * ratio
        }
        wanted = [name for name, kind in methods.items() if kind != "locreg"]
        if not wanted:
            continue
        for name, (coarse, degraded) in _samples(bands, wanted, ratio, cloudy_60m).items():
            pans[name] = pansharpen.fit_pan(methods[name], coarse, degraded)
    return pans


def _samples(
    bands: BandReader, names: Sequence[str], ratio: int, cloudy_60m: np.ndarray | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns per band the sampled m ([pixels]) and D(H_k) ([pixels, 4])."""
    grid = bands.product.grids[10 * ratio]
    offsets = bands.product.offsets
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
    for block in _lattice(grid.height, grid.width):
        context = block.expand(_CONTEXT_PX).clip(grid.height, grid.width) or block
        planes = [bands.read(name, resample.finer(context, ratio)) for name in PREDICTORS]
        usable = ~_cloudy(cloudy_60m, context, ratio)
        for plane in planes:
            bad = ~bands.is_plain(plane)
            usable &= resample.block_mean(bad.astype(np.float32), ratio) == 0
        # A pixel counts if everything that its blur reaches is usable too.
        usable = resample.erode(usable, _BLUR_REACH_PX)
        signals = [
            plane.astype(np.float32) + np.float32(offsets[name])
            for name, plane in zip(PREDICTORS, planes, strict=True)
        ]
        for name in names:
            dn = bands.read(name, context)
            keep = usable & bands.is_plain(dn)
            if keep.any():
                sigma = RELATIVE_SIGMA_PX[name]
                degraded = [pansharpen.degrade(s, ratio, sigma)[keep] for s in signals]
                found[name].append((dn[keep] + offsets[name], np.stack(degraded, axis=-1)))
    return {
        name: (
            np.concatenate([m for m, _ in parts] or [np.empty(0)]),
            np.concatenate([d for _, d in parts] or [np.empty((0, len(PREDICTORS)))]),
        )
        for name, parts in found.items()
    }


def _lattice(height: int, width: int) -> list[Window]:
    """Returns sample blocks spread evenly over a raster, the same for any way of reading it."""
    blocks = [
        Window(row_off=row, col_off=col, height=_BLOCK_PX, width=_BLOCK_PX).clip(height, width)
        for row in _starts(height)
        for col in _starts(width)
    ]
    return [block for block in blocks if block is not None]


def _starts(length: int) -> list[int]:
    count = min(_BLOCKS_PER_SIDE, length // _BLOCK_PX)
    if count < 2:
        return [0]
    return [i * (length - _BLOCK_PX) // (count - 1) for i in range(count)]


def _cloudy(cloudy_60m: np.ndarray | None, window: Window, ratio: int) -> np.ndarray:
    if cloudy_60m is None:
        return np.zeros((window.height, window.width), bool)
    rows = (np.arange(window.row_off, window.row_end) * ratio // 6)[:, None]
    cols = np.arange(window.col_off, window.col_end) * ratio // 6
    return np.asarray(cloudy_60m[rows, cols])
