"""The settings that stand beside a map, and in what those of a command differ from them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from landcover_tf.configs.config_files import INPUT_STAMP, config_dict, default_dict
from landcover_tf.configs.settings_changes import changes
from serving.config import PredictConfig
from serving.options import single_maps
from serving.scene_prediction import ScenePrediction
from serving.targets import read_record

OF_ITS_RUN = (
    "overwrite",
    "jobs",
    "scheduler",
    "verify",
    "verify_regions",
    "seed",
    "request_log",
)
"""Settings of how a run went, which who makes the map again need not repeat."""
NOT_IN_THE_MAP = (*OF_ITS_RUN, "checksums", "server_timeout")
"""Settings that two runs of the same map may differ in."""
PATHS = ("input_image", "model_path", "reference_map")
"""Settings that name files, which may be written in another way."""


def own_config(scene: ScenePrediction, config: PredictConfig) -> PredictConfig:
    """Returns the config that makes this map alone, whatever inputs there are beside it."""
    own = single_maps(config)
    return replace(own, input_image=(scene.source_path,), output_map=scene.map_path)


def record_of(scene: ScenePrediction, config: PredictConfig) -> dict[str, Any]:
    """Returns what stands beside a scene's map: the config that makes it, and of which input."""
    return as_record(own_config(scene, config)) | {INPUT_STAMP: scene.input_stamp}


def as_record(config: PredictConfig) -> dict[str, Any]:
    """Returns a config as it stands beside its map.

    How the run went is at the defaults: who makes the map again, or others like it, by this
    record need not mean to overwrite, and may have another scheduler or none. Without its
    `checksums` and `server_timeout` the map might not be made at all.
    """
    defaults = default_dict(PredictConfig)
    return config_dict(config) | {name: defaults[name] for name in OF_ITS_RUN}


def differences(
    record: Mapping[str, Any], map_path: Path, config: PredictConfig, *free: str
) -> list[str]:
    """Returns the settings, of those that decide a map, in which a record differs from a command.

    Args:
        record: From `read_record`, or of a run that was to leave it.
        map_path: The map that it is of.
        config: What is asked for.
        *free: Further settings that may differ.

    Returns:
        Each with its old and new value.
    """
    now, folder = config_dict(config), _folder_of_run(record, map_path)
    same = [name for name in PATHS if _files(record.get(name), folder) == _files(now[name])]
    if record.get("server") and config.server:
        # It may move; the model that it serves is the same, or refused. It may ask for smaller
        # requests.
        same += ["server", "batch_size"]
    # The record lies beside the map, wherever that was moved.
    return changes(record, now, free=(*NOT_IN_THE_MAP, "output_map", *same, *free))


def is_of_this_input(record: Mapping[str, Any], scene: ScenePrediction) -> bool:
    """Returns whether the scene's files are still those that the map of a record was made of."""
    return bool(record.get(INPUT_STAMP) == scene.input_stamp)


def inputs_of(map_path: Path) -> list[Path]:
    """Returns the inputs that a map was made of; none if nothing tells them."""
    record = read_record(map_path) or {}
    return _files(record.get("input_image"), _folder_of_run(record, map_path))


def _folder_of_run(record: Mapping[str, Any], map_path: Path) -> Path:
    """Returns the folder in which a record's relative paths hold, as that of the map tells it."""
    named, there = Path(str(record.get("output_map"))).parts, map_path.absolute().parts
    return Path(*there[: -len(named)]) if there[-len(named) :] == named else Path.cwd()


def _files(named: Any, folder: Path = Path()) -> list[Path]:
    """Returns the files that the value of a setting names."""
    paths = named if isinstance(named, list) else [] if named is None else [named]
    return [(folder / str(path)).resolve() for path in paths]
