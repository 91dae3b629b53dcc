import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.errors import LabelError, LegendError
from landcover_tf.legend import (
    legend_names,
    load_legend,
)

DEFAULT = "landcover9"
OWN = (
    'name = "own"\n'
    '[[classes]]\ncode = 1\nname = "maize"\ncolor = "#e6c229"\n'
    '[[classes]]\ncode = 2\nname = "wheat"\ncolor = "#8c5a2b"\n'
)


@pytest.mark.parametrize("name", legend_names())
def test_every_shipped_legend_maps_each_of_its_codes(name):
    source = load_legend(name)
    crosswalk = load_crosswalk(name, "landcover9")
    assert {source.nodata, *source.codes} <= set(crosswalk.codes)


def test_worldcover_crosswalk_by_hand():
    worldcover = np.array([[10, 20, 30, 40], [50, 60, 80, 90], [95, 100, 70, 0]], np.uint8)
    expected = [[20, 80, 30, 10], [40, 90, 60, 50], [50, 80, 90, 0]]
    np.testing.assert_array_equal(
        load_crosswalk("worldcover", "landcover9").remap(worldcover), expected
    )


def test_dynamic_world_zero_is_water_and_not_no_data():
    remapped = load_crosswalk("dynamicworld", "landcover9").remap(np.array([0, 255]))
    assert remapped.tolist() == [60, 0]


def test_corine_takes_grid_codes_and_level_three_codes():
    crosswalk = load_crosswalk("corine", "landcover9")
    # 1 and 111 are continuous urban fabric, 44 and 523 sea; 48 and -128 no data.
    codes = np.array([1, 111, 44, 523, 48, -128], np.int16)
    assert crosswalk.remap(codes).tolist() == [40, 40, 60, 60, 0, 0]


def test_unknown_codes_are_refused_and_counted():
    crosswalk = load_crosswalk("worldcover", "landcover9")
    labels = np.array([[10, 77], [77, 33]], np.uint8)
    with pytest.raises(
        LabelError, match=r"labels\.tif has codes .* know: 33 \(1 px\), 77 \(2 px\)"
    ):
        crosswalk.remap(labels, where="labels.tif")
    assert crosswalk.unknown_counts(labels) == {33: 1, 77: 2}
    np.testing.assert_array_equal(crosswalk.remap(labels, unknown="ignore"), [[20, 0], [0, 0]])


@given(st.lists(st.sampled_from([0, 10, 20, 30, 40, 50, 60, 80, 90]), min_size=1, max_size=50))
def test_remapping_to_the_same_legend_twice_equals_once(codes):
    labels = np.array(codes, np.uint8)
    identity = load_crosswalk("landcover9", "landcover9")
    np.testing.assert_array_equal(identity.remap(identity.remap(labels)), identity.remap(labels))


def test_a_legend_file_of_the_user_brings_its_crosswalk(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[[classes]]\ncode = 1\nname = "wood"\ncolor = "#00ff00"\n'
        "[crosswalks.landcover9]\n0 = 0\n1 = 20\n"
    )
    assert load_crosswalk(path, "landcover9").remap(np.array([1, 0])).tolist() == [20, 0]
    with pytest.raises(LegendError, match="no crosswalk to 'worldcover'"):
        load_crosswalk(path, "worldcover")


def test_classes_that_become_one_are_counted(tmp_path):
    # 20, 100 and 90, 95 and 60, 70 of WorldCover's eleven classes share one; 0 is no class.
    told = load_crosswalk("worldcover", "landcover9").merged
    assert told == (
        "the crosswalk worldcover -> landcover9 merges 11 codes into 8 classes: 2 to wetlands, "
        "2 to natural vegetation, 2 to other"
    )
    path = tmp_path / "own.toml"
    path.write_text(OWN + "[crosswalks.landcover9]\n1 = 10\n2 = 10\n")
    assert "merges 2 codes into 1 class: 2 to agricultural" in load_crosswalk(path, DEFAULT).merged
    assert load_crosswalk(DEFAULT, DEFAULT).merged is None


def test_a_missing_crosswalk_advises_the_own_legend_as_well(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    with pytest.raises(LegendError, match=rf"give --legend {path} if landcover9 is not the legend"):
        load_crosswalk(path, DEFAULT)


def test_nodata_that_hides_a_class():
    crosswalk = load_crosswalk("dynamicworld", "landcover9")  # 0 is water.
    declared = (0, 0.0, 255, -9999, 0.5, float("nan"), float("inf"), None)
    hidden = [crosswalk.hides_class(nodata) for nodata in declared]
    assert hidden == [True, True, False, False, False, False, False, False]
