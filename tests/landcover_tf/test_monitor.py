"""Drift between served and training data, from the log to the exit code."""

import itertools
import json
import re
import sys
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from fakes.small_dataset import dataset_info
from fakes.small_export import small_info

from landcover_tf import monitor
from landcover_tf.accuracy.request_log import LoggedModel, append_map, read_log
from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.datasets.dataset_shards import ShardInfo, SplitInfo
from landcover_tf.errors import DatasetError, OutputError
from landcover_tf.legend import load_legend

BANDS = ("B02", "B08")
LEGEND = load_legend("landcover9")


def pixels(seed: int, shift: float = 0.0, count: int = 20_000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal([2000 + shift, 3000], [200, 400], (count, 2)).round().astype(np.uint16)


SCENES = itertools.count()
UNKNOWN = {"sha256": "", "data_hash": "", "legend": LEGEND.name, "codes": LEGEND.codes}


def log_map(
    path,
    shift=0.0,
    code=10,
    model="landcover/1",
    place=None,
    run="1",
    count=600,
    step=1,
    sensed=None,
    **told,
):
    """Appends the line of a map, of another scene than any before it unless a place is given."""
    values = pixels(7, shift, count)
    statistics = BandStatistics.from_pixels(values, BANDS)
    source, map_path = place or (f"scene {next(SCENES)}", "/maps/map.tif")
    append_map(
        path, model=LoggedModel(name=model, **(UNKNOWN | told)), windows=6,
        class_pixels={code: 4000}, statistics=statistics, sample_step=step, run=run, source=source,
        sensing_time=sensed, map_path=map_path,
    )  # fmt: skip
    return values


def test_a_log_is_read_back_and_grows(tmp_path):
    path = tmp_path / "logs" / "requests.jsonl"
    values = [log_map(path), log_map(path, shift=50), log_map(path, code=20, model="landcover/2")]
    served = read_log(path)
    assert (served.maps, served.windows) == (3, 18)
    assert [model.name for model in served.models] == ["landcover/1", "landcover/2"]
    assert served.class_pixels == {10: 8000, 20: 4000}
    np.testing.assert_allclose(served.statistics.mean, np.concatenate(values).mean(axis=0))
    assert path.stat().st_size < 40_000  # 3 maps, 2 bands, at most 512 bins.


def test_the_years_before_do_not_hide_this_one_s_drift(tmp_path, reference, capsys):
    log = tmp_path / "requests.jsonl"
    for year in (2023, 2024, 2025):
        for _ in range(3):
            log_map(log, sensed=f"{year}-07-01T10:00:00+00:00")
    log_map(log, shift=300, sensed="2026-01-01T00:10:00+00:00")
    log_map(log, shift=300)  # A raster that does not tell, of today.
    assert run(log, reference) == 0
    assert run(log, reference, "--start", "2026-01-01") == 1
    assert "maps: 2; highest" in capsys.readouterr().out
    assert "Only images of 2026-01-01\nto any day" in (tmp_path / "monitor.html").read_text()
    assert run(log, reference, "--start", "2024-07-01", "--end", "2025-07-01") == 0
    assert "maps: 6; highest" in capsys.readouterr().out
    assert run(log, reference, "--end", "2022-12-31") == 2
    assert "has no map of any day to 2022-12-31, but of 2023-07-01 to" in capsys.readouterr().err
    assert run(log, reference, "--start", "2026") == 2
    assert "--start must be a day as YYYY-MM-DD, got '2026'" in capsys.readouterr().err
    assert run(log, reference, "--start", "2026-02-01", "--end", "2026-01-01") == 2
    assert "--end 2026-01-01 lies before --start 2026-02-01" in capsys.readouterr().err


def test_every_map_counts_by_its_pixels_however_dense_its_sample_is(tmp_path):
    """A map of 1400 px has twice as many sampled pixels as a whole tile, and counted twice."""
    path = tmp_path / "requests.jsonl"
    chip, tile = log_map(path, count=4000), log_map(path, shift=500, count=40, step=10)
    served = read_log(path)
    assert (served.sampled_pixels, served.statistics.count) == (4040, 8000)
    everything = np.concatenate([chip, np.repeat(tile, 100, axis=0)])
    np.testing.assert_allclose(served.statistics.mean, everything.mean(axis=0))
    np.testing.assert_allclose(served.statistics.std, everything.std(axis=0))
    histograms = BandStatistics.from_pixels(everything, BANDS).histogram
    assert served.statistics.histogram == histograms


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX")
def test_a_line_that_the_disk_does_not_take_is_told_and_leaves_nothing(tmp_path):
    import resource

    path = tmp_path / "requests.jsonl"
    log_map(path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Writes take the part of a line that still fits, as on a full disk, and say so by their count.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write the request log .*took 100 of"):
            log_map(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


def test_a_piece_of_a_line_does_not_take_the_next_with_it(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_text('{"time": "2026')  # As a machine leaves it that went down.
    log_map(path)
    with pytest.raises(DatasetError, match="line 1 of"):
        read_log(path)
    path.write_text(path.read_text().partition("\n")[2])
    assert read_log(path).maps == 1


def test_of_a_map_made_again_the_last_line_counts(tmp_path, reference, capsys):
    """It counted twice, and nothing told which scene a line is of."""
    path = tmp_path / "requests.jsonl"
    log_map(path, place=("scene a", "/maps/a.tif"), run="1", code=20)
    log_map(path, place=("scene b", "/maps/a.tif"), run="2")  # Another scene under that name.
    last = log_map(path, place=("scene a", "/maps/a.tif"), run="3", shift=50)
    log_map(path, place=("scene a", "/maps/a.tif"), run="3", shift=50)  # Killed and continued.
    log_map(path)
    log_map(path)
    served = read_log(path)
    assert (served.maps, served.superseded, served.windows) == (4, 1, 24)
    assert served.class_pixels == {10: 16000}
    assert served.sampled_pixels == 4 * len(last)
    run(path, reference)
    assert "maps: 4 (1 older ones were made again); highest" in capsys.readouterr().out
    assert json.loads((tmp_path / "monitor.json").read_text())["superseded_maps"] == 1
    assert "1 older ones were made again" in (tmp_path / "monitor.html").read_text()


def test_of_a_map_made_again_the_last_line_counts_whatever_the_days(tmp_path):
    """Days were chosen line by line, so that an older line outside the last one's days counted."""
    path = tmp_path / "requests.jsonl"
    place, sensed = ("scene a", "/maps/a.tif"), "2025-07-01T10:00:00+00:00"
    log_map(path, place=place, run="1", code=20, sensed="2024-07-01T10:00:00+00:00")
    log_map(path, place=place, run="2", sensed=sensed)
    log_map(path, sensed="2026-07-01T10:00:00+00:00")
    with pytest.raises(DatasetError, match="but of 2025-07-01 to 2026-07-01"):
        read_log(path, date(2026, 7, 2))
    served = read_log(path, date(2025, 7, 1), date(2025, 7, 1))
    assert (served.maps, served.superseded, served.class_pixels) == (1, 1, {10: 4000})
    assert read_log(path, date(2026, 1, 1)).superseded == 0
    # A source that does not tell counts by the day on which its map was made last.
    place = ("raster", "/maps/raster.tif")
    log_map(path, place=place, code=20)
    lines = path.read_text().splitlines()
    lines[-1] = re.sub(r'"time": "[^"]+"', '"time": "2024-05-05T00:00:00Z"', lines[-1])
    path.write_text("\n".join(lines) + "\n")
    assert read_log(path, end=date(2024, 12, 31)).class_pixels == {20: 4000}
    log_map(path, place=place, run="2", code=20)
    with pytest.raises(DatasetError, match="has no map of any day to 2024-12-31"):
        read_log(path, end=date(2024, 12, 31))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("{}\n", "line 1 of .* is not of this request log"),
        ("not json\n", "line 1 of"),
        (None, "cannot read the request log"),
    ],
)
def test_a_broken_log_is_named(tmp_path, text, message):
    path = tmp_path / "requests.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_log(path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"windows": 6', '"windows": "six"', "expected a count of 0 or more, got 'six'"),
        ('"windows": 6', '"windows": -6', "expected a count of 0 or more, got -6"),
        ('{"10": 4000}', '{"10": 1e400}', "expected a count of 0 or more, got inf"),
        ('{"10": 4000}', '{"10": -1}', "expected a count of 0 or more, got -1"),
        ('"sample_step": 1', '"sample_step": 0', "expected a count of 1 or more, got 0"),
        ('"sample_step": 1, ', "", "'sample_step'"),
        ('"sensing_time": null, ', "", "'sensing_time'"),
        ('{"10": 4000}', f"{'[' * 100_000}", "maximum recursion depth"),
        ('"count": 600', '"count": 1e400', "no pixels"),
        ('"B02"', '"B03"', "cannot merge statistics of bands"),
        ('"count": 600', '"count": 0', "no pixels"),
        ('"class_pixels": {"10": 4000}', '"class_pixels": {"10": null}', "got None"),
    ],
)
def test_a_line_that_does_not_belong_is_named(tmp_path, old, new, reason):
    path = tmp_path / "requests.jsonl"
    log_map(path)
    line = path.read_text()
    assert old in line
    path.write_text(line + line.replace(old, new))
    with pytest.raises(DatasetError, match=f"line 2 of .*{reason}"):
        read_log(path)


