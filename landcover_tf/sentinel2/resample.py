"""From the 20 m and 60 m grids to the 10 m grid: pixel-is-area interpolation, block by block.

The three grids share one upper-left corner, so with ratio r the fine pixel i lies at the coarse
coordinate (i + 0.5) / r - 0.5. Only r positions occur, so every fine pixel is a fixed weighted
sum of its neighbours: shifted slices and multiplications. Each sum runs in one fixed order of
float32 operations, so a block gives the same bits as the whole image.
"""

from collections.abc import Iterator

import numpy as np

from landcover_tf.grid import Window
from landcover_tf.upsampling import Resampling

MARGIN_PX = 2
"""Coarse pixels that the widest kernel reaches beyond the pixel it interpolates."""


def kernel(method: Resampling, ratio: int) -> list[tuple[int, np.ndarray]]:
    """Returns (first coarse offset, weights) of each of the `ratio` phases.

    The weights are float32 and sum to 1. Bicubic is Keys' kernel with a = -0.5, as in GDAL.
    """
    phases = []
    for phase in range(ratio):
        position = (phase + 0.5) / ratio - 0.5
        base = int(np.floor(position))
        t = position - base
        if method == "nearest":
            phases.append((0, np.ones(1, np.float32)))
        elif method == "bilinear":
            phases.append((base, np.array([1 - t, t], np.float32)))
        else:
            weights = [
                ((-0.5 * t + 1.0) * t - 0.5) * t,
                (1.5 * t - 2.5) * t * t + 1.0,
                ((-1.5 * t + 2.0) * t + 0.5) * t,
                (0.5 * t - 0.5) * t * t,
            ]
            phases.append((base - 1, np.array(weights, np.float32)))
    return phases


def upsample(coarse: np.ndarray, ratio: int, method: Resampling = "bicubic") -> np.ndarray:
    """Returns `coarse` on a grid `ratio` times finer, edges replicated.

    Args:
        coarse: float32 [height, width].
        ratio: Fine pixels per coarse pixel along an axis.
        method: Interpolation.

    Returns:
        float32 [height * ratio, width * ratio].
    """
    height, width = coarse.shape
    out = np.empty((height * ratio, width * ratio), np.float32)
    padded = np.pad(coarse, MARGIN_PX, mode="edge")
    for row, col, part in _phase_blocks(padded, ratio, method):
        out[row::ratio, col::ratio] = part
    return out


def upsample_rounded(
    padded: np.ndarray,
    ratio: int,
    method: Resampling,
    *,
    scale: float,
    shift: float,
    limits: tuple[int, int],
) -> np.ndarray:
    """Returns round(scale * upsample + shift), clipped, without the float image in between.

    Args:
        padded: float32 [height + 2 * MARGIN_PX, width + 2 * MARGIN_PX]; the margin is context.
        ratio: Fine pixels per coarse pixel along an axis.
        method: Interpolation.
        scale: Factor of the digital number.
        shift: Addend.
        limits: Smallest and largest value.

    Returns:
        uint16 [height * ratio, width * ratio].
    """
    height, width = padded.shape[0] - 2 * MARGIN_PX, padded.shape[1] - 2 * MARGIN_PX
    out = np.empty((height * ratio, width * ratio), np.uint16)
    for row, col, part in _phase_blocks(padded, ratio, method):
        out[row::ratio, col::ratio] = rounded(part, scale, shift, limits)
    return out


def rounded(values: np.ndarray, scale: float, shift: float, limits: tuple[int, int]) -> np.ndarray:
    """Returns round(scale * values + shift) clipped to `limits` as uint16; changes `values`."""
    if scale != 1:
        values *= np.float32(scale)
    values += np.float32(shift)
    np.rint(values, out=values)
    np.clip(values, *limits, out=values)
    return values.astype(np.uint16)


