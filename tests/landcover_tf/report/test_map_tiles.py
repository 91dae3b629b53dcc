"""The tiles of the report's map viewer."""

from functools import partial

import numpy as np
from fakes.assessed_map import CLASSES, write
from fakes.traced_memory import peak_bytes

from landcover_tf.legend import load_legend
from landcover_tf.report import map_tiles
from landcover_tf.report.map_layers import MapLayers
from landcover_tf.report.map_tiles import build_pyramid


def test_more_rows_take_the_same_memory(tmp_path, monkeypatch):
    # Tiles are kept up to this bound and then written as they are made.
    monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 100_000)
    width, short, tall = 256, 512, 4096
    rng, legend, peaks = np.random.default_rng(2), load_legend("landcover9"), []
    for height in (short, tall):
        folder = tmp_path / str(height)
        folder.mkdir()
        codes = rng.choice(CLASSES, (height, width))
        shares = rng.integers(0, 255, (3, height, width)).astype(np.uint8)
        layers = MapLayers(
            map=write(folder / "map.tif", codes),
            reference=write(folder / "truth.tif", codes),
            confidence=write(folder / "confidence.tif", shares[0]),
            probabilities=write(folder / "probabilities.tif", shares),
            image=write(
                folder / "image.tif", shares.astype(np.uint16), names=("B04", "B03", "B02")
            ),
        )
        del codes, shares
        peaks.append(peak_bytes(partial(build_pyramid, layers, folder / "tiles", legend)))
        # 256 px tiles of the finest level, and fewer of those above it.
        assert len(list((folder / "tiles").rglob("*.js"))) > height // 256
    # One of the rasters, held whole, would be a byte for each further pixel.
    assert peaks[1] - peaks[0] < 0.75 * (tall - short) * width
