"""One or many inputs: found, checked, predicted side by side, and merged where asked."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from landcover_tf import cli
from landcover_tf.errors import LandCoverError, ProductError, RasterError
from landcover_tf.executors import executor, finished, places, result_of
from landcover_tf.files import require_space
from landcover_tf.pixel_sizes import NO_AREA
from landcover_tf.progress import progress
from serving.config import PredictConfig
from serving.engines import Engine, chosen_engine
from serving.finished_maps import (
    batch_began,
    grows,
    is_finished,
    is_incomplete,
    is_merged,
    missing_files,
    own_config,
)
from serving.inputs import find_inputs, map_paths
from serving.map_picture import check_truth
from serving.mosaic import check_mosaic, merge
from serving.options import PredictionOptions, options_of
from serving.plan import print_plans, work_bytes
from serving.raster_io import bounded_cache
from serving.scene_prediction import Result, ScenePrediction
from serving.training_upsampling import difference


@dataclass(frozen=True, kw_only=True)
class RowsJob:
    """Some row bands of one input; travels to a worker process."""

    model_path: Path
    """Version folder of the export, so that no worker takes one that was added since."""
    path: Path
    map_path: Path
    options: PredictionOptions
    """With the engine and the mode that were chosen."""
    rows: tuple[int, ...]


def predict_all(config: PredictConfig) -> None:
    """Predicts every input of a config and prints where the maps are.

    Raises:
        LandCoverError: An input, the model or an option is unfit; of several inputs, the others
            are finished first.
    """
    inputs = find_inputs(config.input_image)
    options = options_of(config)
    targets = map_paths(inputs, config.output_map, mosaic=config.mosaic)
    engine = Engine(config.model_path, options)
    if config.truth is not None:
        check_truth(config.truth, engine.info.legend)
    scenes = [
        ScenePrediction(path, target, engine, options)
        for path, target in zip(inputs, targets, strict=True)
    ]
    if config.plan:
        return print_plans(scenes)
    several = len(scenes) > 1 or config.mosaic
    began = batch_began(scenes)
    unfinished = [s for s in scenes if not (several and is_finished(s, config, began))]
    if config.mosaic:
        if not unfinished and is_merged(scenes, config):
            print(f"map: {config.output_map} (finished by an earlier run)")
            return
        sources = [scene.source for scene in scenes]
        overwrite = config.overwrite or grows(scenes, config)
        check_mosaic(sources, config.output_map, options.outputs, overwrite=overwrite)
    _begin(unfinished, engine, config, several=several)
    with bounded_cache():
        _predict(unfinished, config, total=len(scenes))
        if config.mosaic:
            maps, record = [scene.map_path for scene in scenes], cli.config_dict(config)
            legend = scenes[0].legend
            print_result(merge(maps, legend, config.output_map, options.outputs, record))


def print_result(result: Result) -> None:
    """Prints a map's path and the share of each class."""
    total = sum(n for code, n in result.counts.items() if code != result.legend.nodata)
    print(f"map: {result.map_path}")
    for land_cover in result.legend.classes:
        pixels = result.counts[land_cover.code]
        if pixels:
            print(f"  {100 * pixels / total:6.2f} %  {land_cover.code:3d} {land_cover.name}")
    if not total:
        print("  no pixel has data")


def rows_job(scene: ScenePrediction, rows: tuple[int, ...]) -> RowsJob:
    """Returns the job of some rows, with all that a worker might choose otherwise decided."""
    options = scene.options
    network = replace(options.network, mode=scene.layout.mode)
    engine = chosen_engine(network)
    if engine != "server":
        network = replace(network, engine=engine)
    return RowsJob(
        model_path=scene.engine.folder.absolute(),
        path=scene.source_path.absolute(),
        map_path=scene.map_path.absolute(),
        options=replace(options, network=network),
        rows=rows,
    )


def compute_rows(job: RowsJob) -> None:
    """Predicts some row bands; the job of a worker process.

    Raises:
        OutputError: The map would be made in another way here than where it was begun.
        LandCoverError: As `ScenePrediction`.
    """
    engine = Engine(job.model_path, job.options)
    scene = ScenePrediction(job.path, job.map_path, engine, job.options)
    try:
        scene.store.require(scene.settings())
        rows = [row for row in job.rows if not scene.store.finished(row)]
        with bounded_cache():
            scene.compute(rows, label=scene.source.name)
    finally:
        scene.source.close()


