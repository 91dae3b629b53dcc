import math
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from landcover_tf.legend import load_legend
from landcover_tf.visuals.figures import (
    _scale_bar,
    _swatch_columns,
    confusion_matrix_figure,
    save_figure,
    save_panels,
)


def test_letters_that_the_font_lacks_are_told_in_one_sentence(tmp_path, capsys, recwarn):
    """Each letter was a warning of two lines, at every use."""
    path = tmp_path / "matrix.png"
    save_figure(confusion_matrix_figure(np.eye(2), ["森林", "水体"], title="森"), path)
    told = capsys.readouterr().err
    before, letters, after = re.fullmatch(r"(.* lacks )(.*)(, drawn as .*\n)", told).groups()
    assert before == "warning: the font of pictures lacks "
    assert sorted(letters) == sorted("森林水体")
    assert after == f", drawn as boxes in {path}\n"
    assert [w for w in recwarn if "Glyph" in str(w.message)] == []


def test_the_whole_legend_is_drawn_below_a_narrow_picture(tmp_path):
    legend = load_legend("landcover9")
    panel = np.zeros((40, 40, 3), np.uint8)
    save_panels(tmp_path / "p.png", [("a", panel)] * 2, legend=legend, panel_inches=2.6)
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    for side in (picture[:, :3], picture[:, -3:]):
        assert (side == 255).all()
    for land_cover in legend.classes:
        assert (picture == land_cover.rgb).all(axis=-1).any(), land_cover.name


@pytest.mark.parametrize(("width", "columns"), [(30, 8), (12, 4), (8, 4), (5, 2), (1, 1)])
def test_rows_of_a_legend_are_about_equally_full(width, columns):
    # 18 letters: 1.77 inches, so up to 16, 6, 4, 2 and 1 fit; 8 names are in 1, 2, 2, 4 and 8 rows.
    assert _swatch_columns(load_legend("landcover9").names, width) == columns


def test_pictures_are_files_of_sensible_size(tmp_path):
    legend = load_legend("landcover9")
    panel = np.zeros((40, 60, 3), np.uint8)
    save_panels(tmp_path / "p.png", [("a", panel)] * 3, legend=legend, metres_per_pixel=10.0)
    matrix = confusion_matrix_figure(np.eye(8) * 1500, legend.names, title="t")
    save_figure(matrix, tmp_path / "m.png")
    width, height = Image.open(tmp_path / "p.png").size
    assert width > 2 * height
    assert min(Image.open(tmp_path / "m.png").size) > 400


@pytest.mark.parametrize(("metres", "length"), [(math.nextafter(10, 0), "1 km"), (9.9, "500 m")])
def test_a_scale_bar_of_the_largest_round_length_in_a_quarter_of_the_width(metres, length):
    axis = Figure().subplots()
    _scale_bar(axis, 400, metres)
    assert [text.get_text() for text in axis.texts] == [length]


def test_a_long_strip_does_not_make_a_picture_of_its_own_proportions(tmp_path):
    # 900 x 1 px, as a raster of 20,000 x 20 px is shown: 360,000 px high at a panel's full width.
    strip = np.full((900, 1, 3), (200, 30, 30), np.uint8)
    save_panels(tmp_path / "p.png", [("a", strip)] * 2, legend=load_legend("landcover9"))
    with Image.open(tmp_path / "p.png") as file:
        assert file.height < 2 * file.width
        drawn = (np.asarray(file.convert("RGB")) == (200, 30, 30)).all(axis=-1)
    assert drawn.any(axis=1).sum() > 900


def test_the_scale_bar_is_seen_on_light_and_dark_ground(tmp_path):
    for level in (0, 240):
        panel = np.full((40, 60, 3), level, np.uint8)
        save_panels(tmp_path / "p.png", [("", panel)], metres_per_pixel=10.0)
        picture = np.asarray(Image.open(tmp_path / "p.png").convert("L")).astype(int)
        below = picture[picture.shape[0] // 2 :]
        ground = (below == level).sum(axis=1).argmax()
        assert abs(below[ground:] - level).max() > 150
        bar = (below < 80) & (level == 240) | (below > 250) & (level == 0)
        assert bar.any(axis=1).sum() >= 3
