import numpy as np

from landcover_tf.legend import LandCoverClass, Legend, load_legend
from landcover_tf.visuals.colour_vision import closest_pairs, simulate


def test_the_default_legend_is_told_apart_with_every_kind_of_vision():
    pairs = closest_pairs(load_legend("landcover9"))
    assert len(pairs) == 4
    assert all(pair.difference >= 13 for pair in pairs), pairs


def test_red_and_green_are_confused_by_protanopia_only_here():
    legend = Legend(
        name="x",
        classes=(
            LandCoverClass(code=1, name="dark green", color="#0b5d1e"),
            LandCoverClass(code=2, name="red", color="#c4281b"),
        ),
    )
    distinct = {pair.vision: pair.distinct for pair in closest_pairs(legend)}
    assert distinct["normal vision"] and not distinct["protanopia"]


def test_greys_look_alike_to_everybody():
    grey = np.full((1, 3), 0.5)
    for vision in ("protanopia", "deuteranopia", "tritanopia"):
        np.testing.assert_allclose(simulate(grey, vision), grey, atol=2e-3)
