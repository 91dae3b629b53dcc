"""Reader, network and writer at work at once."""

import time
from pathlib import Path

import numpy as np
from local_export import STRIDE, SmallExport, prediction, write_raster

from landcover_tf.grid import Window
from serving.blending import CropMerger
from serving.pipeline import Predictor
from serving.raster_io import WindowReader
from serving.row_bands import BandStore
from serving.windows import exact_layout

WAIT_S = 20.0


class NotingReader(WindowReader):
    """Keeps the first rows of the windows that it has read."""

    rows: tuple[int, ...] = ()

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        found = super().read(window)
        self.rows += (window.row_off,)
        return found


class SlowNetwork:
    """Stays at its first window until the reader has read another."""

    name = "slow"
    one_shape = True

    def __init__(self, reader: NotingReader) -> None:
        self._reader = reader
        self.read_meanwhile: tuple[int, ...] = ()

    def prepare(self, shape: tuple[int, ...], *, deciding: bool) -> None: ...

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def decide(self, batch: np.ndarray) -> np.ndarray:
        if not self.read_meanwhile:
            until = time.monotonic() + WAIT_S
            while len(self._reader.rows) < 2 and time.monotonic() < until:
                time.sleep(0.01)
            self.read_meanwhile = self._reader.rows
        return np.zeros((*batch.shape[:3], 2), np.uint8)


def test_the_next_row_is_read_while_the_network_is_at_the_last_window_of_one(
    small_export: SmallExport, tmp_path: Path
) -> None:
    write_raster(tmp_path / "scene.tif", 400, 60)
    scene = prediction(small_export, tmp_path / "scene.tif", tmp_path / "map.tif")
    layout = exact_layout(
        400,
        60,
        margin_px=32,
        align=STRIDE,
        memory_bytes=lambda height, width: height * width,
        limit_bytes=250 * 64,
        required=True,
    )
    assert layout is not None
    assert [(len(layout.rows), len(layout.cols))] == [(2, 1)]
    reader = NotingReader(scene.source, 0)
    network = SlowNetwork(reader)
    predictor = Predictor(
        layout=layout,
        reader=reader,
        backend=network,
        merger=lambda layout: CropMerger(layout, 2, np.uint8),
        content=scene.content,
        batch_size=1,
        bands=4,
        excluded_bits=1,
    )
    store = BandStore(tmp_path, scene.content.layers, [layout.band(row) for row in (0, 1)])
    predictor.run(store, [0, 1], on_window=lambda _: None)
    assert store.finished(0)
    assert store.finished(1)
    assert network.read_meanwhile == tuple(layout.window(row, 0).row_off for row in (0, 1))
