"""Simulated Sentinel-2 Level-1C products with known land cover.

A scene model (layout, spectra, texture, air, clouds, optics, noise) is written as a genuine SAFE
product. It feeds the demo and the tests; scores on it say nothing about Earth.
"""

import tempfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from landcover_tf.errors import OutputError
from landcover_tf.legend import load_legend
from landcover_tf.sentinel2.simulation.images import write_labels
from landcover_tf.sentinel2.simulation.product import ProductIdentity, parse_baseline
from landcover_tf.sentinel2.simulation.safe_writer import Flaws, write_folder, zip_folder
from landcover_tf.sentinel2.simulation.scene import make_scene, mirrored
from landcover_tf.sentinel2.tiles import parse_tile

MAX_SCENE_PX = 2196
"""Largest landscape that is modelled as a whole."""

NO_FLAWS = Flaws()

__all__ = ["Flaws", "SimulatedProduct", "simulate_product"]


@dataclass(frozen=True, kw_only=True)
class SimulatedProduct:
    """Where a simulated product and its truth lie."""

    path: Path
    """The .SAFE folder or the .zip."""
    label_path: Path
    """GeoTIFF of `landcover9` codes on the product's 10 m grid."""


def simulate_product(
    output_dir: str | Path,
    *,
    tile: str = "34SEH",
    seed: int = 0,
    size_px: int = 1098,
    baseline: str = "05.11",
    zipped: bool = False,
    cloud_fraction: float = 0.05,
    flaws: Flaws = NO_FLAWS,
    satellite: str = "S2A",
    sensing_time: datetime | None = None,
    zip_root: str | None = None,
) -> SimulatedProduct:
    """Writes `products/<PRODUCT>.SAFE` (or .zip) and `ground_truth/<PRODUCT>.tif`.

    One tile and seed give one landscape; the sensing time decides clouds, haze and noise. So two
    baselines of one sensing time hold the same reflectances, and two times the same land.

    Args:
        output_dir: Folder for `products` and `ground_truth`.
        tile: MGRS tile; the product lies at its upper-left corner. South of the equator (22KGV)
            its CRS is EPSG:327zz.
        seed: Changes everything.
        size_px: Height and width at 10 m, a multiple of 6; a real tile has 10980. Beyond 2196 the
            scene is repeated, mirrored at the seams, so that memory and time stay small.
        baseline: Processing baseline; from 04.00 with radiometric offset and raster masks.
        zipped: Whether to write a .zip instead of a folder.
        cloud_fraction: Share of the 60 m pixels that are cloud, a quarter of it cirrus.
        flaws: What went wrong on board.
        satellite: S2A, S2B, S2C.
        sensing_time: UTC; by default June 2021, or June 2025 for baselines that did not exist.
        zip_root: Name of the folder inside the zip when it is to differ from the product's.

    Raises:
        ValueError: An argument is out of range.
        OutputError: The product exists already, or cannot be written.
        ProductError: There is no such tile.
    """
    if not 0 <= cloud_fraction <= 1:
        raise ValueError(f"cloud_fraction must be in [0, 1], got {cloud_fraction}")
    parsed = parse_baseline(baseline)
    year = 2021 if parsed < (4, 0) else 2025
    sensed = sensing_time or datetime(year, 6, 22, 9, 26, 40, 317000, UTC)
    product = ProductIdentity(
        satellite=satellite,
        baseline=parsed,
        tile=parse_tile(tile),
        size_px=size_px,
        sensing_time=sensed,
    )
    place = (seed, zlib.crc32(product.tile.name.encode()))
    scene = make_scene(
        land_seed=place,
        day_seed=(*place, int(sensed.timestamp())),
        size_px=min(size_px, MAX_SCENE_PX),
        cloud_fraction=cloud_fraction,
    )
    path = Path(output_dir) / "products" / product.name
    if zipped:
        path = path.with_suffix(".zip")
        if path.exists():
            raise OutputError(f"{path} exists already; choose another output folder or remove it")
        with tempfile.TemporaryDirectory() as folder:
            safe = Path(folder) / product.name
            write_folder(safe, product, scene, flaws)
            zip_folder(safe, path, root_name=zip_root or product.name, time=sensed)
    else:
        write_folder(path, product, scene, flaws)
    label_path = Path(output_dir) / "ground_truth" / path.with_suffix(".tif").name
    codes = mirrored(scene.landscape.codes, size_px)
    write_labels(label_path, codes, product, load_legend("landcover9"))
    return SimulatedProduct(path=path, label_path=label_path)
