"""The 13 bands of a product on the 10 m grid, any window at a time."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from landcover_tf.bands import BAND_NAMES, SENTINEL2_L1C, band
from landcover_tf.grid import Window
from landcover_tf.sentinel2 import pansharpen, resample
from landcover_tf.sentinel2.band_reader import BandReader
from landcover_tf.sentinel2.pan_fit import fit_pans
from landcover_tf.sentinel2.pansharpen import PREDICTORS, RELATIVE_SIGMA_PX, Pan
from landcover_tf.sentinel2.product import SafeProduct
from landcover_tf.upsampling import Resampling, Sharpening
from landcover_tf.validity import ValidityBit, has_bit, set_bit

STORED_SCALE = 1e-4
"""Reflectance per stored unit."""
STORED_OFFSET = -0.1
"""Reflectance of stored value 0, so that slightly negative reflectance can be stored."""
STORED_NODATA = 0
STORED_LIMITS = (1, 65535)

# Rows that one thread composes at a time: few enough to stay in its cache when interpolating,
# many enough when sharpening that the context around them is a small part of the work.
_PLAIN_ROWS = 64
_SHARPENED_ROWS = 512


class Scene:
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
        self.resampling: Resampling = resampling
        self.sharpening: Sharpening = sharpening
        self.bands = BandReader(product)
        self._cloudy_60m = cloudy_60m
        self._threads = threads
        self.pans: dict[str, Pan | None] | None = None
        """Sharpening coefficients of the whole scene, fitted when first needed."""

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the band files."""
        self.bands.close()

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

    def load(self) -> None:
        """Decodes into memory what reading many windows would decode again and again.

        These are the 20 m and 60 m bands, and the 10 m bands too when sharpening, which looks at
        them beyond the window. A full tile takes 0.4 GB, or 1.3 GB when sharpening.
        """
        self.bands.load(b.name for b in SENTINEL2_L1C if b.resolution_m > 10)
        if self.sharpening != "none":
            self.bands.load(PREDICTORS)

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
        return {name: self.bands.read(name, context) for name in PREDICTORS}

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
        if self.sharpening != "none" and self.pans is None:
            self.pans = fit_pans(self.bands, self.sharpening, self._cloudy_60m)
        planes = np.empty((len(BAND_NAMES), window.height, window.width), np.uint16)
        bits = np.zeros((window.height, window.width), np.uint8)
        if invalid is not None:
            bits[invalid] = np.uint8(ValidityBit.NODATA)
        rows = _PLAIN_ROWS if self.sharpening == "none" else _SHARPENED_ROWS

        def compose_part(part: Window) -> None:
            inside, _ = part.relative_to(window).slices
            self._compose(part, fine, self._fine_context(window), planes[:, inside], bits[inside])

        parts = list(window.strips(rows))
        if self._threads > 1 and len(parts) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(compose_part, parts))
        else:
            for part in parts:
                compose_part(part)
        return planes, bits

    def _compose(
        self,
        window: Window,
        fine: Mapping[str, np.ndarray],
        context: Window,
        planes: np.ndarray,
        bits: np.ndarray,
    ) -> None:
        """Fills `planes` and `bits` of a window; `fine` covers `context`."""
        local = window.relative_to(context)
        sharpener = _Sharpener(self, window, fine, context)
        for plane, name in zip(planes, BAND_NAMES, strict=True):
            ratio = band(name).resolution_m // 10
            if ratio == 1:
                dn = fine[name][local.slices]
                plane[...] = self.stored(dn, name)
                self._flag(dn, bits)
                continue
            covering = resample.covering(window, ratio)
            if pansharpen.effective(self.sharpening, name, ratio) == "none":
                plane[...] = self._interpolated(name, ratio, covering, window)
            else:
                plane[...] = sharpener.band(name, ratio)
            dn = self.bands.read(name, covering)
            if not self.bands.is_plain(dn).all():
                self._flag(resample.crop(resample.repeat(dn, ratio), covering, ratio, window), bits)
        nodata = has_bit(bits, ValidityBit.NODATA)
        if nodata.any():
            planes[:, nodata] = STORED_NODATA

    def _flag(self, dn: np.ndarray, bits: np.ndarray) -> None:
        set_bit(bits, dn == self.product.nodata, ValidityBit.NODATA)
        set_bit(bits, self.bands.is_saturated(dn), ValidityBit.SATURATED)

    def encoding(self, name: str) -> tuple[float, float]:
        """Returns (scale, shift) from digital number to stored value."""
        scale = round(1 / (STORED_SCALE * self.product.quantification), 9)
        shift = self.product.offsets[name] * scale - STORED_OFFSET / STORED_SCALE
        return scale, round(shift, 6)

    def stored(self, dn: np.ndarray, name: str) -> np.ndarray:
        """Returns stored values of 10 m digital numbers."""
        scale, shift = self.encoding(name)
        if scale == 1 and shift >= 0 and shift.is_integer():
            if not shift:
                return dn
            # uint16 would wrap around; values that do not fit stay at the limit.
            largest = np.uint16(STORED_LIMITS[1] - int(shift))
            return np.asarray(np.minimum(dn, largest) + np.uint16(shift))
        return resample.rounded(dn.astype(np.float32), scale, shift, STORED_LIMITS)

    def _interpolated(self, name: str, ratio: int, covering: Window, window: Window) -> np.ndarray:
        scale, shift = self.encoding(name)
        padded = self.bands.filled(
            name, covering, margin=resample.MARGIN_PX, steps=resample.MARGIN_PX
        )
        values = resample.upsample_rounded(
            padded, ratio, self.resampling, scale=scale, shift=shift, limits=STORED_LIMITS
        )
        return resample.crop(values, covering, ratio, window)

    def _fine_context(self, window: Window) -> Window:
        """Returns the 10 m window that composing `window` reads."""
        if self.sharpening == "none":
            return window
        needed = []
        for ratio, margin in pansharpen.MARGIN_PX.items():
            coarse = resample.covering(window, ratio).expand(margin + margin // 2)
            clipped = resample.finer(coarse, ratio).clip(self.height, self.width)
            if clipped is None:
                raise ValueError(f"{window} lies outside the scene")
            needed.append(clipped)
        row, col = min(w.row_off for w in needed), min(w.col_off for w in needed)
        return Window(
            row_off=row,
            col_off=col,
            height=max(w.row_end for w in needed) - row,
            width=max(w.col_end for w in needed) - col,
        )


class _Sharpener:
    """Sharpens the bands of one window; bands of one resolution share their predictors."""

    def __init__(
        self, scene: Scene, window: Window, fine: Mapping[str, np.ndarray], context: Window
    ) -> None:
        self._scene = scene
        self._product = scene.product
        self._window = window
        self._fine = fine
        self._context = context
        self._predictors: dict[int, np.ndarray] = {}

    def band(self, name: str, ratio: int) -> np.ndarray:
        """Returns stored values of a 20 m or 60 m band in the window, uint16."""
        coarse_window = self._coarse_window(ratio)
        # Ratios of bands mean something only between signals without the additive offset.
        offset = np.float32(self._product.offsets[name])
        steps = pansharpen.MARGIN_PX[ratio] // 2
        coarse = self._scene.bands.filled(name, coarse_window, margin=0, steps=steps) + offset
        if ratio not in self._predictors:
            self._predictors[ratio] = self._read_predictors(coarse_window, ratio, steps)
        values = pansharpen.sharpen(
            pansharpen.effective(self._scene.sharpening, name, ratio),
            coarse,
            self._predictors[ratio],
            ratio,
            RELATIVE_SIGMA_PX[name],
            (self._scene.pans or {}).get(name),
        )
        values = np.ascontiguousarray(resample.crop(values, coarse_window, ratio, self._window))
        scale, shift = self._scene.encoding(name)
        return resample.rounded(values, scale, shift - float(offset) * scale, STORED_LIMITS)

    def _coarse_window(self, ratio: int) -> Window:
        grid = self._product.grids[10 * ratio]
        covering = resample.covering(self._window, ratio)
        return (
            covering.expand(pansharpen.MARGIN_PX[ratio]).clip(grid.height, grid.width) or covering
        )

    def _read_predictors(self, coarse: Window, ratio: int, steps: int) -> np.ndarray:
        """Returns the 10 m signals over a coarse window without gaps, float32 [4, ...].

        Gaps take the filled block means of their coarse pixel, which costs little at any size.
        """
        grid = self._product.grids[10 * ratio]
        source = coarse.expand(steps).clip(grid.height, grid.width) or coarse
        area = resample.finer(source, ratio).relative_to(self._context)
        inner = resample.finer(coarse.relative_to(source), ratio)
        planes = []
        for name in PREDICTORS:
            dn = self._fine[name][area.slices]
            values = dn.astype(np.float32)
            valid = dn != self._product.nodata
            if not valid.all():
                values[~valid] = 0
                share = resample.block_mean(valid.astype(np.float32), ratio)
                means = resample.block_mean(values, ratio) / np.maximum(share, np.float32(1e-6))
                means = resample.fill_invalid(means, share > 0, steps)
                values = np.where(valid, values, resample.repeat(means, ratio))
            planes.append(values[inner.slices] + np.float32(self._product.offsets[name]))
        return np.stack(planes)
