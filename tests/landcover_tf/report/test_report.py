import re
import shutil
import urllib.request
from html.parser import HTMLParser
from threading import Thread

import numpy as np
import pytest
import rasterio
from fakes.assessed_map import design, estimate, label, make_world, read, write

from landcover_tf.assess import __main__ as assess
from landcover_tf.report import __main__ as report
from landcover_tf.report import serve
from landcover_tf.report.config import ReportConfig
from landcover_tf.report.writing import layers_of
from landcover_tf.system.files import read_json, write_json


class Anchors(HTMLParser):
    """Collects the ids, the links and the addresses of a page."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.sources = set(), [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.add(values.get("id"))
        if tag == "a":
            self.links.append(values["href"])
        self.sources += [values[name] for name in ("src",) if name in values]


@pytest.fixture(scope="module")
def page(scored_run, prepared_scenes, tmp_path_factory):
    scene = sorted(prepared_scenes.glob("S2*"))[0]
    output = tmp_path_factory.mktemp("page") / "report.html"
    # The labels stand in for a map: the page only needs legend codes.
    arguments = [
        "--run-dir", str(scored_run), "--output", str(output), "--map", str(scene / "labels.tif"),
        "--image", str(scene / "image.tif"), "--reference-map", str(scene / "labels.tif"),
    ]  # fmt: skip
    assert report.main(arguments) == 0
    return output


def test_every_link_has_its_section_and_nothing_comes_from_outside(page):
    text = page.read_text()
    anchors = Anchors()
    anchors.feed(text)
    assert all(link[1:] in anchors.ids for link in anchors.links)
    for section in ("viewer", "accuracy", "confusion", "learning", "dataset", "provenance"):
        assert section in anchors.ids
    assert all(source.startswith("data:") for source in anchors.sources)
    assert not re.search(r"<(link|iframe)\b", text)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_desk_and_phone_without_a_message(page, browser, tmp_path, width):
    tab = browser.new_page(viewport={"width": width, "height": 844})
    messages, requests = [], []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_function("window.landcoverViewer")
    tab.evaluate("landcoverViewer.inspect([20.5, -20.5])")
    tab.wait_for_function("document.getElementById('viewer-inspector').dataset.code")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    pictures = "[...document.images].map(image => image.naturalWidth)"
    assert all(tab.evaluate(pictures)) and len(tab.evaluate(pictures)) >= 3
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    assert messages == []
    # Last: while Chromium takes it the map at times has no size, which OpenLayers warns of.
    tab.screenshot(path=str(tmp_path / f"report_{width}.png"), full_page=True)
    tab.close()


def test_the_scores_are_those_of_the_evaluation(page, scored_run):
    import json

    scores = json.loads((scored_run / "evaluation" / "test" / "scores.json").read_text())
    text = page.read_text()
    assert f"<b>{scores['unet']['overall_accuracy']:.3f}</b>" in text
    assert f"{scores['pixels']:,}" in text


def test_assessments_of_the_map_come_before_the_scores(scored_run, prepared_scenes, tmp_path):
    labels = str(sorted(prepared_scenes.glob("S2*"))[0] / "labels.tif")
    sample = tmp_path / "sample"
    design = ["design", "--map", labels, "--output-dir", str(sample), "--samples", "90"]
    assert assess.main([*design, "--min-per-class", "5"]) == 0
    estimate = ["estimate", "--map", labels, "--reference", str(sample / "points.csv")]
    # The map's own class stands in for the interpreter's: the page only needs figures.
    assert assess.main([*estimate, "--reference-column", "stratum"]) == 0
    truth = str(shutil.copy(labels, tmp_path / "truth.tif"))
    comparison = ["--reference-map", truth, "--output-dir", str(tmp_path / "comparison")]
    assert assess.main(["compare", "--map", labels, *comparison]) == 0
    output = tmp_path / "report.html"
    files = [sample / "assessment" / "estimate.json", tmp_path / "comparison" / "compare.json"]
    arguments = ["--run-dir", str(scored_run), "--output", str(output), "--assessment"]
    assert report.main([*arguments, *map(str, files), "--map", labels]) == 0
    text = output.read_text()
    anchors = Anchors()
    anchors.feed(text)
    assert {"assessment-estimate", "assessment-compare"} <= anchors.ids
    assert "another file" not in text
    assert text.index('id="assessment-estimate"') < text.index('<section id="accuracy"')
    assert "Overall accuracy is 1.000 [1.000, 1.000]" in text
    assert "<b>1.000 [1.000, 1.000]</b><span>accuracy of the map, 95 % interval</span>" in text
    assert "All of them lie in one square of 5,000 m, so there are no intervals." in text
    assert "Share found, by size of the reference&#39;s objects" in text
    assert all(source.startswith("data:") for source in anchors.sources)


def test_assessments_of_other_maps_are_not_those_of_the_map_shown(evaluated_run, tmp_path):
    make_world(tmp_path)
    # Without tags it may be shown by a run of any legend that has its codes.
    codes = read(tmp_path / "map.tif")
    assessed = write(tmp_path / "map.tif", np.where(codes == 60, 30, codes).astype(np.uint8))
    path = label(design(tmp_path, "--samples", 150), tmp_path / "truth.tif")
    assert estimate(tmp_path, path)[0] == 0
    shown = write(tmp_path / "shown.tif", np.full((4, 5), 10, np.uint8))
    result = str(tmp_path / "result" / "estimate.json")
    output = tmp_path / "report.html"
    arguments = ["--run-dir", str(evaluated_run), "--output", str(output), "--assessment", result,
                 result, "--map"]  # fmt: skip
    assert report.main([*arguments, str(shown)]) == 0
    text = output.read_text()
    anchors = Anchors()
    anchors.feed(text)
    assert {"assessment-estimate", "assessment-estimate-2"} <= anchors.ids
    assert text.count("<span>accuracy of map.tif, 95 % interval</span>") == 2
    assert "<h2>Accuracy and area of the map: map.tif, points.gpkg</h2>" in text
    assert text.count("The viewer of this page shows another file, shown.tif: these") == 2
    assert report.main([*arguments, str(assessed)]) == 0
    text = output.read_text()
    assert text.count("<span>accuracy of the map, 95 % interval</span>") == 2
    assert "another file" not in text


def test_a_map_of_another_legend_is_refused(scored_run, prepared_scenes, tmp_path, capsys):
    path = tmp_path / "map.tif"
    shutil.copy(sorted(prepared_scenes.glob("S2*"))[0] / "labels.tif", path)
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(legend="worldcover")
    arguments = ["--run-dir", str(scored_run), "--output", str(tmp_path / "r.html")]
    assert report.main([*arguments, "--map", str(path)]) == 2
    assert "has codes of legend worldcover, the run of landcover9" in capsys.readouterr().err
    assert report.main([*arguments, "--map", str(tmp_path / "absent.tif")]) == 2
    assert "cannot read the raster" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["map.tif"]


def test_another_file_is_no_assessment(scored_run, tmp_path, capsys):
    arguments = ["--run-dir", str(scored_run), "--output", str(tmp_path / "r.html"), "--assessment"]
    assert report.main([*arguments, str(scored_run / "config.json")]) == 2
    assert "is not an assessment" in capsys.readouterr().err


def test_a_run_without_evaluation_says_what_to_do(tiny_run, tmp_path, capsys):
    arguments = ["--run-dir", str(tiny_run), "--split", "val", "--output", str(tmp_path / "r.html")]
    assert report.main(arguments) == 2
    assert "run `landcover evaluate" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_report_replaces_a_report_and_nothing_else(evaluated_run, tmp_path, capsys):
    mine = tmp_path / "mine.tif"
    mine.write_bytes(b"II*")
    assert report.main([str(evaluated_run), "--output", str(mine)]) == 2
    assert "mine.tif is there already and no report of this program" in capsys.readouterr().err
    assert mine.read_bytes() == b"II*"
    for _ in range(2):
        assert report.main([str(evaluated_run), "--output", str(tmp_path / "r.html")]) == 0


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"unet": 3}'])
def test_another_file_is_no_evaluation(evaluated_run, text, capsys):
    path = evaluated_run / "evaluation" / "test" / "scores.json"
    path.write_text(text)
    assert report.main([str(evaluated_run)]) == 2
    shown = capsys.readouterr().err
    assert f"{path} is no evaluation of this version and legend three" in shown
    assert "run `landcover evaluate` again" in shown


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ("val", "Validation chose the epoch, so these scores are optimistic."),
        ("train", "The network was trained on these patches"),
    ],
)
def test_scores_that_the_training_saw_are_not_called_held_out(evaluated_run, split, told):
    """The page called all that was evaluated held-out, training patches too."""
    folder = evaluated_run / "evaluation"
    (folder / "test").rename(folder / split)
    path = folder / split / "scores.json"
    write_json(path, read_json(path) | {"split": split})
    assert report.main([str(evaluated_run), "--split", split]) == 0
    text = (evaluated_run / "report.html").read_text()
    assert "held-out" not in text
    assert told in text and f"Agreement on patches of {split}" in text
    assert f"pixels of {split}" in text


def test_scores_of_another_dataset_are_not_called_held_out(evaluated_run, capsys):
    folder = evaluated_run / "evaluation"
    page = evaluated_run / "report.html"
    assert report.main([str(evaluated_run)]) == 0
    assert "Agreement on held-out patches" in page.read_text()
    (folder / "test").rename(folder / "test-y26-0123456789ab")
    assert report.main([str(evaluated_run)]) == 2
    said = "give one of --split test-y26-0123456789ab, or run `landcover evaluate"
    assert said in capsys.readouterr().err
    path = folder / "test-y26-0123456789ab" / "scores.json"
    write_json(path, read_json(path) | {"dataset": "y26", "data_hash": "0123456789ab"})
    assert report.main([str(evaluated_run), "--split", "test-y26-0123456789ab"]) == 0
    text = page.read_text()
    assert "Agreement on dataset y26 0123456789ab" in text
    assert "patches of split test of dataset y26." in text
    assert "is not that of the training" in text
    assert "eld-out" not in text


def test_an_evaluation_of_other_classes_is_refused(evaluated_run, capsys):
    path = evaluated_run / "evaluation" / "test" / "scores.json"
    path.write_text(path.read_text().replace('"water"', '"lakes"'))
    assert report.main([str(evaluated_run)]) == 2
    assert "legend three (KeyError('water'))" in capsys.readouterr().err
    assert not (evaluated_run / "report.html").exists()


def test_the_run_is_given_with_and_without_its_flag(evaluated_run, tmp_path, capsys):
    assert report.main([str(evaluated_run)]) == 0
    assert (evaluated_run / "report.html").is_file()
    # Behind a flag of several values.
    files = ["--assessment", *[str(evaluated_run / "config.json")] * 2]
    for flag in (["--run-dir", str(evaluated_run)], [f"--run-dir={evaluated_run}"]):
        assert report.main([*files, *flag]) == 2
        assert "config.json is not an assessment" in capsys.readouterr().err


def test_no_run_and_no_map(tmp_path, capsys):
    assert report.main(["--run-dir", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert report.main(["--run-dir", str(tmp_path), "--image", "a.tif"]) == 2
    assert "give --map too" in capsys.readouterr().err


def test_the_rasters_of_a_map_are_not_those_of_its_neighbour(tmp_path):
    names = (
        "map.tif",
        "confidence.tif",
        "map_b.tif",
        "map_b_probabilities.tif",
        "probabilities.tif",
    )
    for name in names:
        (tmp_path / name).touch()

    def found(**flags):
        layers = layers_of(ReportConfig(run_dir=tmp_path, **flags))
        return layers.confidence, layers.probabilities

    first, second = tmp_path / "map.tif", tmp_path / "map_b.tif"
    assert found(map=first) == (tmp_path / "confidence.tif", tmp_path / "probabilities.tif")
    assert found(map=second) == (None, tmp_path / "map_b_probabilities.tif")
    assert found(map=second, confidence=first)[0] == first


def test_the_report_is_served_on_this_machine_only(page):
    with serve.make_server(page, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{page.name}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == page.read_bytes()
        server.shutdown()
    assert serve.main([str(page.parent)]) == 2, "positional arguments are no flags"
    assert serve.main(["--report", str(page.with_name("absent.html"))]) == 2
