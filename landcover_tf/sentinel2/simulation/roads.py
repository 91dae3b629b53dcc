"""Towns, the roads between them, and lines of a given width."""

import numpy as np
from scipy import ndimage


def place_towns(rng: np.random.Generator, to_water: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Returns town centres on dry land, kept apart, the largest town first.

    Args:
        rng: Source of randomness.
        to_water: Distance to water in px, float [height, width].
        free: Land not yet taken, bool [height, width].

    Returns:
        float [towns, 3]: row, column, and the bearing of the streets in radians.
    """
    size = free.shape[0]
    wanted = int(np.clip(round(size / 200), 2, 9))
    inner = np.zeros_like(free)
    margin = size // 12
    inner[margin : size - margin, margin : size - margin] = True
    candidates = np.argwhere(free & inner & (to_water > min(15, size / 25)))
    candidates = candidates if len(candidates) else np.argwhere(free)
    order = rng.permutation(len(candidates))[: 200 * wanted]
    chosen: list[np.ndarray] = []
    for point in candidates[order]:
        if all(np.hypot(*(point - other)) > size / 4.5 for other in chosen):
            chosen.append(point)
        if len(chosen) == wanted:
            break
    bearings = rng.uniform(0, np.pi / 2, len(chosen))
    return np.column_stack([np.array(chosen, float), bearings])


def lay_roads(rng: np.random.Generator, shape: tuple[int, int], towns: np.ndarray) -> np.ndarray:
    """Returns True on roads from each town to its nearest bigger one, and out of the raster."""
    centres = towns[:, :2]
    lines = []
    for rank in range(1, len(centres)):
        distance = np.hypot(*(centres[:rank] - centres[rank]).T)
        lines.append((_road(rng, centres[rank], centres[int(np.argmin(distance))]), 1.4))
    for bearing in rng.uniform(0, 2 * np.pi) + np.array([0, 2.3]):
        beyond = centres[0] + 1.5 * shape[0] * np.array([np.cos(bearing), np.sin(bearing)])
        lines.append((_road(rng, centres[0], beyond), 2.2))
    width_px = np.concatenate([np.full(len(points), width) for points, width in lines])
    return draw_line(shape, np.concatenate([points for points, _ in lines]), width_px)


def draw_line(shape: tuple[int, int], points: np.ndarray, width_px: np.ndarray) -> np.ndarray:
    """Returns True within half a width of a line.

    Args:
        shape: Height and width of the raster.
        points: Row and column of points no more than a pixel apart, float [n, 2].
        width_px: Width at each point, [n].

    Returns:
        bool [height, width].
    """
    width = np.zeros(shape, np.float32)
    pixel = np.round(points).astype(int)
    inside = ((pixel >= 0) & (pixel < shape)).all(axis=1)
    rows, cols = pixel[inside].T
    width[rows, cols] = width_px[inside]
    if not inside.any():
        return np.zeros(shape, bool)
    distance, nearest = ndimage.distance_transform_edt(width == 0, return_indices=True)
    drawn: np.ndarray = distance <= width[nearest[0], nearest[1]] / 2
    return drawn


def _road(rng: np.random.Generator, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the points of a gently curved road, float [n, 2]."""
    length = np.hypot(*(end - start))
    t = np.linspace(0, 1, int(2 * length) + 2)[:, None]
    bend = rng.normal(0, 0.12) * np.array([-(end - start)[1], (end - start)[0]])
    points: np.ndarray = start + t * (end - start) + 4 * t * (1 - t) * bend
    return points
