"""Programs in processes of their own that are killed at an exact moment."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

_CHILD = """
import os, pkgutil, signal, sys

program, place, call, *arguments = sys.argv[1:]
owner, name = place.rsplit(".", 1)
owner = pkgutil.resolve_name(owner)
function, left = getattr(owner, name), int(call)

def counted(*values, **named):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*values, **named)

setattr(owner, name, counted)  # Before the program imports it by its name.
sys.exit(pkgutil.resolve_name(program + ":main")(arguments))
"""


def run_killed(program: str, arguments: Sequence[str], *, entering: str, call: int = 1) -> None:
    """Runs a program that is killed as it enters a function, as by a machine that goes down.

    Args:
        program: Module with the program's `main`.
        arguments: Its command line.
        entering: The function or method, by its dotted name.
        call: Which call of it, from 1.
    """
    command = [sys.executable, "-c", _CHILD, program, entering, str(call), *arguments]
    # The program may be one of the fakes, which are found as the tests find them.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, timeout=300, check=False, env=environment)
    assert result.returncode == -signal.SIGKILL
