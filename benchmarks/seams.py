"""How visible are the borders of the patches in a blended map?

    python -m benchmarks.seams --model-path EXPORT --input-image SCENE [SCENE ...]

The network runs once over every patch of each scene; its probabilities are then blended with
each weighting. The step between two neighbouring pixels is the total variation distance of their
probabilities, half the sum over classes of |p - q|. Seam strength is the mean step across the
lines where a patch begins or ends, over the mean step everywhere else; 1 means that nothing
shows. The map without windows is the reference: it has no seam, but the land itself has edges.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from landcover_tf.grid import PatchGrid, Window
from landcover_tf.system.files import write_json
from landcover_tf.system.progress import progress
from landcover_tf.system.provenance import hardware, software_versions
from landcover_tf.validity import ValidityBit, has_bit
from serving.blending import BlendMerger, patch_weights
from serving.config import PredictConfig
from serving.engines import Engine
from serving.inputs import open_source
from serving.options import network_options, options_of
from serving.raster_io import WindowReader
from serving.source import Source
from serving.windows import Layout, Span, blend_layout

USUAL_FLOOR = 0.2
"""The floor of radial weights in earlier projects."""
NEAR_PX = 8
"""Columns and rows nearer than this to a line belong neither to it nor to the rest."""


@dataclass
class Steps:
    """Sums of steps between neighbours, on the lines and off them."""

    on_sum: float = 0.0
    on_count: int = 0
    off_sum: float = 0.0
    off_count: int = 0
    flips: int = 0
    """Labels that differ from the map without windows."""
    pixels: int = 0
    differences: list[float] = field(default_factory=list)
    """Largest probability difference from the map without windows, per scene."""

    def row(self, weighting: str) -> dict[str, object]:
        """Returns the line of the table."""
        on, off = self.on_sum / self.on_count, self.off_sum / self.off_count
        return {
            "weighting": weighting,
            "seam_strength": on / off,
            "step_on_lines": on,
            "step_elsewhere": off,
            "flipped_fraction": self.flips / self.pixels,
            "largest_difference": max(self.differences),
        }


def main() -> None:
    """Prints the table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model-path", type=Path, required=True, help="export of a trained model")
    parser.add_argument("--input-image", type=Path, nargs="+", required=True)
    parser.add_argument("--patch-size", type=int, default=256)
    parser.add_argument("--patch-overlap", type=int, default=96)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/seams.json"))
    arguments = parser.parse_args()
    grid = PatchGrid(patch_size=arguments.patch_size, patch_overlap=arguments.patch_overlap)
    # No map is written.
    config = PredictConfig(
        model_path=arguments.model_path,
        input_image=tuple(arguments.input_image),
        output_map=Path("none.tif"),
    )
    engine = Engine(config.model_path, network_options(config))
    options = options_of(config, engine.info)
    totals: dict[str, Steps] = {}
    for path in arguments.input_image:
        measure(open_source(path, engine.info, options.source), engine, grid, totals)
    rows = [steps.row(name) for name, steps in totals.items()]
    for row in rows:
        print(format_row(row))
    write_json(
        arguments.output,
        {
            "model": f"{engine.info.name}, {engine.info.encoder}",
            "engine": engine.backend.name,
            "patch_size": grid.patch_size,
            "patch_overlap": grid.patch_overlap,
            "scenes": len(arguments.input_image),
            "rows": rows,
            "hardware": hardware(),
            "software": software_versions(),
        },
    )
    print(f"written to {arguments.output}")


def measure(source: Source, engine: Engine, grid: PatchGrid, totals: dict[str, Steps]) -> None:
    """Adds one scene to the totals of every weighting."""
    height, width = source.grid.height, source.grid.width
    layout = blend_layout(height, width, grid, engine.info.size_multiple)
    reference, valid = untiled(source, engine)
    maps = {"without windows": reference}
    maps |= blended(layout, source, engine, all_weights(grid))
    for name, probabilities in maps.items():
        steps = totals.setdefault(name, Steps())
        add_steps(steps, probabilities, valid, layout.rows, axis=0)
        add_steps(steps, probabilities, valid, layout.cols, axis=1)
        changed = probabilities.argmax(axis=-1) != reference.argmax(axis=-1)
        steps.flips += int(changed[valid].sum())
        steps.pixels += int(valid.sum())
        steps.differences.append(float(np.abs(probabilities - reference)[valid].max(initial=0)))


