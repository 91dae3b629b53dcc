"""The 13 bands of a product on the 10 m grid, any window at a time."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np
import rasterio
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.windows import Window as RasterioWindow

from landcover_tf.bands import BAND_NAMES, band
from landcover_tf.errors import ProductError
from landcover_tf.grid import Window
from landcover_tf.sentinel2 import pansharpen, resample
from landcover_tf.sentinel2.pansharpen import PREDICTORS, RELATIVE_SIGMA_PX, Pan, Sharpening
from landcover_tf.sentinel2.resample import Resampling
from landcover_tf.sentinel2.safe import SafeProduct
from landcover_tf.sentinel2.validity import LARGEST_15_BIT_DN, ValidityBit

STORED_SCALE = 1e-4
"""Reflectance per stored unit."""
STORED_OFFSET = -0.1
"""Reflectance of stored value 0, so that slightly negative reflectance can be stored."""
STORED_NODATA = 0
STORED_LIMITS = (1, 65535)

GDAL_CACHE_BYTES = 384 * 2**20
"""GDAL decodes the inner tiles of a JP2 in parallel only if they fit its block cache together."""

_SAMPLE_BLOCKS = 10
_SAMPLE_BLOCK_PX = 48
_SHARPENED_ROWS = 512
_PLAIN_ROWS = 64


class Scene(AbstractContextManager["Scene"]):
    """Reads windows of a product as the prepared scene stores them.

    A window's values do not depend on which window was asked for: `read(window)` equals the
    crop of reading the whole scene, bit for bit.
    """

    def __init__(
        self,
        product: SafeProduct,
        *,
        resampling: Resampling = "bicubic",
        sharpening: Sharpening = "none",
        cloudy_60m: np.ndarray | None = None,
        threads: int = 2,
    ) -> None:
        """Opens the bands.

        Args:
            product: A product with all 13 band files.
            resampling: Interpolation of 20 m and 60 m bands that are not sharpened.
            sharpening: Method for the 20 m and 60 m bands.
            cloudy_60m: Pixels left out when sharpening coefficients are fitted, bool on the
                60 m grid.
            threads: Threads that interpolate.

        Raises:
            ProductError: A band is missing, unreadable or of another size than the XML says.
        """
        self.product = product
        self.resampling = resampling
        self.sharpening = sharpening
        self._cloudy_60m = cloudy_60m
        self._threads = threads
        self._loaded: dict[str, np.ndarray] = {}
        self._pans: dict[str, Pan | None] | None = None
        self._datasets: dict[str, rasterio.DatasetReader] = {}
        try:
            for name in BAND_NAMES:
                self._datasets[name] = _open_band(product, name)
        except ProductError:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the band files."""
        for dataset in self._datasets.values():
            dataset.close()
        self._datasets.clear()

    @property
    def height(self) -> int:
        """Rows at 10 m."""
        return self.product.grids[10].height

    @property
    def width(self) -> int:
        """Columns at 10 m."""
        return self.product.grids[10].width

    def whole(self) -> Window:
        """Returns the window of all pixels at 10 m."""
        return Window(row_off=0, col_off=0, height=self.height, width=self.width)

    def read_dn(self, name: str, window: Window) -> np.ndarray:
        """Returns digital numbers of one band on its native grid, uint16 [height, width].

        Raises:
            ProductError: The file cannot be decoded.
        """
        if name in self._loaded:
            return self._loaded[name][window.slices]
        rectangle = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        try:
            return np.asarray(self._datasets[name].read(1, window=rectangle))
        except (RasterioError, RasterioIOError) as error:
            raise ProductError(
                f"cannot decode {self.product.band_files[name]} in {self.product.path} "
                f"({error}); the file is damaged, download the product again"
            ) from error

    def load(self, names: Iterable[str]) -> None:
        """Decodes whole bands into memory; later reads take them from there.

        The rows are read in strips of whole inner tiles, so no tile is decoded twice.
        """
        for name in names:
            if name in self._loaded:
                continue
            grid = self.product.grids[band(name).resolution_m]
            rows = self._datasets[name].block_shapes[0][0]
            # Several rows of tiles at once keep all decoder threads busy.
            rows *= max(1, 2048 // rows)
            image = np.empty((grid.height, grid.width), np.uint16)
            for start in range(0, grid.height, rows):
                part = Window(
                    row_off=start,
                    col_off=0,
                    height=min(rows, grid.height - start),
                    width=grid.width,
                )
                image[part.slices] = self.read_dn(name, part)
            self._loaded[name] = image

    def read(self, window: Window) -> np.ndarray:
        """Returns stored values of all bands, uint16 [height, width, 13]; 0 is no data.

        Args:
            window: On the 10 m grid, inside the scene.
        """
        planes, _ = self.compose(window, self.read_fine(window))
        return np.moveaxis(planes, 0, -1)

    def read_fine(self, window: Window) -> dict[str, np.ndarray]:
        """Returns the digital numbers of the 10 m bands, with the context that sharpening needs."""
        context = self._fine_context(window)
        return {name: self.read_dn(name, context) for name in PREDICTORS}

    def compose(
        self, window: Window, fine: Mapping[str, np.ndarray], invalid: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns stored values and validity bits of a window.

        Args:
            window: On the 10 m grid.
            fine: From `read_fine(window)`.
            invalid: More pixels to blank, bool [height, width].

        Returns:
            Stored values, uint16 [13, height, width], 0 in every band where any band has no
            data; NODATA and SATURATED bits, uint8 [height, width].
        """
        self._fit_pans()
        planes = np.empty((len(BAND_NAMES), window.height, window.width), np.uint16)
        bits = np.zeros((window.height, window.width), np.uint8)
        context = self._fine_context(window)
        rows = _PLAIN_ROWS if self.sharpening == "none" else _SHARPENED_ROWS

        def compose_part(start: int) -> None:
            part = Window(
                row_off=window.row_off + start,
                col_off=window.col_off,
                height=min(rows, window.height - start),
                width=window.width,
            )
            inside = slice(start, start + part.height)
            offset = context.row_off, context.col_off
            self._compose(part, fine, offset, planes[:, inside], bits[inside])
            if invalid is not None:
                bits[inside][invalid[inside]] |= np.uint8(ValidityBit.NODATA)
            nodata = (bits[inside] & ValidityBit.NODATA) != 0
            if nodata.any():
                planes[:, inside][:, nodata] = STORED_NODATA

        starts = range(0, window.height, rows)
        if self._threads > 1 and len(starts) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(compose_part, starts))
        else:
            for start in starts:
                compose_part(start)
        return planes, bits

    def _compose(
        self,
        window: Window,
        fine: Mapping[str, np.ndarray],
        offset: tuple[int, int],
        planes: np.ndarray,
        bits: np.ndarray,
    ) -> None:
        local = Window(
            row_off=window.row_off - offset[0],
            col_off=window.col_off - offset[1],
            height=window.height,
            width=window.width,
        )
        for index, name in enumerate(BAND_NAMES):
            ratio = band(name).resolution_m // 10
            if ratio == 1:
                dn = fine[name][local.slices]
                planes[index] = self._store(dn, name)
            else:
                planes[index] = self._coarse_band(name, ratio, window, fine, offset)
                covering = resample.covering(window, ratio)
                dn = self._flag_source(name, covering)
                if dn is None:
                    continue
                dn = resample.crop(resample.repeat(dn, ratio), covering, ratio, window)
            self._flag(dn, bits)

    def _flag_source(self, name: str, window: Window) -> np.ndarray | None:
        """Returns a coarse window's digital numbers if any of them is special."""
        dn = self.read_dn(name, window)
        special = dn.min() == self.product.nodata or dn.max() >= self._saturation
        return dn if special or not 0 <= self.product.nodata <= 1 else None

    @property
    def _saturation(self) -> int:
        return min(self.product.saturated or LARGEST_15_BIT_DN, LARGEST_15_BIT_DN)

    def _flag(self, dn: np.ndarray, bits: np.ndarray) -> None:
        product = self.product
        bits[dn == product.nodata] |= np.uint8(ValidityBit.NODATA)
        saturated = (dn == product.saturated) | (dn >= LARGEST_15_BIT_DN)
        bits[saturated] |= np.uint8(ValidityBit.SATURATED)

    def _store(self, dn: np.ndarray, name: str) -> np.ndarray:
        """Returns stored values of 10 m digital numbers."""
        scale, shift = self._encoding(name)
        if scale == 1 and shift == int(shift) and shift >= 0:
            if not shift:
                return dn
            # uint16 would wrap around above 65535 - shift; saturated values stay at the limit.
            limit = np.uint16(STORED_LIMITS[1] - int(shift))
            return np.asarray(np.minimum(dn, limit) + np.uint16(shift))
        return resample.rounded(dn.astype(np.float32), scale, shift, STORED_LIMITS)

    def _encoding(self, name: str) -> tuple[float, float]:
        """Returns (scale, shift) from digital number to stored value."""
        product = self.product
        scale = 1 / (STORED_SCALE * product.quantification)
        scale = round(scale, 9)
        return scale, product.offsets[name] * scale - STORED_OFFSET / STORED_SCALE

    def _coarse_band(
        self,
        name: str,
        ratio: int,
        window: Window,
        fine: Mapping[str, np.ndarray],
        offset: tuple[int, int],
    ) -> np.ndarray:
        covering = resample.covering(window, ratio)
        scale, shift = self._encoding(name)
        method = pansharpen.effective(self.sharpening, name, ratio)
        if method == "none":
            padded = self._filled(name, covering, resample.MARGIN_PX, resample.MARGIN_PX)
            values = resample.upsample_rounded(
                padded, ratio, self.resampling, scale=scale, shift=shift, limits=STORED_LIMITS
            )
            return resample.crop(values, covering, ratio, window)
        margin = pansharpen.MARGIN_PX[ratio]
        steps = margin // 2
        context = self._coarse_context(covering, margin, ratio)
        coarse = self._filled(name, context, 0, steps) + np.float32(self.product.offsets[name])
        predictors = self._filled_fine(context, ratio, steps, fine, offset)
        sharp = pansharpen.sharpen(
            method, coarse, predictors, ratio, RELATIVE_SIGMA_PX[name], (self._pans or {})[name]
        )
        values = resample.crop(sharp, context, ratio, window)
        offset_shift = shift - self.product.offsets[name] * scale
        return resample.rounded(np.ascontiguousarray(values), scale, offset_shift, STORED_LIMITS)

    def _filled(self, name: str, window: Window, margin: int, steps: int) -> np.ndarray:
        """Returns a coarse window with margin as float32, its gaps filled."""
        grid = self.product.grids[band(name).resolution_m]
        source = window.expand(margin + steps).clip(grid.height, grid.width)
        if source is None:
            raise ValueError(f"{window} lies outside band {name}")
        dn = self.read_dn(name, source)
        values = dn.astype(np.float32)
        if (dn == self.product.nodata).any():
            values = resample.fill_invalid(values, dn != self.product.nodata, steps)
        return resample.cut(values, (source.row_off, source.col_off), window, margin)

    def _filled_fine(
        self,
        context: Window,
        ratio: int,
        steps: int,
        fine: Mapping[str, np.ndarray],
        offset: tuple[int, int],
    ) -> np.ndarray:
        """Returns the 10 m bands over a coarse window as gap-free float32 [4, ...].

        Gaps take the filled block means of their coarse pixel, which costs little at any size.
        """
        grid = self.product.grids[10 * ratio]
        source = context.expand(steps).clip(grid.height, grid.width)
        if source is None:
            raise ValueError(f"{context} lies outside the scene")
        rows = slice(source.row_off * ratio - offset[0], source.row_end * ratio - offset[0])
        cols = slice(source.col_off * ratio - offset[1], source.col_end * ratio - offset[1])
        inner = Window(
            row_off=context.row_off * ratio - source.row_off * ratio,
            col_off=context.col_off * ratio - source.col_off * ratio,
            height=context.height * ratio,
            width=context.width * ratio,
        )
        planes = []
        for name in PREDICTORS:
            dn = fine[name][rows, cols]
            values = dn.astype(np.float32)
            valid = dn != self.product.nodata
            if not valid.all():
                values[~valid] = 0
                count = resample.block_mean(valid.astype(np.float32), ratio)
                means = resample.block_mean(values, ratio) / np.maximum(count, 1e-6)
                means = resample.fill_invalid(means.astype(np.float32), count > 0, steps)
                values = np.where(valid, values, resample.repeat(means, ratio))
            planes.append(values[inner.slices] + np.float32(self.product.offsets[name]))
        return np.stack(planes)

    def _coarse_context(self, covering: Window, margin: int, ratio: int) -> Window:
        grid = self.product.grids[10 * ratio]
        context = covering.expand(margin).clip(grid.height, grid.width)
        if context is None:
            raise ValueError(f"{covering} lies outside the scene")
        return context

    def _fine_context(self, window: Window) -> Window:
        """Returns the 10 m window that composing `window` reads."""
        if self.sharpening == "none":
            return window
        contexts = []
        for ratio, margin in pansharpen.MARGIN_PX.items():
            coarse = self._coarse_context(
                resample.covering(window, ratio), margin + margin // 2, ratio
            )
            contexts.append(
                [
                    v * ratio
                    for v in (coarse.row_off, coarse.col_off, coarse.row_end, coarse.col_end)
                ]
            )
        row, col = min(c[0] for c in contexts), min(c[1] for c in contexts)
        row_end, col_end = max(c[2] for c in contexts), max(c[3] for c in contexts)
        return Window(row_off=row, col_off=col, height=row_end - row, width=col_end - col)

    def _fit_pans(self) -> None:
        """Fits the pan images once per scene, on a lattice of blocks all over the tile."""
        if self._pans is not None or self.sharpening == "none":
            return
        pans: dict[str, Pan | None] = {}
        for ratio in (2, 6):
            names = [n for n in RELATIVE_SIGMA_PX if band(n).resolution_m == 10 * ratio]
            methods = {n: pansharpen.effective(self.sharpening, n, ratio) for n in names}
            wanted = [n for n in names if methods[n] != "locreg"]
            pans |= dict.fromkeys(names)
            samples = self._samples(wanted, ratio) if wanted else {}
            for name, (coarse, degraded) in samples.items():
                pans[name] = pansharpen.fit_pan(methods[name], coarse, degraded)
        self._pans = pans

    def _samples(
        self, names: Sequence[str], ratio: int
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Returns per band the sampled m ([pixels]) and D(H_k) ([pixels, 4])."""
        grid = self.product.grids[10 * ratio]
        found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
        for block in _lattice(grid.height, grid.width):
            context = self._coarse_context(block, 4, ratio)
            fine = Window(
                row_off=context.row_off * ratio,
                col_off=context.col_off * ratio,
                height=context.height * ratio,
                width=context.width * ratio,
            )
            planes = [self.read_dn(name, fine) for name in PREDICTORS]
            usable = np.ones((context.height, context.width), bool)
            for plane in planes:
                bad = ~self._plain(plane)
                usable &= resample.block_mean(bad.astype(np.float32), ratio) == 0
            usable &= ~self._cloudy(context, ratio)
            # A pixel counts if everything its blur reaches is usable too.
            usable = resample.block_erode(usable, 3)
            for name in names:
                dn = self.read_dn(name, context)
                keep = usable & self._plain(dn)
                if not keep.any():
                    continue
                degraded = [
                    pansharpen.degrade(
                        p.astype(np.float32) + np.float32(self.product.offsets[h]),
                        ratio,
                        RELATIVE_SIGMA_PX[name],
                    )[keep]
                    for h, p in zip(PREDICTORS, planes, strict=True)
                ]
                coarse = dn[keep] + self.product.offsets[name]
                found[name].append((coarse, np.stack(degraded, axis=-1)))
        return {
            name: (
                np.concatenate([c for c, _ in parts] or [np.empty(0)]),
                np.concatenate([d for _, d in parts] or [np.empty((0, len(PREDICTORS)))]),
            )
            for name, parts in found.items()
        }

    def _plain(self, dn: np.ndarray) -> np.ndarray:
        """Returns True where digital numbers are neither no data nor saturated."""
        product = self.product
        return np.asarray(
            (dn != product.nodata) & (dn != product.saturated) & (dn < LARGEST_15_BIT_DN)
        )

    def _cloudy(self, window: Window, ratio: int) -> np.ndarray:
        if self._cloudy_60m is None:
            return np.zeros((window.height, window.width), bool)
        rows = (np.arange(window.row_off, window.row_end) * ratio // 6)[:, None]
        cols = np.arange(window.col_off, window.col_end) * ratio // 6
        return np.asarray(self._cloudy_60m[rows, cols])


def _lattice(height: int, width: int) -> list[Window]:
    """Returns sample blocks spread evenly over a raster, the same for any way of reading it."""
    blocks = []
    for row in _starts(height):
        for col in _starts(width):
            block = Window(
                row_off=row, col_off=col, height=_SAMPLE_BLOCK_PX, width=_SAMPLE_BLOCK_PX
            )
            clipped = block.clip(height, width)
            if clipped:
                blocks.append(clipped)
    return blocks


def _starts(length: int) -> list[int]:
    count = min(_SAMPLE_BLOCKS, max(length // _SAMPLE_BLOCK_PX, 1))
    return [
        int(i * (length - _SAMPLE_BLOCK_PX) / max(count - 1, 1)) if count > 1 else 0
        for i in range(count)
    ]


def _open_band(product: SafeProduct, name: str) -> rasterio.DatasetReader:
    path = product.band_path(name)
    grid = product.grids[band(name).resolution_m]
    try:
        dataset = rasterio.open(path)
    except RasterioIOError as error:
        size = product.container.sizes[product.band_files[name]]
        what = "is empty (0 bytes)" if not size else f"cannot be opened ({error})"
        raise ProductError(
            f"{product.band_files[name]} in {product.path} {what}; download the product again"
        ) from error
    if (dataset.height, dataset.width) != (grid.height, grid.width):
        shape = f"{dataset.width} x {dataset.height}"
        dataset.close()
        raise ProductError(
            f"{product.band_files[name]} in {product.path} has {shape} px; MTD_TL.xml says "
            f"{grid.width} x {grid.height}"
        )
    if dataset.dtypes[0] != "uint16":
        kind = dataset.dtypes[0]
        dataset.close()
        raise ProductError(f"{product.band_files[name]} in {product.path} is {kind}, not uint16")
    return dataset
