"""Hints that labels and image do not belong together: shifted labels, odd spectra."""

from dataclasses import dataclass, field

import numpy as np

from landcover_tf.legend import Legend

REACH_PX = 4
"""Largest shift looked for."""
ENOUGH_BORDERS = 500_000
"""Border pixels after which the shift is known; records are in random order."""
MIN_PIXELS = 30
"""Pixels a class needs in a patch before its spectrum is compared."""
MEDIAN_PIXELS = 2000
"""Pixels of a class that its spectrum in a patch is taken from."""
MIN_PATCHES = 8
ODD = 8.0
"""Robust standard deviations from the class's usual spectrum."""


@dataclass(kw_only=True, eq=False)
class LabelShift:
    """Finds the shift at which label borders meet the strongest edges of the image."""

    edge_sum: np.ndarray = field(
        default_factory=lambda: np.zeros((2 * REACH_PX + 1, 2 * REACH_PX + 1))
    )
    """Summed edge strength at label borders moved by (row, column) - REACH_PX."""
    borders: int = 0
    enough_borders: int = ENOUGH_BORDERS

    def add(
        self, reflectance: np.ndarray, labels: np.ndarray, usable: np.ndarray, nodata: int
    ) -> None:
        """Adds a patch.

        Args:
            reflectance: float32 [height, width, bands].
            labels: Codes of usable pixels, uint8 [height, width].
            usable: bool [height, width].
            nodata: Code of pixels without a label.
        """
        if min(labels.shape) <= 2 * REACH_PX + 2 or self.borders > self.enough_borders:
            return
        border = _borders(labels, nodata)
        core = slice(REACH_PX, -REACH_PX)
        rows, cols = np.nonzero(border[core, core])
        if not len(rows) or not usable.any():
            return
        strength = _edges(reflectance, usable)
        for row, col in np.ndindex(*self.edge_sum.shape):
            self.edge_sum[row, col] += strength[rows + row, cols + col].sum()
        self.borders += len(rows)

    def merge(self, other: "LabelShift") -> None:
        """Adds what was found in other patches."""
        self.edge_sum += other.edge_sum
        self.borders += other.borders

    def hints(self) -> list[str]:
        """Returns a sentence if the labels fit better somewhere else."""
        if self.borders < 1000:
            return []
        row, col = np.unravel_index(int(self.edge_sum.argmax()), self.edge_sum.shape)
        best, here = self.edge_sum[row, col], self.edge_sum[REACH_PX, REACH_PX]
        floor = self.edge_sum.min()
        if max(abs(row - REACH_PX), abs(col - REACH_PX)) < 1 or best - here < 0.2 * (best - floor):
            return []
        return [
            f"label borders meet the image's edges best when labels move by {row - REACH_PX:+d} "
            f"rows and {col - REACH_PX:+d} columns; are labels and images on the same grid?"
        ]


@dataclass(kw_only=True, eq=False)
class OddSpectra:
    """Finds patches where a class looks unlike everywhere else."""

    spectra: dict[int, list[tuple[str, np.ndarray]]] = field(default_factory=dict)
    """Median reflectance of each class in each patch."""

    def add(self, where: str, reflectance: np.ndarray, labels: np.ndarray, legend: Legend) -> None:
        """Adds a patch's classes; `labels` hold no data where a pixel is not usable."""
        flat, pixels = labels.ravel(), reflectance.reshape(labels.size, -1)
        counts = np.bincount(flat, minlength=256)
        for code in legend.codes:
            if counts[code] >= MIN_PIXELS:
                chosen = np.flatnonzero(flat == code)[:: -(-counts[code] // MEDIAN_PIXELS)]
                median = np.median(pixels[chosen], axis=0)
                self.spectra.setdefault(code, []).append((where, median))

    def merge(self, other: "OddSpectra") -> None:
        """Adds the patches of another."""
        for code, members in other.spectra.items():
            self.spectra.setdefault(code, []).extend(members)

    def hints(self, legend: Legend) -> list[str]:
        """Returns a sentence for each odd patch and class, the oddest first."""
        found = []
        names = dict(zip(legend.codes, legend.names, strict=True))
        for code, members in sorted(self.spectra.items()):
            if len(members) < MIN_PATCHES:
                continue
            values = np.stack([median for _, median in members])
            usual = np.median(values, axis=0)
            # 1.4826 makes the median absolute deviation a standard deviation for normal values.
            spread = 1.4826 * np.median(np.abs(values - usual), axis=0)
            score = np.median(np.abs(values - usual) / np.maximum(spread, 5e-3), axis=1)
            found += [
                (
                    float(score[i]),
                    f"{members[i][0]}: {names[code]} looks unlike that class elsewhere",
                )
                for i in np.flatnonzero(score > ODD)
            ]
        return [sentence for _, sentence in sorted(found, reverse=True)]


def _borders(labels: np.ndarray, nodata: int) -> np.ndarray:
    """Returns the pixels whose right or lower neighbour has another class, bool, same shape."""
    border = np.zeros(labels.shape, bool)
    known = labels != nodata
    border[:, :-1] |= (labels[:, :-1] != labels[:, 1:]) & known[:, :-1] & known[:, 1:]
    border[:-1] |= (labels[:-1] != labels[1:]) & known[:-1] & known[1:]
    return border


def _edges(reflectance: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Returns the edge strength towards the right and lower neighbour, float [height, width].

    Each band counts alike, and the strongest edges are cut off, so that one bright roof does not
    outvote a hundred field borders.
    """
    spread = np.maximum(reflectance[usable].std(axis=0), 1e-6)
    scaled = reflectance / spread
    strength = np.zeros(usable.shape)
    right = np.abs(np.diff(scaled, axis=1)).mean(axis=-1)
    down = np.abs(np.diff(scaled, axis=0)).mean(axis=-1)
    strength[:, :-1] += np.where(usable[:, :-1] & usable[:, 1:], right, 0)
    strength[:-1] += np.where(usable[:-1] & usable[1:], down, 0)
    return np.minimum(strength, np.percentile(strength, 95))
