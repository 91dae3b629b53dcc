"""What is there of the maps that a command asks for, and which of them it leaves as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

import rasterio
from rasterio.errors import RasterioIOError

from landcover_tf.errors import OutputError
from landcover_tf.system.files import beside
from serving.config import PredictConfig
from serving.intents import Intent, discard, intent_of, is_half_published, is_published
from serving.layouts import follows_memory
from serving.map_records import differences, is_of_this_input, own_config
from serving.mosaic import scenes_of
from serving.options import OutputOptions
from serving.scene_prediction import ScenePrediction
from serving.targets import APPLICABILITY, RECORD, alone, read_record, targets, work_folder

Kind = Literal["unfinished", "finished", "incomplete", "other"]


@dataclass(frozen=True, kw_only=True)
class MapState:
    """What is there of a map that is asked for, read once, before anything is written."""

    kind: Kind
    """unfinished: there is no map with its settings, or a killed run moved only some of its files.
    finished: this command's map of this input and model, complete. incomplete: this command's map,
    to be made anew. other: somebody else's map."""
    reason: str = ""
    """Why the map is made anew, or refused."""
    replaceable: bool
    """Whether files that are there may be replaced: by --overwrite, because the map is of this
    command, or because a run of this command that was killed might."""
    made: float
    """When the record beside the map was written, in seconds since the epoch; 0 without one."""
    began: float | None
    """Start of the interrupted --overwrite run of this command; None if there is none."""

    def require_replaceable(self) -> None:
        """Refuses another map that is there.

        Raises:
            OutputError: It says in what it differs, and what to do.
        """
        if self.kind == "other" and not self.replaceable:
            raise OutputError(self.reason)


def state_of(scene: ScenePrediction, config: PredictConfig, *, several: bool) -> MapState:
    """Returns what is there of a scene's map.

    Args:
        scene: What is asked for.
        config: The command.
        several: Whether finished maps stay; that of a single input is refused.
    """
    path, own = scene.map_path, own_config(scene, config)
    left = intent_of(path)
    if left is not None and differences(left.record, path, own, "memory_gb"):
        left = None
    kind, reason = _found(scene, own)
    if not several and kind in ("finished", "incomplete"):
        reason = f"{path} exists already; choose another --output-map or pass --overwrite"
        kind = "other"
    return _state(path, kind, reason, left, config)


def state_of_mosaic(maps: Sequence[Path], wanted: OutputOptions, config: PredictConfig) -> MapState:
    """Returns what is there of the mosaic of scenes' maps, be these finished or not."""
    path, names = config.output_map, [part.parent.name for part in maps]
    left = intent_of(path)
    if left is not None and (
        left.record.get("scenes") != names or differences(left.record, path, config, "memory_gb")
    ):
        left = None
    kind, reason = _found_mosaic(maps, names, wanted.of_mosaic(), config)
    return _state(path, kind, reason, left, config)


def finished_scenes(
    states: Mapping[ScenePrediction, MapState], mosaic: MapState | None, config: PredictConfig
) -> list[ScenePrediction]:
    """Returns the scenes whose maps stay.

    With `--overwrite` they are those that the batch finished which this command continues. It
    prepares all its scenes before it computes the first, so what it finished is younger than its
    notes; and it merges when all are finished. Where it is another mosaic that gives way, they
    are all that it can be merged of as they are.
    """
    finished = [scene for scene, state in states.items() if state.kind == "finished"]
    merging = mosaic is not None and (mosaic.began is not None or mosaic.kind == "other")
    if merging or not config.overwrite:
        return finished
    began = min((s.began for s in states.values() if s.began is not None), default=inf)
    return [scene for scene in finished if states[scene].made >= began]


def tell_finished(map_path: Path) -> None:
    """Tells that a map stays, and deletes what the run left that was killed as it had made it."""
    work = work_folder(map_path)
    begun = intent_of(map_path) is not None or any(work.glob("network/band_*"))
    if work.exists() and (is_published(map_path) or not begun):
        with alone(map_path):
            discard(map_path)
    print(f"map: {map_path} (finished by an earlier run)")


