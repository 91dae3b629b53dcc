"""Files of simulated rasters are laid out as those of real products."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio

from landcover_tf.sentinel2.simulation.images import write_jp2
from landcover_tf.sentinel2.simulation.product import ProductIdentity
from landcover_tf.sentinel2.tiles import parse_tile


@pytest.mark.parametrize(
    # Inner tiles of real products, in rows and columns; 10 m bands have GDAL's default.
    ("resolution_m", "block_px"),
    [(10, 1024), (20, 640), (60, 192)],
)
def test_inner_tiles_are_those_of_real_products(tmp_path, resolution_m, block_px):
    side = 1050  # More than one tile of each resolution.
    product = ProductIdentity(
        satellite="S2A",
        baseline=(5, 11),
        tile=parse_tile("34SEH"),
        size_px=side * resolution_m // 10 // 6 * 6,
        sensing_time=datetime(2025, 6, 22, tzinfo=UTC),
    )
    values = np.arange(side * side, dtype=np.uint32).reshape(1, side, side) % 30000
    write_jp2(tmp_path / "b.jp2", values.astype(np.uint16), product, resolution_m)
    with rasterio.open(tmp_path / "b.jp2") as written:
        assert written.block_shapes == [(block_px, block_px)]
        assert (written.read() == values).all()
