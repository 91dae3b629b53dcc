"""How far does each method bring the 20 m and 60 m bands to 10 m? Wald's protocol on real bands.

    python -m benchmarks.sharpening --data-dir ../shared/data/dsen2_native_l1c

Everything is degraded by the ratio, sharpened back, and compared with the original coarse band.
`mtf` blurs with the Gaussians that `pansharpen` assumes, so that the methods' blur model is right.
`box` blurs with a Gaussian of 1/ratio px and takes block means (Lanaras et al. 2018,
arXiv:1803.04271), so that it is wrong; `mean` takes block means alone, the extreme of a band as
sharp as its pixels allow. Real scenes lie in between.
The scenes are native Level-1C cut-outs in MATLAB v7.3 files (im10, im20, im60).
"""

import argparse
import time
from pathlib import Path

import h5py
import numpy as np
from scipy import ndimage

from landcover_tf.sentinel2 import pansharpen
from landcover_tf.sentinel2.pansharpen import PREDICTORS, RELATIVE_SIGMA_PX
from landcover_tf.sentinel2.resample import block_mean, upsample
from landcover_tf.system.files import write_json
from landcover_tf.system.provenance import hardware, software_versions

# Order of the planes in the files, checked by correlation with block means.
PLANES = {
    10: ("B04", "B03", "B02", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09"),
}
METHODS = ("nearest", "bilinear", "bicubic", "brovey", "hpf", "glp", "locreg")
DEGRADATIONS = ("mtf", "box", "mean")
EDGE_PX = 8
SIGMA_10M_PX = 0.52
"""Blur of the 10 m bands themselves in their own pixels, as `pansharpen` has it."""


def main() -> None:
    """Prints the table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data/dsen2_native_l1c"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/sharpening.json"))
    arguments = parser.parse_args()
    files = sorted(arguments.data_dir.glob("*.mat"))
    if not files:
        parser.error(f"{arguments.data_dir} holds no .mat scene")
    rows = [
        row
        for file in files
        for resolution in (20, 60)
        for degradation in DEGRADATIONS
        for row in bench_scene(file, resolution, degradation)
    ]
    print_table(rows)
    write_json(
        arguments.output,
        {
            "rows": rows,
            "hardware": hardware(),
            "software": software_versions(),
            "edge_px": EDGE_PX,
        },
    )
    print(f"\nwritten to {arguments.output}")


def read_scene(path: Path) -> dict[str, np.ndarray]:
    """Returns digital numbers per band, float32 [height, width], each on its native grid."""
    with h5py.File(path) as file:
        return {
            name: np.asarray(plane, np.float32).T
            for resolution, names in PLANES.items()
            for name, plane in zip(names, file[f"im{resolution}"], strict=True)
        }


def bench_scene(path: Path, resolution: int, degradation: str) -> list[dict[str, object]]:
    """Returns one row of scores per method."""
    scene = read_scene(path)
    ratio = resolution // 10
    fine = np.stack([lower(scene[n], ratio, 0.0, degradation) for n in PREDICTORS])
    names = PLANES[resolution]
    coarse = {n: lower(scene[n], ratio, RELATIVE_SIGMA_PX[n], degradation) for n in names}
    rows = []
    for method in METHODS:
        started = time.perf_counter()
        results = {n: restore(method, n, coarse[n], fine, ratio) for n in names}
        seconds = time.perf_counter() - started
        truth = np.stack(
            [trimmed(scene[n][: r.shape[0], : r.shape[1]]) for n, r in results.items()]
        )
        found = np.stack([trimmed(r) for r in results.values()])
        megapixels = sum(r.size for r in results.values()) / 1e6
        consistency = [
            float(
                np.sqrt(
                    np.mean((pansharpen.degrade(r, ratio, RELATIVE_SIGMA_PX[n]) - coarse[n]) ** 2)
                )
            )
            for n, r in results.items()
        ]
        rows.append(
            {
                "scene": path.stem,
                "bands": f"{resolution} m",
                "degradation": degradation,
                "method": method,
                **scores(truth, found, ratio),
                "consistency_rmse": float(np.mean(consistency)),
                "seconds_per_mpx_band": seconds / megapixels,
                "rmse_per_band": {
                    n: float(np.sqrt(np.mean((t - f) ** 2)))
                    for n, t, f in zip(names, truth, found, strict=True)
                },
            }
        )
    reference = next(r["rmse"] for r in rows if r["method"] == "bicubic")
    for row in rows:
        row["rmse_vs_bicubic"] = row["rmse"] / reference - 1
    return rows


def lower(image: np.ndarray, ratio: int, extra_sigma_px: float, degradation: str) -> np.ndarray:
    """Returns `image` degraded by `ratio`, as if seen from `ratio` times as far.

    The degraded 10 m band takes the place of the original one, so it gets the blur that a band
    of its own sharpness has; coarse bands get more, by the relative blur of the methods' model.

    Args:
        image: float32 [height, width].
        ratio: 2 or 6.
        extra_sigma_px: Relative blur in fine pixels; 0 for the 10 m bands.
        degradation: One of DEGRADATIONS.
    """
    height, width = (side // ratio * ratio for side in image.shape)
    image = image[:height, :width]
    if degradation == "mtf":
        # Total blur in the degraded grid's pixels must be the band's own in its native grid's.
        sigma = np.hypot(extra_sigma_px, SIGMA_10M_PX) if extra_sigma_px else SIGMA_10M_PX * ratio
        return pansharpen.degrade(image, ratio, float(sigma))
    if degradation == "box":
        image = ndimage.gaussian_filter(image, 1 / ratio)
    return block_mean(image, ratio)


def restore(method: str, name: str, coarse: np.ndarray, fine: np.ndarray, ratio: int) -> np.ndarray:
    """Returns `coarse` brought to the grid of `fine` by one method."""
    height, width = coarse.shape
    fine = fine[:, : height * ratio, : width * ratio]
    if method in ("nearest", "bilinear", "bicubic"):
        return upsample(coarse, ratio, method)
    method = pansharpen.effective(method, name, ratio)
    sigma = RELATIVE_SIGMA_PX[name]
    pan = None
    if method != "locreg":
        degraded = np.stack([pansharpen.degrade(p, ratio, sigma).ravel() for p in fine], axis=-1)
        pan = pansharpen.fit_pan(method, coarse.ravel(), degraded)
    return pansharpen.sharpen(method, coarse, fine, ratio, sigma, pan)


def trimmed(image: np.ndarray) -> np.ndarray:
    """Returns the image without its edge."""
    return image[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX].astype(np.float64)


def scores(truth: np.ndarray, found: np.ndarray, ratio: int) -> dict[str, float]:
    """Returns RMSE (DN), SRE (dB), ERGAS, SAM (degrees) and UIQI, means over bands.

    Args:
        truth: [bands, height, width].
        found: [bands, height, width].
        ratio: Resolution ratio.
    """
    mse = ((truth - found) ** 2).mean(axis=(1, 2))
    means = truth.mean(axis=(1, 2))
    cosine = (truth * found).sum(0) / (
        np.linalg.norm(truth, axis=0) * np.linalg.norm(found, axis=0)
    )
    return {
        "rmse": float(np.sqrt(mse).mean()),
        "sre_db": float((10 * np.log10(means**2 / mse)).mean()),
        "ergas": float(100 / ratio * np.sqrt((mse / means**2).mean())),
        "sam_deg": float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()),
        "uiqi": float(np.mean([uiqi(t, f) for t, f in zip(truth, found, strict=True)])),
    }


def uiqi(x: np.ndarray, y: np.ndarray, size: int = 8) -> float:
    """Returns the universal image quality index (Wang & Bovik 2002) over sliding windows."""
    half = size // 2

    def mean(image: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(image, size)[half:-half, half:-half]

    mx, my = mean(x), mean(y)
    vx, vy = mean(x * x) - mx**2, mean(y * y) - my**2
    covariance = mean(x * y) - mx * my
    denominator = (vx + vy) * (mx**2 + my**2)
    good = denominator > 0
    return float((4 * covariance[good] * (mx * my)[good] / denominator[good]).mean())


def print_table(rows: list[dict[str, object]]) -> None:
    """Prints one line per scene, bands, degradation and method."""
    print(
        f"{'scene':28} {'bands':5} {'blur':4} {'method':9} {'RMSE':>7} {'vs bicubic':>10} "
        f"{'SRE':>6} {'ERGAS':>6} {'SAM':>5} {'UIQI':>6} {'D(out)-m':>8} {'s/Mpx':>6}"
    )
    for r in rows:
        print(
            f"{r['scene']:28} {r['bands']:5} {r['degradation']:4} {r['method']:9} "
            f"{r['rmse']:7.1f} {r['rmse_vs_bicubic']:+10.1%} {r['sre_db']:6.1f} "
            f"{r['ergas']:6.2f} {r['sam_deg']:5.2f} {r['uiqi']:6.3f} "
            f"{r['consistency_rmse']:8.1f} {r['seconds_per_mpx_band']:6.3f}"
        )


if __name__ == "__main__":
    main()
