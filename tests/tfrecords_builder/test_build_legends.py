"""In which legend the builder reads labels, and which codes it refuses."""

import dataclasses
import re

import numpy as np
import pytest
import rasterio
from builder_inputs import arguments, fails, write_pairs
from fakes.prepare_program import product as safe_product
from fakes.prepare_program import run as prepare
from fakes.prepare_program import write_labels

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import LegendError
from tfrecords_builder.__main__ import main
from tfrecords_builder.config import BuildConfig
from tfrecords_builder.planning import understand


def test_prepared_labels_are_not_remapped_again(tmp_path, capsys):
    # 10 is tree cover in WorldCover, and so 20 in the scene; read as WorldCover it is shrubland.
    root = safe_product(tmp_path / "in")
    truth = write_labels(tmp_path / "truth.tif", np.full((240, 240), 10))
    worldcover = ("--source-legend", "worldcover")
    assert prepare(root, tmp_path / "scenes", "--ground-truth", truth, *worldcover) == 0
    message = fails(tmp_path / "scenes", tmp_path, capsys, *worldcover)
    assert f"scene {root.stem}'s labels are already in landcover9" in message
    assert "leave it out" in message
    missing = fails(tmp_path / "scenes", tmp_path, capsys, "--legend", "esri")
    assert "no crosswalk to 'esri'; give --legend landcover9 if esri is not" in missing
    same = BuildConfig(
        data_dir=tmp_path / "scenes", output_dir=tmp_path / "o", source_legend="landcover9"
    )
    assert understand(same).crosswalks[0].codes[20] == 20


def test_scenes_in_a_legend_of_ones_own_keep_its_classes(tmp_path, capsys):
    own, moved = tmp_path / "own.toml", tmp_path / "moved.toml"
    own.write_text(
        'name = "own"\n[[classes]]\ncode = 10\nname = "maize"\ncolor = "#e6c229"\n'
        '[[classes]]\ncode = 20\nname = "wheat"\ncolor = "#8c5a2b"\n'
        "[crosswalks.landcover9]\n10 = 10\n20 = 10\n"
    )
    codes = np.full((240, 240), 10)
    codes[100:] = 20
    truth = write_labels(tmp_path / "truth.tif", codes)
    root = safe_product(tmp_path / "in")
    scenes = tmp_path / "scenes"
    labels = ("--ground-truth", truth, "--source-legend", own, "--legend", own)
    assert prepare(root, scenes, *labels) == 0
    told = capsys.readouterr().out
    assert "merges" not in told
    assert told.endswith(f"build --data-dir {scenes} --output-dir dataset --legend {own}\n")
    assert main(arguments(scenes, tmp_path / "d", "--split", "random", "--i-know-it-leaks")) == 0
    info = DatasetInfo.load(tmp_path / "d")
    assert info.legend.name == "own" and {*info.split("train").class_pixels} == {10, 20}
    assert info.build_config["legend"] == str(own)
    assert f"is in legend {own}, as the scenes are" in capsys.readouterr().out
    config = BuildConfig(data_dir=scenes, output_dir=tmp_path / "o")
    understand(dataclasses.replace(config, legend="landcover9"))
    assert "merges 2 codes into 1 class: 2 to agricultural areas" in capsys.readouterr().out
    own.rename(moved)
    with pytest.raises(LegendError, match=r"own\.toml; where that file lies elsewhere now, say so"):
        understand(config)
    assert understand(dataclasses.replace(config, source_legend=str(moved))).legend.name == "own"


def test_labels_of_another_legend_are_not_taken_for_the_usual_one(tmp_path, capsys):
    data = write_pairs(tmp_path / "data", scenes=2)
    for number, tag in enumerate(("worldcover", "landcover9")):
        with rasterio.open(data / "labels" / f"s{number}.tif", "r+") as raster:
            raster.update_tags(legend=tag)
    config = BuildConfig(data_dir=data, output_dir=tmp_path / "o")
    crosswalks = understand(config).crosswalks
    assert [c.source for c in crosswalks] == ["worldcover", "landcover9"]
    assert "s0.tif are read in worldcover, which its tag or" in capsys.readouterr().out
    with pytest.raises(LegendError, match=r"s0.tif name legend worldcover, --source-legend says l"):
        understand(dataclasses.replace(config, source_legend="landcover9"))


def test_a_class_that_labels_declare_no_data_is_told(tmp_path, capsys):
    data = write_pairs(tmp_path / "data", scenes=1)
    config = BuildConfig(data_dir=data, output_dir=tmp_path / "o", source_legend="dynamicworld")
    understand(config)
    assert "declare code 0 no data, which is a class of dynamicworld" in capsys.readouterr().err
    understand(BuildConfig(data_dir=data, output_dir=tmp_path / "o"))
    assert capsys.readouterr().err == ""


def test_float_labels_are_refused_where_they_are_no_codes(broken, tmp_path, capsys):
    with rasterio.open(broken / "labels" / "s1.tif") as raster:
        profile, codes = raster.profile | {"dtype": "float32", "nodata": np.nan}, raster.read()
    with rasterio.open(broken / "labels" / "s1.tif", "w", **profile) as raster:
        raster.write(codes.astype(np.float32))
    assert main(arguments(broken, tmp_path / "p")) == 0
    with rasterio.open(broken / "labels" / "s1.tif", "w", **profile) as raster:
        raster.write(codes + np.float32(0.5))
    message = fails(broken, tmp_path, capsys)
    assert re.search(r"s1\.tif holds \d+\.5 at rows .*; class codes are whole numbers", message)
