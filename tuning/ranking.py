"""What a search found: a ranked table, which settings mattered, and a page with pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landcover_tf.system.files import write_text
from landcover_tf.system.tables import write_csv
from landcover_tf.visuals.html_pages import figure_url, render
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


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What a random forest that is fitted to the completed trials tells of the settings."""

    r2: float
    """Share of the score's variance that the forest explains out of bag: each trial is judged by
    the trees that were fitted without it. Not above 0 where they tell no more than the mean."""
    drops: Mapping[str, float]
    """By how much R2 drops when a setting's values are shuffled, the most first."""


def importance(records: Sequence[TrialRecord]) -> Importance | None:
    """Returns the permutation importance (Breiman 2001) of the settings, out of bag.

    On the trials that it was fitted to, a forest explains noise, too: so of trials that differ in
    their epochs alone the best one counts. With few trials it is a hint only.

    Returns:
        The importance, None with fewer than `IMPORTANCE_LEAST` of these completed, or where all
        have the same settings or the same score.
    """
    done = distinct(ranked([r for r in records if r.score is not None]))
    names = setting_names(done)
    if len(done) < IMPORTANCE_LEAST or not names or len({r.score for r in done}) == 1:
        return None
    from sklearn.ensemble import RandomForestRegressor

    columns = np.stack([positions([r.settings.get(n) for r in done])[0] for n in names], axis=1)
    scores = np.array([r.score for r in done], float)
    forest = RandomForestRegressor(n_estimators=200, random_state=0).fit(columns, scores)
    r2 = float(_r2_out_of_bag(forest, columns[None], scores)[0])
    rng = np.random.default_rng(0)
    drops = {}
    for place, name in enumerate(names):
        shuffled = np.repeat(columns[None], 20, axis=0)
        shuffled[..., place] = rng.permuted(shuffled[..., place], axis=1)
        drops[name] = r2 - float(_r2_out_of_bag(forest, shuffled, scores).mean())
    return Importance(r2=r2, drops=dict(sorted(drops.items(), key=lambda pair: -pair[1])))


def _r2_out_of_bag(forest: Any, columns: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns R2 of the trees that were fitted without the trial they predict, float [n].

    Args:
        forest: Fitted, of scikit-learn.
        columns: Settings as numbers, n versions of them, float [n, trials, settings].
        scores: Scores of the trials, float [trials].
    """
    versions, trials, settings = columns.shape
    total, trees = np.zeros((versions, trials)), np.zeros(trials)
    for tree, seen in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        without = ~np.isin(np.arange(trials), seen)
        found = tree.predict(columns.reshape(-1, settings)).reshape(versions, trials)
        total += np.where(without, found, 0)
        trees += without
    errors: np.ndarray = ((total / trees - scores) ** 2).mean(axis=1)
    return 1 - errors / float(scores.var())


def write_page(path: Path, records: Sequence[TrialRecord], *, title: str, objective: str) -> None:
    """Writes one HTML page without links: pictures and the ranked table."""
    names = setting_names(records)
    rows = [
        {"record": record, "cells": [text_of(record.settings.get(name)) for name in names]}
        for record in ranked(records)
    ]
    of_settings = importance(records)
    html = render(
        "tuning", "ranking.html.jinja",
        title=title, objective=objective, names=names, rows=rows,
        failed=sum(r.score is None for r in records),
        pictures=_pictures(records, objective, of_settings),
        unexplained=of_settings is not None and of_settings.r2 <= 0,
    )  # fmt: skip
    write_text(path, html)


def _pictures(
    records: Sequence[TrialRecord], objective: str, of_settings: Importance | None
) -> list[tuple[str, str]]:
    from tuning import charts

    done = [r for r in ranked(records) if r.score is not None]
    found = []
    if len(done) > 1:
        figure = charts.parallel_coordinates(done, setting_names(done), objective)
        found.append(("Every trial as a line through its settings; the best are dark", figure))
        found.append(("Score of each trial in the order of the search", charts.course(records)))
    if of_settings and of_settings.r2 > 0:
        caption = (
            "How much R² drops for left-out trials when a setting's values are shuffled, of "
            f"{of_settings.r2:.2f} by a random forest; from {len(done)} trials this is a hint, and "
            "chance alone can do the like"
        )
        found.append((caption, charts.bars(of_settings.drops)))
    return [(caption, figure_url(figure)) for caption, figure in found]
