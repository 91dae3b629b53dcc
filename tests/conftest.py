"""Shared inputs: one simulated chain per session, and the real data where it is present."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("LANDCOVER_PROGRESS", "0")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("real data is not present")
    return SHARED
