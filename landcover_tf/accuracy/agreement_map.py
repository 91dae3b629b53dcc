"""The raster of where a map and its reference agree."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from landcover_tf.accuracy.agreement import AGREEMENT_CLASSES
from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.errors import OutputError
from landcover_tf.grid import Window
from landcover_tf.rasters.raster_windows import add_rows, rasterio_window, require_kept
from landcover_tf.system.files import atomic_path, write_text
from landcover_tf.vectors.qgis_styles import raster_style

_BLOCK_PX = 512
_OVERVIEWS = (2, 4, 8, 16, 32)


@contextmanager
def agreement_map(
    path: Path, class_map: ClassMap
) -> Iterator[Callable[[Window, np.ndarray], None]]:
    """Yields a function that writes a strip; the file appears when the block succeeds.

    It is read back, as GDAL does not report a disk that fills while the file is closed.

    Args:
        path: GeoTIFF with a colour table and overviews by the commonest class, written in strips of
            whole rows from above; a QGIS style is laid beside it.
        class_map: Whose grid it takes.
    """
    checksums: tuple[int, ...] = (0,)
    try:
        with atomic_path(path) as temporary:
            with rasterio.open(
                temporary, "w", driver="GTiff", **class_map.grid.profile, count=1, dtype="uint8",
                nodata=0, tiled=True, blockxsize=_BLOCK_PX, blockysize=_BLOCK_PX,
                compress="deflate", bigtiff="if_safer",
            ) as raster:  # fmt: skip
                raster.set_band_description(1, "agreement")
                raster.write_colormap(
                    1, {0: (0, 0, 0, 0)} | {c.code: (*c.rgb, 255) for c in AGREEMENT_CLASSES}
                )
                raster.update_tags(1, **{f"CLASS_{c.code}": c.name for c in AGREEMENT_CLASSES})

                def write(window: Window, outcome: np.ndarray) -> None:
                    nonlocal checksums
                    raster.write(outcome, 1, window=rasterio_window(window))
                    checksums = add_rows(checksums, outcome[np.newaxis])

                yield write
            _add_overviews(temporary, class_map)
            require_kept(temporary, checksums, name=path)
        write_text(path.with_suffix(".qml"), raster_style(AGREEMENT_CLASSES))
    except RasterioError as error:
        raise OutputError(f"cannot write {path}: {error}") from error


def _add_overviews(path: Path, class_map: ClassMap) -> None:
    longest = max(class_map.grid.shape)
    factors = [factor for factor in _OVERVIEWS if longest / factor >= _BLOCK_PX / 2]
    if factors:
        with rasterio.open(path, "r+") as raster:
            raster.build_overviews(factors, Resampling.mode)
