"""Runs the real programs one after another and echoes each command."""

import shlex
import subprocess
import sys
import time
from pathlib import Path


class ProgramError(Exception):
    """A program ended with an exit code other than 0."""


def run(module: str, *arguments: object) -> float:
    """Runs `python -m module arguments`, echoed so that a reader can copy it.

    Returns:
        Wall-clock seconds.

    Raises:
        ProgramError: The program's exit code is not 0.
    """
    words = [str(argument) for argument in arguments]
    print(f"\n$ python -m {module} {shlex.join(words)}", flush=True)
    start = time.monotonic()
    code = subprocess.run([sys.executable, "-m", module, *words]).returncode
    seconds = time.monotonic() - start
    if code:
        raise ProgramError(f"{module} ended with exit code {code}")
    print(f"[{module}: {seconds:.0f} s]", flush=True)
    return seconds


def listing(title: str, paths: dict[str, Path]) -> str:
    """Returns a short text that says where results are."""
    width = max(map(len, paths))
    return "\n".join([title, *(f"  {name:{width}}  {path}" for name, path in paths.items())])
