"""The commit that files name is that of this software, and of nothing around it."""

import re
import shutil
import subprocess

import pytest

from landcover_tf.system.provenance import commit_of


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
