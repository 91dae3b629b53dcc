"""Cleaning of class maps, streamed: every result equals that on the whole map at once."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from landcover_tf.legend import IGNORED, LandCoverClass, Legend
from serving.config import Refinement
from serving.halo import map_with_halo
from serving.objects import without_small_objects
from serving.row_band_content import LEVELS
from serving.row_bands import BandStore

UNCERTAIN_COLOR = "#9a9a9a"


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What is done to a class map, in this order."""

    classes: tuple[LandCoverClass, ...]
    """Classes of the map by dense index; the last is `uncertain` where pixels can become it."""
    refine: Refinement
    """Vote of the neighbourhood: on summed class probabilities, or on labels."""
    refine_window: int
    """Side of that neighbourhood in pixels, odd."""
    majority: int
    """Side of a majority filter in pixels, odd; 0 is off."""
    uncertain_below: float
    """Confidence under which a pixel becomes the last class; 0 is off."""
    min_object_px: int
    """Objects of fewer pixels are removed; 0 is off."""
    sieve: Mapping[int, int] = field(hash=False)
    """Least pixels of an object by dense class, where it differs from `min_object_px`."""

    def __post_init__(self) -> None:
        for name, least in (("refine_window", 1), ("majority", 0)):
            value = getattr(self, name)
            if value < least or (value and value % 2 == 0):
                raise ValueError(f"{name} must be odd and positive, got {value}")
        if min(self.min_object_px, *self.sieve.values(), 0) < 0:
            raise ValueError("object sizes must not be negative")

    def __str__(self) -> str:
        steps = []
        if self.refine != "none":
            steps.append(f"vote on {self.refine} {self.refine_window}x{self.refine_window}")
        if self.majority > 1:
            steps.append(f"majority {self.majority}x{self.majority}")
        if self.uncertain_below > 0:
            steps.append(f"confidence under {self.uncertain_below:g} uncertain")
        return "; ".join([*steps, *self.removals]) or "none"

    @property
    def removals(self) -> list[str]:
        """What is said of the objects that are removed."""
        common = self.min_object_px > 1
        said = [f"objects under {self.min_object_px} px removed"] if common else []
        for index, pixels in self.sieve.items():
            name = self.classes[index].name
            if pixels > 1:
                said.append(f"{name} under {pixels} px removed")
            elif common:
                said.append(f"{name} of any size kept")
        return said

    @property
    def least_sizes(self) -> np.ndarray:
        """Least pixels of an object of each dense class, int64 [256]; 0 keeps all."""
        sizes = np.full(256, self.min_object_px, np.int64)
        for index, pixels in self.sieve.items():
            sizes[index] = pixels
        sizes[IGNORED] = 0
        return sizes

    @property
    def confidence(self) -> str:
        """What the confidence beside the cleaned map is, for its users."""
        later = self.refine == "labels" or self.majority > 1 or self.removes_objects
        if self.refine == "probabilities":
            kept = "mean probability of the class voted for"
            return f"confidence: {kept}, before later steps" if later else f"confidence: {kept}"
        kept = "probability of the network's class"
        return f"confidence: {kept}, before post-processing" if later else f"confidence: {kept}"

    @property
    def votes(self) -> bool:
        """Whether neighbourhoods vote before objects are removed."""
        return self.refine != "none" or self.majority > 1

    @property
    def removes_objects(self) -> bool:
        """Whether any object can be removed."""
        return bool(self.least_sizes.max() > 1)

    @property
    def changes_classes(self) -> bool:
        """Whether pixels can change their class after the votes."""
        return self.removes_objects or self.uncertain_below > 0


def with_uncertain(legend: Legend) -> Legend:
    """Returns the legend with a last class, for uncertain pixels."""
    code = max(set(range(256)) - {legend.nodata, *legend.codes})
    extra = LandCoverClass(code=code, name="uncertain", color=UNCERTAIN_COLOR)
    values = legend.to_dict()
    return Legend.from_dict(values | {"classes": [*values["classes"], vars(extra)]})


def clean(store: BandStore, cleaning: Cleaning, folder: Path, *, block_rows: int) -> BandStore:
    """Returns a store of the cleaned map, whose first layers are dense class and confidence.

    Args:
        store: The network's bands, which are returned where nothing is to be done.
        cleaning: What to do.
        folder: Where the cleaned blocks are written.
        block_rows: Rows of a block; memory holds a few blocks.
    """
    needed = [0, 1]
    if cleaning.refine == "probabilities":
        needed += [i for i, name in enumerate(store.layers) if name.startswith("probability_")]
    spans = [
        (row, min(row + block_rows, store.height)) for row in range(0, store.height, block_rows)
    ]
    voted = store
    if cleaning.votes:
        voted = BandStore(folder / "voted", store.layers[:2], spans)
        voted.fill(refined(store.blocks(needed, block_rows), cleaning))
    if not cleaning.changes_classes:
        return voted

    def blocks() -> Iterator[np.ndarray]:
        return mark_uncertain(voted.blocks([0, 1], block_rows), cleaning)

    final = BandStore(folder / "final", store.layers[:2], spans)
    removes = cleaning.removes_objects
    final.fill(without_small_objects(blocks, cleaning.least_sizes) if removes else blocks())
    if voted is not store:
        voted.remove()
    return final


