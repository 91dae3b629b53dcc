import numpy as np
from PIL import Image

from landcover_tf.legend import load_legend
from landcover_tf.sentinel2.quicklook import save_quicklook, validity_picture
from landcover_tf.validity import ValidityBit


def test_every_colour_of_the_validity_is_named_inside_the_picture(tmp_path):
    """Good and saturated pixels had no name, and the title that named the rest was cut off."""
    # From 5400 px on, the scene's own means are drawn and no image is read.
    validity = np.zeros((5400, 5400), np.uint8)
    means = {name: np.full((900, 900), 0.1, np.float32) for name in ("B02", "B03", "B04", "B08")}
    codes = np.full((5400, 5400), 20, np.uint8)
    legend = load_legend("landcover9")
    save_quicklook(tmp_path, means, validity, codes, legend.name, "a product")
    picture = np.asarray(Image.open(tmp_path / "quicklook.png").convert("RGB"))
    bits = np.array([[0, *ValidityBit]], np.uint8)
    for colour in (*validity_picture(bits)[0], *(c.rgb for c in legend.classes)):
        assert (picture == colour).all(axis=-1).any(), colour
    for side in (picture[:, :2], picture[:, -2:], picture[:2], picture[-2:]):
        assert (side == 255).all()
