"""Stored values brought into the model's units."""

import numpy as np
import pytest
from fakes.traced_memory import peak_bytes
from local_export import BANDS, model_info

from landcover_tf.datasets.dataset_info import BandInfo
from serving.stored_values import CONVERTED_ROWS, Conversion, finish_pixels

SCALES = (1e-4, 2e-4, 1.0, 1 / 3)


def scaled_bands(*scales: float, offset: float) -> tuple[BandInfo, ...]:
    return tuple(
        BandInfo(name=name, scale=scale, offset=offset)
        for name, scale in zip(BANDS, scales, strict=True)
    )


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_every_row_is_converted_alike(dtype: str) -> None:
    info = model_info(dtype=dtype)
    conversion = Conversion.between(scaled_bands(*SCALES, offset=-0.05), info.bands)
    assert conversion is not None
    height = 2 * CONVERTED_ROWS + 1
    planes = np.random.default_rng(0).uniform(-1e3, 1e4, (4, height, 9)).astype(np.float32)
    planes[:, 40] = np.nan
    # The whole image at once, in the same order.
    expected = np.moveaxis(planes, 0, -1).astype(np.float64) * conversion.factor + conversion.term
    if dtype == "uint16":
        expected = np.clip(np.rint(np.nan_to_num(expected)), 0, 65535)
    expected = expected.astype(dtype)
    expected[(expected == 0).all(axis=-1), 0] = 1  # No pixel with data looks like none.
    expected[40] = 0
    image = np.moveaxis(planes, 0, -1)
    found, validity = finish_pixels(image, np.zeros((height, 9), np.uint8), None, info, conversion)
    assert found.dtype == dtype and found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.flatnonzero(validity.any(axis=1)), [40])


@pytest.mark.parametrize("stored", ["uint16", "float32"])
def test_converting_takes_less_than_its_result_again(stored: str) -> None:
    info = model_info()
    conversion = Conversion.between(scaled_bands(*SCALES, offset=0.0), info.bands)
    image = np.moveaxis(np.full((4, 512, 256), 2000, stored), 0, -1)
    validity = np.zeros((512, 256), np.uint8)
    peak = peak_bytes(lambda: finish_pixels(image, validity, None, info, conversion))
    assert peak < 2 * image.size * np.dtype(info.dtype).itemsize
