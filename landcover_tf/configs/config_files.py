"""Configs as plain values: the files that programs write of them, and the flags these stand for."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from landcover_tf.errors import ConfigError
from landcover_tf.system.files import write_json

# What programs find, beside the settings that they were run with.
SETTINGS_BESIDE = {
    "run.json": "config.json",
    "scores.json": "config.json",
    "dataset.json": "config.json",
    "design.json": "assess_design.json",
    "estimate.json": "assess_estimate.json",
    "compare.json": "assess_compare.json",
    "checks.json": "prepare.json",
}
"""By the name of a result file, that of the file in its folder which `--config` takes."""

INPUT_STAMP = "input_stamp"
"""Key beside the settings of a map, no setting: tells its input from one that was changed since."""


def flags_of_file(path: Path, config_class: type[Any]) -> list[str]:
    """Returns the flags that a TOML or JSON config file stands for.

    Raises:
        ConfigError: The file is missing, malformed, or has a key that is not a field.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Editors of Windows begin with a mark.
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"config {path} is malformed: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"config {path} is malformed: expected keys with values at its top level")
    fields = {f.name: f for f in dataclasses.fields(config_class)}
    values: dict[str, Any] = {}
    for key, value in _flat(table).items():
        if key == INPUT_STAMP:
            continue
        name = key.replace("-", "_")
        if name not in fields and path.name in SETTINGS_BESIDE:
            raise ConfigError(
                f"{path} holds results and no settings; give --config "
                f"{path.with_name(SETTINGS_BESIDE[path.name])}"
            )
        if name not in fields:
            raise ConfigError(
                f"config {path} has unknown key {key!r}; expected one of "
                f"{', '.join(sorted(fields))}"
            )
        values[name] = value
    return flags_of_values(config_class, values, f"config {path}")


def flags_of_values(config_class: type[Any], values: Mapping[str, Any], where: str) -> list[str]:
    """Returns the flags that plain values of fields stand for.

    Args:
        config_class: Whose fields they are.
        values: Values by field name, as `config_dict` gives them.
        where: What holds them, for the message.

    Raises:
        ConfigError: A value is missing.
    """
    flags: list[str] = []
    for name, value in values.items():
        _require_value(config_class, name, value, where)
        flags += _flags(flag_of(name), value)
    return flags


def flag_of(name: str) -> str:
    """Returns the flag of a field: --data-dir of data_dir."""
    return f"--{name.replace('_', '-')}"


def config_dict(config: Any) -> dict[str, Any]:
    """Returns a config as plain JSON values, which `--config` accepts back."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def default_dict(config_class: type[Any]) -> dict[str, Any]:
    """Returns the defaults of a config as plain JSON values, without the fields that have none."""
    fields = dataclasses.fields(config_class)
    return {f.name: _plain(f.default) for f in fields if f.default is not dataclasses.MISSING}


def write_config(config: Any, path: str | Path) -> None:
    """Writes a config beside a program's output; `--config` on that file repeats the run.

    Its paths are as they were given: relative ones hold in the folder of the run only.
    """
    write_json(path, config_dict(config))


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value) if isinstance(value, dict) else {key: value}
    return flat


def _require_value(config_class: type[Any], name: str, value: Any, where: str) -> None:
    """Raises ConfigError for None, JSON's null, where a field must have a value."""
    if value is None and type(None) not in get_args(get_type_hints(config_class)[name]):
        raise ConfigError(
            f"{where} has null for {name!r}, which needs a value; give one, or leave the key out "
            "for the flag or the default"
        )


def _flags(flag: str, value: Any) -> list[str]:
    if value is None:
        return [flag, "None"]
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, list | tuple):
        return [flag, *map(str, value)]
    return [flag, str(value)]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
