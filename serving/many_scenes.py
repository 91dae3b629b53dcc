"""One or many inputs: found, checked, predicted side by side, and merged where asked."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Thread

from landcover_tf.accuracy.request_log import require_log
from landcover_tf.system.executors import executor, places, result_of, submit
from serving import notices, objects
from serving.config import PredictConfig
from serving.engines import Engine
from serving.failures import Failures
from serving.finished_maps import (
    MapState,
    finished_scenes,
    state_of,
    state_of_mosaic,
    tell_finished,
)
from serving.inputs import find_inputs, is_single, map_paths
from serving.intents import intend
from serving.map_records import as_record, record_of
from serving.map_writing import finish
from serving.mosaic import check_mosaic, merge
from serving.options import (
    PredictionOptions,
    cleaning_of,
    network_options,
    options_of,
    output_options,
    single_maps,
)
from serving.plan import print_plans, require_room
from serving.postprocess import Cleaning
from serving.raster_io import bounded_cache
from serving.scene_jobs import (
    Computed,
    compute_elsewhere,
    compute_here,
    engine_name,
    rows_job,
    scenes_at_once,
)
from serving.scene_prediction import ScenePrediction
from serving.targets import alone, lock_file
from serving.verification import verify


def predict_all(config: PredictConfig) -> Path | None:
    """Predicts every input of a config and prints where the maps are.

    Returns:
        The map, if the command makes just one: of its only input, or the mosaic.

    Raises:
        LandCoverError: An input, the model or an option is unfit; of several inputs, the others
            are finished first.
    """
    if config.request_log is not None:
        require_log(config.request_log)
    inputs = find_inputs(config.input_image)
    single = is_single(config.input_image, inputs, config.output_map)
    targets = map_paths(inputs, config.output_map, mosaic=config.mosaic, single=single)
    engine = Engine(config.model_path, network_options(config))
    if engine.folder != config.model_path:
        print(f"model: {engine.folder}, the highest version")
        # Pinned: a higher one may come later, and predict.json is to make this very map again.
        config = replace(config, model_path=engine.folder)
    options = options_of(single_maps(config), engine.info)
    # A mosaic is cleaned at the end; an error in these flags is to stop the run before any work.
    cleaning = cleaning_of(config, engine.info)
    if config.reference_map is not None:
        from serving.map_picture import check_reference

        check_reference(config.reference_map, engine.info.legend)
    failures = Failures(total=len(inputs))
    scenes = _readable(inputs, targets, engine, options, failures)
    if config.plan:
        print_plans(scenes, config.output_map if config.mosaic else None)
        failures.report()
        return None
    several = config.mosaic or not single
    _make_maps(scenes, targets, engine, config, cleaning, failures, several=several)
    if config.mosaic:
        return config.output_map
    return targets[0] if len(targets) == 1 else None


def _readable(
    inputs: Sequence[Path],
    targets: Sequence[Path],
    engine: Engine,
    options: PredictionOptions,
    failures: Failures,
) -> list[ScenePrediction]:
    """Returns the predictions of the inputs that can be opened.

    Raises:
        RasterError: None of several can.
    """
    scenes: list[ScenePrediction] = []
    for path, target in zip(inputs, targets, strict=True):
        with failures.noted():
            scenes.append(ScenePrediction(path, target, engine, options))
    if not scenes:
        failures.report()
    return scenes


def _make_maps(
    scenes: Sequence[ScenePrediction],
    targets: Sequence[Path],
    engine: Engine,
    config: PredictConfig,
    cleaning: Cleaning,
    failures: Failures,
    *,
    several: bool,
) -> None:
    """Makes the maps that are not there yet, and their mosaic.

    Args:
        scenes: The inputs that could be opened.
        targets: Where the maps of all inputs go.
        engine: What runs the network.
        config: The command.
        cleaning: Its post-processing.
        failures: The other inputs; those that cannot be read join them.
        several: Maps that are finished are skipped; that of a single input is refused.
    """
    path, outputs = config.output_map, output_options(config)
    states = {scene: state_of(scene, config, several=several) for scene in scenes}
    mosaic = state_of_mosaic(targets, outputs, config) if config.mosaic else None
    finished = finished_scenes(states, mosaic, config)
    for scene in finished:
        tell_finished(scene.map_path)
    notices.tell_of_no_effect(finished, config)
    wanted = {scene: state for scene, state in states.items() if scene not in finished}
    if mosaic is not None:
        mosaic.require_replaceable()
    for state in wanted.values():
        state.require_replaceable()
    if mosaic is None:
        if several:
            notices.tell_of_maps_made_alone(list(wanted), path)
        return _predict(wanted, engine, config, failures)
    if mosaic.kind == "finished" and not (wanted or failures.told or config.overwrite):
        return tell_finished(path)
    check_mosaic([s.source for s in scenes], path, outputs, overwrite=mosaic.replaceable)
    with alone(path):
        _predict(wanted, engine, config, failures)
        record = as_record(config)
        intended = record | {"scenes": [target.parent.name for target in targets]}
        intend(path, intended, overwrite=config.overwrite, began=mosaic.began)
        with bounded_cache():
            legend = scenes[0].legend
            made = merge(targets, legend, path, outputs, record, cleaning=cleaning)
            notices.tell_of_map(made, path.stem)
    return None


def _predict(
    wanted: Mapping[ScenePrediction, MapState],
    engine: Engine,
    config: PredictConfig,
    failures: Failures,
) -> None:
    """Makes the maps of scenes, side by side where that is asked for."""
    scenes = list(wanted)
    with bounded_cache(), _pool(config) if scenes else nullcontext() as pool:
        parts = 1 if pool is None else max(config.jobs, places(pool))
        at_once = 1 if pool is None else scenes_at_once(parts, len(scenes))
        if pool is not None and config.precision == "bf16":
            # The first worker decides for all, and those that differ are refused.
            engine.runs_as = result_of(submit(pool, engine_name, rows_job(scenes[0], ())))
        _require_start(scenes, engine, config, at_once)
        begun = _begin(wanted, config, failures)
        # Closed on an error: leaving the pool waits for all that it was given.
        with closing(
            compute_here(begun) if pool is None else compute_elsewhere(pool, begun, parts)
        ) as computed:
            _finish_all(computed, config, failures)
    failures.report()


def _require_start(
    scenes: Sequence[ScenePrediction], engine: Engine, config: PredictConfig, at_once: int
) -> None:
    """Refuses a run that cannot go to its end, before anything is written."""
    if scenes and config.server is not None:
        print(f"predicting on {engine.backend.name}")  # Or its failure.
    if scenes and engine.precision != config.precision:
        print(
            "warning: the processor has no bfloat16 instructions, so the network runs on "
            f"{engine.name}",
            file=sys.stderr,
        )
    require_room(scenes, at_once)
    for scene in scenes:
        if lock_file(scene.map_path).exists():
            with alone(scene.map_path):  # Raises before any file of this batch is written.
                pass


def _begin(
    wanted: Mapping[ScenePrediction, MapState], config: PredictConfig, failures: Failures
) -> list[ScenePrediction]:
    """Prepares the scenes, tells what the user should know of each, and returns the readable.

    Pixels are read here where an input has changed under an unfinished map.
    """
    begun: list[ScenePrediction] = []
    for scene, state in wanted.items():
        with failures.noted():
            notices.tell_of_input(scene)
            if state.kind == "incomplete":
                print(state.reason)
            record = record_of(scene, config)
            scene.prepare(record, replace=state.replaceable, began=state.began)
            begun.append(scene)
    return begun


def _pool(config: PredictConfig) -> AbstractContextManager[Executor | None]:
    """Returns a context with the processes to compute in, None for this one."""
    if config.jobs > 1 or config.scheduler is not None:
        return executor(config.jobs, config.scheduler)
    return nullcontext()


def _finish_all(computed: Iterable[Computed], config: PredictConfig, failures: Failures) -> None:
    """Finishes scene after scene; an unreadable one does not keep the others from it."""
    for scene, unreadable in computed:
        try:
            with failures.noted():
                if unreadable is not None:
                    raise unreadable
                if scene.cleaning.removes_objects:
                    # While the engine loads, not when the network is done.
                    Thread(target=objects.load).start()
                scene.compute(scene.unfinished_rows(), label=scene.source.name)
                _finish(scene, config)
        finally:
            scene.source.close()


def _finish(scene: ScenePrediction, config: PredictConfig) -> None:
    """Writes a computed scene's files and tells what the user should know of it."""
    found = None
    if config.verify:
        found = verify(scene, regions=config.verify_regions, seed=config.seed)
    notices.tell_of_map(finish(scene), scene.source.name)
    if found is not None:
        notices.tell_of_verification(found, scene)
