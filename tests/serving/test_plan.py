"""What `--plan` says that `--mode auto` takes: by memory, by engine, and by pixels to compute."""

import importlib.util
from pathlib import Path

import pytest
from fakes.model_server import ModelServer
from fakes.small_export import write_small_export
from local_export import RAW, SmallExport, arguments, write_raster

from serving import layouts
from serving.predict import main

HEIGHT, WIDTH = 320, 192
OVERLAPPING = ("--patch-size", "64", "--patch-overlap", "32")
# ((320 - 32) / 32) x ((192 - 32) / 32) = 9 x 5 patches; 45 * 64^2 / (320 * 192) = 3.
BLENDED = ("blend", "45 of 64 x 64 px", "3.000 px per output px")
# The raster is a multiple of the stride, so that one window holds it and computes nothing else.
WHOLE = ("exact", "1 of 320 x 192 px", "1.000 px per output px")


def gib(px: int) -> str:
    """Returns a memory limit that windows of TensorFlow with so many pixels need."""
    strips = (152 + 3 * 256) * WIDTH * (2 * 4 + 1)  # Values and validity of full strips.
    room = px * layouts.ACTIVATION_BYTES_PER_PX["tensorflow", "float32"] + strips
    return str((layouts.ENGINE_BYTES["tensorflow"] + room) / 2**30)


def planned(command: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Returns the lines of the plan by their names."""
    assert main([*command, "--mode", "auto", "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(line.strip().split("  ", 1) for line in lines if "  " in line.strip())


def check(found: dict[str, str], expected: tuple[str, str, str]) -> None:
    mode, windows, computed = expected
    assert found["mode"].startswith(f"{mode}, ")
    assert (found["windows"], found["computed"]) == (windows, computed)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param((*OVERLAPPING, "--memory-gb", "4"), WHOLE, id="roomy"),
        # Windows of 152 x 128 px fit: 3 of them reach over 320 rows with 2 x 64 px shared, 2 over
        # 192 columns. 6 * 152 * 128 / 61440 = 1.9, less than the patches' 3.
        pytest.param(
            (*OVERLAPPING, "--memory-gb", gib(22_000)),
            ("exact", "6 of 152 x 128 px", "1.900 px per output px"),
            id="windows fit",
        ),
        # The same windows fit, but patches without overlap compute no pixel twice.
        pytest.param(
            ("--patch-size", "64", "--patch-overlap", "0", "--memory-gb", gib(22_000)),
            ("blend", "15 of 64 x 64 px", "1.000 px per output px"),
            id="patches compute less",
        ),
        pytest.param((*OVERLAPPING, "--memory-gb", gib(1000)), BLENDED, id="nothing fits"),
    ],
)
def test_auto_takes_what_fits_and_computes_less(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    expected: tuple[str, str, str],
) -> None:
    write_raster(tmp_path / "scene.tif", HEIGHT, WIDTH)
    image, out = tmp_path / "scene.tif", tmp_path / "map.tif"
    check(planned(arguments(small_export, [image], out, *RAW, *flags), capsys), expected)


def test_the_disk_holds_all_rasters_that_are_asked_for(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", 512, 4096)  # A layer takes 2 MiB.
    image, out = tmp_path / "scene.tif", tmp_path / "map.tif"

    def disk(*flags: str) -> tuple[str, str | None]:
        found = planned(arguments(small_export, [image], out, *RAW, *flags), capsys)
        assert found["map"] == "at most 2 MiB, usually a tenth"
        return found["work disk"], found.get("other rasters")

    until = "MiB until the map is written"
    assert disk("--no-confidence") == (f"4 {until}", None)
    assert disk() == (f"8 {until}", "about 2 MiB: confidence.tif")
    # 3 bands and one per class, as many layers in rasters but the class, and a copy of the last.
    classes = len(small_export.info.class_codes)
    work, rasters = 2 * (3 + 2 + 3 * classes), 2 * (2 + classes)
    everything = f"about {rasters} MiB: confidence.tif, entropy.tif, probabilities.tif"
    assert disk("--entropy", "--probabilities") == (f"{work} {until}", everything)


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)
def test_auto_counts_the_memory_of_the_engine(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", HEIGHT, WIDTH)
    # TensorFlow alone takes more than 2 GiB, OpenVINO half of that.
    limit = (*OVERLAPPING, "--memory-gb", "2")
    for engine, expected in (("openvino", WHOLE), ("tensorflow", BLENDED)):
        flags = (*RAW, *limit, "--engine", engine)
        image, out = tmp_path / "scene.tif", tmp_path / "map.tif"
        found = planned(arguments(small_export, [image], out, *flags), capsys)
        check(found, expected)
        assert found["mode"].endswith(f", {engine} float32")


def test_auto_sends_patches_to_a_server_whatever_the_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(tmp_path / "scene.tif", HEIGHT, WIDTH)
    write_small_export(tmp_path / "served")
    model = tmp_path / "served" / "landcover"
    command = ["--model-path", str(model), "--input-image", str(tmp_path / "scene.tif")]
    command += ["--output-map", str(tmp_path / "map.tif"), *OVERLAPPING, "--memory-gb", "4"]
    local = planned([*command, "--engine", "tensorflow"], capsys)
    check(local, WHOLE)
    with ModelServer(model) as server:
        check(planned([*command, "--server", server.grpc_url], capsys), BLENDED)
        # The time comes from a batch that was really sent.
        assert server.predictions
