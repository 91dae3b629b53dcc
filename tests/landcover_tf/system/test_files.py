"""What JSON has no word for, texts in other locales, and folders that a failure leaves."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from landcover_tf.errors import OutputError
from landcover_tf.system.files import (
    KnownHashes,
    atomic_files,
    json_number,
    no_empty_folder,
    read_json,
    write_json,
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32(np.inf)])
def test_json_has_no_word_for_what_is_not_finite(tmp_path, value):
    assert json_number(value) is None
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "scores.json", {"ece": float(value)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [0.0, -2.5, 3, np.float64(0.1), np.float32(0.5)])
def test_finite_numbers_become_plain_floats(tmp_path, value):
    assert type(json_number(value)) is float
    write_json(tmp_path / "scores.json", {"ece": json_number(value)})
    assert read_json(tmp_path / "scores.json") == {"ece": float(value)}


def test_a_failure_leaves_no_empty_folder_but_what_was_written(tmp_path):
    for name in ("empty", "written"):
        (tmp_path / name).mkdir()
        with pytest.raises(KeyError, match=name), no_empty_folder(tmp_path / name):
            if name == "written":
                write_json(tmp_path / name / "config.json", {})
            raise KeyError(name)
    assert [p.name for p in tmp_path.iterdir()] == ["written"]


def test_files_come_together_the_first_before_the_others(tmp_path):
    folder = tmp_path / "new" / "out"
    with pytest.raises(ValueError, match="no result"), atomic_files(folder, "b.json") as new:
        (new / "a.csv").write_text("1")
        raise ValueError("no result")
    assert [*tmp_path.iterdir()] == []
    (folder / "a.csv" / "theirs").mkdir(parents=True)  # In the way of the second.
    refused = pytest.raises(OutputError, match=r"cannot write into .*out")
    with refused, atomic_files(folder, "b.json") as new:
        for name in ("a.csv", "b.json"):
            (new / name).write_text(name)
    assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "b.json"]
    assert (folder / "b.json").read_text() == "b.json"
    (folder / "a.csv" / "theirs").rmdir()
    (folder / "a.csv").rmdir()
    with atomic_files(folder, "b.json") as new:
        (new / "a.csv").write_text("2")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "a.csv": "2", "b.json": "b.json",
    }  # fmt: skip


def test_names_of_any_letters_are_written_in_any_locale(tmp_path):
    program = (
        "from landcover_tf.system.files import write_text\n"
        "from landcover_tf.system.tables import write_csv\n"
        "write_csv('a.csv', ['name'], [['forêt']])\n"
        "write_text('a.txt', 'forêt')\n"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    places = {"PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)}
    subprocess.run(
        [sys.executable, "-"], input=program.encode(), cwd=tmp_path, check=True,
        env=os.environ | ascii_only | places,
    )  # fmt: skip
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "name\nforêt\n"
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "forêt"


def test_json_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "zones.json"
    path.write_bytes('{"name": "Süd"}'.encode("utf-8-sig"))
    assert read_json(path) == {"name": "Süd"}


def test_a_file_is_hashed_again_only_where_size_or_time_changed(tmp_path):
    kept, file = tmp_path / "hashes.json", tmp_path / "file"
    file.write_bytes(b"one")
    one = hashlib.sha256(b"one").hexdigest()
    os.utime(file, ns=(5, 5))
    hashes = KnownHashes(kept)
    assert hashes.sha256_of(file) == one
    hashes.save()
    file.write_bytes(b"two")
    os.utime(file, ns=(5, 5))
    assert KnownHashes(kept).sha256_of(file) == one
    os.utime(file, ns=(5, 6))
    assert KnownHashes(kept).sha256_of(file) == hashlib.sha256(b"two").hexdigest()
    file.write_bytes(b"three")
    os.utime(file, ns=(5, 5))
    assert KnownHashes(kept).sha256_of(file) == hashlib.sha256(b"three").hexdigest()


@pytest.mark.parametrize("text", ["", "[]", "null", '{"FILE": 1}', '{"FILE": STAMP}'])
def test_damaged_hashes_are_taken_anew(tmp_path, text):
    kept, file = tmp_path / "hashes.json", tmp_path / "file"
    file.write_bytes(b"one")
    os.utime(file, ns=(5, 5))
    kept.write_text(text.replace("FILE", str(file)).replace("STAMP", '{"bytes": 3, "mtime_ns": 5}'))
    hashes = KnownHashes(kept)
    assert hashes.sha256_of(file) == hashlib.sha256(b"one").hexdigest()
    hashes.save()
    assert read_json(kept)[str(file)]["sha256"] == hashes.sha256_of(file)
