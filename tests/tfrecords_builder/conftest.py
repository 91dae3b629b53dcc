"""A small dataset, built once for all tests of the builder."""

import shutil
from pathlib import Path

import pytest
from builder_inputs import arguments, write_pairs


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
