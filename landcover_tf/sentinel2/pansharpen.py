"""Detail for the 20 m and 60 m bands from the four 10 m bands.

Sentinel-2 has no panchromatic band, so a pan image P is made from B02, B03, B04 and B08 (H_k).
With `up` the cubic interpolation and `D` the relative blur of the coarse band followed by
sampling, the methods are, for a coarse band m:

    brovey   up(m) * clip(P / up(D(P)), 0.2, 5)           P = mean(H)          (ratio with low-pass)
    hpf      up(m) + g (P - up(D(P)))                     P = mean(H), g = cov(m, D(P)) / var(D(P))
    glp      up(m) + (P - up(D(P)))                       P = a_0 + sum a_k H_k, ridge over the tile
    locreg   p + up(m - D(p)), p = a(x) + sum b_k(x) H_k  a, b fitted in 7 x 7 coarse pixels

Vivone et al., "A Critical Comparison Among Pansharpening Algorithms", IEEE TGRS 53(5), 2015;
Selva et al., "Hyper-Sharpening", IEEE JSTARS 8(6), 2015. Coefficients of the first three are
fitted once per tile, so that blocks agree; the arithmetic is elementwise in one fixed order, so
that a block has the same bits as the whole image.
"""

from dataclasses import dataclass

import numpy as np

from landcover_tf.sentinel2.resample import upsample
from landcover_tf.upsampling import Sharpening

PREDICTORS = ("B02", "B03", "B04", "B08")

# sqrt(sigma_LR^2 - sigma_HR^2) in 10 m pixels, from the MTF at Nyquist that Lanaras et al. 2017
# (SupReME) publish per band; sigma_HR = 0.52.
RELATIVE_SIGMA_PX = {
    "B01": 2.84,
    "B05": 0.72,
    "B06": 0.78,
    "B07": 0.78,
    "B8A": 0.79,
    "B09": 3.09,
    "B11": 0.98,
    "B12": 0.96,
}
"""Blur of each sharpened band relative to the 10 m bands. B10 sees no ground and is left out."""

RIDGE = 1e-2
"""Weight of the ridge on standardised predictors; without one, 60 m bands overfit badly."""
LOCAL_WINDOW_PX = 7
LOCAL_RIDGE = 1e-2
MARGIN_PX = {2: 24, 6: 14}
"""Coarse pixels around a block that its values can depend on, no-data filling included."""


@dataclass(frozen=True, kw_only=True)
class Pan:
    """The pan image of one coarse band: gain * (intercept + sum of weights[k] * H_k)."""

    intercept: float
    weights: tuple[float, ...]
    gain: float = 1.0

    def image(self, fine: np.ndarray) -> np.ndarray:
        """Returns the pan image of `fine` (float32 [4, height, width]), without the gain."""
        total = fine[0] * np.float32(self.weights[0])
        for weight, plane in zip(self.weights[1:], fine[1:], strict=True):
            total += plane * np.float32(weight)
        total += np.float32(self.intercept)
        return np.asarray(total)


def effective(method: Sharpening, band_name: str, ratio: int) -> Sharpening:
    """Returns what `method` means for a band: B10 is never sharpened, locreg is for 20 m only.

    Local regression on 7 x 7 pixels of 60 m follows noise; `glp` stands in for it.
    """
    if band_name not in RELATIVE_SIGMA_PX:
        return "none"
    return "glp" if method == "locreg" and ratio == 6 else method


def degrade(fine: np.ndarray, ratio: int, sigma_px: float) -> np.ndarray:
    """Returns D(fine): Gaussian blur, then the value at the centre of each coarse pixel.

    Args:
        fine: float32 [height * ratio, width * ratio].
        ratio: Even; the centre is the mean of the four central samples.
        sigma_px: Standard deviation in fine pixels.

    Returns:
        float32 [height, width].
    """
    weights, first = _degrade_kernel(ratio, sigma_px)
    return _strided_sum(_strided_sum(fine, ratio, weights, first).T, ratio, weights, first).T


def fit_pan(method: Sharpening, coarse: np.ndarray, degraded: np.ndarray) -> Pan:
    """Returns the pan of one band, fitted on a sample of valid, cloud-free pixels.

    Args:
        method: `brovey`, `hpf` or `glp`.
        coarse: m, float [pixels].
        degraded: D(H_k), float [pixels, 4].
    """
    mean = Pan(intercept=0.0, weights=(0.25,) * 4)
    if method == "brovey" or len(coarse) < 50:
        # Too few pixels to fit anything: a gain of 0 leaves the interpolation as it is.
        return mean if method == "brovey" else Pan(intercept=0.0, weights=(0.25,) * 4, gain=0.0)
    x, y = np.asarray(degraded, np.float64), np.asarray(coarse, np.float64)
    if method == "hpf":
        pan = x.mean(axis=1)
        variance = pan.var()
        gain = ((pan - pan.mean()) * (y - y.mean())).mean() / variance if variance > 0 else 0.0
        return Pan(intercept=0.0, weights=mean.weights, gain=float(gain))
    center, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    z = (x - center) / spread
    covariance = z.T @ z / len(z) + RIDGE * np.eye(x.shape[1])
    slopes = np.linalg.solve(covariance, z.T @ (y - y.mean()) / len(z)) / spread
    return Pan(intercept=float(y.mean() - slopes @ center), weights=tuple(float(s) for s in slopes))


