"""The bands of many inputs computed in several processes, each input's together."""

from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from landcover_tf.errors import LandCoverError, ProductError, RasterError
from landcover_tf.system.executors import result_of, submit
from landcover_tf.system.progress import progress
from serving.engines import Engine, chosen_engine
from serving.options import PredictionOptions
from serving.raster_io import bounded_cache
from serving.scene_prediction import ScenePrediction

Computed = tuple[ScenePrediction, LandCoverError | None]
"""A scene, and why it cannot be read; None if its bands are on disk."""


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


def rows_job(scene: ScenePrediction, rows: tuple[int, ...], *, checksums: bool = True) -> RowsJob:
    """Returns the job of some rows, with all that a worker might choose otherwise decided.

    Args:
        scene: The input, with its windows laid.
        rows: Window rows.
        checksums: Whether the worker compares the input with its checksums, if that is wanted.
    """
    options = scene.options
    network = replace(options.network, mode=scene.layout.mode)
    engine = chosen_engine(network)
    if engine != "server":
        network = replace(network, engine=engine)
    source = replace(options.source, checksums=checksums and options.source.checksums)
    return RowsJob(
        model_path=scene.engine.folder.absolute(),
        path=scene.source_path.absolute(),
        map_path=scene.map_path.absolute(),
        options=replace(options, network=network, source=source),
        rows=rows,
    )


def compute_rows(job: RowsJob) -> None:
    """Predicts some row bands; the job of a worker process.

    Raises:
        OutputError: The map would be made in another way here than where it was begun.
        LandCoverError: As `ScenePrediction`.
    """
    engine = Engine(job.model_path, job.options.network)
    scene = ScenePrediction(job.path, job.map_path, engine, job.options)
    try:
        scene.store.require(scene.settings())
        rows = [row for row in job.rows if not scene.store.finished(row)]
        with bounded_cache():
            scene.compute(rows, label=scene.source.name)
    finally:
        scene.source.close()


def engine_name(job: RowsJob) -> str:
    """Returns the engine and its precision on the machine that runs this.

    A login node may have another kind of processor than the workers.
    """
    return Engine(job.model_path, job.options.network).backend.name


def scenes_at_once(parts: int, scenes: int) -> int:
    """Returns of how many scenes bands may lie on disk: enough for two rounds of parts."""
    return -(-2 * parts // _parts_of_scene(parts, scenes))


def compute_here(scenes: Sequence[ScenePrediction]) -> Generator[Computed]:
    """Yields each scene for the caller to compute and finish, alone with it meanwhile."""
    for scene in scenes:
        with scene.alone():
            yield scene, None


def compute_elsewhere(
    pool: Executor, scenes: Sequence[ScenePrediction], parts: int
) -> Generator[Computed]:
    """Yields each scene once all its bands are on disk; the bytes are the same as here.

    Only `scenes_at_once` are begun and not yet finished by the caller, who finishes one while
    the pool computes others. This process is alone with the maps of these. Closing the generator
    cancels the parts that have not begun.

    Args:
        pool: Computes the bands.
        scenes: What to compute.
        parts: Parts that the pool computes at the same time.

    Yields:
        The scene, and its first error if it could not be read.
    """
    share, at_once = _parts_of_scene(parts, len(scenes)), scenes_at_once(parts, len(scenes))
    work = {scene: _shares(scene.unfinished_rows(), share) for scene in scenes}
    coming = iter(scenes)
    begun: list[_Begun] = []
    futures: dict[Future[None], _Begun] = {}
    with progress(label="predict", total=sum(map(len, work.values())), unit="part") as bar:
        try:
            while True:
                for scene in islice(coming, at_once - len(begun)):
                    one = _Begun(scene=scene)
                    begun.append(one)
                    for job in one.take(work[scene]):
                        futures[submit(pool, compute_rows, job)] = one
                if not begun:
                    return
                ready = next((one for one in begun if not one.jobs_left), None)
                if ready is not None:
                    yield ready.scene, ready.error
                    begun.remove(ready)
                    ready.lock.close()
                    continue
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    bar.update()
                    futures.pop(future).end(future)
        finally:
            for future in futures:
                future.cancel()
            for one in begun:
                one.lock.close()


@dataclass(kw_only=True, eq=False)
class _Begun:
    """A scene that is in the pool's hands, or waits for the caller to finish it."""

    scene: ScenePrediction
    lock: ExitStack = field(default_factory=ExitStack)
    """Holds the scene's map."""
    jobs_left: int = 0
    """Jobs that have not ended."""
    error: LandCoverError | None = None
    """Why the scene cannot be read: the first such error."""

    def take(self, parts: Sequence[tuple[int, ...]]) -> list[RowsJob]:
        """Locks the map and returns the jobs of the parts, none of a damaged scene."""
        self.lock.enter_context(self.scene.alone())
        try:
            jobs = _jobs_of(self.scene, parts)
        except ProductError as damaged:
            self.error = damaged
            return []
        self.jobs_left = len(jobs)
        return jobs

    def end(self, future: "Future[None]") -> None:
        """Counts a job that has ended, and keeps its error if the input could not be read."""
        self.jobs_left -= 1
        error = _reading_error(future)
        self.error = self.error or error


def _jobs_of(scene: ScenePrediction, parts: Sequence[tuple[int, ...]]) -> list[RowsJob]:
    """Returns the jobs of a scene's parts, of which only one that is alone checks the input.

    Each of several would read all files of a product for that, and compute bands of damaged
    ones before another has noticed.

    Raises:
        ProductError: A file is not as its product lists it.
    """
    if len(parts) > 1:
        scene.source.check()
    return [rows_job(scene, rows, checksums=len(parts) == 1) for rows in parts]


def _reading_error(future: "Future[None]") -> LandCoverError | None:
    """Returns why the input of a part could not be read; other errors end the run."""
    try:
        result_of(future)
    except (ProductError, RasterError) as error:
        return error
    except LandCoverError as error:
        raise type(error)(f"{error}; finished rows are kept, run again to continue") from error
    return None


def _parts_of_scene(parts: int, scenes: int) -> int:
    """Returns into how many parts a scene is cut, so that all of them together are enough."""
    return -(-parts // max(scenes, 1))


def _shares(rows: Sequence[int], parts: int) -> list[tuple[int, ...]]:
    """Returns `rows` cut into runs: neighbouring bands share windows in blend mode."""
    size = max(-(-len(rows) // max(parts, 1)), 1)
    return [tuple(rows[i : i + size]) for i in range(0, len(rows), size)]
