"""Fixtures of the serving tests."""

from collections.abc import Iterator

import pytest
from local_export import SmallExport, write_export
from real_server import RealServer, real_server


@pytest.fixture(scope="session")
def small_export(tmp_path_factory: pytest.TempPathFactory) -> SmallExport:
    """A small exported model of random weights."""
    return write_export(tmp_path_factory.mktemp("export") / "small" / "1")


@pytest.fixture(scope="session")
def tf_serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer | None]:
    """TensorFlow Serving itself; None where it does not exist, and the double stands for it."""
    with real_server(tmp_path_factory.mktemp("real")) as found:
        yield found
