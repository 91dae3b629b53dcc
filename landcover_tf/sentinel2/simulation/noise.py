"""Random fields with a chosen length scale, the raw material of simulated land and weather."""

import numpy as np
from scipy import ndimage


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> np.ndarray:
    """Returns noise that varies over about `scale_px` pixels.

    Random values on a coarse grid are interpolated with cubic B-splines, written as two matrix
    products, which is far faster than filtering white noise with a wide kernel.

    Args:
        rng: Source of randomness.
        shape: Height and width in pixels.
        scale_px: Distance between the grid's knots in pixels.

    Returns:
        float32 [height, width] with mean about 0 and standard deviation about 1.
    """
    rows = _spline_basis(shape[0], scale_px, rng.random())
    cols = _spline_basis(shape[1], scale_px, rng.random())
    knots = rng.standard_normal((rows.shape[1], cols.shape[1]), dtype=np.float32)
    # A sum of independent normals weighted by the basis; 0.479 is the basis' mean square sum.
    field: np.ndarray = (rows @ knots @ cols.T) / np.float32(0.479)
    return field


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    scale_px: float,
    *,
    octaves: int = 4,
    persistence: float = 0.5,
) -> np.ndarray:
    """Returns octaves of `smooth_noise`, each half as wide and `persistence` times as strong.

    Returns:
        float32 [height, width] with standard deviation about 1.
    """
    total = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        scale = scale_px / 2**octave
        if scale < 1:
            break
        amplitude = persistence**octave
        total += np.float32(amplitude) * smooth_noise(rng, shape, scale)
        power += amplitude**2
    return total / np.float32(np.sqrt(power))


def grain(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> np.ndarray:
    """Returns fine-grained noise: white noise under a narrow Gaussian, standard deviation 1."""
    field = rng.standard_normal(shape, dtype=np.float32)
    if sigma_px > 0:
        field = ndimage.gaussian_filter(field, sigma_px, mode="wrap")
        field /= field.std()
    return field


def lowest(score: np.ndarray, among: np.ndarray, share: float) -> np.ndarray:
    """Returns True on the pixels of `among` with the lowest scores.

    Args:
        score: float [height, width].
        among: Candidates, bool [height, width].
        share: Pixels wanted as a share of the whole raster.

    Returns:
        bool [height, width]; all candidates where there are too few.
    """
    values = score[among]
    wanted = round(share * score.size)
    if wanted >= values.size:
        return among.copy()
    if wanted <= 0:
        return np.zeros_like(among)
    chosen: np.ndarray = among & (score < np.partition(values, wanted)[wanted])
    return chosen


def _spline_basis(length: int, scale_px: float, phase: float) -> np.ndarray:
    """Returns the cubic B-spline weights of each pixel, float32 [length, knots]."""
    position = np.arange(length) / scale_px + phase
    first = np.floor(position).astype(int)
    t = position - first
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    basis = np.zeros((length, int(first[-1]) + 4), np.float32)
    np.put_along_axis(basis, first[:, None] + np.arange(4), (weights / 6).astype(np.float32), 1)
    return basis
