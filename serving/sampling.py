"""A few pixels of a raster on a regular lattice: what finished row bands were made of."""

import math

import numpy as np

from serving.blending import kept
from serving.raster_io import WindowReader
from serving.windows import Layout

SAMPLE_PX = 1_000_000
"""Pixels of a sample, at most about."""


class Sampler:
    """Takes the pixels that get a class and lie on the lattice, each from the window keeping it."""

    def __init__(self, layout: Layout, excluded_bits: int) -> None:
        """Lays the lattice over the raster.

        Args:
            layout: The windows.
            excluded_bits: Validity bits whose pixels get no class.
        """
        self._layout = layout
        self._excluded_bits = excluded_bits
        self._step = lattice_step(layout.height, layout.width)

    def of_window(self, row: int, col: int, image: np.ndarray, excluded: np.ndarray) -> np.ndarray:
        """Returns a window's sample, [pixels, bands].

        Args:
            row: Window row.
            col: Window column.
            image: Stored values of the whole window, [height, width, bands].
            excluded: True where the pixels that it keeps get no class, bool.
        """
        place = self._layout.rows[row].keep_start, self._layout.cols[col].keep_start
        pixels = lattice(kept(self._layout, row, col, image), *place, self._step)
        return np.asarray(pixels[~lattice(excluded, *place, self._step)])

    def of_band(self, row: int, reader: WindowReader) -> np.ndarray:
        """Returns the sample of all windows of a window row, [pixels, bands]."""
        samples = []
        for col in range(len(self._layout.cols)):
            image, validity = reader.read(self._layout.window(row, col))
            excluded = kept(self._layout, row, col, (validity & self._excluded_bits) > 0)
            samples.append(self.of_window(row, col, image, excluded))
        return np.concatenate(samples)


def lattice_step(height: int, width: int) -> int:
    """Returns the distance in pixels between sampled rows, and columns, of a raster."""
    return max(round(math.sqrt(height * width / SAMPLE_PX)), 1)


def lattice(values: np.ndarray, row_off: int, col_off: int, step: int) -> np.ndarray:
    """Returns the sampled pixels of a part of a raster.

    Args:
        values: [height, width, ...].
        row_off: Raster row of the first one.
        col_off: Raster column of the first one.
        step: From `lattice_step`.
    """
    return values[-row_off % step :: step, -col_off % step :: step]
