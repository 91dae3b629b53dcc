"""A disk that is full."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(size_bytes):
    """A limit on the size of files stands for a full disk: both make a write fail half-way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
