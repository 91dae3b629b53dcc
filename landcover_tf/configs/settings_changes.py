"""Settings of work that is to be continued, beside those that it was begun with."""

import json
from collections.abc import Collection, Mapping
from typing import Any

LONGEST = 80
"""Most characters of a value in a message."""


def changes(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    free: Collection[str] = (),
    unshown: Collection[str] = (),
) -> list[str]:
    """Returns what differs, each as `name (was a, now b)`, settings within settings one by one.

    A setting that `now` lacks is one that an earlier version had, and counts for nothing.

    Args:
        before: As read from JSON.
        now: Settings of the work to be done; tuples equal the lists that JSON makes of them.
        free: Settings that may change.
        unshown: Settings whose values tell a reader nothing, such as digests; also within others.
    """
    found: list[str] = []
    for name, value in json.loads(json.dumps(now)).items():
        was = before.get(name)
        if name in free or was == value:
            continue
        if name in unshown:
            found.append(name)
        elif isinstance(was, dict) and isinstance(value, dict):
            found += [f"{name} {inside}" for inside in changes(was, value, unshown=unshown)]
        else:
            found.append(change(name, was, value))
    return found


def change(name: str, was: Any, now: Any) -> str:
    """Returns one change as text."""
    shown = ("not set" if value is None else _shortened(str(value)) for value in (was, now))
    return "{} (was {}, now {})".format(name, *shown)


def _shortened(text: str) -> str:
    """Returns a text without its middle where it is long: two may differ at their ends only."""
    kept = (LONGEST - 3) // 2
    return text if len(text) <= LONGEST else f"{text[:kept]}...{text[-kept:]}"
