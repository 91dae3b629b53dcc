"""What a run will do and cost, told before it."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path

import numpy as np

from landcover_tf.model_info import ModelInfo
from landcover_tf.system.files import bytes_in, require_space
from serving import mosaic
from serving.layouts import batch_size, memory_model
from serving.pipeline import Backend, decides
from serving.row_band_content import BandContent
from serving.scene_prediction import ScenePrediction
from serving.targets import CONFIDENCE, PROBABILITIES, level_rasters
from serving.windows import Layout


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do and cost."""

    layout: Layout
    engine: str
    memory_bytes: int
    work_bytes: int
    """Disk space of all that is in the making until the map is written."""
    levels: Mapping[str, int]
    """Layers of each raster beside the map."""
    network_seconds: float

    def __str__(self) -> str:
        layout = self.layout
        pixels = layout.height * layout.width
        lines = [
            ("raster", f"{layout.height} x {layout.width} px"),
            ("mode", f"{layout.mode}, {self.engine}"),
            ("windows", f"{layout.count} of {layout.window_height} x {layout.window_width} px"),
            ("computed", f"{layout.computed_fraction:.3f} px per output px"),
            ("memory", f"about {self.memory_bytes / 2**30:.1f} GiB"),
            *_disk(self.work_bytes, pixels, self.levels),
            (
                "network time",
                f"about {_duration(self.network_seconds)} "
                f"({pixels / max(self.network_seconds, 1e-9) / 1e6:.2f} Mpx/s of output)",
            ),
        ]
        return _table(lines)


def print_plans(scenes: Sequence[ScenePrediction], mosaic_path: Path | None) -> None:
    """Prints the plan of every scene, and of their mosaic if any, without writing anything.

    Raises:
        RasterError: The scenes do not make a mosaic.
    """
    known: dict[tuple[int, ...], float] = {}
    for scene in scenes:
        batch = batch_size(scene.layout, scene.options.network)
        shape = batch, scene.layout.window_height, scene.layout.window_width
        if shape not in known:
            backend, info = scene.engine.backend, scene.engine.info
            known[shape] = calibrate(backend, scene.layout, info, batch, scene.content)
        print(f"{scene.source.path} -> {scene.map_path}\n{make_plan(scene, known[shape])}")
    if mosaic_path is not None:
        grid = mosaic.whole_grid([scene.source for scene in scenes])
        disk = _disk(mosaic.work_bytes(grid), grid.height * grid.width, {CONFIDENCE: 1})
        size = ("raster", f"{grid.height} x {grid.width} px")
        print(f"mosaic of {len(scenes)} maps -> {mosaic_path}\n{_table([size, *disk])}")


def make_plan(scene: ScenePrediction, batch_seconds: float) -> Plan:
    """Returns the plan of a run whose batches take so long."""
    layout, options = scene.layout, scene.options.network
    batch = batch_size(layout, options)
    memory = memory_model(scene.source, scene.engine.info, options, scene.content)
    backend = scene.engine.backend
    return Plan(
        layout=layout,
        engine=backend.name,
        memory_bytes=memory.bytes_of(layout.window_height, layout.window_width, batch),
        work_bytes=work_bytes(scene),
        levels=_level_layers(scene),
        network_seconds=batch_seconds * _batches(layout, batch, filled=backend.one_shape),
    )


def _batches(layout: Layout, batch: int, *, filled: bool) -> float:
    """Returns the number of batches; without filling, the last of a row counts by its windows."""
    of_row = len(layout.cols) / batch  # Batches never mix window rows.
    return len(layout.rows) * (math.ceil(of_row) if filled else of_row)


def work_bytes(scene: ScenePrediction) -> int:
    """Returns the disk space of a scene's bands and rasters until its map is written."""
    # Class and confidence after the votes, and once more when they have changed after that.
    cleaned = 2 * scene.cleaning.votes + 2 * scene.cleaning.changes_classes
    # Compressed, a level took 0.6 to 1 byte and a class 0.02 to 0.2 bytes per pixel in maps of
    # images. One raster after another is written, from a copy in the work folder.
    levels = _level_layers(scene).values()
    written = sum(levels) + max(levels, default=0)
    pixels = scene.layout.height * scene.layout.width
    return pixels * (len(scene.content.layers) + cleaned + written)


def require_room(scenes: Sequence[ScenePrediction], at_once: int) -> None:
    """Refuses a run if the disk cannot hold what is in the making of the scenes at once.

    What finished maps of a batch keep beside them is not foreseen: it may be far smaller than its
    pixels, and a batch that fills the disk goes on when there is room again.
    """
    # What a killed run left, half-written rasters as well, is read on, replaced or deleted.
    missing = [max(work_bytes(scene) - bytes_in(scene.work), 0) for scene in scenes]
    if missing:
        # A finished map's bands are deleted before the next scene begins; those of an unreadable
        # input stay for the next run, and are not foreseen.
        together = sum(nlargest(at_once, missing))
        folder = next(parent for parent in scenes[0].map_path.parents if parent.exists())
        require_space(folder, together, "the work until the map is written")


def _level_layers(scene: ScenePrediction) -> dict[str, int]:
    """Returns the rasters that are asked for beside the map, and the layers of each."""
    return {
        name: scene.content.classes if name == PROBABILITIES else 1
        for name in level_rasters(scene.options.outputs)
    }


def calibrate(
    backend: Backend, layout: Layout, info: ModelInfo, batch: int, content: BandContent
) -> float:
    """Returns the seconds of one batch of the layout's windows, compiled before."""
    values = example_batch(layout, info, batch)
    run = backend.decide if decides(content, layout) else backend.probabilities
    run(values)
    start = time.perf_counter()
    run(values)
    return time.perf_counter() - start


def example_batch(layout: Layout, info: ModelInfo, batch: int) -> np.ndarray:
    """Returns random stored values of a batch's shape, [batch, height, width, bands]."""
    shape = (batch, layout.window_height, layout.window_width, len(info.bands))
    return np.random.default_rng(0).integers(1000, 4000, shape).astype(info.dtype)


def _disk(work: int, pixels: int, levels: Mapping[str, int]) -> list[tuple[str, str]]:
    """Returns the lines about the disk.

    Args:
        work: Bytes of all that is in the making.
        pixels: Number of pixels of the map.
        levels: Layers of each raster beside the map.
    """
    lines = [
        ("work disk", f"{work / 2**20:.0f} MiB until the map is written"),
        ("map", f"at most {pixels / 2**20:.0f} MiB, usually a tenth"),
    ]
    if levels:
        room = sum(levels.values()) * pixels / 2**20
        lines.append(("other rasters", f"about {room:.0f} MiB: {', '.join(levels)}"))
    return lines


def _table(lines: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{name:>13}  {value}" for name, value in lines)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