def refined(blocks: Iterable[np.ndarray], cleaning: Cleaning) -> Iterator[np.ndarray]:
    """Yields class and confidence after the neighbourhood votes.

    Args:
        blocks: uint8 [layers, rows, width] from top to bottom: dense class, confidence, and for
            a vote on probabilities one layer per class; IGNORED where there is no data.
        cleaning: What to do.

    Yields:
        uint8 [2, rows, width], as many blocks of the same heights.
    """
    window = cleaning.refine_window
    if cleaning.refine == "probabilities":
        blocks = map_with_halo(blocks, window // 2, lambda b: probability_vote(b, window))
    elif cleaning.refine == "labels":
        blocks = map_with_halo(blocks, window // 2, lambda b: label_vote(b, window))
    if cleaning.majority > 1:
        side = cleaning.majority
        blocks = map_with_halo(blocks, side // 2, lambda b: label_vote(b, side))
    for block in blocks:
        yield block[:2]


def mark_uncertain(blocks: Iterable[np.ndarray], cleaning: Cleaning) -> Iterator[np.ndarray]:
    """Yields class and confidence, with the last class where the confidence is too low.

    Args:
        blocks: uint8 [2, rows, width]: dense class, confidence.
        cleaning: The limit.
    """
    uncertain = np.uint8(len(cleaning.classes) - 1)
    for classes, confidence in blocks:
        unsure = (confidence < cleaning.uncertain_below * LEVELS) & (classes != IGNORED)
        yield np.stack([np.where(unsure, uncertain, classes), confidence])


def probability_vote(block: np.ndarray, window: int) -> np.ndarray:
    """Returns the class with the largest summed probability around each pixel.

    Args:
        block: uint8 [2 + classes, rows, width]: class, confidence, stored probabilities.
        window: Side of the neighbourhood, odd.

    Returns:
        uint8 [2, rows, width]: dense class (the lowest at a tie) and the mean probability of
        that class over the neighbourhood's pixels with data; IGNORED stays.
    """
    valid = block[0] != IGNORED
    best_class = np.zeros(valid.shape, np.uint8)
    best_sum = np.zeros(valid.shape, np.uint32)
    for index, layer in enumerate(block[2:]):
        total = box_sum(np.where(valid, layer, 0), window, limit=LEVELS)
        better = total > best_sum
        best_class[better] = index
        best_sum[better] = total[better]
    count = np.maximum(box_sum(valid, window, limit=1), 1)
    mean = ((2 * best_sum + count) // (2 * count)).astype(np.uint8)  # Rounds half up, exactly.
    return np.stack([np.where(valid, best_class, IGNORED), np.where(valid, mean, IGNORED)])


def label_vote(block: np.ndarray, window: int) -> np.ndarray:
    """Returns the commonest class around each pixel; a pixel keeps its own at a tie.

    Args:
        block: uint8 [2 or more, rows, width]: dense class, confidence.
        window: Side of the neighbourhood, odd.

    Returns:
        uint8 [2, rows, width]: dense class and the confidence as it was; IGNORED stays.
    """
    labels = block[0]
    classes = [c for c in np.unique(labels) if c != IGNORED]
    best_class = labels.copy()
    best_count = np.zeros(labels.shape, np.uint32)
    own = {c: box_sum(labels == c, window, limit=1) for c in classes}
    for c, count in own.items():
        np.copyto(best_count, count, where=labels == c)
    for c, count in own.items():
        better = count > best_count
        best_class[better] = c
        best_count[better] = count[better]
    best_class[labels == IGNORED] = IGNORED
    return np.stack([best_class, block[1]])


def box_sum(values: np.ndarray, window: int, *, limit: int) -> np.ndarray:
    """Returns exact sums over a window x window neighbourhood, zeros beyond the edges.

    Args:
        values: Integers or booleans in 0..limit, [rows, width].
        window: Side of the neighbourhood, odd.
        limit: Largest value, which decides the dtype of the sums.

    Returns:
        uint16 or uint32 [rows, width].
    """
    dtype = np.uint16 if limit * window * window < 2**16 else np.uint32
    half = window // 2
    total = values.astype(dtype)
    for axis in (0, 1):
        padding = [(half, half) if a == axis else (0, 0) for a in (0, 1)]
        total = _running_sum(np.pad(total, padding), window, axis)
    return total


def _running_sum(padded: np.ndarray, window: int, axis: int) -> np.ndarray:
    """Sums runs of `window` values, odd, by adding runs whose lengths are powers of two."""
    length = padded.shape[axis] - window + 1
    # An odd window has a run of one value, the first.
    power, size, offset = padded, 1, 1
    total = _along(padded, axis, 0, length).copy()
    while size * 2 <= window:
        count = power.shape[axis]
        power = _along(power, axis, 0, count - size) + _along(power, axis, size, count)
        size *= 2
        if window & size:
            total += _along(power, axis, offset, offset + length)
            offset += size
    return total


def _along(values: np.ndarray, axis: int, start: int, stop: int) -> np.ndarray:
    return values[start:stop] if axis == 0 else values[:, start:stop]
