"""Which unit (block, tile, zone, group) goes to which split.

Patches near a border between splits are lost to the gap, so a good layout has few borders; but
compact splits may miss classes. Many layouts are drawn, from compact to scattered; each is scored
by what it keeps and how even it is; the best is improved by moving single units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LAYOUTS = 240
"""Layouts drawn before the best is improved."""
WORK = 3e7
"""Sites looked at while improving; bounds the time on large datasets."""
EMPTY_SPLIT = 10.0
"""Penalty that outweighs every other term."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sites:
    """Places of patches, each in one unit.

    Splits are numbers in order of precedence: 0 (train) gives way to 1 (val), that to 2 (test).
    """

    unit: np.ndarray
    """Unit of each site, int [sites]; units are 0, 1, 2, ..."""
    class_pixels: np.ndarray
    """Usable pixels of each class, [sites, classes]."""
    near: np.ndarray
    """(site, unit) pairs: a patch of that other unit is nearer than the gap, int [pairs, 2]."""
    center: np.ndarray
    """Coordinates of each unit, float64 [units, 2]; far apart for units of other worlds."""

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.center)

    def kept(self, split_of_unit: np.ndarray) -> np.ndarray:
        """Returns which sites do not give way, bool [sites], for split numbers int [units]."""
        own = split_of_unit[self.unit]
        site, other = self.near.T
        gives_way = split_of_unit[other] > own[site]
        lost = np.zeros(len(own), bool)
        lost[site[gives_way]] = True
        return ~lost

    def cost(self, split_of_unit: np.ndarray, fractions: np.ndarray) -> float:
        """Returns how bad a layout is: lost pixels, uneven sizes, uneven classes."""
        kept = self.kept(split_of_unit)
        own = split_of_unit[self.unit]
        pixels = np.stack(
            [self.class_pixels[kept & (own == s)].sum(axis=0) for s in range(len(fractions))]
        )
        everything = self.class_pixels.sum(axis=0)
        sizes, present = pixels.sum(axis=1), everything > 0
        lost = 1 - sizes.sum() / max(everything.sum(), 1)
        shares = pixels[:, present] / np.maximum(pixels[:, present].sum(axis=0), 1)
        uneven_classes = np.abs(shares - fractions[:, None]).sum(axis=0).mean()
        uneven_sizes = np.abs(sizes / max(sizes.sum(), 1) - fractions).sum()
        empty = np.count_nonzero(sizes == 0)
        return float(EMPTY_SPLIT * empty + lost + 2 * uneven_sizes + uneven_classes)


def allocate(
    sites: Sites, fractions: Sequence[float], seed: int, fixed: np.ndarray | None = None
) -> np.ndarray:
    """Returns the split number of each unit, int [units].

    Args:
        sites: Where the patches are.
        fractions: Aimed share of each split, in order of precedence, all above 0.
        seed: The same seed and input give the same layout.
        fixed: Split of each unit that has one already, -1 of the others, int [units].
    """
    aims = np.asarray(fractions, float)
    random = np.random.default_rng(seed)
    kept = np.full(sites.units, -1) if fixed is None else fixed
    drawn = [np.where(kept < 0, layout, kept) for layout in _layouts(sites, aims, random)]
    costs = [sites.cost(layout, aims) for layout in drawn]
    return _improved(sites, drawn[int(np.argmin(costs))], aims, random, kept < 0)


def _layouts(
    sites: Sites, fractions: np.ndarray, random: np.random.Generator
) -> Iterator[np.ndarray]:
    pixels = np.zeros((sites.units, sites.class_pixels.shape[1]))
    np.add.at(pixels, sites.unit, sites.class_pixels)
    for number in range(LAYOUTS):
        # The gap costs the lower splits more than the higher, so smaller aims end up even.
        aims = fractions.copy()
        aims[1:] *= random.uniform(0.4, 1.1)
        if number % 3 == 0:
            yield _compact(sites.center, pixels.sum(axis=1), aims, random)
        elif number % 3 == 1:
            yield _swept(sites.center, pixels.sum(axis=1), aims, random)
        else:
            yield _stratified(pixels, fractions, random)


def _compact(
    center: np.ndarray, size: np.ndarray, fractions: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Returns a layout whose held-out splits grow around one or more random units."""
    layout = np.zeros(len(size), int)
    for split in range(len(fractions) - 1, 0, -1):
        free = np.flatnonzero(layout == 0)
        if not len(free):
            break
        seeds = random.choice(free, min(len(free), 2 ** int(random.integers(0, 5))), replace=False)
        distance = np.full(len(free), np.inf)
        for seed in seeds:
            distance = np.minimum(distance, np.hypot(*(center[free] - center[seed]).T))
        order = free[np.argsort(distance, kind="stable")]
        layout[_first(order, size, fractions[split])] = split
    return layout


def _swept(
    center: np.ndarray, size: np.ndarray, fractions: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Returns a layout of parallel strips: the fewest borders that several splits can have."""
    angle = random.integers(0, 8) * np.pi / 4
    order = np.argsort(center @ (np.cos(angle), np.sin(angle)), kind="stable")
    layout = np.zeros(len(size), int)
    for split in random.permutation(np.arange(1, len(fractions))):
        chosen = _first(order, size, fractions[split])
        layout[chosen] = split
        order = order[len(chosen) :]
        order = order[::-1] if random.random() < 0.5 else order
    return layout


def _first(order: np.ndarray, size: np.ndarray, fraction: float) -> np.ndarray:
    """Returns the first units of `order` that together come nearest to a share of all."""
    reached = np.concatenate([[0], np.cumsum(size[order])])
    count = int(np.argmin(np.abs(reached - fraction * size.sum())))
    return order[: max(count, 1)]


def _stratified(
    pixels: np.ndarray, fractions: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Returns a scattered layout: each unit goes where its classes are missing most.

    A greedy form of iterative stratification (Sechidis et al. 2011); large units come first,
    because small ones can even out what they leave.
    """
    share = pixels / np.maximum(pixels.sum(axis=0), 1)
    order = np.argsort(-share.sum(axis=1) * random.uniform(0.5, 1.5, len(share)), kind="stable")
    missing = np.tile(fractions[:, None], share.shape[1])
    layout = np.zeros(len(share), int)
    for unit in order:
        # Relative need, so that a small split is served as readily as a large one.
        layout[unit] = int(np.argmax((missing / fractions[:, None]) @ share[unit]))
        missing[layout[unit]] -= share[unit]
    return layout


def _improved(
    sites: Sites,
    layout: np.ndarray,
    fractions: np.ndarray,
    random: np.random.Generator,
    free: np.ndarray,
) -> np.ndarray:
    """Returns the layout after moving free units one by one as long as that lowers the cost."""
    layout, cost = layout.copy(), sites.cost(layout, fractions)
    trials = int(WORK / max(len(sites.unit) + len(sites.near), 1))
    better = True
    while better and trials > 0:
        better = False
        for unit in random.permutation(np.flatnonzero(free)):
            home = layout[unit]
            for split in range(len(fractions)):
                if split == home or trials <= 0:
                    continue
                trials -= 1
                layout[unit] = split
                moved = sites.cost(layout, fractions)
                if moved < cost - 1e-9:
                    cost, home, better = moved, split, True
            layout[unit] = home
    return layout
