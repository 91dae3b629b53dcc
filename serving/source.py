"""What a raster to predict on offers, whatever it is, and what may be asked of it."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from landcover_tf.grid import Window
from landcover_tf.rasters.raster_grid import RasterGrid
from landcover_tf.upsampling import Resampling, Sharpening, Upsampling


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What to do with rasters that do not say, or do not have, what the model expects."""

    assume_bands: tuple[str, ...]
    """Names of a raster's bands in order, for its own; ("model",) takes the model's for those of
    a raster that does not name them all."""
    resample: bool
    """Resample a raster of another resolution to the model's."""
    resampling: Resampling | None
    """How the 20 m and 60 m bands of a product come to 10 m; None is as the model was trained."""
    sharpening: Sharpening | None
    """Their detail; None is as the model was trained."""
    mask_clouds: bool
    """Leave out clouds and shadows: those of a product, or of a prepared scene's validity."""
    checksums: bool
    """Refuse a product whose files are not as its manifest lists them."""

    def upsampling(self, trained: Upsampling | None) -> Upsampling:
        """Returns how the coarse bands of a product come to 10 m for a model."""
        default = trained or Upsampling()
        return Upsampling(
            resampling=self.resampling or default.resampling,
            sharpening=self.sharpening or default.sharpening,
        )


def stamp_of(files: Iterable[Path]) -> str:
    """Returns a digest of the names, sizes and times of change of files, whatever their order."""
    found = []
    for file in files:
        # Programs that show a raster write these beside it.
        if not file.name.endswith((".aux.xml", ".ovr")):
            # What a .vrt names need not be there, or no local file.
            with suppress(OSError):
                status = file.stat()
                found.append(f"{file.name} {status.st_size} {status.st_mtime_ns}\n")
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest()


class Source(Protocol):
    """A raster opened for prediction; one thread uses it at a time."""

    path: Path
    name: str
    """Product id or file stem."""
    grid: RasterGrid
    """That the map inherits."""
    tags: Mapping[str, str]
    """Provenance that the map repeats: product, baseline, sensing time."""
    sequential: bool
    """True where reading rows twice is expensive, so that they are kept instead."""
    part_rows: int
    """Rows to read at a time; parts end at multiples of it."""
    taken: Mapping[str, str]
    """Bands of other names that are read for bands of the model, by the model's names."""
    upsampling: Upsampling | None
    """How its 20 m and 60 m bands came to 10 m; None where nothing tells."""
    cloudy_fraction: float | None
    """Share of its pixels under clouds; None where nothing tells."""
    files: Collection[Path]
    """All that pixels and georeference are read from; names that are no local files among them."""

    def inspect(self) -> list[str]:
        """Returns what the user should know of the input before it is read, a sentence each.

        Raises:
            ProductError: It is unfit; no pixel is decoded to find that out.
        """

    def check(self) -> None:
        """Compares the files with what lists their checksums, once; reading does it else.

        Raises:
            ProductError: A file is not as it is listed.
        """

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Returns the pixels of a window inside the raster.

        Returns:
            Stored values in the model's bands, units and dtype [height, width, bands], with
            all bands at the model's no-data value where there is no data; and validity bits,
            uint8 [height, width]. Unless the source is `sequential`, the next `read` may write
            its values over these.
        """

    def preview(self, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
        """Returns pixels to look at, decimated to `shape`.

        Returns:
            Reflectance, float32 [height, width, bands]; names of those bands; True where there is
            data, bool [height, width].
        """

    def owns(self, path: Path) -> bool:
        """Returns whether a path is that of a file which the raster consists of."""

    def close(self) -> None:
        """Closes the files; reading opens them again."""
