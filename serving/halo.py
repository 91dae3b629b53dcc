"""Functions of a neighbourhood applied to a raster that is read block by block."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np


def map_with_halo(
    blocks: Iterable[np.ndarray], halo: int, function: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields `function` of each block as if it were applied to the whole raster.

    Args:
        blocks: [layers, rows, width] from top to bottom.
        halo: Rows beyond a block that its result depends on.
        function: From [layers, rows, width] to [other layers, rows, width]; a result row
            depends on at most `halo` rows above and below.
    """
    held: list[np.ndarray] = []  # Blocks not yet given out, in order.
    above: np.ndarray | None = None  # Rows before the first held block.
    source = iter(blocks)
    ended = False
    while True:
        while not ended and (not held or sum(b.shape[1] for b in held[1:]) < halo):
            block = next(source, None)
            ended = block is None
            if block is not None:
                held.append(block)
        if not held:
            return
        top = 0 if above is None else above.shape[1]
        rows = held[0].shape[1]
        below = np.concatenate(held[1:], axis=1)[:, :halo] if held[1:] else held[0][:, :0]
        parts = [held[0], below] if above is None else [above, held[0], below]
        extended = np.concatenate(parts, axis=1)
        yield function(extended)[:, top : top + rows]
        start = max(top + rows - halo, 0)
        above = extended[:, start : top + rows] if halo else None
        held.pop(0)
