"""What made a file: versions, commit, machine."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

VERSION = metadata.version("landcover-tf")


def software_versions() -> dict[str, str]:
    """Returns the versions of this project and of the libraries that shape its numbers."""
    versions = {"landcover-tf": VERSION, "python": platform.python_version()}
    for name in ("tensorflow", "keras", "rasterio", "numpy", "scipy", "scikit-image"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """Returns the commit of the source tree, with `+` when it has changes, None outside git."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, str | int]:
    """Returns the processor and the number of usable cores."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
    }


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=5
    ).stdout.strip()
