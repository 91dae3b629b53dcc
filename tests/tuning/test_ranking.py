import csv
import re

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from tuning import charts, ranking
from tuning.columns import positions
from tuning.trials import TrialRecord


def record(number, score, **settings):
    return TrialRecord(
        id=f"{number:02d}", settings={"model": "resnet18", **settings}, score=score, best_epoch=1,
        status="failed" if score is None else "completed", epochs=2, seconds=60.0,
        error="out of memory" if score is None else "",
    )  # fmt: skip


@pytest.fixture
def records():
    rng = np.random.default_rng(0)
    found = []
    for number in range(12):
        lr = 10 ** rng.uniform(-4, -2)
        settings = {"lr": lr, "dropped": int(rng.integers(3)), "filters": [8, 4 * (number % 2)]}
        found.append(record(number, 0.5 + 0.1 * np.log10(lr), **settings))
    return [*found, record(12, None, lr=1.0, dropped=0, filters=[8, 0])]


def test_the_best_come_first_and_failed_ones_last(records):
    order = ranking.ranked(records)
    scores = [r.score for r in order]
    assert scores[-1] is None
    assert scores[:-1] == sorted(scores[:-1], reverse=True)


def test_settings_that_differ_in_their_epochs_alone_are_one():
    # Hyperband's trial 3 is trial 0 for more epochs.
    found = [record(3, 0.7, lr=1e-3, epochs=9), record(1, 0.6, lr=2e-3, epochs=3),
             record(0, 0.5, lr=1e-3, epochs=3)]  # fmt: skip
    assert [r.id for r in ranking.distinct(found)] == ["03", "01"]


def test_settings_that_never_vary_are_left_out(records):
    assert ranking.setting_names(records) == ["lr", "dropped", "filters"]
    assert "resnet18" not in ranking.table(records, "mean_f1")


def test_importance_names_the_setting_that_decides(records):
    found = ranking.importance(records)
    assert found.r2 > 0.5
    assert next(iter(found.drops)) == "lr"
    assert found.drops["lr"] > 10 * abs(found.drops["dropped"])
    assert ranking.importance(records[:4]) is None
    assert ranking.importance([record(i, 0.5, lr=0.1 * i) for i in range(6)]) is None


def test_out_of_bag_values_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    columns, scores = rng.uniform(size=(15, 3)), rng.uniform(size=15)
    forest = RandomForestRegressor(200, oob_score=True, random_state=0).fit(columns, scores)
    found = ranking._r2_out_of_bag(forest, columns[None], scores)
    np.testing.assert_allclose(found, [forest.oob_score_])


def test_scores_by_chance_are_explained_by_no_setting(tmp_path):
    rng = np.random.default_rng(1)
    noise = [
        record(i, rng.normal(0.5, 0.02), lr=10 ** rng.uniform(-4, -2), rotated=int(rng.integers(2)))
        for i in range(20)
    ]
    assert ranking.importance(noise).r2 <= 0
    path = tmp_path / "page.html"
    ranking.write_page(path, noise, title="Noise", objective="mean_f1")
    text = path.read_text()
    assert text.count("<img") == 2
    assert "No picture shows which settings mattered" in text


def test_places_on_an_axis():
    place, labels = positions([0.001, 0.1, 0.01])
    np.testing.assert_allclose(place, [0, 1, 0.5])
    assert labels == ["0.001", "0.1"]
    place, _ = positions([1, 2, 4])
    np.testing.assert_allclose(place, [0, 1 / 3, 1])
    place, labels = positions(["none", "auto", "none"])
    assert place.tolist() == [0, 1, 0] and labels == ["none", "auto"]
    # A learning rate of `quick`, between 1e-4 and 5e-3: the middle of the scale is 7e-4.
    place, _ = positions([2e-4, 7e-4, 2.45e-3])
    np.testing.assert_allclose(place, [0, 0.5, 1], atol=1e-3)
    assert positions([2, 2])[0].tolist() == [0.5, 0.5]


def test_the_table_holds_every_trial(records, tmp_path):
    ranking.write_table(tmp_path / "a.csv", records)
    with (tmp_path / "a.csv").open(newline="") as file:
        text = file.read()
    assert "\r" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(row["rank"]) for row in rows] == list(range(1, 14))
    assert rows[0]["trial"] == ranking.ranked(records)[0].id
    assert rows[-1]["error"] == "out of memory" and rows[-1]["score"] == ""
    assert rows[0]["model"] == "resnet18"


def test_the_page_stands_alone(records, tmp_path):
    path = tmp_path / "page.html"
    ranking.write_page(path, records, title="Search <quick>", objective="mean_f1")
    text = path.read_text()
    assert "Search &lt;quick&gt;" in text
    assert len(re.findall(r'<img src="data:image/png;base64,', text)) == 3
    assert "http" not in text
    assert text.count("<tr") == 14


def test_every_line_passes_through_its_values(records):
    done = [r for r in records if r.score is not None]
    figure = charts.parallel_coordinates(done, ["lr", "filters"], "mean_f1")
    lines = [line for line in figure.axes[0].lines if len(line.get_ydata()) == 3]
    assert len(lines) == len(done)
    best = lines[-1].get_ydata()
    assert best[0] == best[2] == 1.0


def test_scores_lie_on_a_linear_axis():
    records = [record(i, score, lr=0.1 * i) for i, score in enumerate((0.01, 0.21, 0.41))]
    figure = charts.parallel_coordinates(records, ["lr"], "mean_f1")
    ends = [line.get_ydata()[1] for line in figure.axes[0].lines if len(line.get_ydata()) == 2]
    np.testing.assert_allclose(ends[:3], [0, 0.5, 1])


def test_a_setting_that_hyperband_trained_again_explains_no_noise():
    """Its earlier trial told the forest its score: R² was 0.39."""
    rng = np.random.default_rng(2)
    settings = [(10 ** rng.uniform(-4, -2), 0.7 + 0.02 * rng.normal()) for _ in range(12)]
    rounds = [(settings, 2), (settings[:4], 4), (settings[:2], 10)]
    trials = [
        record(number, score, lr=lr, epochs=epochs)
        for chosen, epochs in rounds
        for number, (lr, score) in enumerate(chosen)
    ]
    assert ranking.importance(trials).r2 <= 0
