"""The dataset of searches and experiments."""

import pytest
from fakes.small_dataset import write_small_dataset


@pytest.fixture(scope="module")
def small_dataset(tmp_path_factory):
    """Folder of two batches of 32 px patches for training and three patches for validation."""
    folder = tmp_path_factory.mktemp("small")
    write_small_dataset(folder, size=32, train=32, val=3)
    return folder
