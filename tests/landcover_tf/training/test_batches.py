"""Validation shows every record once, in batches that need no more memory than a step."""

import numpy as np
import pytest
import tensorflow as tf
from fakes.small_dataset import write_small_dataset
from fakes.small_loop import settings, small_loop

from landcover_tf.legend import IGNORED
from landcover_tf.training.batches import Batches
from landcover_tf.training.distributed import choose_devices


@pytest.mark.parametrize(
    ("patch_size", "batch_size", "expected"),
    [
        (64, 2, 2),
        (32, 9, 2),  # 9 * 32**2 pixels are 2.25 records of 64 px.
        (32, 2, 1),  # Never less than a record.
    ],
)
def test_validation_batches_have_the_pixels_of_a_training_batch(
    tmp_path, patch_size, batch_size, expected
):
    """They had `batch_size` whole records however small the patches of the training."""
    info = write_small_dataset(tmp_path / "data", size=64, val=3)
    config = settings(
        tmp_path / "data", tmp_path / "run", patch_size=patch_size, batch_size=batch_size,
        gradient_accumulation=1,
    )  # fmt: skip
    batches = list(Batches(config, info, choose_devices("single")).validation())
    assert {image.shape[0] for image, _ in batches} == {expected}
    label = np.concatenate([label for _, label in batches])
    assert label.shape[1:] == (64, 64)
    assert (label != IGNORED).any(axis=(1, 2)).sum() == 3


def test_pictures_take_no_more_memory_than_a_record_of_the_validation(tmp_path):
    """They went through the network in one batch and eagerly, so that no output was let go."""
    write_small_dataset(tmp_path / "data", val=3)
    loop = small_loop(settings(tmp_path / "data", tmp_path / "run", pictures=2, epochs=1))
    model, seen = loop.stepper.model, []

    def watched(image, *, training):
        seen.append((image.shape[0], tf.inside_function()))
        return model(image, training=training)

    loop.stepper.model = watched
    examples = loop._examples()
    assert set(seen) == {(1, True)}
    assert len(examples) == 2
    images = np.stack([example.image for example in examples])
    expected = model.predict(images, verbose=0).argmax(axis=-1)
    np.testing.assert_array_equal([example.predicted for example in examples], expected)
    assert examples[0].label.shape == (32, 32)
