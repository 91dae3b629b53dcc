"""The eight flips and quarter turns of an image."""

from collections.abc import Callable

import numpy as np


def mean_over_orientations(
    run: Callable[[np.ndarray], np.ndarray], batch: np.ndarray
) -> np.ndarray:
    """Returns the mean of what `run` gives for the eight orientations, each turned back.

    Args:
        run: From [batch, height, width, bands] to [batch, height, width, channels], float.
        batch: Images, [batch, height, width, bands].
    """
    total: np.ndarray | None = None
    for flipped in (False, True):
        image = batch[:, :, ::-1] if flipped else batch
        for turns in range(4):
            turned = np.ascontiguousarray(np.rot90(image, turns, axes=(1, 2)))
            back = np.rot90(run(turned), -turns, axes=(1, 2))
            back = back[:, :, ::-1] if flipped else back
            total = back.copy() if total is None else np.add(total, back, out=total)
    if total is None:
        raise ValueError("no orientation was run")
    return np.asarray(total / total.dtype.type(8))