def all_weights(grid: PatchGrid) -> dict[str, np.ndarray]:
    """Returns the weights to compare, each float32 [patch size, patch size]."""
    size, overlap = grid.patch_size, grid.patch_overlap
    radial = patch_weights("radial", size, overlap)
    return {
        "radial": radial,
        f"radial, floor {USUAL_FLOOR}": np.maximum(radial, np.float32(USUAL_FLOOR)),
        "cosine": patch_weights("cosine", size, overlap),
        "uniform": patch_weights("uniform", size, overlap),
    }


def untiled(source: Source, engine: Engine) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities of a whole scene at once, and where there is data."""
    height, width, align = source.grid.height, source.grid.width, engine.info.size_multiple
    padded = Window(
        row_off=0, col_off=0, height=-(-height // align) * align, width=-(-width // align) * align
    )
    image, validity = WindowReader(source, engine.info.nodata).read(padded)
    probabilities = engine.backend.probabilities(image[None])[0]
    return probabilities[:height, :width], ~has_bit(validity[:height, :width], ValidityBit.NODATA)


def blended(
    layout: Layout, source: Source, engine: Engine, weights: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the blended probabilities of a scene per weighting, float32 [h, w, classes]."""
    classes = len(engine.info.class_codes)
    mergers = {name: BlendMerger(layout, classes, w) for name, w in weights.items()}
    bands: dict[str, list[np.ndarray]] = {name: [] for name in weights}
    for row, col, probabilities in patches(layout, source, engine):
        for name, merger in mergers.items():
            merger.add(row, col, probabilities)
            if col == len(layout.cols) - 1:
                bands[name].append(merger.finish(row))
    return {name: np.concatenate(parts) for name, parts in bands.items()}


def patches(
    layout: Layout, source: Source, engine: Engine
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields (window row, window column, probabilities) of every patch."""
    reader = WindowReader(source, engine.info.nodata)
    for row in progress(range(len(layout.rows)), label=source.name, unit="row"):
        images = [reader.read(layout.window(row, col))[0] for col in range(len(layout.cols))]
        for col, probabilities in enumerate(engine.backend.probabilities(np.stack(images))):
            yield row, col, probabilities


def add_steps(
    steps: Steps,
    probabilities: np.ndarray,
    valid: np.ndarray,
    spans: tuple[Span, ...],
    *,
    axis: int,
) -> None:
    """Adds the steps along one axis between pixels with data."""
    step = np.abs(np.diff(probabilities, axis=axis)).sum(axis=-1) / 2
    ahead, behind = (np.delete(valid, edge, axis) for edge in (0, -1))
    counted = ahead & behind
    across = 1 - axis
    # Entry k is the step between k and k + 1, so a line before pixel x is entry x - 1.
    sums, counts = (step * counted).sum(axis=across), counted.sum(axis=across)
    lines = np.unique([edge - 1 for span in spans for edge in (span.start, span.stop)])
    lines = lines[(lines >= 0) & (lines < len(sums))]
    if not len(lines):
        raise SystemExit("the scene is one patch: there is no border to measure")
    distance = np.abs(np.arange(len(sums))[:, None] - lines).min(axis=1)
    on, off = distance == 0, distance >= NEAR_PX
    steps.on_sum += float(sums[on].sum())
    steps.on_count += int(counts[on].sum())
    steps.off_sum += float(sums[off].sum())
    steps.off_count += int(counts[off].sum())


def format_row(row: dict[str, object]) -> str:
    """Returns one line of the table."""
    values = json.loads(json.dumps(row))
    return (
        f"{values['weighting']:<18} seam strength {values['seam_strength']:6.3f}   "
        f"step on lines {values['step_on_lines']:.5f}, elsewhere {values['step_elsewhere']:.5f}   "
        f"{100 * values['flipped_fraction']:6.3f} % of labels differ from no windows"
    )


if __name__ == "__main__":
    main()
