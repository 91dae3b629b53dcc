"""A small dataset, built once for all tests of the builder."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from builder_inputs import arguments, write_pairs, write_source


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> Path:
    """Three scenes of 200 x 200 pixels, four named bands, EPSG:32633."""
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def built(pairs, tmp_path_factory) -> Path:
    """The dataset of `pairs`, built in this process."""
    from tfrecords_builder.__main__ import main

    folder = tmp_path_factory.mktemp("built") / "dataset"
    assert main(arguments(pairs, folder)) == 0
    return folder


@pytest.fixture
def writable(built, tmp_path) -> Path:
    """A copy of the built dataset to damage."""
    return Path(shutil.copytree(built, tmp_path / "dataset"))


@pytest.fixture(scope="session")
def small_source(tmp_path_factory):
    """A source of 5 x 7 pixels, 2 unnamed int16 bands, and its image, [bands, height, width]."""
    image = np.arange(70, dtype=np.int16).reshape(2, 5, 7)
    return write_source(
        tmp_path_factory.mktemp("small"), image, np.full((5, 7), 10, np.uint8)
    ), image


@pytest.fixture
def broken(tmp_path):
    """Copies of the pairs to spoil."""
    return write_pairs(tmp_path / "data")
