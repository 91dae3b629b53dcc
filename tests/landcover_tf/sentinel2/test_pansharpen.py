"""Sharpening: the laws of the formulas, and what each method must leave alone."""

import numpy as np
import pytest
from scipy import ndimage

from landcover_tf.sentinel2 import pansharpen
from landcover_tf.sentinel2.pansharpen import Pan, degrade, fit_pan, sharpen
from landcover_tf.sentinel2.resample import upsample

RATIO, SIGMA = 2, 0.8


def textured(seed=0, side=48):
    rng = np.random.default_rng(seed)
    planes = [ndimage.gaussian_filter(rng.normal(0, 1, (side, side)), 1.5) for _ in range(4)]
    return np.stack([2000 + 3000 * p for p in planes]).astype(np.float32)


def fitted(method, coarse, fine):
    degraded = np.stack([degrade(p, RATIO, SIGMA).ravel() for p in fine], axis=-1)
    return fit_pan(method, coarse.ravel(), degraded)


@pytest.mark.parametrize("ratio", [2, 6])
def test_degrade_matches_scipy(ratio):
    fine = textured(side=72)[0]
    sigma = 0.9 * ratio / 2
    blurred = ndimage.gaussian_filter(fine.astype(np.float64), sigma, truncate=4, mode="nearest")
    first, second = ratio // 2 - 1, ratio // 2
    expected = (
        sum(blurred[r::ratio, c::ratio] for r in (first, second) for c in (first, second)) / 4
    )
    # scipy truncates the kernel one sample later for some sigmas.
    assert np.allclose(degrade(fine, ratio, sigma), expected, atol=0.5)


@pytest.mark.parametrize("method", ["brovey", "hpf", "glp", "locreg"])
def test_constants_stay_constant(method):
    coarse = np.full((24, 24), 1500, np.float32)
    fine = np.full((4, 48, 48), 2500, np.float32)
    result = sharpen(method, coarse, fine, RATIO, SIGMA, fitted(method, coarse, fine))
    assert np.allclose(result, 1500, atol=1)


@pytest.mark.parametrize("method", ["glp", "hpf", "locreg"])
def test_adding_a_constant_to_the_band_adds_it_to_the_result(method):
    fine = textured()
    coarse = degrade(0.3 * fine[0] + 0.5 * fine[3], RATIO, SIGMA)
    low = sharpen(method, coarse, fine, RATIO, SIGMA, fitted(method, coarse, fine))
    high = sharpen(method, coarse + 500, fine, RATIO, SIGMA, fitted(method, coarse + 500, fine))
    assert np.allclose(high - low, 500, atol=0.2)


def test_scaling_the_band_scales_brovey():
    fine = textured()
    coarse = degrade(fine[3], RATIO, SIGMA)
    pan = fitted("brovey", coarse, fine)
    once = sharpen("brovey", coarse, fine, RATIO, SIGMA, pan)
    assert np.allclose(sharpen("brovey", 2 * coarse, fine, RATIO, SIGMA, pan), 2 * once, rtol=1e-5)


def test_pan_independent_of_the_band_leaves_the_interpolation():
    fine = textured()
    coarse = upsample(np.random.default_rng(5).normal(3000, 500, (12, 12)).astype(np.float32), 2)
    pan = Pan(intercept=3000.0, weights=(0.0,) * 4)
    result = sharpen("glp", coarse, fine, RATIO, SIGMA, pan)
    assert np.allclose(result, upsample(coarse, RATIO), atol=1e-2)


def test_brovey_divides_by_the_pans_own_low_pass():
    # The ratio as often coded, m * pan / mean(pan), carries the pan's large-scale brightness
    # into the band; the corrected one keeps the band's local mean.
    side = 96
    ramp = np.linspace(1000, 5000, side, dtype=np.float32)[None, :].repeat(side, 0)
    fine = np.stack([ramp] * 4)
    coarse = np.full((side // 2, side // 2), 2000, np.float32)
    result = sharpen("brovey", coarse, fine, RATIO, SIGMA, fitted("brovey", coarse, fine))
    naive = 2000 * ramp / ramp.mean()
    assert np.abs(result[8:-8, 8:-8] - 2000).max() < 30
    assert np.abs(naive - 2000).max() > 1000


@pytest.mark.parametrize("method", ["glp", "locreg"])
def test_a_band_made_of_the_fine_bands_is_recovered(method):
    fine = textured()
    truth = 100 + 0.2 * fine[0] + 0.1 * fine[1] + 0.7 * fine[3]
    coarse = degrade(truth, RATIO, SIGMA)
    result = sharpen(method, coarse, fine, RATIO, SIGMA, fitted(method, coarse, fine))

    def error(image):
        return np.sqrt(np.mean((image - truth)[8:-8, 8:-8] ** 2))

    assert error(result) < 0.25 * error(upsample(coarse, RATIO))
    # Degrading the result gives the band back, nearly.
    assert np.sqrt(np.mean((degrade(result, RATIO, SIGMA) - coarse) ** 2)) < 20


def test_glp_fit_matches_scikit_learn():
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(7)
    x = rng.normal(2000, [100, 200, 300, 400], (500, 4))
    y = x @ [0.1, 0.2, 0.3, 0.4] + rng.normal(0, 50, 500)
    pan = fit_pan("glp", y, x)
    z = (x - x.mean(0)) / x.std(0)
    # Our ridge weighs the mean squared error, scikit-learn's the sum.
    reference = Ridge(alpha=pansharpen.RIDGE * len(x)).fit(z, y)
    assert np.allclose(pan.weights, reference.coef_ / x.std(0), rtol=1e-6)


def test_hpf_gain_is_the_regression_slope():
    rng = np.random.default_rng(8)
    x = rng.normal(2000, 300, (400, 4))
    y = 3 * x.mean(1) + 5
    assert fit_pan("hpf", y, x).gain == pytest.approx(3)


def test_local_solver_matches_numpy():
    rng = np.random.default_rng(9)
    a = rng.normal(size=(4, 4, 10))
    full = np.einsum("ikn,jkn->ijn", a, a) + 3 * np.eye(4)[..., None]
    target = rng.normal(size=(4, 10))
    found = pansharpen._solve_cholesky(
        [[full[i, j] for j in range(i + 1)] for i in range(4)], list(target)
    )
    for n in range(10):
        assert np.allclose([f[n] for f in found], np.linalg.solve(full[..., n], target[:, n]))


def test_what_is_never_sharpened():
    assert pansharpen.effective("glp", "B10", 6) == "none"
    assert pansharpen.effective("locreg", "B10", 6) == "none"
    assert pansharpen.effective("locreg", "B01", 6) == "glp"
    assert pansharpen.effective("locreg", "B05", 2) == "locreg"


def test_too_few_pixels_to_fit_leave_the_interpolation():
    fine, coarse = textured(), np.full((24, 24), 900, np.float32)
    pan = fit_pan("glp", np.empty(0), np.empty((0, 4)))
    result = sharpen("glp", coarse, fine, RATIO, SIGMA, pan)
    assert np.allclose(result, 900, atol=1e-2)
