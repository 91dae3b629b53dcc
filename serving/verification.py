"""A computed raster checked against inference without windows, on random regions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from landcover_tf.grid import Window
from serving.engines import open_backend
from serving.pipeline import Backend
from serving.raster_io import WindowReader
from serving.scene_prediction import ScenePrediction
from serving.windows import Layout, Span

REGION_PX = 128
"""Side of a region."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How the windowed prediction compares with the untiled one."""

    reference: str
    """Engine of the untiled inference."""
    tested: str
    """Mode and engine of the windows."""
    pixels: int
    """Compared pixels, all of which get a class."""
    largest_difference: float
    """Largest difference of any class probability at any pixel."""
    mean_difference: float
    flips: int
    """Pixels whose class as it was stored differs from the most probable one."""

    def __str__(self) -> str:
        if not self.pixels:
            return "verify: no region has data"
        return (
            f"verify: {self.tested} against untiled {self.reference} on {self.pixels} px: largest "
            f"probability difference {self.largest_difference:.2e}, mean "
            f"{self.mean_difference:.2e}; {self.flips} labels differ "
            f"({100 * (1 - self.flips / self.pixels):.4f} % agree)"
        )


def verify(scene: ScenePrediction, *, regions: int, seed: int) -> Agreement:
    """Returns how the network's windows agree with the network on untiled random regions.

    The windows use the scene's own engine and precision; the reference is TensorFlow in float32
    on a region with at least the exact margin around it, so a bfloat16 or OpenVINO run shows
    its own difference here as well. Probabilities are computed anew; labels are those that the
    run has stored, before post-processing.

    Args:
        scene: A computed prediction whose files are not written yet.
        regions: Number of regions of 128 x 128 px.
        seed: Chooses them.
    """
    reference = _reference(scene)
    rng = np.random.default_rng(seed)
    differences, flips = [], 0
    for region in sorted(_regions(scene.layout, regions, rng)):
        untiled, valid = _untiled(scene, reference, region)
        tiled = windowed(scene, region)
        stored = scene.store.rows(region.row_off, region.row_end, (0,))[0]
        differences.append(np.abs(untiled - tiled)[valid])
        labels = stored[:, region.col_off : region.col_end]
        flips += int((untiled.argmax(axis=-1) != labels)[valid].sum())
    compared = np.concatenate(differences)
    return Agreement(
        reference=reference.name,
        tested=f"{scene.layout.mode}, {scene.engine.backend.name}",
        pixels=len(compared),
        largest_difference=float(compared.max(initial=0)),
        mean_difference=float(compared.mean()) if compared.size else 0.0,
        flips=flips,
    )


def windowed(scene: ScenePrediction, region: Window) -> np.ndarray:
    """Returns the probabilities that the scene's windows give a region.

    Returns:
        float32 [height, width, classes], before post-processing.
    """
    layout = scene.layout
    rows = _spans_on(layout.rows, region.row_off, region.row_end)
    cols = _spans_on(layout.cols, region.col_off, region.col_end)
    predictor = scene.predictor(scene.engine.backend, all_probabilities=True)
    left, parts = layout.cols[cols.start].start, []
    for row, band in predictor.region(rows, cols):
        start, stop = layout.band(row)
        first, last = max(region.row_off, start), min(region.row_end, stop)
        if first < last:
            inside = slice(region.col_off - left, region.col_end - left)
            parts.append(band[first - start : last - start, inside])
    return np.concatenate(parts)


def _untiled(
    scene: ScenePrediction, reference: Backend, region: Window
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a region's probabilities without windows, and where pixels get a class."""
    context = _context(region, scene)
    reader = WindowReader(scene.source, scene.engine.info.nodata)
    image, validity = reader.read(context)
    inside = region.relative_to(context).slices
    classified = (validity[inside] & scene.excluded_bits) == 0
    return reference.probabilities(image[None])[0][inside], classified


def _reference(scene: ScenePrediction) -> Backend:
    options = scene.options.network
    plain = replace(options, engine="tensorflow", precision="float32", server=None)
    if options == plain:
        return scene.engine.backend
    return open_backend(scene.engine.folder, scene.engine.info, plain)


def _regions(layout: Layout, count: int, rng: np.random.Generator) -> list[Window]:
    height, width = min(REGION_PX, layout.height), min(REGION_PX, layout.width)
    return [
        Window(
            row_off=int(rng.integers(0, layout.height - height + 1)),
            col_off=int(rng.integers(0, layout.width - width + 1)),
            height=height,
            width=width,
        )
        for _ in range(count)
    ]


def _context(region: Window, scene: ScenePrediction) -> Window:
    """Returns the region with the exact margin, on the stride grid and within the padded raster."""
    info, layout = scene.engine.info, scene.layout
    limits = []
    for start, stop, length in (
        (region.row_off, region.row_end, layout.height),
        (region.col_off, region.col_end, layout.width),
    ):
        align = info.size_multiple
        first = max(start - info.margin_px, 0) // align * align
        last = min(stop + info.margin_px, length)
        limits.append((first, -(-last // align) * align))
    (row, row_end), (col, col_end) = limits
    return Window(row_off=row, col_off=col, height=row_end - row, width=col_end - col)


def _spans_on(spans: Sequence[Span], start: int, stop: int) -> range:
    """Returns the windows of one axis that see any of the pixels [start, stop)."""
    hit = [i for i, span in enumerate(spans) if span.start < stop and span.stop > start]
    return range(hit[0], hit[-1] + 1)
