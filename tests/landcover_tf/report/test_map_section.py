import hashlib
import json
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from fakes.small_dataset import LEGEND, write_small_dataset

from landcover_tf.errors import ConfigError, RasterError
from landcover_tf.report import __main__ as report
from landcover_tf.report.map_facts import MapFacts
from landcover_tf.report.map_layers import MapLayers, OpenLayers
from landcover_tf.report.map_section import map_provenance
from landcover_tf.report.sections import dataset

TAGS = {
    "product": "S2A_MSIL1C_20200101",
    "model_sha256": "abc123",
    "prediction": "blend, tensorflow",
    "post_processing": "objects under 20 px removed",
}
APPLICABILITY = {
    "applicable": False,
    "pixels": 100,
    "outside_fraction": 0.25,
    "median_stability_index": 0.125,
    "stability_index": {"B02": 0.5},
    "limits": {"outside_fraction": 0.1},
}


def write_map(path, bands=1, **tags):
    """Writes 4 x 5 pixels, of which 5 are no data; three bands are shares that sum to one."""
    codes = np.full((4, 5), 85 if bands == 3 else 20, np.uint8)
    codes[0] = LEGEND.nodata
    profile = {"driver": "GTiff", "height": 4, "width": 5, "count": bands, "dtype": "uint8"}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(path, "w", **profile, **place, nodata=LEGEND.nodata) as raster:
        raster.update_tags(**tags)
        raster.write(np.stack([codes] * bands))
    return path


def test_the_report_shows_how_the_map_was_made(evaluated_run, tmp_path):
    path = write_map(tmp_path / "west.tif", **TAGS)
    (tmp_path / "west_applicability.json").write_text(json.dumps(APPLICABILITY))
    # Of another map of the folder.
    (tmp_path / "applicability.json").write_text("{}")
    assert report.main(["--run-dir", str(evaluated_run), "--map", str(path)]) == 0
    text = (evaluated_run / "report.html").read_text()
    section = text.partition('<section id="map-provenance">')[2].partition("</section>")[0]
    for name, value in TAGS.items():
        assert f">{name.replace('_', ' ')}<" in section
        assert f"<td>{value}</td>" in section
    assert "AREA" not in section
    assert "5 of the 20 pixels of west.tif (25.0 %) have no class" in section
    assert "outside the range of the training data; distrust the map" in section
    assert "<td>25.0 %</td>" in section
    assert "<td>0.125</td>" in section


def test_one_pass_over_a_map_tells_all_that_the_page_says_of_it(tmp_path):
    path = write_map(tmp_path / "map.tif", **TAGS)
    facts = MapFacts.read(path, LEGEND)
    assert facts.pixels == {LEGEND.nodata: 5, 20: 15}
    assert facts.pixel_m2 == pytest.approx(100)
    assert facts.tags == TAGS and facts.named == []
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RasterError, match=r"cannot read the map .*map\.tif: "):
        MapFacts.read(path, LEGEND)


def test_a_raster_of_other_codes_or_more_bands_is_no_map_of_the_run(
    evaluated_run, tmp_path, capsys
):
    arguments = ["--run-dir", str(evaluated_run), "--map"]
    strange = write_map(tmp_path / "strange.tif")
    with rasterio.open(strange, "r+") as raster:
        codes = raster.read(1)
        codes[2] = 77
        raster.write(codes, 1)
    assert report.main([*arguments, str(strange)]) == 2
    error = capsys.readouterr().err
    assert (
        "strange.tif has codes that neither legend three nor tags of its band name: 77 (5 px);"
        in error
    )
    photo = write_map(tmp_path / "photo.tif", bands=3)
    assert report.main([*arguments, str(photo)]) == 2
    assert (
        "photo.tif must be a class map of one uint8 band, got 3 of uint8\n"
        in capsys.readouterr().err
    )
    assert not (evaluated_run / "report.html").exists()
    with rasterio.open(strange, "r+") as raster:
        raster.update_tags(1, CLASS_77="heath")
    assert report.main([*arguments, str(strange)]) == 0
    heath = '"code": 77, "name": "heath", "color": "#808080", "rgb": [128, 128, 128], "pixels": 5'
    assert heath in (evaluated_run / "report.html").read_text()


