"""What earlier runs of the same command finished: maps of single scenes, and their mosaic."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import rasterio
from rasterio.errors import RasterioIOError

from landcover_tf import cli
from landcover_tf.files import beside, read_json
from serving.mosaic import is_unfinished, scenes_of
from serving.predict import PredictConfig
from serving.scene_prediction import ScenePrediction
from serving.targets import RECORD

NOT_IN_THE_MAP = (
    "overwrite",
    "jobs",
    "scheduler",
    "verify",
    "verify_regions",
    "seed",
    "request_log",
)
"""Settings that two runs of the same map may differ in."""


def is_finished(scene: ScenePrediction, config: PredictConfig) -> bool:
    """Returns whether a map of several is there already, from the same command and model."""
    record = beside(scene.map_path, RECORD)
    if not _is_of_these_settings(scene.map_path, own_config(scene, config)):
        return False
    if scene.source.path.stat().st_mtime > record.stat().st_mtime:
        return False
    try:
        with rasterio.open(scene.map_path) as dataset:
            same = dataset.tags().get("model_sha256") == scene.engine.model_hash
    except RasterioIOError:
        return False
    if same:
        print(f"map: {scene.map_path} (finished by an earlier run)")
    return same


def own_config(scene: ScenePrediction, config: PredictConfig) -> PredictConfig:
    """Returns the config that makes this map alone, whatever inputs there are beside it."""
    return replace(
        config,
        input_image=(scene.source_path,),
        output_map=scene.map_path,
        mosaic=False,
        confidence=scene.options.outputs.confidence,
    )


def is_merged(scenes: Sequence[ScenePrediction], config: PredictConfig) -> bool:
    """Returns whether the mosaic is there, of just these scenes' finished maps."""
    path = config.output_map
    if is_unfinished(path) or not _is_of_these_settings(path, config):
        return False
    newest = max(scene.map_path.stat().st_mtime for scene in scenes)
    return scenes_of(path) == _names(scenes) and path.stat().st_mtime >= newest


def grows(scenes: Sequence[ScenePrediction], config: PredictConfig) -> bool:
    """Returns whether the mosaic that is there may be merged anew: no scene of it gets lost."""
    path = config.output_map
    if not _is_of_these_settings(path, config, whatever=("input_image",)):
        return False
    return set(scenes_of(path)) <= set(_names(scenes))


def _is_of_these_settings(
    map_path: Path, config: PredictConfig, *, whatever: tuple[str, ...] = ()
) -> bool:
    """Returns whether a map is there, was made as `config` says and is not to be made anew.

    Args:
        map_path: The map; its settings lie beside it.
        config: What is asked for.
        whatever: Further settings that may differ.
    """
    record = beside(map_path, RECORD)
    if config.overwrite or not (record.is_file() and map_path.is_file()):
        return False
    found, wanted = read_json(record), cli.config_dict(config)
    free = (*NOT_IN_THE_MAP, *whatever)
    return all(found.get(key) == wanted[key] for key in wanted if key not in free)


def _names(scenes: Sequence[ScenePrediction]) -> list[str]:
    return [scene.map_path.parent.name for scene in scenes]
