"""The program that writes simulated products."""

import pytest

from landcover_tf import simulate
from landcover_tf.errors import OutputError
from landcover_tf.sentinel2.simulation import simulate_product


def test_program_writes_folders_and_zips_and_refuses_to_overwrite(tmp_path, capsys):
    arguments = ["--output-dir", str(tmp_path), "--size-px", "60", "--products", "2"]
    assert simulate.main(arguments) == 0
    names = sorted(p.name for p in (tmp_path / "products").iterdir())
    assert [name.rsplit(".")[-1] for name in names] == ["zip", "SAFE"]
    assert "_N0301_" in names[0] and "_N0511_" in names[1]
    assert len(list((tmp_path / "ground_truth").glob("*.tif"))) == 2
    again = ["--config", str(tmp_path / "simulate.json")]
    assert simulate.main(again) == 2
    assert "exists already" in capsys.readouterr().err
    with pytest.raises(OutputError, match="exists already"):
        simulate_product(tmp_path, size_px=60, baseline="03.01", tile="34SFH", zipped=True)


def test_program_refuses_bad_flags(tmp_path, capsys):
    for flags, message in (
        (["--size-px", "100"], "multiple of 6"),
        (["--products", "99"], r"--products must be"),
        (["--seed", "-1"], "--seed must not be negative, got -1"),
        (["--baseline", "abc"], "baseline must be"),
    ):
        assert simulate.main(["--output-dir", str(tmp_path / "x"), *flags]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
