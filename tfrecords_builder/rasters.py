"""A source as its headers describe it: bands, data type, grid, and whether its rasters fit."""

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from landcover_tf.bands import BAND_NAMES, positions, same_name, sentinel2_names
from landcover_tf.datasets.dataset_info import BandInfo
from landcover_tf.errors import LabelError, RasterError
from landcover_tf.grid import Window
from landcover_tf.rasters import raster_windows
from landcover_tf.rasters.bounds import Bounds, bounds_of
from landcover_tf.rasters.label_codes import require_codes
from landcover_tf.rasters.nodata import alpha_band, can_hold
from landcover_tf.rasters.pixel_sizes import on_earth, pixel_sides_m
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.rasters.raster_legends import stated_legend
from tfrecords_builder.sources import Source

DTYPES = ("uint8", "uint16", "int16", "float32")
MAX_SHIFT_PX = 0.25
"""How far labels may lie from their image anywhere: less than their own accuracy, and more than
coordinates lose when they are written with few digits."""


@dataclass(frozen=True, kw_only=True)
class BandChoice:
    """Which bands to take and how to read them, as the user said; see `BuildConfig`."""

    names: tuple[str, ...] = ()
    indexes: tuple[int, ...] = ()
    scale: float | None = None
    offset: float | None = None
    nodata: float | Literal["none"] | None = None


@dataclass(frozen=True, kw_only=True)
class SourceRaster:
    """A source with what its image's header says; enough to read it in any process."""

    source: Source
    bands: tuple[BandInfo, ...]
    indexes: tuple[int, ...]
    """Number of each band in the file, from 1."""
    dtype: str
    nodata: float | None
    """The file's own no-data value; NaN is one."""
    all_data: bool = False
    """The user said that no value means no data; NaN, infinity and masked pixels still do."""
    label_nodata: float | None
    """The value that the label raster declares no data, also where it is that of a class."""
    label_legend: str | None = field(default=None, repr=False)
    """What the label raster's tag says of its legend. What comes of it, the crosswalk, tells the
    builds to resume apart, not this."""
    height: int
    width: int
    crs: str
    """EPSG:n or WKT; empty when the raster has none, or one without a place on Earth."""
    transform: tuple[float, float, float, float, float, float]
    resolution_m: float | None
    """Width of a pixel on the ground in metres, None without a projected CRS."""

    def patch_transform(self, window: Window) -> tuple[float, float, float, float, float, float]:
        """Returns the affine coefficients of a window's own upper-left corner."""
        a, b, c, d, e, f = self.transform
        row, col = window.row_off, window.col_off
        return a, b, c + a * col + b * row, d, e, f + d * col + e * row

    @property
    def outline(self) -> tuple[str, Bounds]:
        """Its CRS and its bounds."""
        return self.crs, bounds_of(Affine(*self.transform), (self.height, self.width))

    def center(self, window: Window) -> tuple[float, float]:
        """Returns the coordinates of a window's centre."""
        a, b, c, d, e, f = self.patch_transform(window)
        row, col = window.height / 2, window.width / 2
        return a * col + b * row + c, d * col + e * row + f


def metres_per_unit(crs: rasterio.crs.CRS | None) -> float | None:
    """Returns the length of a CRS's unit, None where there is no CRS or it counts in degrees."""
    return float(crs.linear_units_factor[1]) if crs and crs.is_projected else None


def describe(source: Source, choice: BandChoice) -> SourceRaster:
    """Returns a source with what its header says.

    Raises:
        RasterError: It or its validity raster cannot be read or has an unusable type, or it lacks
            a wanted band.
        LabelError: The labels or the validity raster lie on another grid than the image.
    """
    if source.validity is not None:
        _require_bits(source.validity)
    with opened(source.image) as image:
        indexes, names = _choose_bands(image, choice)
        _require_plain_names(names, str(source.image))
        dtypes = {image.dtypes[index - 1] for index in indexes}
        if len(dtypes) > 1 or not dtypes <= set(DTYPES):
            raise RasterError(
                f"{source.image} has the data type {', '.join(sorted(dtypes))}; expected one of "
                f"{', '.join(DTYPES)} for all bands"
            )
        dtype = dtypes.pop()
        for path in filter(None, (source.label, source.validity)):
            _require_same_grid(image, path)
        with opened(source.label) as label:
            label_nodata = label.nodata if can_hold(label.dtypes[0], label.nodata) else None
            label_legend = stated_legend(label)
        transform = tuple(image.transform)[:6]
        return SourceRaster(
            source=source,
            bands=tuple(
                BandInfo(
                    name=name,
                    scale=image.scales[index - 1] if choice.scale is None else choice.scale,
                    offset=image.offsets[index - 1] if choice.offset is None else choice.offset,
                )
                for index, name in zip(indexes, names, strict=True)
            ),
            indexes=tuple(indexes),
            dtype=dtype,
            nodata=_nodata(image, choice, dtype),
            all_data=choice.nodata == "none",
            label_nodata=label_nodata,
            label_legend=label_legend,
            height=image.height,
            width=image.width,
            crs=_crs_name(image.crs),
            transform=transform,
            resolution_m=_pixel_width_m(image),
        )


