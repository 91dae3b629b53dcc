"""What earlier runs of the same command finished: maps of single scenes, and their mosaic."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioIOError

from landcover_tf.config_files import INPUT_STAMP, config_dict, current_names
from landcover_tf.errors import ConfigError, OutputError
from landcover_tf.files import beside, read_json
from landcover_tf.settings_changes import changes
from serving.bands_on_disk import SETTINGS_FILE, BandStore
from serving.config import PredictConfig
from serving.mosaic import is_unfinished, scenes_of
from serving.scene_prediction import ScenePrediction
from serving.targets import APPLICABILITY, RECORD, alone, targets, work_folder

NOT_IN_THE_MAP = (
    "overwrite",
    "jobs",
    "scheduler",
    "checksums",
    "server_timeout",
    "verify",
    "verify_regions",
    "seed",
    "request_log",
    "output_map",  # The record lies beside the map, wherever that was moved.
)
"""Settings that two runs of the same map may differ in."""
PATHS = ("input_image", "model_path", "reference_map")
"""Settings that name files, which may be written in another way."""


def batch_began(scenes: Sequence[ScenePrediction]) -> float | None:
    """Returns when the batch began that the first unfinished one of these scenes belongs to.

    A batch prepares all its scenes before it computes the first, so what it finished is younger.

    Returns:
        Seconds since the epoch; None if no scene is unfinished.
    """
    times = (scene.store.began() for scene in scenes if not _is_published(scene))
    return min((time for time in times if time is not None), default=None)


def is_finished(scene: ScenePrediction, config: PredictConfig, began: float | None = None) -> bool:
    """Returns whether a map of several is there already, with all files that are asked for.

    The work folder of a run that was killed when it had moved the map to its place is removed.

    Args:
        scene: What is asked for.
        config: The command.
        began: With `--overwrite`, when the batch began that this command continues; older maps
            are to be replaced.
    """
    if not _is_current(scene, config, began) or missing_files(scene) or _is_half_there(scene):
        return False
    if scene.work.exists() and (scene.store.began() is None or _is_published(scene)):
        with alone(scene.map_path):
            BandStore(scene.work, (), ()).remove()
    print(f"map: {scene.map_path} (finished by an earlier run)")
    return True


def is_incomplete(scene: ScenePrediction, config: PredictConfig) -> bool:
    """Returns whether a finished map of the same command has lost files, so that it may be made
    again without `--overwrite`."""
    return _is_current(scene, config, None) and bool(missing_files(scene))


def missing_files(scene: ScenePrediction) -> list[Path]:
    """Returns the files asked for that are not there."""
    # A model without statistics of its training data leaves none about the scene.
    optional = beside(scene.map_path, APPLICABILITY)
    wanted = targets(scene.map_path, scene.options.outputs)
    return [path for path in wanted if path != optional and not path.exists()]


def _is_published(scene: ScenePrediction) -> bool:
    """Returns whether the map that is there is of the run that left the work folder."""
    return _has_left_record(scene) and not (scene.files / scene.map_path.name).exists()


def _is_half_there(scene: ScenePrediction) -> bool:
    """Returns whether a run was killed while it moved its files: the map, the last, is older."""
    return _has_left_record(scene) and (scene.files / scene.map_path.name).exists()


def _has_left_record(scene: ScenePrediction) -> bool:
    """Returns whether the record beside the map is of the run that left the work folder."""
    record, began = beside(scene.map_path, RECORD), scene.store.began()
    return began is not None and record.exists() and record.stat().st_mtime > began


def tell_of_maps_made_alone(scenes: Sequence[ScenePrediction], folder: Path) -> None:
    """Tells on stderr which input has a map in `folder` itself, finished or not.

    A command that names one input makes its map there; a folder or a list that holds it has a
    place of its own for it, where the map is computed again.
    """
    path = folder / "map.tif"
    record, work = _record(path) or {}, work_folder(path)
    of = _files(record.get("input_image"), _folder_of_run(record, path)) if path.is_file() else []
    try:
        begun_of = read_json(work / "network" / SETTINGS_FILE)["source"]
    except (ConfigError, KeyError, TypeError):
        begun_of = None
    for scene in scenes:
        if of == [scene.source_path.resolve()]:
            print(
                f"note: {path} is a map of {scene.source_path} too, by a command that named it "
                f"alone; this command makes {scene.map_path}",
                file=sys.stderr,
            )
        if begun_of == scene.input_stamp:
            print(
                f"note: {work} holds an unfinished map of {scene.source_path}, by a command that "
                f"named it alone; repeat that command, or remove {work}: this one makes "
                f"{scene.map_path}",
                file=sys.stderr,
            )


def refuse_other(scene: ScenePrediction, config: PredictConfig) -> None:
    """Refuses a map that is there and is not of this command, input and model.

    Raises:
        OutputError: It says in what they differ, and how to make that map alone again.
    """
    path = scene.map_path
    record, changed = beside(path, RECORD), _changed(path, own_config(scene, config))
    if config.overwrite or scene.work.exists() or not (record.is_file() and path.is_file()):
        return
    again = f"make it again with `landcover predict --config {record} --overwrite`"
    if changed is None:
        reason, again = (
            f"and its settings in {record} are damaged",
            "remove it to have it made again",
        )
    elif changed:
        reason, again = f"with other settings: {', '.join(changed)}", "pass --overwrite"
    elif not _is_of_this_input(scene):
        reason = f"and its input {scene.source.path} was changed since"
    elif (model := _model_of(path)) is None:
        reason = "and cannot be read"
    elif model != scene.engine.model_hash:
        reason, again = "of another model", "pass --overwrite"
    else:
        return
    raise OutputError(f"{path} exists already, {reason}; {again}, or choose another --output-map")


def refuse_other_mosaic(config: PredictConfig) -> None:
    """Refuses a mosaic that is there and is of other settings.

    Raises:
        OutputError: It says in what they differ.
    """
    path = config.output_map
    changed = _changed(path, config)
    if changed and not (config.overwrite or is_unfinished(path)):
        raise OutputError(
            f"{path} exists already, with other settings: {', '.join(changed)}; pass --overwrite, "
            "or choose another --output-map"
        )


def _is_current(scene: ScenePrediction, config: PredictConfig, began: float | None) -> bool:
    """Returns whether a map is there, from the same command, input and model."""
    own = own_config(scene, config)
    if not _is_of_these_settings(scene.map_path, own, began=began) or not _is_of_this_input(scene):
        return False
    return _model_of(scene.map_path) == scene.engine.model_hash


def _model_of(map_path: Path) -> str | None:
    """Returns what tells the model of a map from others; None of an unreadable map."""
    try:
        with rasterio.open(map_path) as dataset:
            return str(dataset.tags().get("model_sha256"))
    except RasterioIOError:
        return None


def record_of(scene: ScenePrediction, config: PredictConfig) -> dict[str, Any]:
    """Returns what stands beside a scene's map: the config that makes it, and of which input."""
    return config_dict(own_config(scene, config)) | {INPUT_STAMP: scene.input_stamp}


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
    wanted = scenes[0].options.outputs.of_mosaic()
    optional = beside(path, APPLICABILITY)
    if not all(file.exists() for file in targets(path, wanted) if file != optional):
        return False
    newest = max(scene.map_path.stat().st_mtime for scene in scenes)
    return (
        scenes_of(path) == _names([scene.map_path for scene in scenes])
        and path.stat().st_mtime >= newest
    )


