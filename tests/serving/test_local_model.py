"""The SavedModel run by TensorFlow in this process."""

import gc

import numpy as np
from local_export import SmallExport

from serving.local_model import TensorFlowModel


def test_functions_of_earlier_shapes_are_dropped(small_export: SmallExport) -> None:
    from tensorflow.python.eager import context

    model = TensorFlowModel(small_export.folder, small_export.info)
    registered = []
    for height in range(8, 80, 8):
        model.decide(np.full((1, height, 16, 4), 2000, np.uint16))
        gc.collect()
        registered.append(len(context.context().list_function_names()))
    # Two shapes are kept at most, so from the third on the number stays.
    assert max(registered[3:]) <= max(registered[:3])


def test_models_of_two_precisions_do_not_change_each_other(small_export: SmallExport) -> None:
    batch = np.random.default_rng(0).integers(1000, 4000, (1, 96, 96, 4)).astype(np.uint16)
    plain = TensorFlowModel(small_export.folder, small_export.info)
    alone = plain.probabilities(batch)
    short = TensorFlowModel(small_export.folder, small_export.info, precision="bf16")
    rounded = short.probabilities(batch)
    # Eight bits of mantissa leave a relative 2^-9 in each of five convolutions.
    assert np.abs(alone - rounded).max() > 2**-9
    np.testing.assert_array_equal(plain.probabilities(batch), alone)
    np.testing.assert_array_equal(short.probabilities(batch), rounded)
