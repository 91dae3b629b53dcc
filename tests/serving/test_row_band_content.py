"""The layers that are stored of a row band."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import entropy

from serving.row_band_content import BandContent, encode_band


@pytest.mark.parametrize("shape", [(700, 1024), (3, 300_000)])
def test_entropy_takes_little_memory_beside_the_band(shape: tuple[int, int]) -> None:
    band = np.random.default_rng(0).dirichlet(np.ones(9), shape).astype(np.float32)
    excluded = np.zeros(shape, bool)
    excluded[0, :10] = True
    content = BandContent(classes=9, entropy=True, probabilities=True)
    tracemalloc.start()
    try:
        layers = encode_band(band, excluded, content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The memory model counts the band that is finished and as much again for all that is made
    # of it.
    assert peak < 1.2 * band.nbytes
    expected = np.rint(entropy(band, axis=-1) / np.log(9) * 254)
    expected[excluded] = 255
    assert np.abs(layers[2] - expected).max() <= 1
    assert (layers[2] != expected).mean() < 0.001
