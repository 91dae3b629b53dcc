"""Cleaning of maps: known small cases, and streamed equals whole."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_export import cleaning, model_info, predict_options
from scipy import ndimage

from landcover_tf.errors import ConfigError
from landcover_tf.legend import IGNORED, load_legend
from serving.halo import map_with_halo
from serving.objects import LEAST_FILL_ROUNDS, fill_removed, without_small_objects
from serving.postprocess import (
    Cleaning,
    box_sum,
    clean,
    label_vote,
    mark_uncertain,
    probability_vote,
    refined,
)
from serving.row_bands import BandStore

NINE_CLASSES = model_info(class_codes=load_legend("landcover9").codes)


def _blocks(raster: np.ndarray, heights: list[int]) -> Iterator[np.ndarray]:
    row = 0
    for height in heights:
        yield raster[:, row : row + height]
        row += height
    if row < raster.shape[1]:
        yield raster[:, row:]


def _cuts(draw: st.DrawFn, height: int) -> list[int]:
    heights = []
    while sum(heights) < height:
        heights.append(draw(st.integers(1, 25)))
    heights[-1] -= sum(heights) - height
    return [h for h in heights if h]


@st.composite
def _maps(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = draw(st.integers(1, 4))
    # Smooth noise has large, small and winding objects alike.
    field = ndimage.uniform_filter(rng.random((classes, height, width)), (0, 3, 3))
    labels = field.argmax(axis=0).astype(np.uint8)
    labels[rng.random((height, width)) < draw(st.sampled_from([0.0, 0.1]))] = IGNORED
    levels = rng.integers(0, 255, (1 + classes, height, width), dtype=np.uint8)
    return np.concatenate([labels[None], levels]), _cuts(draw, height)


@given(
    _maps(),
    st.sampled_from([3, 5, 7]),
    st.sampled_from(["probabilities", "labels", "none"]),
    st.sampled_from([3, 9]),
)
@settings(max_examples=60)
def test_votes_streamed_equal_votes_on_the_whole(
    case: tuple[np.ndarray, list[int]], window: int, refine: str, majority: int
) -> None:
    raster, heights = case
    wanted = cleaning(refine=refine, refine_window=window, majority=majority)
    whole = np.concatenate(list(refined([raster], wanted)), axis=1)
    parts = list(refined(_blocks(raster, heights), wanted))
    assert [p.shape[1] for p in parts] == heights
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@given(_maps(), st.integers(2, 60))
@settings(max_examples=100)
def test_objects_removed_in_blocks_equal_objects_removed_on_the_whole(
    case: tuple[np.ndarray, list[int]], least: int
) -> None:
    raster, heights = case
    sizes = cleaning(min_object_size=least, sieve={1: 5}).least_sizes
    whole = np.concatenate(list(without_small_objects(lambda: [raster], sizes)), axis=1)
    parts = list(without_small_objects(lambda: _blocks(raster, heights), sizes))
    assert [p.shape[1] for p in parts] == heights
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(whole[0] == IGNORED, raster[0] == IGNORED)


@given(_maps(), st.integers(2, 30))
@settings(max_examples=60)
def test_objects_of_the_least_size_are_kept_and_smaller_ones_are_not(
    case: tuple[np.ndarray, list[int]], least: int
) -> None:
    raster, heights = case
    sizes = cleaning(min_object_size=least).least_sizes
    out = np.concatenate(list(without_small_objects(lambda: _blocks(raster, heights), sizes)), 1)[0]
    # A second way to measure: scipy labels one class at a time.
    large = np.zeros(raster.shape[1:], bool)
    for c in set(np.unique(raster[0])) - {IGNORED}:
        labels, _ = ndimage.label(raster[0] == c)
        large |= (np.bincount(labels.ravel())[labels] >= least) & (labels > 0)
    np.testing.assert_array_equal(out[large], raster[0][large])
    if large.any() and not (raster[0] == IGNORED).any():
        # The fill advances one pixel a round, over the sides of pixels.
        reached = ndimage.distance_transform_cdt(~large, "taxicab") <= LEAST_FILL_ROUNDS
        assert np.isin(out[reached], np.unique(raster[0][large])).all()
        np.testing.assert_array_equal(out[~reached], raster[0][~reached])
        if reached.all():
            # Every removed pixel joined an object that stays: no small one is left or made.
            for c in np.unique(out):
                assert np.bincount(ndimage.label(out == c)[0].ravel())[1:].min() >= least


def test_box_sum_equals_brute_force() -> None:
    values = np.random.default_rng(1).integers(0, 255, (9, 11))
    padded = np.pad(values, 3)
    expected = [[padded[r : r + 7, c : c + 7].sum() for c in range(11)] for r in range(9)]
    result = box_sum(values, 7, limit=254)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, expected)
    assert box_sum(values, 17, limit=254).dtype == np.uint32  # 254 * 17 * 17 > 65535.


def test_probability_vote_by_hand() -> None:
    # One row, window 3. Sums of class 0: 100 160 110; of class 1: 30 100 90 ... middle: class 0.
    block = np.array([[[1, 1, 0]], [[9, 9, 9]], [[60, 40, 60]], [[20, 10, 70]]], np.uint8)
    voted = probability_vote(block, 3)
    assert voted[0].tolist() == [[0, 0, 0]]
    # Means over the pixels in reach: (60+40)/2, (60+40+60)/3 = 53.3, (40+60)/2.
    assert voted[1].tolist() == [[50, 53, 50]]


def test_the_mean_of_a_vote_rounds_half_up_and_is_of_pixels_with_data() -> None:
    block = np.array([[[0, 255, 0, 0]], [[9, 255, 9, 9]], [[60, 255, 60, 91]]], np.uint8)
    # The first pixel has no neighbour with data; the last two have each other: 151 / 2 = 75.5.
    assert probability_vote(block, 3).tolist() == [[[0, 255, 0, 0]], [[60, 255, 76, 76]]]


def test_probability_vote_takes_the_lowest_class_at_a_tie() -> None:
    block = np.array([[[1]], [[9]], [[50]], [[50]]], np.uint8)
    assert probability_vote(block, 3).tolist() == [[[0]], [[50]]]


def test_label_vote_keeps_its_own_class_at_a_tie() -> None:
    labels = np.array([[2, 2, 0, 0]], np.uint8)
    block = np.stack([labels, np.full_like(labels, 7)])
    # Pixel 1 sees 2 2 0, pixel 2 sees 2 0 0; the ends see two of their own.
    assert label_vote(block, 3)[0].tolist() == [[2, 2, 0, 0]]
    lonely = np.array([[2, 0, 2, 1]], np.uint8)
    # Pixel 1 sees 2 0 2; pixel 2 sees 0 2 1 and keeps 2; pixel 3 sees 2 1 and keeps 1.
    assert label_vote(np.stack([lonely, lonely]), 3)[0].tolist() == [[2, 2, 2, 1]]


def test_votes_ignore_pixels_without_data() -> None:
    labels = np.array([[IGNORED, IGNORED, 3]], np.uint8)
    assert label_vote(np.stack([labels, labels]), 3)[0].tolist() == [[IGNORED, IGNORED, 3]]


def test_fill_takes_the_commonest_neighbour() -> None:
    classes = np.array([[1, 1, 2], [1, 0, 2], [1, 2, 2]], np.uint8)
    removed = classes == 0
    # Around the middle: four 1, four 2; the lower class wins the tie.
    assert fill_removed(classes, removed, 5)[1, 1] == 1
    classes[0, 0] = 2
    assert fill_removed(classes, removed, 5)[1, 1] == 2


def test_fill_takes_no_class_that_touches_by_a_corner_alone() -> None:
    # Around the middle: four 3, which touch it at corners, and by sides two 1, one 2.
    classes = np.array([[3, 1, 3], [1, 0, 2], [3, 0, 3]], np.uint8)
    removed = classes == 0
    assert fill_removed(classes, removed, 5)[1, 1] == 1
    # Below it two 3 by sides, one 1 and one 2 by corners.
    assert fill_removed(classes, removed, 5)[2, 1] == 3


def test_fill_keeps_what_it_cannot_reach() -> None:
    classes = np.full((1, 10), 4, np.uint8)
    classes[0, 0] = 7
    removed = classes == 4
    assert fill_removed(classes, removed, 3).tolist() == [[7, 7, 7, 7, 4, 4, 4, 4, 4, 4]]
    assert (fill_removed(classes, np.ones_like(removed), 3) == classes).all()


def test_an_object_of_any_size_is_filled_to_its_middle() -> None:
    raster = np.zeros((2, 110, 110), np.uint8)
    raster[0, 20:90, 20:90] = 1  # The middle is 35 px from the edge.
    wanted = cleaning(min_object_size=70 * 70 + 1)
    (block,) = without_small_objects(lambda: [raster], wanted.least_sizes)
    assert not block[0].any()


def test_sieve_per_class_overrides_the_common_size() -> None:
    raster = np.zeros((2, 1, 12), np.uint8)
    raster[0, 0] = [0, 0, 0, 0, 1, 1, 0, 0, 2, 2, 0, 0]
    wanted = cleaning(min_object_size=3, sieve={2: 1, 0: 0})
    (block,) = without_small_objects(lambda: [raster], wanted.least_sizes)
    assert block[0].tolist() == [[0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0]]


def test_a_halo_longer_than_blocks_reaches_through_them() -> None:
    raster = np.arange(10, dtype=np.int64)[None, :, None]

    def window_sum(block: np.ndarray) -> np.ndarray:
        return ndimage.convolve1d(block, np.ones(9, int), axis=1, mode="constant")

    parts = list(map_with_halo(_blocks(raster, [1, 2, 1, 3, 3]), 4, window_sum))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), window_sum(raster))


@pytest.mark.parametrize("uncertain_below", [0.0, 0.5])
@pytest.mark.parametrize("least", [0, 4])
def test_cleaning_a_store_equals_cleaning_the_raster(
    tmp_path: Path, least: int, uncertain_below: float
) -> None:
    rng = np.random.default_rng(3)
    raster = rng.integers(0, 255, (5, 50, 40), dtype=np.uint8)
    raster[0] %= 3
    names = ("class", "confidence", "probability_0", "probability_1", "probability_2")
    store = BandStore(tmp_path / "network", names, [(0, 20), (20, 50)])
    store.prepare({}, overwrite=False, same_source=lambda found: True)
    store.write(0, raster[:, :20])
    store.write(1, raster[:, 20:])
    wanted = cleaning(
        refine="probabilities",
        majority=3,
        uncertain_below=uncertain_below,
        min_object_size=least,
    )
    cleaned = clean(store, wanted, tmp_path, block_rows=16)
    (whole,) = refined([raster], wanted)
    unsure = (whole[1] < 127) & (uncertain_below > 0)  # 0.5 x 254 = 127.
    whole[0][unsure] = 8  # After the legend's eight classes.
    assert unsure.any() == (uncertain_below > 0)
    if least:
        (whole,) = without_small_objects(lambda: [whole], wanted.least_sizes)
    np.testing.assert_array_equal(cleaned.rows(0, 50, (0, 1)), whole)
    left = "final" if least or uncertain_below else "voted"
    assert {path.name for path in tmp_path.iterdir()} == {"network", left}


@given(_maps(), st.integers(2, 60), st.sampled_from([0.2, 0.6]))
@settings(max_examples=60)
def test_uncertain_objects_removed_in_blocks_equal_those_removed_on_the_whole(
    case: tuple[np.ndarray, list[int]], least: int, limit: float
) -> None:
    raster, heights = case[0][:2], case[1]
    wanted = cleaning(min_object_size=least, uncertain_below=limit)
    (marked,) = mark_uncertain([raster], wanted)
    np.testing.assert_array_equal(
        marked[0], np.where((raster[1] < limit * 254) & (raster[0] != IGNORED), 8, raster[0])
    )
    (whole,) = without_small_objects(lambda: [marked], wanted.least_sizes)
    parts = without_small_objects(
        lambda: mark_uncertain(_blocks(raster, heights), wanted), wanted.least_sizes
    )
    np.testing.assert_array_equal(np.concatenate(list(parts), axis=1), whole)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (cleaning(min_object_size=0), "none"),
        (cleaning(min_object_size=0, sieve={3: 50}), "urban areas under 50 px removed"),
        (cleaning(min_object_size=1, sieve={3: 0}), "none"),
        (
            cleaning(sieve={3: 50, 5: 0}),
            "objects under 20 px removed; urban areas under 50 px removed; "
            "water bodies of any size kept",
        ),
        (
            cleaning(majority=3, uncertain_below=0.5),
            "majority 3x3; confidence under 0.5 uncertain; objects under 20 px removed",
        ),
    ],
)
def test_the_steps_are_told_in_their_order_by_the_names_of_classes(
    wanted: Cleaning, said: str
) -> None:
    assert str(wanted) == said


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (cleaning(min_object_size=0), "probability of the network's class"),
        (cleaning(min_object_size=4), "probability of the network's class, before post-processing"),
        (
            cleaning(min_object_size=0, sieve={2: 4}),
            "probability of the network's class, before post-processing",
        ),
        (cleaning(refine="labels"), "probability of the network's class, before post-processing"),
        (
            cleaning(refine="probabilities", min_object_size=0),
            "mean probability of the class voted for",
        ),
        (
            cleaning(refine="probabilities", majority=3),
            "mean probability of the class voted for, before later steps",
        ),
    ],
)
def test_the_confidence_tells_of_which_class_it_is(wanted: Cleaning, said: str) -> None:
    assert wanted.confidence == f"confidence: {said}"


def test_a_removed_object_leaves_its_confidence() -> None:
    raster = np.zeros((2, 9, 9), np.uint8)
    raster[1] = 240
    raster[0, 3:6, 3:6], raster[1, 3:6, 3:6] = 2, 200
    (block,) = without_small_objects(lambda: [raster], cleaning(min_object_size=20).least_sizes)
    assert (block[0] == 0).all()
    np.testing.assert_array_equal(block[1], raster[1])


@pytest.mark.parametrize("entry", ["urban areas", "nowhere=4", "urban areas=x", "60=²", "0=5"])
def test_a_wrong_sieve_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="--sieve expects CLASS=PIXELS"):
        predict_options(NINE_CLASSES, sieve=(entry,))


def test_sieve_accepts_names_and_codes() -> None:
    found = predict_options(NINE_CLASSES, sieve=("urban areas=5", "60=9")).cleaning
    assert found.sieve == {3: 5, 5: 9}


def test_sieve_takes_the_uncertain_where_there_are_any() -> None:
    # A model of five classes: the uncertain are the sixth.
    found = predict_options(sieve=("uncertain=0",), uncertain_below=0.5).cleaning
    assert found.sieve == {5: 0}
    assert found.least_sizes[:6].tolist() == [20] * 5 + [0]
    with pytest.raises(ConfigError, match="got 'uncertain=0'"):
        predict_options(NINE_CLASSES, sieve=("uncertain=0",))


@pytest.mark.parametrize("side", [6, 0, -1])
def test_windows_without_a_middle_are_refused(side: int) -> None:
    with pytest.raises(ConfigError, match=f"refine_window must be odd and positive, got {side}"):
        predict_options(refine_window=side)
