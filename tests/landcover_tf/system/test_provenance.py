"""The commit and the memory that files name are those of this software and of their process."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from landcover_tf.system.provenance import commit_of, peak_memory_bytes

PEAK = "from landcover_tf.system import provenance; print(provenance.peak_memory_bytes())"


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_file_has_the_commit_of_its_tree(tmp_path):
    file, foreign = tmp_path / "a.py", tmp_path / "site-packages" / "b.py"
    file.write_text("1")
    assert commit_of(file) is None
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert re.fullmatch("[0-9a-f]{12}", commit)
    assert commit_of(file) == commit
    file.write_text("2")
    assert commit_of(file) == f"{commit}+"
    # Installed inside somebody's repository.
    foreign.parent.mkdir()
    foreign.write_text("1")
    assert commit_of(foreign) is None


def test_the_peak_is_that_of_the_process_and_not_of_its_parent():
    held = np.ones(400 * 2**17)  # 400 MiB.
    assert peak_memory_bytes() > held.nbytes
    child = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert 2**20 < int(child.stdout) < 200 * 2**20