def _begin(
    scenes: Sequence[ScenePrediction], engine: Engine, config: PredictConfig, *, several: bool
) -> None:
    """Tells what will run, and prepares the scenes for it."""
    if config.server is not None:
        print(f"predicting on {engine.backend.name}")  # Or its failure, before anything is written.
    if scenes and config.precision == "bf16" and "bf16" not in engine.backend.name:
        print(
            "warning: this processor has no bfloat16 instructions, so the network runs on "
            f"{engine.backend.name}",
            file=sys.stderr,
        )
    _require_room(scenes, config)
    for scene in scenes:
        if scene.source.grid.crs is None:
            print(f"warning: {scene.source.path} has no CRS, its map has none", file=sys.stderr)
        elif scene.source.grid.pixel_area_m2 is None:
            print(f"the map of {scene.source.path} gets no hectares: {NO_AREA}")
        if untrained := difference(scene.source, engine.info):
            print(f"warning: {untrained}", file=sys.stderr)
        incomplete = several and is_incomplete(scene, config)
        if incomplete:
            print(f"{missing_files(scene)[0]} is missing, so its map is made again")
        scene.prepare(replace=incomplete)


def _require_room(scenes: Sequence[ScenePrediction], config: PredictConfig) -> None:
    """Refuses a run whose finished bands the disk cannot hold; the maps are far smaller."""
    missing = [
        max(work_bytes(scene) - sum(f.stat().st_size for f in scene.work.rglob("*.npy")), 0)
        for scene in scenes
    ]
    if missing:
        # One process finishes a map, and deletes its bands, before it begins the next.
        together = sum(missing) if _elsewhere(config) else max(missing)
        folder = next(parent for parent in scenes[0].map_path.parents if parent.exists())
        require_space(folder, together, "the work until the map is written")


def _elsewhere(config: PredictConfig) -> bool:
    return config.jobs > 1 or config.scheduler is not None


def _predict(scenes: Sequence[ScenePrediction], config: PredictConfig, *, total: int) -> None:
    """Finishes scene after scene; an unreadable one does not keep the others from it."""
    unreadable: dict[ScenePrediction, LandCoverError] = {}
    if _elsewhere(config):
        unreadable = _compute_elsewhere(scenes, config)
    failed: list[str] = []
    for scene in scenes:
        try:
            if scene in unreadable:
                raise unreadable[scene]
            scene.compute(scene.unfinished_rows(), label=scene.source.name)
            _finish(scene, config)
        except (ProductError, RasterError) as error:
            if total == 1:
                raise
            print(f"failed: {error}", file=sys.stderr)
            failed.append(str(error))
        finally:
            scene.source.close()
    if failed:
        raise RasterError(
            f"{len(failed)} of {total} inputs failed, see above; run the same command again to "
            f"continue with them. The first: {failed[0]}"
        )


def _finish(scene: ScenePrediction, config: PredictConfig) -> None:
    """Writes a computed scene's files and tells what the user should know of it."""
    name = scene.source.name
    found = None
    if config.verify:
        from serving.verification import verify

        found = verify(scene, regions=config.verify_regions, seed=config.seed)
    result = scene.finish(cli.config_dict(own_config(scene, config)))
    print_result(result)
    if result.applicability is not None and not result.applicability.applicable:
        print(f"warning: {result.applicability.warning(name)}", file=sys.stderr)
    if found is not None:
        print(found)


def _compute_elsewhere(
    scenes: Sequence[ScenePrediction], config: PredictConfig
) -> dict[ScenePrediction, LandCoverError]:
    """Computes what is unfinished in several processes; the bytes are the same as here.

    Returns:
        The first error of each scene that could not be read.
    """
    unreadable: dict[ScenePrediction, LandCoverError] = {}
    try:
        with executor(config.jobs, config.scheduler) as pool:
            parts = max(config.jobs, places(pool))
            work = [
                (scene, rows_job(scene, rows))
                for scene in scenes
                for rows in _shares(scene.unfinished_rows(), -(-parts // len(scenes)))
            ]
            with finished(pool, compute_rows, [job for _, job in work]) as done:
                bar = progress(done, label="predict", total=len(work), unit="part")
                for index, future in bar:
                    try:
                        result_of(future)
                    except (ProductError, RasterError) as error:
                        unreadable.setdefault(work[index][0], error)
    except LandCoverError as error:
        raise type(error)(f"{error}; finished rows are kept, run again to continue") from error
    return unreadable


def _shares(rows: Sequence[int], parts: int) -> list[tuple[int, ...]]:
    """Returns `rows` cut into runs: neighbouring bands share windows in blend mode."""
    size = max(-(-len(rows) // max(parts, 1)), 1)
    return [tuple(rows[i : i + size]) for i in range(0, len(rows), size)]
