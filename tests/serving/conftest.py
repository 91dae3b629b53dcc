"""Fixtures of the serving tests."""

import pytest
from local_export import SmallExport, write_export


@pytest.fixture(scope="session")
def small_export(tmp_path_factory: pytest.TempPathFactory) -> SmallExport:
    """A small exported model of random weights."""
    return write_export(tmp_path_factory.mktemp("export") / "small" / "1")
