"""Agreement by the size of the reference's objects, in one pass over row strips.

An object is a 4-connected region of one reference class. Objects that touch the last row of a
strip stay open until a later strip ends them, so memory holds one strip and the open objects.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from landcover_tf.legend import IGNORED

EDGES_PX = (10, 100, 1000, 10_000)
"""Sizes at which the next range begins."""


class ObjectSizes:
    """Collects how much of the objects of each size a map found."""

    def __init__(self, classes: int, width: int) -> None:
        """Starts without objects.

        Args:
            classes: Number of classes.
            width: Columns of the rasters.
        """
        bins = len(EDGES_PX) + 1
        self.objects = np.zeros((bins, classes), np.int64)
        """Objects by size range and reference class."""
        self.pixels = np.zeros((bins, classes), np.int64)
        """Reference pixels of those objects."""
        self.matrices = np.zeros((bins, classes, classes), np.int64)
        """Compared pixels by size range, reference class and map class."""
        self._classes = classes
        # Of the open objects: class, and pixels by map class; the last column is not compared.
        self._class = np.zeros(0, np.int64)
        self._counts = np.zeros((0, classes + 1), np.int64)
        self._last = np.full(width, -1, np.int64)
        """Open object of each pixel of the row above the next strip, -1 for none."""

    def add(self, reference: np.ndarray, mapped: np.ndarray) -> None:
        """Takes the next strip.

        Args:
            reference: Dense classes, uint8 [rows, width], IGNORED for none.
            mapped: Dense classes of the map, same shape.
        """
        # Regions of equal value; IGNORED is the background and gets label 0.
        regions = label(reference, background=IGNORED, connectivity=1)
        number = int(regions.max())
        columns = self._classes + 1
        where = np.where(mapped == IGNORED, self._classes, mapped).astype(np.int64)
        counts = np.bincount(
            (regions.astype(np.int64) * columns + where).ravel(), minlength=(number + 1) * columns
        ).reshape(-1, columns)[1:]
        classes = np.zeros(number + 1, np.int64)
        classes[regions.ravel()] = reference.ravel()
        self._join(regions[0], regions[-1], classes[1:], counts)

    def finish(self) -> None:
        """Closes the objects that reach the last row."""
        self._close(self._class, self._counts)
        self._class, self._counts = self._class[:0], self._counts[:0]
        self._last[:] = -1

    def _join(
        self, first: np.ndarray, last: np.ndarray, classes: np.ndarray, counts: np.ndarray
    ) -> None:
        """Joins the strip's regions with the open objects and closes those that ended."""
        opened = len(self._class)
        all_classes = np.concatenate([self._class, classes])
        all_counts = np.concatenate([self._counts, counts])
        below = np.where(first > 0, first + opened - 1, -1)
        touching = (self._last >= 0) & (below >= 0)
        above, below = self._last[touching], below[touching]
        same = all_classes[above] == all_classes[below]
        above, below = above[same], below[same]
        size = len(all_classes)
        graph = coo_array((np.ones(len(above), bool), (above, below)), shape=(size, size))
        objects, member = connected_components(graph, directed=False)
        sums = np.zeros((objects, all_counts.shape[1]), np.int64)
        np.add.at(sums, member, all_counts)
        object_class = np.zeros(objects, np.int64)
        object_class[member] = all_classes

        bottom = np.full(len(last), -1, np.int64)
        bottom[last > 0] = member[last[last > 0] + opened - 1]
        still_open = np.unique(bottom[bottom >= 0])
        ended = np.ones(objects, bool)
        ended[still_open] = False
        self._close(object_class[ended], sums[ended])
        self._class, self._counts = object_class[still_open], sums[still_open]
        self._last = np.where(bottom >= 0, np.searchsorted(still_open, bottom), -1)

    def _close(self, classes: np.ndarray, counts: np.ndarray) -> None:
        sizes = counts.sum(axis=1)
        bins = np.digitize(sizes, EDGES_PX)
        np.add.at(self.objects, (bins, classes), 1)
        np.add.at(self.pixels, (bins, classes), sizes)
        np.add.at(self.matrices, (bins, classes), counts[:, : self._classes])


def range_names() -> list[str]:
    """Returns the size ranges as text."""
    starts = (1, *EDGES_PX)
    names = [f"{low:,}-{high - 1:,} px" for low, high in zip(starts, EDGES_PX, strict=False)]
    return [*names, f"{EDGES_PX[-1]:,} px and more"]
