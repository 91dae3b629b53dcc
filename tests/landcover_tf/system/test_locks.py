import errno
import fcntl
import os
import subprocess
import sys

import pytest

from landcover_tf.errors import OutputError
from landcover_tf.system import locks
from landcover_tf.system.locks import alone

HOLDER = """
import sys
from landcover_tf.system.locks import alone
with alone(sys.argv[1], "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "new" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(OutputError, match=r"^another works in new$"),
            alone(path, "another works in new"),
        ):
            pass
        assert path.is_file()  # The refused one took nothing away.
        holder.kill()
    with alone(path, "busy"):  # A killed holder leaves the file and no lock.
        pass
    assert not path.exists()


def test_the_lock_is_that_of_the_file_in_place(tmp_path):
    path = tmp_path / ".lock"
    with alone(path, "busy"):
        path.unlink()
        with alone(path, "busy"), pytest.raises(OutputError, match="busy"), alone(path, "busy"):
            pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_disk_without_locks_is_warned_of(tmp_path, monkeypatch, capsys, code):
    def flock(file: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "_WITHOUT_LOCKS", set())
    for name in ("a.lock", "b.lock"):
        with alone(tmp_path / name, "busy"):
            pass
    assert capsys.readouterr().err.count(f"the disk of {tmp_path} has no file locks") == 1


def test_what_else_fails_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match=r"cannot write .*lock: "),
        alone(tmp_path / "file" / ".lock", "busy"),
    ):
        pass

    def flock(file: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(OutputError, match=r"cannot lock .*: Input/output error"),
        alone(tmp_path / ".lock", "busy"),
    ):
        pass
