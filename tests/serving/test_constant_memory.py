"""Memory of a prediction, from windows to files and mosaic, does not follow the rows."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fakes.traced_memory import growth_bytes
from local_export import SmallExport, cleaning, predict_options, write_raster
from rasterio import Affine

from landcover_tf.legend import load_legend
from serving import layouts, sampling
from serving.map_writing import finish
from serving.mosaic import merge
from serving.scene_prediction import Engine, ScenePrediction

WIDTH, SHORT, TALL = 256, 2048, 7168
"""Post-processing holds three blocks of 512 rows; fewer rows would take less."""

BYTES_PER_PX = 0.75
"""Of each further pixel, at most: a class map alone, held whole, would take one byte."""


@pytest.mark.parametrize("mode", ["exact", "blend"])
def test_more_rows_take_the_same_memory(
    small_export: SmallExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    # The sample for the area of applicability has this bound, which small rasters stay below.
    monkeypatch.setattr(sampling, "SAMPLE_PX", 10_000)
    room = 270 * WIDTH * layouts.ACTIVATION_BYTES_PER_PX["tensorflow", "float32"]
    options = predict_options(
        engine="tensorflow",
        mode=mode,
        patch_size=128,
        patch_overlap=32,
        memory_gb=(layouts.ENGINE_BYTES["tensorflow"] + room) / 2**30,
        refine="probabilities",
        majority=3,
        probabilities=True,
        entropy=True,
        # It has a size of its own, which is more than all else of rasters as small as these.
        picture=False,
    )
    engine = Engine(small_export.folder, options.network)

    runs = count()

    def run(height: int) -> None:
        folder = tmp_path / str(next(runs))
        image, out = tmp_path / f"{height}.tif", folder / "map.tif"
        scene = ScenePrediction(image, out, engine, options)
        scene.prepare({})
        scene.compute(scene.unfinished_rows())
        finish(scene)
        scene.source.close()
        merge(
            [out],
            scene.legend,
            folder / "mosaic.tif",
            options.outputs,
            {},
            cleaning=cleaning(min_object_size=0),
        )

    for height in (300, SHORT, TALL):
        write_raster(tmp_path / f"{height}.tif", height, WIDTH)
    run(300)  # Modules are loaded.
    bound = BYTES_PER_PX * (TALL - SHORT) * WIDTH
    assert growth_bytes(lambda: run(SHORT), lambda: run(TALL), bound) < bound


def write_map(folder: Path, height: int) -> Path:
    """Writes a map of objects of 8 x 8 pixels and more, with its confidence; returns the map."""
    rng = np.random.default_rng(0)
    squares = rng.choice([10, 20, 30, 40], (height // 8, WIDTH // 8)).astype(np.uint8)
    codes = np.kron(squares, np.ones((8, 8), np.uint8))
    folder.mkdir()
    confidence = rng.integers(51, 254, codes.shape).astype(np.uint8)
    for name, values in (("map.tif", codes), ("confidence.tif", confidence)):
        with rasterio.open(
            folder / name, "w", driver="GTiff", height=height, width=WIDTH, count=1, dtype="uint8",
            crs="EPSG:32634", transform=Affine(10, 0, 600_000, 0, -10, 4_200_000),
        ) as dataset:  # fmt: skip
            dataset.write(values, 1)
    return folder / "map.tif"


def test_small_objects_of_a_mosaic_take_the_same_memory_in_more_rows(tmp_path: Path) -> None:
    legend, wanted = load_legend("landcover9"), predict_options(picture=False, stac=False).outputs
    # The squares of the map that touch no other of their class are removed.
    least_65 = cleaning(min_object_size=65)

    def run(part: Path) -> None:
        merge([part], legend, part.with_name("mosaic.tif"), wanted, {}, cleaning=least_65)

    first, short, tall = (write_map(tmp_path / str(h), h) for h in (512, SHORT, 2 * TALL))
    run(first)  # Modules are loaded.
    # Blocks are labelled ahead by a thread, sooner or later: 6.5 to 8 MB with either height.
    bound = BYTES_PER_PX * (2 * TALL - SHORT) * WIDTH
    assert growth_bytes(lambda: run(short), lambda: run(tall), bound) < bound
