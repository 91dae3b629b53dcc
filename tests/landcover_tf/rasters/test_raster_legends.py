"""Which legend the codes of a raster are read in."""

import numpy as np
import pytest
import rasterio
from fakes.assessed_map import write

from landcover_tf.accuracy.class_map import ClassMap
from landcover_tf.errors import LegendError, RasterError
from landcover_tf.rasters.raster_legends import (
    ChosenLegend,
    choose_legend,
    source_legends,
    stated_legend,
)

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


# As gdalinfo shows it of ESA_WorldCover_10m_2021_v200_N36E021_Map.tif.
ESA = (
    "10  Tree cover\n20  Shrubland\n30  Grassland\n40  Cropland\n50  Built-up\n"
    "60  Bare/sparse vegetation\n70  Snow and ice\n80  Permanent water bodies\n"
    "90  Herbaceous wetland\n95  Mangroves\n100 Moss and lichen"
)


def stated(path):
    with rasterio.open(path) as dataset:
        return stated_legend(dataset)


def test_a_list_of_the_classes_of_a_legend_states_it(tmp_path):
    assert stated(raster(tmp_path / "a.tif", ESA)) == "worldcover"
    assert stated(raster(tmp_path / "b.tif", "corine")) == "corine"
    few = "10  Tree cover\n20  Shrubland"
    assert stated(raster(tmp_path / "c.tif", few)) == few
    # Other codes of the same classes are another legend.
    assert stated(raster(tmp_path / "d.tif", ESA.replace("0  ", "1  "))) != "worldcover"
    assert stated(raster(tmp_path / "e.tif")) is None


def test_labels_without_a_flag_are_read_in_the_legend_that_they_state(tmp_path, capsys):
    paths = [tmp_path / name for name in ("a.tif", "b.tif", "c.tif")]

    def chosen(*tags, target="landcover9", default="landcover9"):
        return [*source_legends(dict(zip(paths, tags, strict=False)), target, default).values()]

    assert chosen("worldcover", None, "landcover9") == ["worldcover", "landcover9", "landcover9"]
    told = capsys.readouterr()
    assert "a.tif are read in worldcover, which its tag or colours name\n" in told.out
    silent = "b.tif are read in landcover9 (10 agricultural areas, 20 forests, ...), because no"
    assert silent in told.out
    assert chosen("worldcover", target="worldcover") == ["worldcover"]
    assert capsys.readouterr() == ("", "")
    assert chosen("crops\nof 2021", "crops\nof 2021") == ["landcover9", "landcover9"]
    assert "warning: codes of 2 label rasters, " in (error := capsys.readouterr().err)
    assert "read in landcover9, though the tag legend says 'crops of 2021'" in error


def test_a_flag_that_labels_contradict_is_refused(tmp_path):
    path, own = tmp_path / "a.tif", tmp_path / "own.toml"
    own.write_text(OWN)
    with pytest.raises(LegendError, match=r"a.tif name legend landcover9, --source-legend says wo"):
        source_legends({path: "landcover9"}, "landcover9", "landcover9", "worldcover")
    # Own words are no legend's name, and who writes a legend knows the labels.
    for tag, given in ((None, "esri"), ("crops", "esri"), ("esri", "esri"), ("esri", own)):
        assert source_legends({path: tag}, "landcover9", "landcover9", given) == {path: given}


def test_the_colours_of_a_legend_state_it_where_no_tag_does(tmp_path):
    colours = {  # As gdalinfo shows them of ESA_WorldCover_10m_2021_v200_N36E021_Map.tif.
        10: (0, 100, 0), 20: (255, 187, 34), 30: (255, 255, 76), 40: (240, 150, 255),
        50: (250, 0, 0), 60: (180, 180, 180), 70: (240, 240, 240), 80: (0, 100, 200),
        90: (0, 150, 160), 95: (0, 207, 117), 100: (250, 230, 160),
    }  # fmt: skip
    path = raster(tmp_path / "export.tif")
    for table, legend in ((colours, "worldcover"), (colours | {95: (0, 0, 0)}, None)):
        with rasterio.open(path, "r+") as dataset:
            dataset.write_colormap(1, table)
        assert stated(path) == legend
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, colours)
        dataset.update_tags(legend="landcover9")
    assert stated(path) == "landcover9"


def test_labels_named_as_worldcover_need_a_flag_unless_they_state_their_legend(tmp_path):
    path = tmp_path / "ESA_WorldCover_10m_2021_v200_N36E021_Map.tif"
    message = "has the file name of an ESA WorldCover map; give --source-legend worldcover, or"
    for tag in (None, "mine"):
        with pytest.raises(LegendError, match=message):
            source_legends({path: tag}, "landcover9", "landcover9")
    assert source_legends({path: "landcover9"}, "landcover9", "landcover9") == {path: "landcover9"}
    assert source_legends({path: None}, "worldcover", "worldcover") == {path: "worldcover"}
