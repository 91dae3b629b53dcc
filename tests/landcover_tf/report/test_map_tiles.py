"""The tiles of the report's map viewer."""

import os
import re
from functools import partial

import numpy as np
import pytest
from fakes.assessed_map import CLASSES, write
from fakes.traced_memory import peak_bytes

from landcover_tf.errors import OutputError
from landcover_tf.legend import load_legend
from landcover_tf.report import map_tiles
from landcover_tf.report.map_layers import MapLayers
from landcover_tf.report.map_tiles import build_pyramid
from landcover_tf.system import files


def test_more_rows_take_the_same_memory(tmp_path, monkeypatch):
    # Tiles are kept up to this bound and then written as they are made.
    monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 100_000)
    width, short, tall = 256, 512, 4096
    rng, legend, peaks = np.random.default_rng(2), load_legend("landcover9"), []
    for height in (short, tall):
        folder = tmp_path / str(height)
        folder.mkdir()
        codes = rng.choice(CLASSES, (height, width))
        shares = np.zeros((8, height, width), np.uint8)
        shares[0] = rng.integers(0, 256, (height, width))
        shares[1] = 255 - shares[0]
        layers = MapLayers(
            map=write(folder / "map.tif", codes),
            reference=write(folder / "truth.tif", codes),
            confidence=write(folder / "confidence.tif", shares[0]),
            probabilities=write(folder / "probabilities.tif", shares),
            image=write(
                folder / "image.tif", shares[:3].astype(np.uint16), names=("B04", "B03", "B02")
            ),
        )
        del codes, shares
        peaks.append(peak_bytes(partial(build_pyramid, layers, folder / "tiles", legend)))
        # 256 px tiles of the finest level, and fewer of those above it.
        assert len(list((folder / "tiles").rglob("*.js"))) > height // 256
    # One of the rasters, held whole, would be a byte for each further pixel.
    assert peaks[1] - peaks[0] < 0.75 * (tall - short) * width


@pytest.mark.parametrize(
    ("said", "shown"),
    [("confidence: mean of the class voted for", "mean of the class voted for"),
     ("confidence", ""), (None, ""), ("sure", "sure")],
)  # fmt: skip
def test_the_viewer_gets_what_the_raster_says_of_its_confidence(tmp_path, said, shown):
    ones = np.full((4, 5), 20, np.uint8)
    layers = MapLayers(
        map=write(tmp_path / "map.tif", ones),
        confidence=write(tmp_path / "confidence.tif", ones, names=() if said is None else (said,)),
    )
    pyramid = build_pyramid(layers, tmp_path / "tiles", load_legend("landcover9"))
    assert pyramid.description["confidence_of"] == shown


def test_the_size_is_told_and_asked_of_the_disk_beforehand(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(map_tiles, "EMBED_LIMIT_BYTES", 1000)
    rng, legend, folder = np.random.default_rng(3), load_legend("landcover9"), tmp_path / "tiles"
    codes = rng.choice(CLASSES, (1000, 600))
    layers = MapLayers(map=write(tmp_path / "map.tif", codes), image=None, confidence=None,
                       reference=None, probabilities=None)  # fmt: skip
    usage = type("Usage", (), {"free": 1000})
    with monkeypatch.context() as disk:
        disk.setattr(files.shutil, "disk_usage", lambda path: usage)
        with pytest.raises(OutputError, match="tiles of 17 map tiles needs"):
            build_pyramid(layers, folder, legend)
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]

    # A killed run leaves a half-written folder, or all tiles not yet in their place.
    leftover, unplaced = tmp_path / ".tiles.new.0123abcd.part", tmp_path / "tiles.new"
    leftover.mkdir()
    os.utime(leftover, (0, 0))
    (unplaced / "0" / "0").mkdir(parents=True)
    (unplaced / "0" / "0" / "0.js").write_text("")
    build_pyramid(layers, folder, legend)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "tiles"]
    told = re.search(r"writing 17 map tiles, about ([\d.]+) MB, to", capsys.readouterr().out)
    written = sum(path.stat().st_size for path in folder.rglob("*.js"))
    assert 0.8 < float(told[1]) * 1e6 / written < 1.25