def grows(maps: Sequence[Path], config: PredictConfig) -> bool:
    """Returns whether the mosaic that is there may be merged anew of scenes' maps, all that it
    has among them."""
    path = config.output_map
    if not _is_of_these_settings(path, config, whatever=("input_image",)):
        return False
    return set(scenes_of(path)) <= set(_names(maps))


def _is_of_these_settings(
    map_path: Path,
    config: PredictConfig,
    *,
    whatever: tuple[str, ...] = (),
    began: float | None = None,
) -> bool:
    """Returns whether a map is there, was made as `config` says and is not to be made anew.

    Args:
        map_path: The map; its settings lie beside it.
        config: What is asked for.
        whatever: Further settings that may differ.
        began: Since when a map is not to be overwritten; None if all are.
    """
    changed = _changed(map_path, config, whatever)
    if config.overwrite and changed == []:
        return began is not None and beside(map_path, RECORD).stat().st_mtime >= began
    return changed == []


def _changed(
    map_path: Path, config: PredictConfig, whatever: tuple[str, ...] = ()
) -> list[str] | None:
    """Returns the settings, of those that decide a map, in which the one that is there differs.

    Args:
        map_path: The map.
        config: What is asked for.
        whatever: Further settings that may differ.

    Returns:
        Each with its old and new value; None if no map is there, or nothing tells its settings.
    """
    record = _record(map_path)
    if record is None or not map_path.is_file():
        return None
    now, folder = config_dict(config), _folder_of_run(record, map_path)
    same = [name for name in PATHS if _files(record.get(name), folder) == _files(now[name])]
    if set(_files(record.get("model_path"), folder)) & set(config.model_path.resolve().parents):
        # Of an earlier version, which kept the folder of all versions: the model itself decides.
        same.append("model_path")
    if record.get("server") and config.server:
        same.append("server")  # It may move; the model that it serves is the same, or refused.
    return changes(record, now, free=(*NOT_IN_THE_MAP, *whatever, *same))


def _folder_of_run(record: Mapping[str, Any], map_path: Path) -> Path:
    """Returns the folder in which a record's relative paths hold, as that of the map tells it."""
    named, there = Path(str(record.get("output_map"))).parts, map_path.absolute().parts
    return Path(*there[: -len(named)]) if there[-len(named) :] == named else Path.cwd()


def _files(named: Any, folder: Path = Path()) -> list[Path]:
    """Returns the files that the value of a setting names."""
    paths = named if isinstance(named, list) else [] if named is None else [named]
    return [(folder / str(path)).resolve() for path in paths]


def _record(map_path: Path) -> dict[str, Any] | None:
    """Returns the settings beside a map; None if there are none, or they are damaged."""
    try:
        found = read_json(beside(map_path, RECORD))
    except ConfigError:
        return None
    return current_names(found, PredictConfig) if isinstance(found, dict) else None


def _is_of_this_input(scene: ScenePrediction) -> bool:
    """Returns whether the scene's files are still those that the map which is there was made of."""
    known = (_record(scene.map_path) or {}).get(INPUT_STAMP)
    if known is None:  # Of an earlier version: what is younger than the map was changed.
        record = beside(scene.map_path, RECORD)
        return scene.source.path.stat().st_mtime <= record.stat().st_mtime
    return bool(known == scene.input_stamp)


def _names(maps: Sequence[Path]) -> list[str]:
    return [path.parent.name for path in maps]
