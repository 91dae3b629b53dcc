"""What a search found: a ranked table, which settings mattered, and a page with pictures."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from landcover_tf.files import write_csv, write_text
from landcover_tf.html_pages import figure_url, render
from tuning.columns import positions, text_of
from tuning.trials import TrialRecord

CSV_NAME = "ranking.csv"
PAGE_NAME = "ranking.html"
IMPORTANCE_LEAST = 5
"""Completed trials below which the importance of settings is not estimated."""


def ranked(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns the records with the best first and failed ones last; ties keep their order."""
    return sorted(records, key=lambda r: -np.inf if r.score is None else r.score, reverse=True)


def distinct(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns the first of all records whose settings differ in their epochs alone."""
    found: dict[str, TrialRecord] = {}
    for record in records:
        settings = {name: value for name, value in record.settings.items() if name != "epochs"}
        found.setdefault(json.dumps(settings, sort_keys=True), record)
    return list(found.values())


def setting_names(records: Sequence[TrialRecord]) -> list[str]:
    """Returns the settings that differ between records, in the order of the first."""
    names = list(dict.fromkeys(name for record in records for name in record.settings))
    return [n for n in names if len({json.dumps(r.settings.get(n)) for r in records}) > 1]


def table(records: Sequence[TrialRecord], objective: str, limit: int = 10) -> str:
    """Returns the best records as text."""
    names = setting_names(records)
    rows = [["trial", objective, "epoch", "minutes", *names]]
    for record in ranked(records)[:limit]:
        score = "failed" if record.score is None else f"{record.score:.4f}"
        rows.append(
            [record.id, score, str(record.best_epoch or ""), f"{record.seconds / 60:.1f}"]
            + [text_of(record.settings.get(name)) for name in names]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def write_table(path: Path, records: Sequence[TrialRecord]) -> None:
    """Writes all records as CSV, the best first."""
    names = list(dict.fromkeys(name for record in records for name in record.settings))
    fields = ("id", "status", "score", "best_epoch", "epochs", "seconds")
    rows = []
    for rank, record in enumerate(ranked(records), start=1):
        known = [getattr(record, field) for field in fields]
        varied = [text_of(record.settings.get(name)) for name in names]
        rows.append([rank, *known, *varied, record.error])
    write_csv(path, ["rank", "trial", *fields[1:], *names, "error"], rows)


def importance(records: Sequence[TrialRecord], seed: int = 0) -> dict[str, float] | None:
    """Returns how much of the score's variation each setting explains, the most first.

    The permutation importance (Breiman 2001) of a random forest fitted to the completed trials:
    the drop of its R2 when the setting's values are shuffled. With few trials it is a hint only.

    Returns:
        Values by setting, None with fewer than `IMPORTANCE_LEAST` completed trials.
    """
    done = [r for r in records if r.score is not None]
    names = setting_names(done)
    if len(done) < IMPORTANCE_LEAST or not names:
        return None
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    columns = np.stack([positions([r.settings.get(n) for r in done])[0] for n in names], axis=1)
    scores = np.array([r.score for r in done])
    forest = RandomForestRegressor(n_estimators=200, random_state=seed).fit(columns, scores)
    found = permutation_importance(forest, columns, scores, n_repeats=20, random_state=seed)
    pairs = zip(names, found.importances_mean, strict=True)
    return dict(sorted(((n, float(v)) for n, v in pairs), key=lambda pair: -pair[1]))


def write_page(path: Path, records: Sequence[TrialRecord], *, title: str, objective: str) -> None:
    """Writes one HTML page without links: pictures and the ranked table."""
    names = setting_names(records)
    rows = [
        {"record": record, "cells": [text_of(record.settings.get(name)) for name in names]}
        for record in ranked(records)
    ]
    html = render(
        "tuning", "ranking.html.jinja",
        title=title, objective=objective, names=names, rows=rows,
        failed=sum(r.score is None for r in records), pictures=_pictures(records, objective),
    )  # fmt: skip
    write_text(path, html)


def _pictures(records: Sequence[TrialRecord], objective: str) -> list[tuple[str, str]]:
    from tuning import charts

    done = [r for r in ranked(records) if r.score is not None]
    found = []
    if len(done) > 1:
        figure = charts.parallel_coordinates(done, setting_names(done), objective)
        found.append(("Every trial as a line through its settings; the best are dark", figure))
        found.append(("Score of each trial in the order of the search", charts.course(records)))
    values = importance(records)
    if values:
        figure = charts.bars(values)
        found.append(("How much of the score's variation each setting explains", figure))
    return [(caption, figure_url(figure)) for caption, figure in found]
