"""What the paths of a command line stand for."""

from pathlib import Path

import pytest
from local_export import RAW, SmallExport, arguments, write_raster

from serving.inputs import find_inputs
from serving.predict import main


def test_several_inputs_need_a_folder(
    small_export: SmallExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.tif", "b.tif"):
        write_raster(tmp_path / name, 20, 20)
    (tmp_path / "list.txt").write_text("a.tif\n# a comment\nb.tif\n")
    inputs = [tmp_path / "list.txt"]
    assert main(arguments(small_export, inputs, tmp_path / "m.tif", *RAW)) == 2
    assert "must be a folder" in capsys.readouterr().err
    assert main(arguments(small_export, inputs, tmp_path / "out", *RAW)) == 0
    assert sorted(p.parent.name for p in (tmp_path / "out").glob("*/map.tif")) == ["a", "b"]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"all.txt": b"a.tif\nall.txt\n"}, "all.txt names itself"),
        ({"all.txt": b"more.txt\n", "more.txt": b"./all.txt\n"}, "all.txt names itself"),
        ({"all.txt": "bäume.tif\n".encode("latin-1")}, "is not a readable list of paths in UTF-8"),
    ],
)
def test_a_list_that_cannot_be_followed_is_named(
    small_export: SmallExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lists: dict[str, bytes],
    message: str,
) -> None:
    write_raster(tmp_path / "a.tif", 20, 20)
    for name, content in lists.items():
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    assert main(arguments(small_export, [tmp_path / "all.txt"], out, *RAW)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    # The same list twice is no circle.
    (tmp_path / "once.txt").write_text("a.tif\n")
    assert find_inputs([tmp_path / "once.txt"] * 2) == [tmp_path / "a.tif"] * 2