@pytest.fixture
def reference(tmp_path):
    shard = ShardInfo(file="train-0", records=1, bytes=1, sha256="0")
    dataset = dataset_info(
        BandStatistics.from_pixels(pixels(0), BANDS),
        {"train": SplitInfo(shards=(shard,), class_pixels={10: 90, 20: 10})},
        normalizer="reflectance",
        name="fields",
        legend=LEGEND,
    )
    dataset.save(tmp_path / "data")
    return tmp_path / "data" / "dataset.json"


def run(log, reference, *more) -> int:
    arguments = ["--requests", str(log), "--reference", str(reference), *map(str, more)]
    return monitor.main(arguments)


def test_the_program_accepts_what_it_was_trained_on(tmp_path, reference, capsys):
    log = tmp_path / "requests.jsonl"
    log_map(log)
    assert run(log, reference) == 0
    assert "maps: 1; highest stability index" in capsys.readouterr().out
    result = json.loads((tmp_path / "monitor.json").read_text())
    assert result["findings"] == []
    assert result["class_shift"] == pytest.approx(0.1)
    assert [band["name"] for band in result["bands"]] == list(BANDS)
    page = (tmp_path / "monitor.html").read_text()
    assert "Nothing is over its limit" in page and "10 agricultural areas" in page
    assert "http" not in page  # One file, no network.


