import numpy as np
import pytest

from landcover_tf.crosswalk import load_crosswalk
from landcover_tf.errors import LegendError
from landcover_tf.legend import (
    IGNORED,
    LandCoverClass,
    Legend,
    code_counts,
    code_fractions,
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


def test_dense_indices_and_codes_are_inverse_on_classes():
    legend = load_legend("landcover9")
    dense = legend.index_of_code[np.array(legend.codes)]
    assert dense.tolist() == list(range(8))
    assert legend.code_of_index[dense].tolist() == list(legend.codes)
    assert legend.index_of_code[[0, 11, 255]].tolist() == [IGNORED] * 3


def test_a_legend_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "own.toml"
    classes = '[[classes]]\ncode = 1\nname = "Mähwiese"\ncolor = "#e6c229"\n'
    path.write_bytes(f'name = "own"\n{classes}'.encode("utf-8-sig"))
    assert load_legend(path).names == ("Mähwiese",)


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
