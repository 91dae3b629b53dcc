"""Pages and what is embedded in them."""

import base64
import io

import jinja2
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from landcover_tf.visuals.html_pages import data_url, figure_url, picture_url, render


def decoded(url, kind="png"):
    head, _, text = url.partition(",")
    assert head == f"data:image/{kind};base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_pictures_come_back_as_they_were():
    assert data_url(b"abc") == "data:image/png;base64,YWJj"  # RFC 4648.
    rng = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3)):
        picture = rng.integers(0, 256, shape, np.uint8)
        np.testing.assert_array_equal(decoded(picture_url(picture)), picture)
    assert decoded(picture_url(picture, "jpeg"), "jpeg").shape == picture.shape


def test_letters_that_the_font_lacks_are_told_in_one_sentence(capsys, recwarn):
    figure = Figure(figsize=(1, 1))
    figure.text(0.1, 0.5, "\u68ee\u6797")
    assert decoded(figure_url(figure)).shape[:2] == (110, 110)
    assert "lacks \u68ee\u6797, drawn as boxes in the page" in capsys.readouterr().err
    assert not recwarn


def test_a_name_without_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'rows' is undefined"):
        render("tuning", "ranking.html.jinja", title="a", objective="b")