def sharpen(
    method: Sharpening,
    coarse: np.ndarray,
    fine: np.ndarray,
    ratio: int,
    sigma_px: float,
    pan: Pan | None,
) -> np.ndarray:
    """Returns `coarse` at the resolution of `fine`.

    Args:
        method: Any but `none`.
        coarse: m, float32 [height, width], without gaps, proportional to reflectance.
        fine: H_k, float32 [4, height * ratio, width * ratio], without gaps.
        ratio: 2 or 6.
        sigma_px: Relative blur of the coarse band in fine pixels.
        pan: From `fit_pan`; unused by locreg.

    Returns:
        float32 [height * ratio, width * ratio].
    """
    if method == "locreg":
        return _local_regression(coarse, fine, ratio, sigma_px)
    if pan is None:
        raise ValueError(f"{method} needs a fitted pan")
    image = pan.image(fine)
    smooth = upsample(degrade(image, ratio, sigma_px), ratio)
    result = upsample(coarse, ratio)
    if method == "brovey":
        np.maximum(smooth, np.float32(1.0), out=smooth)  # One DN: darker pans carry no detail.
        result *= np.clip(image / smooth, np.float32(0.2), np.float32(5.0))
        return result
    image -= smooth
    if pan.gain != 1:
        image *= np.float32(pan.gain)
    result += image
    return result


def _local_regression(
    coarse: np.ndarray, fine: np.ndarray, ratio: int, sigma_px: float
) -> np.ndarray:
    predictors = [degrade(plane, ratio, sigma_px) for plane in fine]
    slopes, intercept = _local_coefficients(coarse, predictors)
    prediction = upsample(intercept, ratio, "bilinear")
    for slope, plane in zip(slopes, fine, strict=True):
        prediction += upsample(slope, ratio, "bilinear") * plane
    prediction += upsample(coarse - degrade(prediction, ratio, sigma_px), ratio)
    return prediction


def _local_coefficients(
    coarse: np.ndarray, predictors: list[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns slopes (one image per predictor) and intercept of the windowed regressions."""
    count = len(predictors)
    # Products of digital numbers need float64: their covariances are small differences.
    x = [p.astype(np.float64) for p in predictors]
    y = coarse.astype(np.float64)
    mean_x, mean_y = [_box_mean(p) for p in x], _box_mean(y)
    matrix = [
        [_box_mean(x[i] * x[j]) - mean_x[i] * mean_x[j] for j in range(i + 1)] for i in range(count)
    ]
    target = [_box_mean(p * y) - m * mean_y for p, m in zip(x, mean_x, strict=True)]
    trace = matrix[0][0].copy()
    for i in range(1, count):
        trace += matrix[i][i]
    for i in range(count):
        matrix[i][i] += LOCAL_RIDGE / count * trace + 1.0
    slopes = _solve_cholesky(matrix, target)
    intercept = mean_y
    for slope, mean in zip(slopes, mean_x, strict=True):
        intercept = intercept - slope * mean
    return [s.astype(np.float32) for s in slopes], intercept.astype(np.float32)


def _solve_cholesky(matrix: list[list[np.ndarray]], target: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the solutions of many small symmetric systems, one per pixel.

    Elementwise over whole images: thirty million calls of a general solver take minutes.
    """
    count = len(target)
    lower: list[list[np.ndarray]] = []
    for i in range(count):
        row: list[np.ndarray] = []
        for j in range(i + 1):
            total = matrix[i][j].copy()
            for k in range(j):
                total -= row[k] * (lower[j][k] if j < i else row[k])
            row.append(np.sqrt(np.maximum(total, 1e-9)) if i == j else total / lower[j][j])
        lower.append(row)
    forward: list[np.ndarray] = []
    for i in range(count):
        total = target[i].copy()
        for k in range(i):
            total -= lower[i][k] * forward[k]
        forward.append(total / lower[i][i])
    solution: list[np.ndarray] = [forward[0]] * count
    for i in reversed(range(count)):
        total = forward[i].copy()
        for k in range(i + 1, count):
            total -= lower[k][i] * solution[k]
        solution[i] = total / lower[i][i]
    return solution


def _box_mean(image: np.ndarray) -> np.ndarray:
    """Returns means over LOCAL_WINDOW_PX squares, edges replicated.

    Shifted sums rather than a running sum, whose rounding would depend on where a block starts.
    """
    half = LOCAL_WINDOW_PX // 2
    height, width = image.shape
    padded = np.pad(image, half, mode="edge")
    tall = padded[:height].copy()
    for k in range(1, LOCAL_WINDOW_PX):
        tall += padded[k : k + height]
    wide = tall[:, :width].copy()
    for k in range(1, LOCAL_WINDOW_PX):
        wide += tall[:, k : k + width]
    wide /= LOCAL_WINDOW_PX**2
    return wide


def _degrade_kernel(ratio: int, sigma_px: float) -> tuple[np.ndarray, int]:
    """Returns the weights of blur and central average, and the first tap's offset in a block."""
    if ratio % 2:
        raise ValueError(f"ratio must be even, got {ratio}")
    radius = int(np.ceil(4 * sigma_px))
    positions = np.arange(-radius, radius + 1)
    gaussian = np.exp(-0.5 * (positions / sigma_px) ** 2)
    gaussian /= gaussian.sum()
    weights = np.convolve(gaussian, [0.5, 0.5]).astype(np.float32)
    return weights, ratio // 2 - 1 - radius


def _strided_sum(image: np.ndarray, ratio: int, weights: np.ndarray, first: int) -> np.ndarray:
    """Returns the weighted sums down the rows at every `ratio`-th row, edges replicated."""
    rows = image.shape[0] // ratio
    before, after = max(-first, 0), max(first + len(weights) - ratio, 0)
    padded = np.pad(image, ((before, after), (0, 0)), mode="edge")[first + before :]
    length = (rows - 1) * ratio + 1
    total = padded[0:length:ratio] * weights[0]
    for k, weight in enumerate(weights[1:], start=1):
        total += padded[k : k + length : ratio] * weight
    return np.asarray(total)
