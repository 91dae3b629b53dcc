"""Small objects removed from class maps that are read block by block.

Objects are measured across blocks with a union-find over the few that touch a block's edge, then
filled from around; the result equals that on the whole map at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from skimage import measure

from landcover_tf.legend import IGNORED
from serving.halo import map_with_halo

LEAST_FILL_ROUNDS = 32
"""Pixels that a removed area is filled inwards from its edge, at least."""


def without_small_objects(
    read_blocks: Callable[[], Iterable[np.ndarray]], least_sizes: np.ndarray
) -> Iterator[np.ndarray]:
    """Yields the blocks with small objects replaced by what surrounds them.

    An object is a set of 4-connected pixels of one class. A removed pixel takes the commonest
    class among its eight neighbours that have one, from the edge of the removed area inwards;
    what lies deeper than the fill reaches keeps its class. Confidence stays the network's.

    Args:
        read_blocks: Returns the blocks, uint8 [2, rows, width]; called twice.
        least_sizes: Least pixels of an object by dense class, int64 [256].
    """
    rounds = max(LEAST_FILL_ROUNDS, int(np.ceil(np.sqrt(least_sizes.max()))))
    edge_sizes = _sizes_of_edge_objects(block[0] for block in read_blocks())

    def marked() -> Iterator[np.ndarray]:
        for block, (edge_labels, sizes_there) in zip(read_blocks(), edge_sizes, strict=True):
            labels = label_objects(block[0])
            sizes = np.bincount(labels.ravel())
            sizes[edge_labels] = sizes_there
            small = sizes[labels] < least_sizes[block[0]]
            yield np.concatenate([block[:2], small[None].astype(np.uint8)])

    for block in map_with_halo(marked(), rounds, lambda b: _fill_marked(b, rounds)):
        yield block[:2]


def label_objects(classes: np.ndarray) -> np.ndarray:
    """Returns 4-connected objects of equal class, int [rows, width]; 0 where there is no data."""
    return np.asarray(measure.label(classes, background=IGNORED, connectivity=1))


def fill_removed(classes: np.ndarray, removed: np.ndarray, rounds: int) -> np.ndarray:
    """Returns classes with removed pixels replaced by the majority of their neighbours.

    Args:
        classes: Dense classes, uint8 [rows, width]; IGNORED where there is no data.
        removed: True where the class is to be replaced, bool [rows, width].
        rounds: Pixels that the fill advances inwards at most.
    """
    # A frame of IGNORED spares the border cases; IGNORED never votes.
    known = np.pad(np.where(removed, IGNORED, classes), 1, constant_values=IGNORED)
    width = known.shape[1]
    steps = [r * width + c for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
    todo = np.flatnonzero(np.pad(removed, 1))
    candidates = [c for c in np.unique(known) if c != IGNORED]
    flat = known.ravel()
    for _ in range(rounds):
        if not len(todo) or not candidates:
            break
        neighbours = np.stack([flat[todo + step] for step in steps])
        votes = np.stack([(neighbours == c).sum(axis=0, dtype=np.uint8) for c in candidates])
        decided = votes.max(axis=0) > 0
        # All pixels of a round see the state before it, so the order of pixels is irrelevant.
        flat[todo[decided]] = np.array(candidates, np.uint8)[votes[:, decided].argmax(axis=0)]
        todo = todo[~decided]
    filled = flat.reshape(known.shape)[1:-1, 1:-1]
    unreached = removed & (filled == IGNORED)
    return np.where(unreached, classes, filled)


def _fill_marked(block: np.ndarray, rounds: int) -> np.ndarray:
    filled = fill_removed(block[0], block[2] > 0, rounds)
    return np.stack([filled, block[1]])


def _sizes_of_edge_objects(
    blocks: Iterable[np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns, per block, the objects on its first or last row and their sizes in the raster.

    Only these objects can continue in another block; all others are measured within theirs.
    """
    parents: list[int] = []
    sizes: list[int] = []
    edges: list[tuple[np.ndarray, int]] = []  # Labels at the block's edge, id of the first.
    last_row: np.ndarray | None = None
    last_ids: np.ndarray | None = None
    for classes in blocks:
        labels = label_objects(classes)
        edge = np.union1d(labels[0], labels[-1])
        edge = edge[edge > 0]
        first = len(parents)
        parents.extend(range(first, first + len(edge)))
        sizes.extend(np.bincount(labels.ravel())[edge].tolist())
        edges.append((edge, first))
        if last_row is not None and last_ids is not None:
            same = (classes[0] == last_row) & (last_row != IGNORED)
            ids = first + np.searchsorted(edge, labels[0][same])
            for a, b in set(zip(last_ids[same].tolist(), ids.tolist(), strict=True)):
                _union(parents, a, b)
        last_row = classes[-1].copy()
        last_ids = first + np.searchsorted(edge, labels[-1])
    totals = _totals(parents, sizes)
    return [(edge, totals[first : first + len(edge)]) for edge, first in edges]


def _totals(parents: list[int], sizes: Sequence[int]) -> np.ndarray:
    roots = np.array([_root(parents, i) for i in range(len(parents))], np.int64)
    summed = np.zeros(len(parents), np.int64)
    np.add.at(summed, roots, np.asarray(sizes, np.int64))
    return summed[roots]


def _root(parents: list[int], item: int) -> int:
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item


def _union(parents: list[int], a: int, b: int) -> None:
    root_a, root_b = _root(parents, a), _root(parents, b)
    parents[max(root_a, root_b)] = min(root_a, root_b)
