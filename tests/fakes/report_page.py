"""A page with the map viewer, of small random rasters."""

import numpy as np
import rasterio
from rasterio.transform import from_origin

from landcover_tf.accuracy.assessment_tables import TextTable
from landcover_tf.legend import load_legend
from landcover_tf.report.map_facts import MapFacts
from landcover_tf.report.map_layers import MapLayers
from landcover_tf.report.map_tiles import build_pyramid
from landcover_tf.report.page import Card, Page, Section, viewer_data, write_page

HEIGHT, WIDTH = 300, 420
LEGEND = load_legend("landcover9")


def write(path, array, names=(), **profile):
    """Writes an array, [height, width] or [bands, height, width], of 10 m pixels."""
    array = array if array.ndim == 3 else array[None]
    defaults = {"crs": "EPSG:32634", "transform": from_origin(500_000, 4_200_000, 10, 10)}
    with rasterio.open(
        path, "w", driver="GTiff", height=array.shape[1], width=array.shape[2],
        count=len(array), dtype=array.dtype, **(defaults | profile),
    ) as raster:  # fmt: skip
        raster.write(array)
        for i, name in enumerate(names, 1):
            raster.set_band_description(i, name)
    return path


def random_layers(folder):
    """Writes one raster of each kind and returns them."""
    rng = np.random.default_rng(0)
    codes = np.array([0, *LEGEND.codes], np.uint8)[rng.integers(0, 9, (HEIGHT, WIDTH))]
    shares = rng.dirichlet(np.ones(8), (HEIGHT, WIDTH))
    probabilities = np.rint(255 * np.moveaxis(shares, -1, 0)).astype(np.uint8)
    image = rng.integers(900, 4000, (3, HEIGHT, WIDTH)).astype(np.uint16)
    return MapLayers(
        map=write(folder / "map.tif", codes),
        image=write(folder / "image.tif", image, ("B02", "B03", "B04")),
        confidence=write(folder / "confidence.tif", probabilities.max(axis=0)),
        reference=write(folder / "reference.tif", np.roll(codes, 3, axis=0)),
        probabilities=write(folder / "probabilities.tif", probabilities),
    )


def page(layers, folder, name="report"):
    """Writes a page with the viewer of `layers` and returns the pyramid of its tiles."""
    pyramid = build_pyramid(layers, folder / f"{name}_tiles", LEGEND)
    section = Section(
        id="t",
        title="Table",
        paragraphs=["0a" * 32],
        tables=[TextTable(header=("class", "F1"), rows=[("<b>", "1")])],
    )
    write_page(
        Page(
            title="A run",
            subtitle="of a test",
            cards=[Card(value="0.5", label="mean F1")],
            sections=[section],
            viewer=viewer_data(pyramid, LEGEND, MapFacts.read(layers.map, LEGEND)),
        ),
        folder / f"{name}.html",
    )
    return pyramid
