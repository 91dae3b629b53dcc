"""What a computed scene leaves: its map cleaned, and all files that stand beside it."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from landcover_tf.accuracy.request_log import LoggedModel, append_map
from landcover_tf.datasets.band_statistics import BandStatistics
from landcover_tf.errors import OutputError
from landcover_tf.legend import Legend
from landcover_tf.sentinel2.product import attribution
from landcover_tf.system.files import beside, write_json
from landcover_tf.system.provenance import VERSION, commit_tag
from serving import outputs
from serving.applicability import Applicability, alike_fractions, assess
from serving.intents import discard
from serving.postprocess import clean
from serving.raster_io import BLOCK_PX
from serving.row_bands import BandStore
from serving.sampling import lattice_step
from serving.scene_prediction import ScenePrediction
from serving.targets import APPLICABILITY, CONFIDENCE, ENTROPY, RECORD, level_rasters


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished prediction left."""

    map_path: Path
    legend: Legend
    counts: dict[int, int]
    """Pixels per legend code."""
    applicability: Applicability | None = None
    """The scene against the training data; None if the model does not know its own."""
    alike: Mapping[float, float] = field(default_factory=dict)
    """Shares of the pixels with one reflectance in all bands, where they are many."""


def finish(scene: ScenePrediction) -> Result:
    """Cleans the map of a scene and writes all files; the finished bands are then deleted.

    Raises:
        OutputError: The disk refuses, or the request log cannot be written.
    """
    files = scene.work / "files"
    try:
        # Of a run that was killed while it wrote them.
        if files.exists():
            shutil.rmtree(files)
        files.mkdir()
        path = files / scene.map_path.name
        # Before the map: a map here without it is one whose files were being moved.
        write_json(beside(path, RECORD), scene.record)
        result = _write_files(scene, path)
        # Before the map is there: a finished map is not taken up again, and a line of a run
        # that is continued counts once.
        if scene.options.outputs.request_log is not None:
            _log(scene, scene.options.outputs.request_log, result.counts)
        outputs.publish(files, scene.map_path)
    except OSError as error:
        raise OutputError(f"cannot write {scene.map_path}: {error}") from error
    discard(scene.map_path)
    return result


def _write_files(scene: ScenePrediction, path: Path) -> Result:
    info, cleaning, store = scene.engine.info, scene.cleaning, scene.store
    legend, grid, tags = scene.legend, scene.source.grid, _tags(scene)
    with ThreadPoolExecutor(1) as aside:
        # Only votes change levels. Without them nothing keeps the levels from being written
        # while objects are removed.
        levels = None
        if not cleaning.votes:
            levels = aside.submit(_write_levels, scene, path, store, tags)
        final = clean(store, cleaning, scene.work, block_rows=BLOCK_PX)
        levels = levels or aside.submit(_write_levels, scene, path, final, tags)
        counts = outputs.write_map(
            path,
            final,
            class_codes=[c.code for c in cleaning.classes],
            legend=legend,
            grid=grid,
            tags=tags,
        )
        files = [path, *levels.result()]
    files += outputs.write_areas_and_style(path, counts, legend, grid)
    samples = store.samples()
    applicability = assess(samples, info)
    if applicability is not None:
        files.append(beside(path, APPLICABILITY))
        write_json(files[-1], applicability.to_dict())
    known = {} if applicability is None else {"applicable": applicability.applicable}
    outputs.write_companions(
        files,
        scene.source,
        legend=legend,
        info=info,
        wanted=scene.options.outputs,
        tags=tags | known,
        title=scene.source.name,
    )
    return Result(
        map_path=scene.map_path,
        legend=legend,
        counts=counts,
        applicability=applicability,
        alike=alike_fractions(samples, info),
    )


def _tags(scene: ScenePrediction) -> dict[str, str]:
    """Returns the provenance written into every raster; it holds no time of day."""
    info, source = scene.engine.info, scene.source.tags
    seen = source.get("sensing_time")  # Of products and what is prepared of them.
    return {
        **source,
        **({"attribution": attribution([seen])} if seen else {}),
        "model": f"{info.name} {info.version}",
        "model_sha256": info.identity,
        "legend": info.legend.name,
        "prediction": f"{scene.layout.mode}, {scene.engine.name}",
        "post_processing": str(scene.cleaning),
        "software": f"landcover-tf {VERSION}",
        **commit_tag(),
    }


def _write_levels(
    scene: ScenePrediction, map_path: Path, final: BandStore, tags: Mapping[str, str]
) -> list[Path]:
    """Writes the rasters of levels that are asked for, and returns their paths."""
    files = []
    for name in level_rasters(scene.options.outputs):
        files.append(beside(map_path, name))
        # Votes change the confidence; all else is as the network said it.
        store = final if name == CONFIDENCE else scene.store
        layers, descriptions = _layers_of(scene, name)
        outputs.write_levels(
            files[-1],
            store,
            layers,
            grid=scene.source.grid,
            descriptions=descriptions,
            tags=tags,
        )
    return files


def _layers_of(scene: ScenePrediction, name: str) -> tuple[list[int], tuple[str, ...]]:
    """Returns the layers in a raster of levels, and the descriptions of its bands."""
    info, layers = scene.engine.info, scene.content.layers
    if name == CONFIDENCE:
        return [1], (scene.cleaning.confidence,)
    if name == ENTROPY:
        return [layers.index("entropy")], ("relative entropy",)
    found = [i for i, layer in enumerate(layers) if layer.startswith("probability_")]
    names = {c.code: c.name for c in info.legend.classes}
    return found, tuple(names[code] for code in info.class_codes)


def _log(scene: ScenePrediction, path: Path, counts: Mapping[int, int]) -> None:
    info, samples = scene.engine.info, scene.store.samples()
    if not any(map(len, samples)):
        return
    append_map(
        path,
        model=LoggedModel(
            name=f"{info.name}/{info.version}",
            sha256=info.identity,
            data_hash=info.data_hash,
            legend=info.legend.name,
            codes=info.legend.codes,
        ),
        windows=scene.layout.count,
        class_pixels={code: counts[code] for code in info.class_codes if counts[code]},
        run=scene.store.run,
        source=_identity(scene),
        sensing_time=scene.source.tags.get("sensing_time"),
        map_path=str(scene.map_path.resolve()),
        statistics=BandStatistics.from_pixels(np.concatenate(samples), info.band_names),
        sample_step=lattice_step(scene.layout.height, scene.layout.width),
    )


def _identity(scene: ScenePrediction) -> str:
    """Returns the product's name, or that of a raster with its time, as others get its name."""
    plain = f"{scene.source.path.name} of {scene.changed:%Y-%m-%dT%H:%M:%SZ}"
    return scene.source.tags.get("product") or plain
