import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from landcover_tf import __main__ as landcover
from landcover_tf.configs import cli, config_files
from landcover_tf.errors import ConfigError, LandCoverError
from landcover_tf.system.files import atomic_folder, atomic_path, read_json
from serving.config import PredictConfig
from tfrecords_builder.inspect import InspectConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """Does nothing."""

    data_dir: Path
    """Input folder."""
    sizes: tuple[int, ...] = (1, 2)
    """Sizes."""
    keep: bool = True
    """Keep."""
    name: str | None = None
    """Name."""
    rate: float = 1e-4
    """Rate."""


@dataclass(frozen=True, kw_only=True)
class Long:
    """Does nothing.

    Of two paragraphs.
    """

    keep: bool = True
    """Keep."""


def test_help_has_the_indentation_of_no_source(capsys):
    with pytest.raises(SystemExit):
        cli.parse(Long, ["--help"], prog="x")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "Of two paragraphs." in lines


def test_a_written_config_repeats_the_run(tmp_path):
    config = Config(data_dir=Path("a b"), sizes=(), keep=False, rate=3e-5)
    config_files.write_config(config, tmp_path / "config.json")
    assert cli.parse(Config, ["--config", str(tmp_path / "config.json")], prog="x") == config


def test_flags_win_over_the_file_and_toml_sections_only_group(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[input]\ndata-dir = "a"\n[other]\nsizes = [3]\nkeep = false\n')
    parsed = cli.parse(Config, ["--config", str(path), "--sizes", "4", "5"], prog="x")
    assert parsed == Config(data_dir=Path("a"), sizes=(4, 5), keep=False)


@pytest.mark.parametrize(
    ("name", "text"), [("c.toml", 'data-dir = "ä"'), ("c.json", '{"data_dir": "ä"}')]
)
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("utf-8-sig"))
    assert cli.parse(Config, ["--config", str(tmp_path / name)], prog="x").data_dir == Path("ä")


def test_an_unknown_key_names_file_and_key(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"data_dir": "a", "batchsize": 3}))
    with pytest.raises(ConfigError, match=r"config\.json has unknown key 'batchsize'"):
        cli.parse(Config, ["--config", str(path)], prog="x")


@pytest.mark.parametrize(
    ("name", "settings"), [("run.json", "config.json"), ("design.json", "assess_design.json")]
)
def test_a_file_of_results_names_that_of_the_settings(tmp_path, name, settings):
    path = tmp_path / name
    path.write_text(json.dumps({"status": "finished", "config": {"data_dir": "a"}}))
    message = rf"{name} holds results and no settings; give --config .*/{settings}$"
    with pytest.raises(ConfigError, match=message):
        cli.parse(Config, ["--config", str(path)], prog="x")


def test_null_is_no_value_but_for_what_may_have_none(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"data_dir": "a", "name": null}')
    assert cli.parse(Config, ["--config", str(path)], prog="x").name is None
    path.write_text('{"data_dir": null}')
    message = r"config\.json has null for 'data_dir', which needs a value"
    with pytest.raises(ConfigError, match=message):
        cli.parse(Config, ["--config", str(path), "--data-dir", "a"], prog="x")
    with pytest.raises(ConfigError, match="the trial has null for 'data_dir'"):
        cli.from_dict(Config, {"data_dir": None}, "the trial")


