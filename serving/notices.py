"""What the user is told of inputs and maps: shares, notes and warnings."""

import sys
from collections.abc import Sequence
from pathlib import Path

from landcover_tf.accuracy.request_log import logged_maps
from landcover_tf.errors import ConfigError
from landcover_tf.model_info import ModelInfo
from landcover_tf.rasters.pixel_sizes import NO_AREA
from landcover_tf.system.files import read_json
from landcover_tf.upsampling import any_coarse
from serving.config import PredictConfig
from serving.layouts import follows_memory
from serving.map_records import inputs_of
from serving.map_writing import Result
from serving.row_bands import SETTINGS_FILE
from serving.scene_prediction import ScenePrediction
from serving.source import Source
from serving.targets import work_folder
from serving.verification import Agreement

LEAST_CLOUDS = 0.01
"""Share of an input under clouds from which on it is told that they get classes."""
GROSS_FRACTION = 0.01
"""Share of differing labels above which a warning tells that exact mode was not exact."""


def tell_of_input(scene: ScenePrediction) -> None:
    """Tells what of an input, or of how it is read, makes its map another than one may expect.

    Raises:
        ProductError: As `Source.inspect`.
    """
    source, info = scene.source, scene.engine.info
    if source.grid.crs is None:
        _warn(f"{source.path} has no CRS, its map has none")
    elif source.grid.pixel_area_m2 is None:
        print(f"the map of {source.path} gets no hectares: {NO_AREA}")
    if taken := source.taken:
        pairs = ", ".join(f"{own} as {name}" for name, own in taken.items())
        _note(f"of {source.path} are taken: {pairs}")
    if untrained := other_upsampling(source, info):
        _warn(untrained)
    layout, network = scene.layout, scene.options.network
    if layout.count > 1 and follows_memory(layout.mode, info, network):
        _warn(
            f"--margin {network.margin_px} is less than the {info.margin_px} px that make the map "
            f"of this model exact, so its {layout.count} windows may not fit together; leave "
            "--margin out"
        )
    clouds = source.cloudy_fraction or 0
    if clouds >= LEAST_CLOUDS and not scene.options.source.mask_clouds:
        _warn(
            f"{clouds:.0%} of {source.name} is under clouds, which get classes as if they were "
            "ground; --mask-clouds leaves them and their shadows out"
        )
    for warning in source.inspect():
        _warn(warning)


def other_upsampling(source: Source, info: ModelInfo) -> str | None:
    """Returns a warning if an input's 20 m and 60 m bands are not what the model was trained on.

    None where they are, where the model takes none of them, or where nothing tells.
    """
    trained, found = info.upsampling, source.upsampling
    if trained is None or found is None or trained == found or not any_coarse(info.band_names):
        return None
    return (
        f"the 20 m and 60 m bands of {source.path} are those of {found}, the model was trained on "
        f"{trained}; expect a worse map, or prepare or read the input as the model was trained"
    )


def tell_of_map(result: Result, name: str) -> None:
    """Tells a map's path, the share of each class, and what speaks against the map.

    Args:
        result: The map.
        name: Name of what it was made of, for warnings.
    """
    missing = result.counts[result.legend.nodata]
    total = sum(result.counts.values()) - missing
    print(f"map: {result.map_path}")
    for land_cover in result.legend.classes:
        pixels = result.counts[land_cover.code]
        if pixels:
            print(f"  {100 * pixels / total:6.2f} %  {land_cover.code:3d} {land_cover.name}")
    if not total:
        print("  no pixel has data")
    elif missing:
        print(f"  {100 * missing / (total + missing):6.2f} % of all pixels have no class")
    if result.applicability is not None and not result.applicability.applicable:
        _warn(result.applicability.warning(name))
    for value, share in result.alike.items():
        _warn(
            f"{share:.1%} of the pixels of {name} that have a class hold the reflectance "
            f"{value:g} in all bands; if that is no data, declare their value as such "
            "(gdal_edit.py -a_nodata) or mask them"
        )


def tell_of_verification(found: Agreement, scene: ScenePrediction) -> None:
    """Tells how windows agree with the network without them."""
    print(found)
    if scene.layout.mode == "exact" and found.flips > GROSS_FRACTION * found.pixels:
        _warn(
            f"the map of {scene.source.name} is not what the network gives without windows, see "
            "above; look at --margin, --engine and --precision"
        )


def tell_of_no_effect(finished: Sequence[ScenePrediction], config: PredictConfig) -> None:
    """Tells which flags do nothing for the maps that an earlier run finished."""
    missed = {"--verify": len(finished) if config.verify else 0}
    if config.request_log is not None and finished:
        logged = logged_maps(config.request_log)
        missed["--request-log"] = sum(str(s.map_path.resolve()) not in logged for s in finished)
    for flag, maps in missed.items():
        if maps:
            _note(
                f"{flag} had no effect on {maps} of the maps, which an earlier run finished; with "
                "--overwrite they are made again"
            )


def tell_of_maps_made_alone(scenes: Sequence[ScenePrediction], folder: Path) -> None:
    """Tells on stderr which input has a map in `folder` itself, finished or not.

    A command that names one input makes its map there; a folder or a list that holds it has a
    place of its own for it, where the map is computed again.
    """
    path = folder / "map.tif"
    work, of = work_folder(path), inputs_of(path) if path.is_file() else []
    try:
        begun_of = read_json(work / "network" / SETTINGS_FILE)["source"]
    except (ConfigError, KeyError, TypeError):
        begun_of = None
    for scene in scenes:
        if of == [scene.source_path.resolve()]:
            _note(
                f"{path} is a map of {scene.source_path} too, by a command that named it alone; "
                f"this command makes {scene.map_path}"
            )
        if begun_of == scene.input_stamp:
            _note(
                f"{work} holds an unfinished map of {scene.source_path}, by a command that named "
                f"it alone; repeat that command, or remove {work}: this one makes {scene.map_path}"
            )


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
