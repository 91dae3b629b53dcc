"""Memory of a prediction, from windows to files and mosaic, does not follow the rows."""

from pathlib import Path

import pytest
from fakes.traced_memory import peak_bytes
from local_export import SmallExport, predict_options, write_raster

from serving import layouts, sampling
from serving.mosaic import merge
from serving.scene_prediction import Engine, ScenePrediction

WIDTH, SHORT, TALL = 256, 2048, 7168
"""Post-processing holds three blocks of 512 rows; fewer rows would take less."""


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
    engine = Engine(small_export.folder, options)

    def run(height: int, name: str) -> None:
        image, out = tmp_path / f"{height}.tif", tmp_path / name / "map.tif"
        scene = ScenePrediction(image, out, engine, options)
        scene.prepare()
        scene.compute(scene.unfinished_rows())
        scene.finish()
        scene.source.close()
        merge([out], scene.legend, tmp_path / name / "mosaic.tif", options.outputs, {}, least_px={})

    for height in (300, SHORT, TALL):
        write_raster(tmp_path / f"{height}.tif", height, WIDTH)
    run(300, "first")  # Modules are loaded.
    short = peak_bytes(lambda: run(SHORT, "short"))
    tall = peak_bytes(lambda: run(TALL, "tall"))
    # A class map alone, held whole, would be a byte for each further pixel.
    assert tall - short < 0.75 * (TALL - SHORT) * WIDTH