@pytest.mark.parametrize("text", ["{", '{"a" 1}', "[1]", '"a"'])
def test_a_malformed_file_is_named(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json is malformed"):
        cli.parse(Config, ["--config", str(path)], prog="x")


@pytest.mark.parametrize(
    "words", [["data"], ["--data-dir", "data"], ["--data-dir=data"], ["--limit", "3", "data"]]
)
def test_a_positional_may_be_given_by_its_flag(words, tmp_path):
    parsed = cli.parse(InspectConfig, [*words, "--split", "val"], prog="x")
    assert (parsed.data_dir, parsed.split) == (Path("data"), "val")
    path = tmp_path / "config.json"
    path.write_text('{"data_dir": "data", "split": "val"}')
    assert cli.parse(InspectConfig, ["--config", str(path)], prog="x").data_dir == Path("data")


@pytest.mark.parametrize("words", [["other"], ["--data-dir", "other"], ["--limit", "3", "other"]])
def test_a_position_wins_over_the_file(words, tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text('{"data_dir": "data", "split": "val", "limit": 5}')
    parsed = cli.parse(InspectConfig, ["--config", str(path), *words], prog="x")
    limit = 3 if len(words) == 3 else 5
    assert (parsed.data_dir, parsed.split, parsed.limit) == (Path("other"), "val", limit)
    parsed = cli.parse(InspectConfig, ["--config", str(path), "--limit", "3"], prog="x")
    assert (parsed.data_dir, parsed.limit) == (Path("data"), 3)
    with pytest.raises(ConfigError, match=r"--png must end in \.png, got a\.gif"):
        cli.parse(InspectConfig, ["--config", str(path), "--png", "a.gif", *words], prog="x")
    assert capsys.readouterr() == ("", "")


def test_exit_codes(capsys):
    def fails(config):
        raise LandCoverError("expected a, got b")

    assert cli.run(Config, lambda config: None, ["--data-dir", "a"], prog="x") == 0
    assert cli.run(Config, lambda config: 1, ["--data-dir", "a"], prog="x") == 1
    assert cli.run(Config, fails, ["--data-dir", "a"], prog="x") == 2
    assert capsys.readouterr().err == "error: expected a, got b\n"
    assert cli.run(Config, fails, ["--data-dir", "a", "--sise", "1"], prog="x") == 2
    assert "--sise" in capsys.readouterr().err
    assert cli.run(Config, fails, ["--help"], prog="x") == 0
    assert "Input folder." in capsys.readouterr().out


def test_windows_is_refused_in_a_sentence(capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert cli.run(Config, lambda config: None, ["--data-dir", "a"], prog="landcover x") == 2
    said = capsys.readouterr().err
    assert said == "error: landcover x runs on Linux and macOS; on Windows, run it inside WSL2\n"


def test_programs_begin_without_the_modules_that_windows_lacks():
    """Else a traceback would come before the sentence."""
    modules = [module for module, _ in landcover.PROGRAMS.values()]
    code = f"""import sys
from importlib import import_module
sys.modules |= {{"fcntl": None, "resource": None}}
for name in {modules}: import_module(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_nobody_foresaw_is_no_finding(capsys, tmp_path):
    def ends_with(error):
        def program(config):
            raise error

        return cli.run(Config, program, ["--data-dir", "a"], prog="x")

    assert ends_with(PermissionError(13, "Permission denied", "disk/lost+found")) == 2
    assert capsys.readouterr().err == "error: disk/lost+found: Permission denied\n"
    assert ends_with(OSError("the disk is gone")) == 2
    assert capsys.readouterr().err == "error: the disk is gone\n"
    # A finding is 1, which a program that fell over has not made.
    assert ends_with(ZeroDivisionError("of zones")) == 70
    assert "ZeroDivisionError: of zones" in capsys.readouterr().err


def test_sigterm_clears_away_what_was_begun(tmp_path):
    def program(config):
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("begun")
            assert any(tmp_path.iterdir())
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert cli.run(Config, program, ["--data-dir", "a"], prog="x") == 143
    assert not any(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_name_that_the_terminal_cannot_show_ends_nothing(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert cli.run(Config, lambda _: print("Wälder.tif"), ["--data-dir", "a"], prog="x") == 0
    shown.flush()
    assert shown.buffer.getvalue() == b"W\\xe4lder.tif\n"


def test_the_next_command_can_be_copied_into_a_shell(capsys):
    cli.print_next("assess design", map=Path("my maps/map.tif"), output_dir="sample")
    said = capsys.readouterr().out
    words = ["landcover", "assess", "design", "--map", "my maps/map.tif", "--output-dir", "sample"]
    assert shlex.split(said.removeprefix("next: ")) == words


def test_the_landcover_command_lists_its_programs(capsys):
    assert landcover.main([]) == 0
    listing = capsys.readouterr().out
    for name in landcover.PROGRAMS:
        assert name in listing
    assert landcover.main(["nonsense"]) == 2
    assert "no program 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(landcover.PROGRAMS))
def test_help_imports_no_tensorflow(name):
    code = (
        "import sys, landcover_tf.__main__ as m\n"
        f"status = m.main(['{name}', '--help'])\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'keras_tuner'} & set(sys.modules)\n"
        "sys.exit(status or (3 if heavy else 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(landcover.PROGRAMS))
def test_usage_and_errors_name_the_command(name, capsys):
    parts = ["assess", "design"] if name == "assess" else [name]
    assert landcover.main([*parts, "--help"]) == 0
    named = " ".join(["landcover", *parts])
    assert capsys.readouterr().out.startswith(f"usage: {named} ")
    assert landcover.main([*parts, "--no-such-flag", "1"]) == 2
    assert f"{named} --help" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_help_joins_the_lines_of_a_text_and_names_what_is_not_set(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        cli.parse(PredictConfig, ["--help"], prog="landcover predict")
    shown = capsys.readouterr().out
    # The source breaks the line after "a".
    assert "several of them, a folder of them with products" in shown
    assert re.search(r"--margin INT +Context in pixels .* warning\. \(default: not set\)", shown)
    assert re.search(r"Band names of the rasters, .* \(default: none\)", shown)
    assert "(default: )" not in shown and "None" not in shown


@pytest.mark.parametrize(
    "module", ["landcover_tf.prepare", "serving.predict", "tfrecords_builder.__main__"]
)
def test_programs_let_numpy_ask_for_no_huge_pages(module):
    # Setting it returns what was set when NumPy was imported; the name is private.
    asked = "print(numpy._core.multiarray._set_madvise_hugepage(False))"
    code = f"import {module}, numpy; {asked}"
    environment = {k: v for k, v in os.environ.items() if k != "NUMPY_MADVISE_HUGEPAGE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "words", [["landcover_tf.simulate"], ["tuning"], ["landcover_tf.assess", "design"]]
)
def test_usage_names_the_module_where_it_was_run(words):
    command = [sys.executable, "-m", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: python -m {' '.join(words)} ")


def test_atomic_writes_leave_nothing_behind(tmp_path):
    with pytest.raises(KeyError), atomic_path(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    with pytest.raises(KeyError), atomic_folder(tmp_path / "new" / "er" / "b") as temporary:
        (temporary / "c").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "b") as temporary, atomic_path(temporary / "d" / "e") as file:
        file.write_text("whole")
        (temporary / "c").write_text("whole")
    assert (tmp_path / "b" / "d" / "e").read_text() == "whole"
    assert (tmp_path / "b" / "c").read_text() == "whole"
    with pytest.raises(LandCoverError, match="exists already"), atomic_folder(tmp_path / "b"):
        pass


def test_json_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_json(tmp_path / "absent.json")
