"""The picture of a prepared scene that shows at a glance what is wrong with it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio

from landcover_tf.legend import load_legend
from landcover_tf.sentinel2 import prepared
from landcover_tf.validity import ValidityBit, has_bit, usable
from landcover_tf.visuals import figures, pictures

LARGEST_SIDE_PX = 900

# Later ones are drawn over earlier ones.
_BIT_COLOURS = (
    (ValidityBit.BUFFER, (255, 235, 140)),
    (ValidityBit.SNOW, (140, 225, 255)),
    (ValidityBit.CIRRUS, (250, 170, 80)),
    (ValidityBit.SHADOW, (95, 75, 140)),
    (ValidityBit.CLOUD, (225, 70, 50)),
    (ValidityBit.SATURATED, (255, 0, 255)),
    (ValidityBit.DEFECTIVE, (120, 60, 0)),
    (ValidityBit.NODATA, (60, 60, 60)),
)
_GOOD_COLOUR = (120, 190, 120)
_COLOUR_NAMES = {
    "good": _GOOD_COLOUR,
    **{
        str(bit.name).lower().replace("nodata", "no data"): colour
        for bit, colour in _BIT_COLOURS[::-1]
    },
}
_BANDS = ("B02", "B03", "B04", "B08")


def save_quicklook(
    folder: Path,
    means: Mapping[str, np.ndarray],
    validity: np.ndarray,
    codes: np.ndarray | None,
    legend: str | None,
    title: str,
) -> None:
    """Writes quicklook.png: true colour, false colour, validity and, if any, labels.

    Args:
        folder: With a finished image.tif.
        means: Reflectance of the 10 m bands at 60 m, which large scenes are drawn from.
        validity: uint8 at 10 m.
        codes: Legend codes at 10 m, or None.
        legend: Name of the codes' legend.
        title: Heading.
    """
    height, width = validity.shape
    step = max(1, -(-max(height, width) // LARGEST_SIDE_PX))
    if step >= 6:
        coarse = step // 6
        step = coarse * 6
        reflectance = np.stack([means[n][::coarse, ::coarse] for n in _BANDS], axis=-1)
    else:
        reflectance = _read_decimated(folder, step)
    bits = validity[::step, ::step][: reflectance.shape[0], : reflectance.shape[1]]
    has_data = ~has_bit(bits, ValidityBit.NODATA)
    drawn = {"valid": has_data, "clear": usable(bits)}
    panels = [
        (name, pictures.composite(reflectance, _BANDS, wanted=wanted, **drawn))
        for name, wanted in (
            ("true colour", pictures.TRUE_COLOUR),
            ("false colour", pictures.FALSE_COLOUR),
        )
    ]
    panels.append(("validity", validity_picture(bits)))
    chosen = None
    if codes is not None and legend is not None:
        chosen = load_legend(legend)
        panels.append(("labels", pictures.class_picture(codes[::step, ::step], chosen)))
    figures.save_panels(
        folder / prepared.QUICKLOOK,
        panels,
        legend=chosen,
        columns=2,
        title=title,
        metres_per_pixel=10.0 * step,
        colour_names={"validity": _COLOUR_NAMES},
    )


def validity_picture(bits: np.ndarray) -> np.ndarray:
    """Returns the bits as colours, uint8 [height, width, 3]; good pixels are green."""
    picture = np.full((*bits.shape, 3), _GOOD_COLOUR, np.uint8)
    for bit, colour in _BIT_COLOURS:
        picture[has_bit(bits, bit)] = colour
    return picture


def _read_decimated(folder: Path, step: int) -> np.ndarray:
    with rasterio.open(folder / prepared.IMAGE) as image:
        indexes = [image.descriptions.index(name) + 1 for name in _BANDS]
        planes = image.read(indexes)[:, ::step, ::step].astype(np.float32)
        return np.moveaxis(planes * image.scales[0] + image.offsets[0], 0, -1)