def warn_of_unknown_bands(names: Sequence[str]) -> None:
    """Warns where most bands of a stack like Sentinel-2's are none of its bands by their names."""
    unknown = [name for name in sentinel2_names(names) if name not in BAND_NAMES]
    if 10 <= len(names) <= len(BAND_NAMES) and 2 * len(unknown) > len(names):
        print(
            f"warning: {len(unknown)} of {len(names)} bands ({', '.join(unknown)}) have names that "
            "stand for no band of Sentinel-2, so pretrained filters and pictures do not know them; "
            f"if they are its bands, name them so ({', '.join(BAND_NAMES)}) with --bands "
            "and --band-indexes",
            file=sys.stderr,
        )


def _pixel_width_m(image: rasterio.DatasetReader) -> float | None:
    if metres_per_unit(image.crs) is None:
        return None
    return pixel_sides_m(image.transform, image.crs, image.shape)[1]


def _choose_bands(image: rasterio.DatasetReader, choice: BandChoice) -> tuple[list[int], list[str]]:
    """Returns the numbers (from 1) and the names of the bands to take; alpha is a mask."""
    raster_windows.require_one_raster(image)
    where = image.name
    if choice.indexes:
        beyond = [i for i in choice.indexes if not 1 <= i <= image.count]
        if beyond:
            raise RasterError(f"{where} has {image.count} bands; --band-indexes asks {beyond}")
        return list(choice.indexes), list(choice.names)
    alpha = alpha_band(image)
    numbers = [number for number in image.indexes if number != alpha]
    named = [number for number in numbers if image.descriptions[number - 1]]
    available = [same_name(image.descriptions[number - 1], choice.names) for number in named]
    if named == numbers or (choice.names and set(choice.names) <= set(available)):
        names = list(choice.names or available)
        return [named[i] for i in positions(names, available, where)], names
    # GDAL calls the fourth of four bands of bytes alpha; what is counted as a band is one.
    for counted in (numbers, list(image.indexes)):
        if len(choice.names) == len(counted):
            return counted, list(choice.names)
    beside = f" beside band {alpha}, its alpha," if alpha else ""
    raise RasterError(
        f"{where} has {len(numbers)} bands, {len(numbers) - len(named)} without names{beside} and "
        f"--bands gives {len(choice.names)}; name all of them, or pick some with --bands and "
        "--band-indexes"
    )


def _require_plain_names(names: Sequence[str], where: str) -> None:
    listed = [name for name in names if "," in name or not name]
    if listed:
        raise RasterError(
            f"{where} names a band {listed[0]!r}, but commas separate the names in a record; give "
            "other names with --bands and the bands' numbers with --band-indexes"
        )


def _nodata(image: rasterio.DatasetReader, choice: BandChoice, dtype: str) -> float | None:
    if choice.nodata == "none":
        return None
    if choice.nodata is None:
        # GDAL lets a raster declare a value that none of its pixels can hold.
        return image.nodata if can_hold(dtype, image.nodata) else None
    if not can_hold(dtype, choice.nodata):
        raise RasterError(f"{image.name} holds {dtype}, which cannot be --nodata {choice.nodata:g}")
    return choice.nodata


@contextmanager
def without_georeference_warning() -> Iterator[None]:
    """Keeps rasterio quiet about rasters without a CRS, which are welcome here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """Yields an open raster, which need not be georeferenced.

    Raises:
        RasterError: It cannot be read.
    """
    with ExitStack() as stack:
        with without_georeference_warning():
            raster = stack.enter_context(raster_windows.opened(path))
        yield raster


def _require_bits(path: Path) -> None:
    # The low byte of a wider value has another meaning: cloud in QA60 is 1024, or 0.
    with opened(path) as validity:
        if validity.dtypes[0] != "uint8":
            raise RasterError(
                f"validity raster {path} holds {validity.dtypes[0]}; expected the bits of "
                "docs/prepare.md as uint8, convert it"
            )


def _require_same_grid(image: rasterio.DatasetReader, path: Path) -> None:
    with opened(path) as other:
        require_codes(other)
        if other.shape != image.shape:
            raise LabelError(
                f"{path} is {other.height} x {other.width} pixels but {image.name} is "
                f"{image.height} x {image.width}; warp it to the image's grid"
            )
        if not RasterGrid.of(image).fits(RasterGrid.of(other), MAX_SHIFT_PX):
            raise LabelError(
                f"{path} lies on another grid ({_described_grid(other)}) than {image.name} "
                f"({_described_grid(image)}); warp it to the image's grid"
            )


def _described_grid(raster: rasterio.DatasetReader) -> str:
    a, _, left, _, e, top = tuple(raster.transform)[:6]
    named = _crs_name(raster.crs)[:60] or "no CRS"
    return f"{named}, origin {left:.9g}, {top:.9g}, pixels of {a:.6g} x {abs(e):.6g}"


def _crs_name(crs: rasterio.crs.CRS | None) -> str:
    if not on_earth(crs):
        return ""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt()