def test_the_program_exits_1_over_a_limit(tmp_path, reference, capsys):
    log = tmp_path / "requests.jsonl"
    log_map(log, shift=-1000, code=60)
    out = tmp_path / "out"
    assert run(log, reference, "--output-dir", out) == 1
    shown = capsys.readouterr().out
    assert "over the limit: band B02 has stability index" in shown
    assert "over the limit: class shares shifted by 1.000, limit 0.2" in shown
    assert "Over the limit" in (out / "monitor.html").read_text()
    limits = ("--max-stability-index", 50)
    assert run(log, reference, "--output-dir", out, *limits) == 1
    assert "1.000, limit 0.2" in capsys.readouterr().out
    assert run(log, reference, "--output-dir", out, *limits, "--max-class-shift", 1) == 0


@pytest.mark.parametrize("name", ["monitor.json", "monitor.html"])
def test_other_files_are_not_replaced(tmp_path, reference, name, capsys):
    log = tmp_path / "requests.jsonl"
    log_map(log)
    (tmp_path / name).write_text('{"findings": "mine"}')
    assert run(log, reference) == 2
    assert f"{name} is there already and no report of this program" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == '{"findings": "mine"}'
    assert len(list(tmp_path.glob("monitor.*"))) == 1


def told(reference, **changes):
    """Returns what a log tells of a model that was trained on the reference."""
    data_hash = DatasetInfo.load(reference).data_hash
    known = dict(sha256="a1", data_hash=data_hash, legend=LEGEND.name, codes=LEGEND.codes)
    return known | changes