def test_a_map_without_tags_says_so(tmp_path):
    section = map_provenance(MapFacts.read(write_map(tmp_path / "map.tif"), LEGEND), LEGEND)
    assert "map.tif has no tags that tell how it was made." in section.paragraphs
    assert section.tables == []


def test_a_legend_of_another_name_is_refused_but_a_list_of_classes_is_told(
    evaluated_run, tmp_path, capsys
):
    flags = ["--run-dir", str(evaluated_run), "--output", str(tmp_path / "report.html")]
    reference = write_map(tmp_path / "esa.tif", legend="10  Tree cover\n20  Shrubland")
    path = write_map(tmp_path / "map.tif", legend="three")
    assert report.main([*flags, "--map", str(path), "--reference-map", str(reference)]) == 0
    assert "'10 Tree cover 20 Shrubland', names no legend; its" in capsys.readouterr().out
    reference = write_map(tmp_path / "esa.tif", legend="worldcover")
    assert report.main([*flags, "--map", str(path), "--reference-map", str(reference)]) == 2
    assert "the run of three; give --reference-map in legend three\n" in capsys.readouterr().err


def test_absent_probabilities_are_told(evaluated_run, tmp_path, capsys):
    path = write_map(tmp_path / "west.tif")
    flags = ["--run-dir", str(evaluated_run)]
    said = "west_probabilities.tif does not exist, so the pixel inspector shows no class prob"
    assert report.main([*flags, "--map", str(path)]) == 0
    assert capsys.readouterr().out.count(said) == 1
    write_map(tmp_path / "west_probabilities.tif", bands=3)
    assert report.main([*flags, "--map", str(path)]) == 0
    assert report.main(flags) == 0
    assert "inspector" not in capsys.readouterr().out


def test_probabilities_of_another_model_are_refused(tmp_path):
    path = write_map(tmp_path / "map.tif", model_sha256="a")
    layers = MapLayers(map=path, probabilities=write_map(tmp_path / "p.tif", 3, model_sha256="b"))
    with ExitStack() as stack, pytest.raises(RasterError, match=r"p\.tif is of another model"):
        OpenLayers(layers, LEGEND, stack)
    same = replace(layers, probabilities=write_map(tmp_path / "q.tif", 3, model_sha256="a"))
    with ExitStack() as stack:
        assert OpenLayers(same, LEGEND, stack).probabilities is not None


def test_another_file_is_no_applicability(tmp_path):
    path = write_map(tmp_path / "map.tif")
    for text in ("[]", '{"applicable": true}', '{"applicable": true, "limits": 3}'):
        (tmp_path / "applicability.json").write_text(text)
        with pytest.raises(ConfigError, match=r"applicability\.json is not what landcover predict"):
            map_provenance(MapFacts.read(path, LEGEND), LEGEND)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            {"split": "blocks", "seed": 3, "block_size_m": 5000.0, "gap_px": None},
            "split by blocks of 5,000 m with seed 3 and a gap of 32 px between splits",
        ),
        (
            {
                "split": "blocks",
                "seed": 3,
                "block_size_m": 5000.0,
                "block_size_px": 96,
                "gap_px": 7,
            },
            "split by blocks of 96 px with seed 3 and a gap of 7 px between splits",
        ),
        (
            {"split": "random", "seed": 0, "block_size_m": 5000.0, "gap_px": 7},
            "split by random with seed 0 and a gap of 0 px between splits",
        ),
        ({}, "split by an unrecorded rule"),
    ],
)
def test_the_dataset_section_has_the_geometry_of_the_split(tmp_path, build, sentence):
    info = replace(write_small_dataset(tmp_path), build_config=build)
    assert sentence in dataset(info).paragraphs[0]
