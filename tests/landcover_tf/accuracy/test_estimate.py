"""Estimators against the published example, its closed formulas, and simulated surveys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_tf.accuracy.estimate import Sample, assess
from landcover_tf.accuracy.scores import scores

# The worked example of Olofsson et al. (2014), section 5: rows are map classes (deforestation,
# forest gain, stable forest, stable non-forest), columns reference classes; 30 m pixels.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = 30 * 30 / 10_000


def sample_of(counts, pixels) -> Sample:
    mapped, reference = np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0).T
    return Sample(mapped=mapped, reference=reference, stratum=mapped, pixels=np.asarray(pixels))


def test_the_published_example():
    found = assess(sample_of(COUNTS, PIXELS), 4)
    np.testing.assert_array_equal(found.counts, COUNTS)
    assert (round(found.overall.value, 4), round(found.overall.half_width, 4)) == (0.9465, 0.0185)

    def rounded(estimates, digits=4, factor=1.0):
        return (
            [round(e.value * factor, digits) for e in estimates],
            [round(e.half_width * factor, digits) for e in estimates],
        )

    assert rounded(found.users) == ([0.88, 0.7333, 0.9273, 0.9631],
                                    [0.074, 0.1008, 0.0397, 0.0205])  # fmt: skip
    assert rounded(found.producers) == ([0.7487, 0.8472, 0.9345, 0.9616],
                                        [0.2133, 0.2544, 0.0343, 0.0184])  # fmt: skip
    areas, halves = rounded(found.area, 0, PIXELS.sum() * HECTARES)
    assert areas == [21158, 11686, 285770, 581386]
    np.testing.assert_allclose(halves, [6158, 3756, 15510, 16282], atol=1)


def olofsson(counts, pixels):
    """Standard errors by the closed formulas of section 6.2 of Olofsson et al. (2014)."""
    n = counts.sum(axis=1)
    share = counts / n[:, None]
    weight = pixels / pixels.sum()
    users = np.diagonal(share)
    overall = np.sqrt((weight**2 * users * (1 - users) / (n - 1)).sum())
    cells = weight[:, None] * share
    area = np.sqrt(((weight[:, None] * cells - cells**2) / (n - 1)[:, None]).sum(axis=0))
    totals = (pixels[:, None] * share).sum(axis=0)
    producers = []
    for j in range(len(n)):
        p = pixels[j] * users[j] / totals[j]
        own = pixels[j] ** 2 * (1 - p) ** 2 * users[j] * (1 - users[j]) / (n[j] - 1)
        others = sum(
            pixels[i] ** 2 * share[i, j] * (1 - share[i, j]) / (n[i] - 1)
            for i in range(len(n)) if i != j
        )  # fmt: skip
        producers.append(np.sqrt(own + p**2 * others) / totals[j])
    return overall, np.sqrt(users * (1 - users) / (n - 1)), producers, area


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(1, 40), min_size=3, max_size=3), min_size=3, max_size=3),
    st.lists(st.integers(1_000, 10**7), min_size=3, max_size=3),
)
def test_the_general_estimator_is_olofssons_when_the_strata_are_the_maps_classes(counts, pixels):
    counts, pixels = np.array(counts), np.array(pixels)
    found = assess(sample_of(counts, pixels), 3)
    overall, users, producers, area = olofsson(counts, pixels)
    np.testing.assert_allclose(found.overall.standard_error, overall)
    np.testing.assert_allclose([e.standard_error for e in found.users], users)
    np.testing.assert_allclose([e.standard_error for e in found.producers], producers)
    np.testing.assert_allclose([e.standard_error for e in found.area], area, rtol=1e-6)
    np.testing.assert_allclose(found.proportions.sum(), 1)
    assert sum(e.value for e in found.area) == pytest.approx(1)


# The worked example of Stehman (2014), table 2: ten points in each of the strata A to D, whose
# classes are not those of the map.
STRATA = {"A": 40_000, "B": 30_000, "C": 20_000, "D": 10_000}
STRATUM = "A" * 10 + "B" * 10 + "C" * 10 + "D" * 10
MAP = "AAAAAAABBBABBBBBBBBBBBCCCCCCBBDDDDDDDDDD"
REFERENCE = "AAAAACBABCABBBBBAABBCCCCCDDBBADDDDDDDCCB"


def test_the_published_example_of_strata_that_are_not_the_maps_classes():
    place = "ABCD".index
    found = assess(
        Sample(
            mapped=np.array([place(c) for c in MAP]),
            reference=np.array([place(c) for c in REFERENCE]),
            stratum=np.array([place(c) for c in STRATUM]),
            pixels=np.array([*STRATA.values()]),
        ),
        4,
    )

    def column(estimates, name):
        return [round(getattr(e, name), 4) for e in estimates]

    # Pages 4932 to 4936 of the paper.
    assert round(found.overall.value, 2) == 0.63
    assert round(found.overall.standard_error, 3) == 0.085
    assert (round(found.area[0].value, 2), round(found.area[0].standard_error, 3)) == (0.35, 0.082)
    assert (round(found.area[2].value, 2), round(found.area[2].standard_error, 3)) == (0.20, 0.064)
    assert round(found.proportions[1, 2], 2) == 0.08
    # All classes as the R package mapac gives them for the example, but for its errors of F1,
    # which take user's and producer's accuracy for independent.
    assert column(found.users, "value") == [0.7419, 0.5745, 0.5, 0.7]
    assert column(found.users, "standard_error") == [0.1646, 0.1248, 0.2152, 0.1528]
    assert column(found.producers, "value") == [0.6571, 0.7941, 0.3, 0.6364]
    assert column(found.producers, "standard_error") == [0.1477, 0.1166, 0.1504, 0.1623]
    assert column(found.f1, "value") == [0.697, 0.6667, 0.375, 0.6667]


def test_f1_and_iou_come_from_areas_not_from_counts():
    found = assess(sample_of(COUNTS, PIXELS), 4)
    p = found.proportions
    rows, columns, correct = p.sum(axis=1), p.sum(axis=0), np.diagonal(p)
    np.testing.assert_allclose([e.value for e in found.f1], 2 * correct / (rows + columns))
    np.testing.assert_allclose([e.value for e in found.iou], correct / (rows + columns - correct))
    assert found.mean_iou.value == pytest.approx(np.mean([e.value for e in found.iou]))
    raw = 2 * 66 / (75 + 69)
    assert abs(found.f1[0].value - raw) > 0.05


def population(rng, size=60_000):
    """A map, an older map whose classes are the strata, and the truth, of three classes."""
    truth = rng.choice(3, size, p=[0.6, 0.3, 0.1])

    def wrong(rate):
        return np.where(rng.random(size) < rate, rng.choice(3, size), truth)

    mapped = wrong(0.2)
    mapped[rng.random(size) < 0.3] = -1  # Clouds over the assessed map.
    return mapped, wrong(0.3), truth


def test_strata_of_another_map_give_unbiased_figures_and_honest_intervals():
    rng = np.random.default_rng(3)
    mapped, strata, truth = population(rng)
    inside = mapped >= 0
    hit = (mapped == truth) & inside
    one, real = (mapped == 1) & inside, (truth == 1) & inside
    facts = {
        "overall": hit.sum() / inside.sum(),
        "users": (one & real).sum() / one.sum(),
        "producers": (one & real).sum() / real.sum(),
        "area": real.sum() / inside.sum(),
        "area_pixels": real.sum(),
        "mapped_pixels": one.sum(),
        "f1": 2 * (one & real).sum() / (one.sum() + real.sum()),
        "iou": (one & real).sum() / (one | real).sum(),
    }
    pixels = np.bincount(strata)
    members = [np.flatnonzero(strata == h) for h in range(3)]
    found = {name: [] for name in facts}
    covered = dict.fromkeys(facts, 0)
    surveys = 400
    for _ in range(surveys):
        chosen = np.concatenate([rng.choice(m, 100, replace=False) for m in members])
        result = assess(
            Sample(mapped=mapped[chosen], reference=truth[chosen], stratum=strata[chosen],
                   pixels=pixels), 3,
        )  # fmt: skip
        for name, fact in facts.items():
            estimate = getattr(result, name)
            estimate = estimate if name == "overall" else estimate[1]
            found[name].append((estimate.value, estimate.standard_error))
            covered[name] += abs(estimate.value - fact) <= estimate.half_width
    for name, fact in facts.items():
        values, errors = np.array(found[name]).T
        # The spread of 400 surveys is known to 3.5 %, their mean to a twentieth of it.
        assert abs(values.mean() - fact) < 4 * values.std() / np.sqrt(surveys), name
        assert values.std() == pytest.approx(errors.mean(), rel=0.15), name
        assert 0.9 < covered[name] / surveys < 0.99, name


def test_a_class_that_nobody_found_has_no_accuracy_but_an_area_of_zero():
    counts = np.array([[10, 2, 0], [1, 9, 0], [0, 0, 0]])
    found = assess(sample_of(counts, [500, 300, 0]), 3)
    assert np.isnan(found.users[2].value)
    assert np.isnan(found.producers[2].value)
    assert found.area[2].value == 0
    assert found.mean_f1.value == pytest.approx(np.mean([e.value for e in found.f1[:2]]))
    assert found.users[2].to_dict()["value"] is None
    assert found.users[2].to_dict()["low"] is None


def test_a_census_has_the_means_of_the_scores():
    """Two points are mapped as a class that is nowhere true: no class to take a mean over."""
    counts = np.array([[30, 4, 0], [1, 9, 0], [1, 1, 0]])
    found, expected = assess(sample_of(counts, counts.sum(axis=1)), 3), scores(counts.T)
    assert found.mean_f1.value == pytest.approx(expected.mean_f1)
    assert found.mean_iou.value == pytest.approx(expected.mean_iou)
    assert found.mean_f1.standard_error == found.mean_iou.standard_error == 0
    # Two F1 by hand: 60 / (34 + 32) and 18 / (10 + 14).
    assert found.mean_f1.value == pytest.approx((60 / 66 + 18 / 24) / 2)


def test_the_area_of_a_class_that_no_point_has_is_bounded():
    """Of 20 points that stand for 50 pixels each and 12 for 25 each, in 1300 pixels."""
    counts = np.array([[18, 2, 0], [1, 11, 0], [0, 0, 0]])
    found = assess(sample_of(counts, [1000, 300, 0]), 3)
    # ln(0.05) = -2.9957; at worst the class is in the stratum whose points stand for 50 pixels.
    expected = 2.9957 * 50 / 1300
    area = found.area[2].to_dict()
    assert (area["value"], area["low"]) == (0, 0)
    assert area["high"] == pytest.approx(expected, rel=1e-4)
    assert found.area[0].bound is None
    # A pixel is 0.01 ha.
    for areas in (found.area_pixels, found.mapped_pixels):
        assert areas[2].to_dict(0.01, 13.0)["high"] == pytest.approx(1.498, rel=1e-3)
    # If that much of the stratum had it, 20 points would miss it one time in twenty at most.
    assert (1 - expected * 1300 / 1000) ** 20 <= 0.05
    complete = assess(sample_of(counts, [20, 12, 0]), 3)
    assert complete.area[2].to_dict()["high"] == 0


def test_classes_of_the_map_and_of_the_reference_are_bounded_each_by_its_own_points():
    mapped, reference = np.array([[0, 1, 0, 0], [0, 0, 2, 0]])
    points = {"stratum": np.zeros(4, int), "pixels": np.array([100])}
    found = assess(Sample(mapped=mapped, reference=reference, **points), 3)
    for estimates, bounded in (
        (found.mapped, 2), (found.mapped_pixels, 2), (found.area, 1), (found.area_pixels, 1),
    ):  # fmt: skip
        assert [c for c, e in enumerate(estimates) if e.bound is not None] == [bounded]


def test_points_outside_the_map_count_in_no_figure():
    mapped, reference = np.array([[0, 0, 1, -1, 1, 1], [0, 1, 1, 0, 1, 1]])
    stratum = np.array([0, 0, 0, 0, 1, 1])
    pixels = np.array([100, 40])
    found = assess(Sample(mapped=mapped, reference=reference, stratum=stratum, pixels=pixels), 2)
    # Points of the first stratum stand for 25 px, of the second for 20: 115 px are mapped.
    np.testing.assert_allclose(found.proportions * 115, [[25, 25], [0, 65]])


def test_a_stratum_labelled_completely_has_no_sampling_error():
    counts = np.array([[3, 1], [2, 8]])
    found = assess(sample_of(counts, [4, 10]), 2)
    assert found.overall.value == pytest.approx(11 / 14)
    assert found.overall.standard_error == 0


def test_intervals_stay_within_what_a_share_can_be():
    found = assess(sample_of(np.array([[19, 1], [1, 19]]), [1000, 1000]), 2)
    assert found.users[0].value + found.users[0].half_width > 1
    assert found.users[0].to_dict()["high"] == 1.0
    assert found.users[0].to_dict()["half_width"] == pytest.approx(found.users[0].half_width)
