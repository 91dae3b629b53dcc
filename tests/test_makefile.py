"""`make` can repair what a failed `make` left, and keeps what it did not make."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("sh", "sed", "rm", "mkdir", "cp", "touch")

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")

# Stands for an interpreter: `-c` is the question for its version, `-m pip` the installation.
PYTHON = """#!/bin/sh
case "$1 $2" in
    "-c "*) {version} ;;
    "-m venv") mkdir -p $3/bin && cp "$0" $3/bin/python && {venv} ;;
    "-m pip") {pip} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile, and tools without uv."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def make(checkout, *, version="true", venv="true", pip="true"):
    """Returns the result of `make install` with a Python that says and does so."""
    python = checkout / "bin" / "python3"
    python.write_text(PYTHON.format(version=version, venv=venv, pip=pip))
    python.chmod(0o755)
    return subprocess.run(
        [shutil.which("make"), "install"], cwd=checkout, capture_output=True, text=True,
        env={"PATH": str(checkout / "bin")},
    )  # fmt: skip


@pytest.mark.parametrize("fails", ["venv", "pip"])
def test_an_environment_that_cannot_be_finished_is_made_anew(checkout, fails):
    assert make(checkout, **{fails: "false"}).returncode
    assert not (checkout / ".venv").exists()
    assert make(checkout).returncode == 0
    assert (checkout / ".venv" / ".installed").is_file()


def test_another_python_is_refused_before_anything_is_made(checkout):
    failed = make(checkout, version="false")
    assert failed.returncode
    assert "Python 3.11 to 3.13 is needed, python3 is none; name one: make install" in failed.stderr
    assert not (checkout / ".venv").exists()


def test_a_real_python_knows_whether_it_fits(checkout):
    assert make(checkout, version=f'{sys.executable} "$@"').returncode == 0


def test_an_environment_of_before_outlives_a_failed_installation(checkout):
    assert make(checkout).returncode == 0
    kept = checkout / ".venv" / "kept"
    kept.touch()
    (checkout / ".venv" / ".installed").unlink()
    (checkout / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    assert make(checkout).returncode
    assert kept.is_file()


@pytest.mark.parametrize(("named", "taken"), [((), ">=3.11,<3.14"), (("PYTHON=p9",), "p9")])
def test_uv_may_choose_a_python_unless_one_is_named(checkout, named, taken):
    uv = checkout / "bin" / "uv"
    uv.write_text('#!/bin/sh\necho "$@" >> uv.txt\nmkdir -p .venv/bin\n')
    uv.chmod(0o755)
    subprocess.run([shutil.which("make"), "install", *named], cwd=checkout, check=True,
                   env={"PATH": str(checkout / "bin")})  # fmt: skip
    assert (checkout / "uv.txt").read_text().splitlines()[0] == f"venv --python {taken} .venv"
