"""Ports for programs that must be told theirs."""

import os
import random
import re
import socket
from contextlib import suppress
from pathlib import Path

FIRST = 10_000
"""Below it are well-known ones."""
APART = 8
"""How many processes of pytest-xdist choose among ports of their own."""


def free_ports(count: int) -> list[int]:
    """Returns ports of 127.0.0.1 that nobody listens on.

    The system gives none of them to a program that asks for any, so that they stay free until they
    are used.
    """
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first_given = int(given.read_text().split()[0]) if given.exists() else 32_768
    process = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
    candidates = range(FIRST + process % APART, max(first_given, 2 * FIRST), APART)
    found: list[int] = []
    # Not by the generator that trainings seed, which would begin with the same ones each time.
    for port in random.SystemRandom().sample(candidates, len(candidates)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"fewer than {count} of the ports {candidates} are free")
