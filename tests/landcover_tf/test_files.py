"""Numbers that JSON has no word for, and the files they must not reach."""

import math

import numpy as np
import pytest

from landcover_tf.files import json_number, read_json, write_json


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32(np.inf)])
def test_json_has_no_word_for_what_is_not_finite(tmp_path, value):
    assert json_number(value) is None
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "scores.json", {"ece": float(value)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [0.0, -2.5, 3, np.float64(0.1), np.float32(0.5)])
def test_finite_numbers_become_plain_floats(tmp_path, value):
    assert type(json_number(value)) is float
    write_json(tmp_path / "scores.json", {"ece": json_number(value)})
    assert read_json(tmp_path / "scores.json") == {"ece": float(value)}
