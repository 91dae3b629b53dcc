"""Which legend the codes of a raster are read in."""

import numpy as np
import pytest
from fakes.assessed_map import write

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.errors import LegendError, RasterError
from landcover_tf.raster_legends import ChosenLegend, choose_legend

OWN = """name = "own"
[[classes]]
code = 1
name = "all"
color = "#123456"
"""


def raster(path, tag=None):
    return write(path, np.ones((2, 2), np.uint8), tags={"legend": tag} if tag else None)


def test_a_flag_comes_before_a_tag_and_a_tag_before_the_default(tmp_path):
    untagged, tagged = raster(tmp_path / "a.tif"), raster(tmp_path / "b.tif", "worldcover")

    def choose(paths, given=None):
        return choose_legend(paths, given, "esri", flag="--legend")

    assert choose([untagged]) == ChosenLegend(source="esri", assumed=True)
    assert choose([untagged], "corine") == ChosenLegend(source="corine", assumed=False)
    for paths in ([tagged], [untagged, tagged]):
        assert choose(paths) == ChosenLegend(source="worldcover", assumed=False)
    with pytest.raises(LegendError, match=r"tag for legend worldcover, --legend says corine; drop"):
        choose([tagged], "corine")
    with pytest.raises(RasterError, match="cannot read the raster"):
        choose([tmp_path / "absent.tif"])


def test_a_tag_may_name_a_legend_of_a_file(tmp_path):
    legend = tmp_path / "own.toml"
    legend.write_text(OWN)
    tagged = raster(tmp_path / "a.tif", "own")
    assert choose_legend([tagged], None, legend, flag="--legend").source == legend
    assert ClassMap.open(tagged, legend).legend.name == "own"
    with pytest.raises(LegendError, match=r"'own', names none of .* with --strata-legend"):
        ClassMap.open(tagged, legend_flag="--strata-legend")
