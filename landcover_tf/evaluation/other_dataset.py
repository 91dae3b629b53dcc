"""Whether the scores of a run on a dataset mean something."""

from collections.abc import Iterator
from pathlib import Path

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import DatasetError
from landcover_tf.rasters.pixel_sizes import DATASET_TOLERANCE


def require_alike(info: DatasetInfo, trained_on: DatasetInfo, folder: Path) -> None:
    """Checks that a dataset has the bands, classes and pixel size that a run was trained with.

    Args:
        info: The dataset to score on.
        trained_on: That of the training.
        folder: Where the former is, for the message.

    Raises:
        DatasetError: Tells every difference.
    """
    differences = "; ".join(_differences(info, trained_on))
    if differences:
        raise DatasetError(
            f"dataset {folder} is of another kind than that of the training: {differences}; give "
            "the --data-dir of the training, or another dataset of its bands, classes and pixel "
            "size"
        )


def _differences(info: DatasetInfo, trained_on: DatasetInfo) -> Iterator[str]:
    here, there = (", ".join(one.band_names) for one in (info, trained_on))
    if here != there:
        yield f"it has the bands {here}, the training had {there}"
    here, there = (_classes(one) for one in (info, trained_on))
    if here != there:
        yield f"it has the classes {here}, the training had {there}"
    sizes = info.resolution_m, trained_on.resolution_m
    if sizes[0] and sizes[1] and abs(sizes[0] / sizes[1] - 1) > DATASET_TOLERANCE:
        yield f"it has pixels of {sizes[0]:g} m, the training had {sizes[1]:g} m"


def _classes(info: DatasetInfo) -> str:
    """Returns codes and names: one code may mean water here and maize there."""
    return ", ".join(f"{c.code} {c.name}" for c in info.legend.classes)
