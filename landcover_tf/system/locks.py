"""Folders that one process at a time works in."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from landcover_tf.errors import OutputError

# What flock says on file systems that have no locks: some network and parallel disks.
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)

_WITHOUT_LOCKS = set[int]()
"""Disks that were warned of, as a batch has a lock for each map."""


@contextmanager
def alone(path: str | Path, busy: str, *, wait: bool = False) -> Iterator[int]:
    """Holds a lock file, and removes it at the end; yields its descriptor.

    A child that inherits the descriptor holds the lock after this process is killed. A disk
    without locks is warned of, once, since refusing it would keep single processes from their work.

    Args:
        path: The lock file; its folder is made if it is not there.
        busy: What to say if another process holds it.
        wait: Whether to print `busy` and wait for the other's end, instead of refusing.

    Raises:
        OutputError: Another process holds it, or the file cannot be made.
    """
    path = Path(path)
    file = _locked(path, busy, wait)
    try:
        yield file
    finally:
        # While it is held: who opened it meanwhile finds another file, or none, in its place.
        with suppress(OSError):
            path.unlink()
        os.close(file)


def _locked(path: Path, busy: str, wait: bool) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        try:
            _lock(file, path, busy, wait)
            if _is_in_place(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int, path: Path, busy: str, wait: bool) -> None:
    import fcntl  # Windows lacks it, which the programs tell once they are imported.

    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise OutputError(busy) from None
            print(busy, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise OutputError(f"cannot lock {path}: {error.strerror}") from error
        disk = os.fstat(file).st_dev
        if disk not in _WITHOUT_LOCKS:
            _WITHOUT_LOCKS.add(disk)
            print(
                f"warning: the disk of {path.parent} has no file locks ({error.strerror}); start "
                "no second process on this folder",
                file=sys.stderr,
            )


def _is_in_place(file: int, path: Path) -> bool:
    """Returns whether the open file is still the one under its name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
