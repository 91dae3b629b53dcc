"""Which band of a raster is which of the model's, by their names."""

from collections.abc import Sequence
from pathlib import Path

import rasterio

from landcover_tf.bands import counterparts, plain_name, same_name
from landcover_tf.errors import RasterError
from landcover_tf.model_info import ModelInfo
from landcover_tf.rasters.nodata import alpha_band
from serving.source import SourceOptions


def band_names(
    dataset: rasterio.DatasetReader,
    info: ModelInfo,
    options: SourceOptions,
    path: Path,
    *,
    prepared: bool,
) -> dict[int, str]:
    """Returns the names of the bands by their number, from 1; those without are left out.

    Bands that stand for all of the model's have its names. Names of the command line replace those
    of the raster; `model` only where they are not all bands of the model.
    """
    alpha, assumed = alpha_band(dataset), options.assume_bands
    numbers = [number for number in dataset.indexes if number != alpha]
    described = {
        number: same_name(name, info.band_names)
        for number in numbers
        if (name := dataset.descriptions[number - 1])
    }
    placed = counterparts(info.band_names, [*described.values()])
    if assumed in ((), ("model",)) and len(placed) == len(info.band_names):
        meant = {name: wanted for wanted, name in placed.items()}
        return {number: meant.get(name, name) for number, name in described.items()}
    if assumed == ("model",):
        assumed = info.band_names
    assumed = tuple(same_name(name, info.band_names) for name in assumed)
    # GDAL calls the fourth of four bands of bytes alpha; what is counted as a band is one.
    for counted in (numbers, dataset.indexes):
        if len(assumed) == len(counted):
            return dict(zip(counted, assumed, strict=True))
    if assumed:
        beside = f", band {alpha} its alpha" if alpha else ""
        raise RasterError(
            f"--assume-bands names {len(assumed)} bands, {path} has {dataset.count}{beside}"
        )
    if described:
        missing = ", ".join(name for name in info.band_names if name not in placed)
        advice = (
            "; if it has the model's bands under other names, give those of the model with "
            "--assume-bands"
        )
        raise RasterError(
            f"{path} lacks band {missing}; it has {', '.join(described.values())}"
            f"{'' if prepared else advice}"
        )
    raise RasterError(
        f"the bands of {path} have no names, so their order is unknown; name them (rasterio: "
        "descriptions) or pass --assume-bands model, or --assume-bands and "
        f"{len(numbers)} names"
    )


def taken_bands(
    dataset: rasterio.DatasetReader, indexes: Sequence[int], info: ModelInfo
) -> dict[str, str]:
    """Returns the bands of other names that are read for the model's, as `Source.taken`.

    Args:
        dataset: The raster.
        indexes: The band that is read for each of the model's, from 1.
        info: The model's contract.
    """
    own = [plain_name(dataset.descriptions[index - 1] or "") for index in indexes]
    return {
        name: described
        for name, described in zip(info.band_names, own, strict=True)
        if described and described.lower() != name.lower()
    }