def _state(
    path: Path, kind: Kind, reason: str, left: Intent | None, config: PredictConfig
) -> MapState:
    """Returns a state with what the run of this command adds that left a work folder, if any."""
    record = beside(path, RECORD)
    goes_on = left is not None and left.overwrite and not is_published(path)
    return MapState(
        kind=kind,
        reason=reason,
        replaceable=config.overwrite or left is not None or kind in ("finished", "incomplete"),
        made=record.stat().st_mtime if record.exists() else 0.0,
        began=left.began if left is not None and goes_on else None,
    )


def _found(scene: ScenePrediction, own: PredictConfig) -> tuple[Kind, str]:
    """Returns what is there of a scene's map, as `own` makes it alone, and why it is not that."""
    path = scene.map_path
    if not (path.is_file() and beside(path, RECORD).is_file()):
        return "unfinished", ""
    if difference := _difference(scene, own):
        return "other", f"{path} exists already, {difference}, or choose another --output-map"
    if is_half_published(path):
        return "unfinished", ""
    if lost := _lost_files(path, scene.options.outputs):
        return "incomplete", f"{lost[0]} is missing, so its map is made again"
    return "finished", ""


def _difference(scene: ScenePrediction, own: PredictConfig) -> str:
    """Returns in what the map that is there differs, and what to do about it; empty if in nothing.

    Only memory may be another, where that changes no more than the rounding of a number.
    """
    path = beside(scene.map_path, RECORD)
    record, tags = read_record(scene.map_path), _tags(scene.map_path)
    if record is None:
        return f"and its settings in {path} are damaged; remove it to have it made again"
    mode = (tags or {}).get("prediction", "").partition(",")[0]
    info, network = scene.engine.info, scene.options.network
    rounded = mode == scene.layout.mode and not follows_memory(scene.layout.mode, info, network)
    free = ("memory_gb",) if rounded else ()
    if changed := differences(record, scene.map_path, own, *free):
        return f"with other settings: {', '.join(changed)}; pass --overwrite"
    again = f"make it again with `landcover predict --config {path} --overwrite`"
    if not is_of_this_input(record, scene):
        return f"and its input {scene.source.path} was changed since; {again}"
    if tags is None:
        return f"and cannot be read; {again}"
    if tags.get("model_sha256") != scene.engine.info.identity:
        return "of another model; pass --overwrite"
    return ""


def _found_mosaic(
    maps: Sequence[Path], names: list[str], wanted: OutputOptions, config: PredictConfig
) -> tuple[Kind, str]:
    """Returns what is there of the mosaic of maps, and why it is not that."""
    path = config.output_map
    record = read_record(path)
    if record is None or not path.is_file() or is_half_published(path):
        return "unfinished", ""
    changed = differences(record, path, config, "memory_gb")
    there, refused = scenes_of(path), f"{path} exists already, "
    lost = [name for name in there if name not in names]
    if not lost and not differences(record, path, config, "memory_gb", "input_image"):
        newest = max((part.stat().st_mtime for part in maps if part.exists()), default=inf)
        whole = not changed and there == names and not _lost_files(path, wanted)
        return ("finished" if whole and path.stat().st_mtime >= newest else "incomplete"), ""
    if changed:
        refused += f"with other settings: {', '.join(changed)}"
    else:
        refused += f"merged of {', '.join(lost)} too"
    return "other", (
        f"{refused}; pass --overwrite, which keeps the finished maps of inputs that this does not "
        "change, or choose another --output-map"
    )


def _lost_files(path: Path, wanted: OutputOptions) -> list[Path]:
    """Returns the files asked for that are not there."""
    # A model without statistics of its training data leaves none about the scene.
    optional = beside(path, APPLICABILITY)
    return [file for file in targets(path, wanted) if file != optional and not file.exists()]


def _tags(map_path: Path) -> dict[str, str] | None:
    """Returns the provenance in a map; None of an unreadable one."""
    try:
        with rasterio.open(map_path) as dataset:
            return dict(dataset.tags())
    except RasterioIOError:
        return None
