"""Agreement of a class map with a reference raster, pixel by pixel in one pass.

This is a census of two rasters. It says how alike they are, not how right the map is: the
reference has errors of its own.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_cdt

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.accuracy.object_sizes import ObjectSizes
from landcover_tf.grid import Window
from landcover_tf.legend import IGNORED, LandCoverClass
from landcover_tf.system.progress import progress

ReadReference = Callable[[Window], np.ndarray]
"""Returns codes of the map's legend on a window of the map's grid, uint8 [height, width]."""

RINGS_PX = (1, 2, 5, 10)
"""Distances to a class boundary at which the next ring begins; see `boundary_distance`."""
AGREES, DIFFERS, ONLY_MAP, ONLY_REFERENCE = 1, 2, 3, 4
AGREEMENT_CLASSES = (
    LandCoverClass(code=AGREES, name="agreement", color="#2e7d6e"),
    LandCoverClass(code=DIFFERS, name="disagreement", color="#d66028"),
    LandCoverClass(code=ONLY_MAP, name="class in the map only", color="#c8c8c8"),
    LandCoverClass(code=ONLY_REFERENCE, name="class in the reference only", color="#8c8c8c"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement:
    """Counts of pixels; matrices have a row per reference class and a column per map class."""

    blocks: np.ndarray
    """Matrix of each square block with compared pixels, int64 [blocks, classes, classes]."""
    rings: np.ndarray
    """Matrix of each range of distances to a reference boundary, int64 [rings, .., ..]."""
    sizes: ObjectSizes
    only_map: int
    """Pixels where the reference has no class."""
    only_reference: int
    """Pixels where the map has no class."""
    neither: int

    @property
    def matrix(self) -> np.ndarray:
        """Matrix of all compared pixels, int64 [classes, classes]."""
        return np.asarray(self.blocks.sum(axis=0))


def compare(
    class_map: ClassMap,
    reference: ReadReference,
    *,
    block_px: int,
    rows_per_strip: int,
    write: Callable[[Window, np.ndarray], None],
) -> Agreement:
    """Returns the agreement of a map with a reference.

    The result does not depend on `rows_per_strip`: distances see the rows above and below a
    strip, objects are joined across strips.

    Args:
        class_map: The map.
        reference: Reads the reference on the map's grid.
        block_px: Side of the blocks to resample later.
        rows_per_strip: Rows held at once.
        write: Takes the agreement classes of each strip, uint8 [rows, width].
    """
    legend = class_map.legend
    index, classes = legend.index_of_code, len(legend.classes)
    shape = tuple(-(-side // block_px) for side in class_map.grid.shape)
    blocks = np.zeros(shape[0] * shape[1] * classes**2, np.int64)
    rings = np.zeros((len(RINGS_PX) + 1) * classes**2, np.int64)
    sizes = ObjectSizes(classes, class_map.grid.width)
    outcomes = np.zeros(5, np.int64)
    for strip, around, first in _with_context(class_map, reference, rows_per_strip):
        truth = around[first : first + strip.height]
        mapped = index[class_map.read(strip)]
        outcome = _outcome(truth, mapped)
        outcomes += np.bincount(outcome.ravel(), minlength=5)
        write(strip, outcome)

        compared = (truth != IGNORED) & (mapped != IGNORED)
        pair = truth[compared].astype(np.int64) * classes + mapped[compared]
        # By rows and columns: dividing the place of every pixel takes many times as long.
        block_row = (np.arange(strip.height) + strip.row_off) // block_px * shape[1]
        block = block_row[:, None] + np.arange(strip.width) // block_px
        blocks += np.bincount(block[compared] * classes**2 + pair, minlength=len(blocks))
        distance = boundary_distance(around)[first : first + strip.height][compared]
        ring = np.digitize(distance, RINGS_PX)
        rings += np.bincount(ring * classes**2 + pair, minlength=len(rings))
        sizes.add(truth, mapped)
    sizes.finish()
    matrices = blocks.reshape(-1, classes, classes)
    return Agreement(
        blocks=matrices[matrices.any(axis=(1, 2))],
        rings=rings.reshape(-1, classes, classes),
        sizes=sizes,
        only_map=int(outcomes[ONLY_MAP]),
        only_reference=int(outcomes[ONLY_REFERENCE]),
        neither=int(outcomes[0]),
    )


def boundary_distance(classes: np.ndarray) -> np.ndarray:
    """Returns how far each pixel is from a class boundary, in pixels.

    A pixel that touches one of another class at a side has distance 0; the others count king's
    moves to the nearest such pixel. The edge of the area without class is no boundary.

    Args:
        classes: Dense classes, uint8 [height, width], IGNORED for none.

    Returns:
        int32 [height, width], at most the last of `RINGS_PX`.
    """
    edge = np.zeros(classes.shape, bool)
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        first, second = classes[one], classes[other]
        differ = (first != second) & (first != IGNORED) & (second != IGNORED)
        edge[one] |= differ
        edge[other] |= differ
    if not edge.any():
        return np.full(classes.shape, RINGS_PX[-1], np.int32)
    distance = distance_transform_cdt(~edge, metric="chessboard")
    return np.asarray(np.minimum(distance, RINGS_PX[-1]), np.int32)


def ring_names() -> list[str]:
    """Returns the ranges of distances as text."""
    names = ["touches another class"]
    for low, high in itertools.pairwise(RINGS_PX):
        names.append(f"{low} px away" if high == low + 1 else f"{low}-{high - 1} px away")
    return [*names, f"{RINGS_PX[-1]} px and more away"]


def _with_context(
    class_map: ClassMap, reference: ReadReference, rows_per_strip: int
) -> Iterator[tuple[Window, np.ndarray, int]]:
    """Yields each strip, the dense reference around it, and the place of its first row in that.

    Every row of the reference is read once: reading counts its unknown codes.
    """
    context, index = RINGS_PX[-1] + 1, class_map.legend.index_of_code
    top, around = 0, np.empty((0, class_map.grid.width), np.uint8)
    for strip in progress(list(class_map.strips(rows_per_strip)), label="compare"):
        start, end = top + len(around), min(strip.row_end + context, class_map.grid.height)
        if start < end:
            unread = Window(
                row_off=start, col_off=0, height=end - start, width=class_map.grid.width
            )
            around = np.concatenate([around, index[reference(unread)]])
        passed = max(strip.row_off - context, 0) - top
        top, around = top + passed, around[passed:]
        yield strip, around, strip.row_off - top


def _outcome(truth: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    outcome = np.where(truth == mapped, AGREES, DIFFERS).astype(np.uint8)
    outcome[truth == IGNORED] = ONLY_MAP
    outcome[mapped == IGNORED] = ONLY_REFERENCE
    outcome[(truth == IGNORED) & (mapped == IGNORED)] = 0
    return outcome
