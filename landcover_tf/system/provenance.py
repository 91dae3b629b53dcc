"""What made a file: versions, commit, machine, and the memory it took."""

import os
import platform
import re
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

VERSION = metadata.version("landcover-tf")


def software_versions() -> dict[str, str]:
    """Returns version and commit of this project, and versions of what shapes its numbers."""
    versions = {"landcover-tf": VERSION, **commit_tag(), "python": platform.python_version()}
    for name in ("tensorflow", "keras", "rasterio", "numpy", "scipy", "scikit-image"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def commit_tag() -> dict[str, str]:
    """Returns `{"commit": …}` of this software, read once; nothing where it is not run from git."""
    commit = commit_of(Path(__file__))
    return {"commit": commit} if commit else {}


def commit_of(file: Path) -> str | None:
    """Returns the commit of the source tree of a file, with `+` when that has changes.

    None where git does not know the file, as in an environment inside the repository of others.
    """
    folder = file.parent
    try:
        _git(folder, "ls-files", "--error-unmatch", file.name)
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


def peak_memory_bytes() -> int:
    """Returns the most memory that this process has had."""
    status = Path("/proc/self/status")
    # ru_maxrss begins at the peak of the process that started this one, where Linux counts it.
    own = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    if own is not None:
        return 1024 * int(own[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=5
    ).stdout.strip()
