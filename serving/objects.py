"""Small objects removed from class maps that are read block by block.

Objects are measured across blocks with a union-find over the few that touch a block's edge, then
filled from around; the result equals that on the whole map at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

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
    label_objects(np.zeros((1, 1), np.uint8))


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
    parents, sizes = [0], [0]  # The first stands for no data.
    edges: list[tuple[np.ndarray, np.ndarray]] = []  # Numbers of the objects of both rows.
    before = np.empty(0, np.uint8)
    for classes in blocks:
        parts = [classes[:reach], classes[-reach:]] if len(classes) > 2 * reach else [classes]
        rows = [_numbered(label_objects(part), parents, sizes) for part in parts]
        first, last = rows[0][0], rows[-1][1]
        if edges:
            same = (classes[0] == before) & (before != IGNORED)
            for a, b in set(zip(edges[-1][1][same].tolist(), first[same].tolist(), strict=True)):
                _union(parents, a, b)
        edges.append((first, last))
        before = classes[-1].copy()
    totals = _totals(parents, sizes)
    return [(totals[first], totals[last]) for first, last in edges]


def _numbered(
    labels: np.ndarray, parents: list[int], sizes: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of the objects of the first and last row, which are appended."""
    found = np.union1d(labels[0], labels[-1])
    found = found[found > 0]
    numbers = np.zeros(labels.max() + 1, np.int64)
    numbers[found] = np.arange(len(parents), len(parents) + len(found))
    parents.extend(numbers[found].tolist())
    sizes.extend(np.bincount(labels.ravel())[found].tolist())
    return numbers[labels[0]], numbers[labels[-1]]


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
