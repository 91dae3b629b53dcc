"""Small objects removed from class maps that are read block by block.

Objects are measured across blocks by joining the few that touch a block's edge, then filled from
around; the result equals that on the whole map at once.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from skimage import measure

from landcover_tf.legend import IGNORED
from serving.halo import map_with_halo
from serving.threads import prefetched

LEAST_FILL_ROUNDS = 32
"""Pixels that a removed area is filled inwards from its edge, at least."""


def without_small_objects(
    read_blocks: Callable[[], Iterable[np.ndarray]], least_sizes: np.ndarray
) -> Iterator[np.ndarray]:
    """Yields the blocks with small objects replaced by what surrounds them.

    An object is a set of 4-connected pixels of one class. Removed pixels join the objects that
    stay, from the edge of the removed area inwards, so that no small object is left or made;
    only what lies deeper than the fill reaches, or touches no object that stays, keeps its
    class. Confidence stays the network's.

    Args:
        read_blocks: Returns the blocks, uint8 [2, rows, width]; called twice.
        least_sizes: Least pixels of an object by dense class, int64 [256].
    """
    rounds = max(LEAST_FILL_ROUNDS, int(np.ceil(np.sqrt(least_sizes.max()))))
    at_edges = _sizes_at_edges((block[0] for block in read_blocks()), int(least_sizes.max()))

    def marked() -> Iterator[np.ndarray]:
        for block, (first_row, last_row) in zip(read_blocks(), at_edges, strict=True):
            labels = label_objects(block[0])
            sizes = np.bincount(labels.ravel())
            # Only these can go on in another block; all others are measured within theirs.
            sizes[labels[0]], sizes[labels[-1]] = first_row, last_row
            small = sizes[labels] < least_sizes[block[0]]
            yield np.concatenate([block[:2], small[None].astype(np.uint8)])

    # Blocks are labelled on a thread while those before them are filled.
    with prefetched(marked(), depth=1) as ahead:
        for block in map_with_halo(ahead, rounds, lambda b: _fill_marked(b, rounds)):
            yield block[:2]


def load() -> None:
    """Imports what measures objects, for which the first call would else wait half a second."""
    _sizes_at_edges([np.zeros((1, 1), np.uint8)], reach=1)


def label_objects(classes: np.ndarray) -> np.ndarray:
    """Returns 4-connected objects of equal class, int [rows, width]; 0 where there is no data."""
    return np.asarray(measure.label(classes, background=IGNORED, connectivity=1))


def fill_removed(classes: np.ndarray, removed: np.ndarray, rounds: int) -> np.ndarray:
    """Returns classes with removed pixels replaced by the majority of their neighbours.

    A pixel takes the commonest class of its eight neighbours among the classes of the four that
    share a side with it: by a corner alone it would be an object of one pixel.

    Args:
        classes: Dense classes, uint8 [rows, width]; IGNORED where there is no data.
        removed: True where the class is to be replaced, bool [rows, width].
        rounds: Pixels that the fill advances inwards at most.
    """
    if not removed.any():
        return classes
    # A frame of IGNORED spares the border cases; IGNORED never votes.
    known = np.pad(np.where(removed, IGNORED, classes), 1, constant_values=IGNORED)
    width = known.shape[1]
    sides = np.array([-width, -1, 1, width])
    corners = np.array([-width - 1, -width + 1, width - 1, width + 1])
    todo = np.flatnonzero(np.pad(removed, 1))
    flat = known.ravel()
    candidates = np.flatnonzero(np.bincount(flat, minlength=256)).astype(np.uint8)
    for _ in range(rounds):
        beside = flat[todo + sides[:, None]]
        reached = (beside != IGNORED).any(axis=0)
        if not reached.any():
            break
        # All pixels of a round see the state before it, so the order of pixels is irrelevant.
        now, beside = todo[reached], beside[:, reached]
        across, most = flat[now + corners[:, None]], np.zeros(len(now), np.uint8)
        chosen = np.empty(len(now), np.uint8)
        for candidate in candidates[candidates != IGNORED]:
            touching = (beside == candidate).sum(axis=0, dtype=np.uint8)
            votes = touching + (across == candidate).sum(axis=0, dtype=np.uint8)
            better = (touching > 0) & (votes > most)
            chosen[better], most[better] = candidate, votes[better]
        flat[now] = chosen
        todo = todo[~reached]
    filled = flat.reshape(known.shape)[1:-1, 1:-1]
    unreached = removed & (filled == IGNORED)
    return np.where(unreached, classes, filled)


def _fill_marked(block: np.ndarray, rounds: int) -> np.ndarray:
    filled = fill_removed(block[0], block[2] > 0, rounds)
    return np.stack([filled, block[1]])


def _sizes_at_edges(
    blocks: Iterable[np.ndarray], reach: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns, per block, the sizes in the raster of the objects of its first and last row.

    A size of `reach` pixels or more may be told as another such size: an object that goes more than
    `reach` rows into a block has as many pixels there, so no more of the block is looked at.

    Args:
        blocks: Dense classes, uint8 [rows, width].
        reach: Pixels, at least 1.

    Returns:
        int64 [width] of the first and of the last row; 0 where there is no data.
    """
    sizes = [np.zeros(1, np.int64)]  # The first object stands for no data.
    joined = [np.zeros((2, 0), np.int64)]  # Numbers of objects that are one, [2, pairs] each.
    edges: list[tuple[np.ndarray, np.ndarray]] = []  # Numbers of the objects of both rows.
    before, known = np.empty(0, np.uint8), 1
    for classes in blocks:
        parts = [classes[:reach], classes[-reach:]] if len(classes) > 2 * reach else [classes]
        rows = []
        for part in parts:
            first_row, last_row, found = _numbered(label_objects(part), known)
            rows.append((first_row, last_row))
            sizes.append(found)
            known += len(found)
        first, last = rows[0][0], rows[-1][1]
        if edges:
            same = (classes[0] == before) & (before != IGNORED)
            pairs = np.stack([edges[-1][1], first])[:, same]
            # Pixels beside each other mostly tell the same.
            joined.append(pairs[:, np.diff(pairs, prepend=-1).any(axis=0)])
        edges.append((first, last))
        before = classes[-1].copy()
    totals = _totals(np.concatenate(sizes), np.concatenate(joined, axis=1))
    return [(totals[first], totals[last]) for first, last in edges]


def _numbered(labels: np.ndarray, known: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the numbers, from `known` on, of the objects of the first and last row, and sizes."""
    found = np.union1d(labels[0], labels[-1])
    found = found[found > 0]
    numbers = np.zeros(labels.max() + 1, np.int64)
    numbers[found] = np.arange(known, known + len(found))
    return numbers[labels[0]], numbers[labels[-1]], np.bincount(labels.ravel())[found]


def _totals(sizes: np.ndarray, joined: np.ndarray) -> np.ndarray:
    """Returns the size of the whole that each object is a part of, int64 [objects]."""
    # Not before objects are measured: it takes a third of a second.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(joined.shape[1], bool), joined), shape=(len(sizes), len(sizes)))
    count, member = connected_components(graph, directed=False)
    summed = np.zeros(count, np.int64)
    np.add.at(summed, member, sizes)
    return np.asarray(summed[member])