@pytest.mark.parametrize(
    ("changes", "code", "problem"),
    [
        ({"data_hash": "abc"}, 10, "landcover/1 was trained on data hash abc"),
        ({"legend": "worldcover"}, 10, r"landcover/1 has legend worldcover \[10, 20"),
        ({"codes": (10, 20)}, 10, r"landcover/1 has legend landcover9 \[10, 20\];"),
        ({}, 211, r"maps have codes \[211\];"),
        ({"sha256": "", "data_hash": ""}, 211, "maps have codes"),
    ],
)
def test_a_log_of_another_model_is_refused(tmp_path, reference, changes, code, problem, capsys):
    log = tmp_path / "requests.jsonl"
    log_map(log, **told(reference))
    log_map(log, code=code, **told(reference, **changes))
    assert run(log, reference) == 2
    shown = capsys.readouterr().err
    assert re.search(f"requests.jsonl does not belong to the reference .*: {problem}", shown)
    assert not (tmp_path / "monitor.json").exists()


def test_several_models_in_one_log_are_told(tmp_path, reference, capsys):
    log = tmp_path / "requests.jsonl"
    for _ in range(2):
        log_map(log, **told(reference))
    assert run(log, reference) == 0
    assert capsys.readouterr().err == ""
    # Another calibration makes it another model of the same name.
    log_map(log, **told(reference, sha256="b2"))
    assert run(log, reference) == 0
    expected = "the log mixes 2 models (landcover/1 a1, landcover/1 b2), and every figure"
    assert f"warning: {expected}" in capsys.readouterr().err
    assert expected in (tmp_path / "monitor.html").read_text()
    (warning,) = json.loads((tmp_path / "monitor.json").read_text())["warnings"]
    assert warning.startswith(expected)


def test_a_model_that_does_not_know_its_training_data_is_told(tmp_path, reference, capsys):
    log = tmp_path / "requests.jsonl"
    log_map(log)
    assert run(log, reference) == 0
    assert "does not tell the training data of landcover/1, so" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["source", "map", "run", "model_sha256", "data_hash", "legend"])
def test_a_line_that_lacks_something_is_named(tmp_path, name):
    log = tmp_path / "requests.jsonl"
    log_map(log)
    line = json.loads(log.read_text())
    del line[name]
    log.write_text(json.dumps(line) + "\n")
    with pytest.raises(DatasetError, match=f"line 1 of .* is not of this request log: '{name}';"):
        read_log(log)


def test_an_export_is_a_reference_too(tmp_path, reference, capsys):
    dataset = DatasetInfo.load(reference)
    info = small_info(
        version=3,
        bands=dataset.bands,
        statistics=dataset.statistics.to_dict(),
        class_fractions={"10": 0.9, "20": 0.1},
        data_hash="abc",
    )
    version = tmp_path / "export" / "landcover" / "3"
    version.mkdir(parents=True)
    info.save(version)
    log = tmp_path / "requests.jsonl"
    log_map(log)
    for path in (tmp_path / "export", version, version / "model.json"):
        assert run(log, path) == 0
    result = json.loads((tmp_path / "monitor.json").read_text())
    assert result["reference"] == "model landcover/3, data hash abc"
    replace(info, statistics={}).save(version)
    assert run(log, version) == 2
    assert "no statistics of its training data" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["--max-stability-index", "--max-class-shift"])
@pytest.mark.parametrize("value", ["0", "nan"])
def test_a_limit_of_nothing_is_refused(tmp_path, reference, limit, value, capsys):
    assert run(tmp_path / "none", reference, limit, value) == 2
    assert f"{limit} must be above 0 and finite, got {value}" in capsys.readouterr().err