def covering(window: Window, ratio: int) -> Window:
    """Returns the coarse window of the pixels that a fine window touches."""
    row, col = window.row_off // ratio, window.col_off // ratio
    return Window(
        row_off=row,
        col_off=col,
        height=-(-window.row_end // ratio) - row,
        width=-(-window.col_end // ratio) - col,
    )


def finer(window: Window, ratio: int) -> Window:
    """Returns the fine window of the pixels that a coarse window covers."""
    return Window(
        row_off=window.row_off * ratio,
        col_off=window.col_off * ratio,
        height=window.height * ratio,
        width=window.width * ratio,
    )


def crop(fine: np.ndarray, source: Window, ratio: int, window: Window) -> np.ndarray:
    """Returns the part inside `window` of `fine`, which covers the coarse window `source`."""
    return fine[window.relative_to(finer(source, ratio)).slices]


def cut(image: np.ndarray, source: Window, window: Window, margin: int) -> np.ndarray:
    """Returns `window` and `margin` pixels around it, edges of the image replicated.

    Args:
        image: [height, width]; must reach `margin` around the window or to the raster's edge.
        source: Where `image` lies in the raster.
        window: In the raster.
        margin: Pixels added on every side.
    """
    wanted = window.expand(margin).relative_to(source)
    inside = wanted.clip(*image.shape)
    if inside is None:
        raise ValueError(f"{window} lies outside the image")
    padding = wanted.padding_inside(*image.shape)
    part = image[inside.slices]
    return np.pad(part, padding, mode="edge") if any(map(any, padding)) else part


def fill_invalid(values: np.ndarray, valid: np.ndarray, steps: int) -> np.ndarray:
    """Returns `values` with invalid pixels replaced by nearby valid ones.

    Each step gives every invalid pixel that touches a valid one the mean of its valid
    neighbours, so a pixel depends on those within `steps` pixels only: blocks that overlap by
    more agree. Pixels farther from any valid one stay 0.

    Args:
        values: float32 [height, width].
        valid: bool [height, width].
        steps: Largest distance filled, in pixels.
    """
    if valid.all():
        return values
    filled = np.where(valid, values, np.float32(0))
    known = valid
    for _ in range(steps):
        total, count = _neighbour_sum(filled), _neighbour_sum(known.astype(np.float32))
        reached = ~known & (count > 0)
        if not reached.any():
            break
        filled[reached] = total[reached] / count[reached]
        known = known | reached
    return filled


def block_mean(fine: np.ndarray, ratio: int) -> np.ndarray:
    """Returns means of `ratio` x `ratio` blocks, float32; sides must be multiples of `ratio`."""
    height, width = fine.shape
    blocks = fine.reshape(height // ratio, ratio, width // ratio, ratio)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def add_block_sums(plane: np.ndarray, row_off: int, sums: np.ndarray) -> None:
    """Adds the pixels of a strip to the sums of the 6 x 6 blocks they lie in."""
    width = sums.shape[1] * 6
    start = 0
    while start < len(plane):
        block, inside = divmod(row_off + start, 6)
        stop = min(start + 6 - inside, len(plane))
        # Rows first: whole rows add up six times faster than six neighbours in a row do.
        total = plane[start, :width].astype(np.uint32)
        for row in plane[start + 1 : stop, :width]:
            total += row
        sums[block] += total.reshape(-1, 6).sum(axis=1)
        start = stop


def erode(marked: np.ndarray, radius: int) -> np.ndarray:
    """Returns True where a pixel and all within `radius` rows and columns are marked.

    Pixels beyond the edge count as marked.
    """
    clear = np.pad(marked, radius, constant_values=True)
    height, width = marked.shape
    tall = np.logical_and.reduce([clear[k : k + height] for k in range(2 * radius + 1)])
    return np.asarray(
        np.logical_and.reduce([tall[:, k : k + width] for k in range(2 * radius + 1)])
    )


def repeat(coarse: np.ndarray, ratio: int) -> np.ndarray:
    """Returns `coarse` with every pixel repeated `ratio` times along both axes."""
    return coarse if ratio == 1 else coarse.repeat(ratio, axis=0).repeat(ratio, axis=1)


def _phase_blocks(
    padded: np.ndarray, ratio: int, method: Resampling
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields (row phase, column phase, interpolated float32 pixels of that phase)."""
    phases = kernel(method, ratio)
    height, width = padded.shape[0] - 2 * MARGIN_PX, padded.shape[1] - 2 * MARGIN_PX
    for row, (first_row, row_weights) in enumerate(phases):
        top = MARGIN_PX + first_row
        taps = range(len(row_weights))
        tall = _weighted(row_weights, [padded[top + k : top + k + height] for k in taps])
        for col, (first_col, col_weights) in enumerate(phases):
            left = MARGIN_PX + first_col
            wide = [tall[:, left + k : left + k + width] for k in taps]
            yield row, col, _weighted(col_weights, wide)


def _weighted(weights: np.ndarray, slices: list[np.ndarray]) -> np.ndarray:
    """Returns the weighted sum of `slices`, always added in the same order."""
    total = np.multiply(slices[0], weights[0])
    product = np.empty_like(total)
    for weight, values in zip(weights[1:], slices[1:], strict=True):
        np.multiply(values, weight, out=product)
        total += product
    return np.asarray(total)


def _neighbour_sum(values: np.ndarray) -> np.ndarray:
    """Returns the sum over each pixel's 3 x 3 neighbourhood, zero beyond the edge."""
    padded = np.pad(values, 1)
    tall = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray(tall[:, :-2] + tall[:, 1:-1] + tall[:, 2:])
