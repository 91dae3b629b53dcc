"""Progress bars of one look, silent where nobody watches."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LABEL_WIDTH = 40
"""Columns that a label may take: a product's name would leave none to the bar."""


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    label: str,
    total: int | None = None,
    unit: str = "it",
    scale: bool = False,
) -> "tqdm[Any]":
    """Returns a tqdm bar on stderr; without a terminal it redraws every ten seconds only.

    `LANDCOVER_PROGRESS=0` turns all bars off.
    """
    watched = sys.stderr.isatty()
    return tqdm(
        iterable,
        desc=_shorten(label),
        total=total,
        unit=unit,
        unit_scale=scale,
        mininterval=0.2 if watched else 10.0,
        dynamic_ncols=watched,
        ncols=None if watched else 88,
        leave=True,
        disable=os.environ.get("LANDCOVER_PROGRESS") == "0",
    )


def _shorten(label: str) -> str:
    if len(label) <= LABEL_WIDTH:
        return label
    half = LABEL_WIDTH // 2
    return f"{label[:half]}…{label[1 - half :]}"
