"""The stack of Level-2A bands that docs/prepare.md shows is one that the builder takes."""

import re
from pathlib import Path

import numpy as np
import rasterio

from landcover_tf.datasets.dataset_info import DatasetInfo
from tfrecords_builder.__main__ import main

PAGE = Path(__file__).parents[1] / "docs/prepare.md"
SIDE = 320
GRID = {"driver": "GTiff", "count": 1, "crs": "EPSG:32634"}


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    profile = GRID | {"height": height, "width": width, "dtype": values.dtype}
    side_m = 10 * SIDE / height
    place = rasterio.Affine(side_m, 0, 500_000, 0, -side_m, 4_200_000)
    with rasterio.open(path, "w", **profile, transform=place) as raster:
        raster.write(values, 1)


def write_product(path: Path, names: dict[int, tuple[str, ...]], *, shifted: bool) -> None:
    """Writes bands of reflectance 0.05 with a gap on top, and a scene classification of stripes."""
    folder = path / "GRANULE/L2A_T34SEH/IMG_DATA"
    for res, bands in names.items():
        side = SIDE * 10 // res
        for name in bands:
            values = np.full((side, side), 1500 if shifted else 500, np.uint16)
            values[: 40 // res * 2] = 0
            write(folder / f"R{res}m/T34SEH_20200701T092031_{name}_{res}m.jp2", values)
    classes = np.repeat(np.arange(SIDE // 2) % 12, SIDE // 2).reshape(SIDE // 2, -1).T
    write(folder / "R20m/T34SEH_20200701T092031_SCL_20m.jp2", classes.astype(np.uint8))
    text = '<BOA_ADD_OFFSET band_id="0">-1000</BOA_ADD_OFFSET>' if shifted else "<none/>"
    (path / "MTD_MSIL2A.xml").write_text(text)


def test_the_stacked_products_of_all_baselines_are_one_dataset(tmp_path: Path) -> None:
    code: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1], code)
    folder = tmp_path / "stacks"
    for name, shifted in (("old", False), ("new", True)):
        write_product(tmp_path / f"{name}.SAFE", code["NAMES"], shifted=shifted)
        folder.mkdir(exist_ok=True)
        code["stack"](tmp_path / f"{name}.SAFE", folder)
        with rasterio.open(folder / f"{name}.tif") as image:
            assert image.descriptions[:5] == ("B02", "B03", "B04", "B08", "B05")
            # (500 + 1000) / 10000 - 0.1 = 0.05.
            assert set(np.unique(image.read())) == {0, 1500}
            assert (image.scales[0], image.offsets[0]) == (1e-4, -0.1)
        with rasterio.open(folder / f"{name}_validity.tif") as bits:
            # Classes 0 to 11 of 2 px each; 2, 4 to 7 and 11 are ground.
            expected = [1, 2, 0, 32, 0, 0, 0, 0, 8, 8, 16, 0]
            assert bits.read(1)[50, :24:2].tolist() == expected
    labels = np.random.default_rng(0).choice([10, 20, 60], (SIDE, SIDE)).astype(np.uint8)
    write(folder / "labels.tif", labels)
    rows = [f"{name}.tif,labels.tif,{name}_validity.tif" for name in ("old", "new")]
    (folder / "pairs.csv").write_text("\n".join(["image,label,validity", *rows]))
    flags = ("--patch-size", "64", "--patch-overlap", "0", "--block-size-m", "640")
    where = ("--data-dir", str(folder), "--output-dir", str(tmp_path / "dataset"))
    assert main([*where, *flags, "--gap-px", "0", "--jobs", "1"]) == 0
    info = DatasetInfo.load(tmp_path / "dataset")
    assert (info.scale[0], info.offset[0]) == (1e-4, -0.1)
