import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_tf.errors import LabelError, LegendError
from landcover_tf.legend import (
    IGNORED,
    LandCoverClass,
    Legend,
    code_counts,
    code_fractions,
    legend_names,
    load_crosswalk,
    load_legend,
)


def test_codes_are_counted_but_for_no_data_and_shared():
    labels = np.array([[20, 0, 20], [10, 20, 0]], np.uint8)
    for kind in (np.uint8, np.int16):
        assert code_counts(labels.astype(kind)) == {0: 2, 10: 1, 20: 3}
    counts = code_counts(labels, nodata=0)
    assert list(counts) == [10, 20]
    assert code_fractions(counts) == {10: 0.25, 20: 0.75}
    assert code_fractions({}) == {}


def test_the_default_legend_is_the_nine_class_scheme():
    legend = load_legend("landcover9")
    assert (legend.nodata, *legend.codes) == (0, 10, 20, 30, 40, 50, 60, 80, 90)
    assert legend.names[0] == "agricultural areas"
    assert legend.names[5] == "water bodies"


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


def test_dense_indices_and_codes_are_inverse_on_classes():
    legend = load_legend("landcover9")
    dense = legend.index_of_code[np.array(legend.codes)]
    assert dense.tolist() == list(range(8))
    assert legend.code_of_index[dense].tolist() == list(legend.codes)
    assert legend.index_of_code[[0, 11, 255]].tolist() == [IGNORED] * 3


def test_legend_survives_json_values():
    legend = load_legend("dynamicworld")
    assert Legend.from_dict(legend.to_dict()) == legend


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([(10, "a", "#000000"), (10, "b", "#ffffff")], "uses a code twice"),
        ([(0, "a", "#000000")], "uses a code twice"),
        ([(10, "a", "#000000"), (20, "a", "#ffffff")], "class name twice"),
        ([(300, "a", "#000000")], r"in \[0, 255\], got 300"),
        ([(1.5, "a", "#000000")], r"a whole number in \[0, 255\], got 1\.5"),
        ([(10, "a", "red")], "expected #rrggbb, got 'red'"),
        ([(10, "a", 123456)], "expected #rrggbb, got 123456"),
        ([], "has no class"),
    ],
)
def test_inconsistent_legends_are_refused(classes, message):
    with pytest.raises(LegendError, match=message):
        Legend(
            name="x",
            classes=tuple(LandCoverClass(code=c, name=n, color=h) for c, n, h in classes),
        )


def test_an_unknown_legend_names_the_known_ones():
    with pytest.raises(LegendError, match="expected one of clcplus, corine"):
        load_legend("nlcd")


def test_a_legend_file_of_the_user_brings_its_crosswalk(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[[classes]]\ncode = 1\nname = "wood"\ncolor = "#00ff00"\n'
        "[crosswalks.landcover9]\n0 = 0\n1 = 20\n"
    )
    assert load_crosswalk(path, "landcover9").remap(np.array([1, 0])).tolist() == [20, 0]
    with pytest.raises(LegendError, match="no crosswalk to 'worldcover'"):
        load_crosswalk(path, "worldcover")


CLASSES = '[[classes]]\ncode = 1\nname = "wood"\ncolor = "#00ff00"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLASSES, r"mine\.toml has no name; add a line"),
        (f"name = 5\n{CLASSES}", r"mine\.toml has no name"),
        (
            f'name = "m"\n{CLASSES}[crosswalks.landcover9]\nwood = 20\n',
            r"mine\.toml: \[crosswalks\.landcover9\] needs lines like .*'wood'",
        ),
        (f'name = "m"\n{CLASSES}[crosswalks]\nlandcover9 = [20]\n', "needs lines like"),
        (f'name = "m"\ncrosswalks = 3\n{CLASSES}', "needs lines like"),
        ('name = "\xe4"'.encode("latin1"), r"mine\.toml is not valid TOML: .*0xe4"),
        ("name = ", r"mine\.toml is not valid TOML"),
    ],
)
def test_a_legend_file_of_another_form_is_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LegendError, match=message):
        load_crosswalk(path, "landcover9")


@pytest.mark.parametrize(
    "text",
    ['name = "m"\nnodata = "none"\n' + CLASSES, 'name = "m"\nclasses = [1]', 'name = "m"'],
)
def test_a_legend_file_without_usable_classes_is_named(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(LegendError, match=r"mine\.toml: a legend needs name and classes"):
        load_legend(path)


def test_nodata_that_hides_a_class():
    crosswalk = load_crosswalk("dynamicworld", "landcover9")  # 0 is water.
    declared = (0, 0.0, 255, -9999, 0.5, float("nan"), float("inf"), None)
    hidden = [crosswalk.hides_class(nodata) for nodata in declared]
    assert hidden == [True, True, False, False, False, False, False, False]
