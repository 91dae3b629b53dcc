"""Changes of reflectance have the stated size and leave missing pixels alone."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from landcover_tf.bands import BAND_NAMES
from landcover_tf.input_pipeline import radiometric

KEY = tf.constant([3, 4], tf.int64)
BANDS = ("B02", "B04", "B11")


def grey(batch: int = 64, size: int = 16, value: float = 0.2) -> tf.Tensor:
    return tf.fill([batch, size, size, len(BANDS)], value)


def test_jitter_has_the_stated_spread_and_is_constant_in_a_band():
    image = grey(batch=2000, size=2)
    gains = radiometric.jitter(image, KEY, probability=1.0, gain_std=0.1, offset_std=0.0) / image
    gains = gains.numpy()
    assert np.ptp(gains, axis=(1, 2)).max() < 1e-6
    per_band = gains[:, 0, 0] - 1
    assert per_band.std(axis=0) == pytest.approx([0.1] * 3, rel=0.06)
    assert abs(per_band.mean()) < 0.006
    # Half of the variance is common, so bands correlate with 0.5.
    assert np.corrcoef(per_band.T)[0, 1] == pytest.approx(0.5, abs=0.06)
    offsets = radiometric.jitter(image, KEY, probability=1.0, gain_std=0.0, offset_std=0.02) - image
    assert offsets.numpy().std() == pytest.approx(0.02, rel=0.06)


def test_noise_is_zero_mean_and_independent():
    noise = (radiometric.noise(grey(), KEY, probability=1.0, std=0.05) - 0.2).numpy()
    assert abs(noise.mean()) < 1e-3
    levels = noise.std(axis=(1, 2, 3))
    assert levels.max() < 0.055 and levels.min() < 0.01
    assert np.ptp(noise[0, ..., 0]) > 0


def test_noise_is_that_of_a_normal_distribution_of_each_pixel_and_band():
    drawn = radiometric.fast_normal(tf.constant([4, 128, 128, 13]), KEY, 1.0).numpy()
    same = radiometric.fast_normal(tf.constant([4, 128, 128, 13]), KEY, 1.0).numpy()
    np.testing.assert_array_equal(drawn, same)
    # Of 65,536 pixels, means of bands spread by 1 / 256 and their variances by sqrt(2) / 256.
    assert abs(drawn.mean(axis=(0, 1, 2))).max() < 5 / 256
    assert abs(drawn.var(axis=(0, 1, 2)) - 1).max() < 5 * 2**0.5 / 256
    between_bands = np.corrcoef(drawn.reshape(-1, 13).T) - np.eye(13)
    assert abs(between_bands).max() < 5 / 256
    # Neither examples, rows, columns nor bands repeat.
    for axis, apart in itertools.product(range(4), (1, 2, 3)):
        assert abs(np.mean(drawn * np.roll(drawn, apart, axis))) < 5 / drawn.size**0.5
    # Of 32 coins, 12 and fewer or 20 and more ones have 0.2153, 9 and fewer or 23 and more 0.0201;
    # of the normal distribution 0.2159 and 0.0216 lie beyond the middle of the step before.
    for steps, share in ((3.5, 0.2153), (6.5, 0.0201)):
        assert np.mean(abs(drawn) > steps / 8**0.5) == pytest.approx(share, rel=0.03)


def test_band_drop_keeps_a_band_and_drops_the_stated_share():
    dropped = radiometric.drop_bands(grey(batch=500), KEY, probability=1.0, fraction=0.3).numpy()
    lost = (dropped == 0).all(axis=(1, 2))
    assert set(np.unique(dropped)) == {np.float32(0.0), np.float32(0.2)}
    assert not lost.all(axis=1).any()
    assert lost.mean() == pytest.approx(0.29, abs=0.04)  # 0.3 less the all-lost cases, 0.3**3 / 3
    all_but_one = radiometric.drop_bands(grey(), KEY, probability=1.0, fraction=1.0).numpy()
    assert ((all_but_one != 0).all(axis=(1, 2)).sum(axis=1) == 1).all()


def test_haze_brightens_dark_ground_most_in_the_blue():
    settings = {"probability": 1.0, "max_haze": 0.5, "band_names": BANDS}
    change = (radiometric.haze(grey(), KEY, **settings) - 0.2).numpy()
    assert change.min() >= -1e-6
    assert change.max() <= 0.5 * (0.45 - 0.2) + 1e-6
    mean = change.mean(axis=(0, 1, 2))
    assert mean[0] > mean[1] > mean[2] > 0
    # (492.7 / 664.6) ** 1.3 = 0.678
    assert mean[1] / mean[0] == pytest.approx(0.678, abs=0.002)


def test_haze_weights_fall_with_wavelength():
    weights = dict(zip(BAND_NAMES, radiometric.haze_weights(BAND_NAMES), strict=True))
    assert weights["B01"] == weights["B02"] == 1
    assert weights["B12"] == pytest.approx((492.7 / 2202.4) ** 1.3, rel=1e-5)
    assert radiometric.haze_weights(["red"]) == weights["B04"] < 1
    assert radiometric.haze_weights(["VV", "B02"]).tolist() == [1, 1]


def test_shadow_darkens_within_bounds_and_in_part():
    settings = {"probability": 1.0, "max_darkening": 0.6, "band_names": BANDS}
    ratio = radiometric.cloud_shadow(grey(size=32), KEY, **settings).numpy() / 0.2
    assert ratio.min() >= 1 - 0.6 - 1e-5 and ratio.max() <= 1 + 1e-5
    dark = ratio[..., 2].min(axis=(1, 2))
    light = ratio[..., 2].max(axis=(1, 2))
    assert (dark < 0.9).all() and (light > 0.98).all()
    assert (ratio[..., 0] >= ratio[..., 2] - 1e-6).all()


@pytest.mark.parametrize(
    ("operation", "strengths"),
    [
        (radiometric.jitter, {"gain_std": 0.1, "offset_std": 0.1}),
        (radiometric.noise, {"std": 0.1}),
        (radiometric.drop_bands, {"fraction": 0.5}),
        (radiometric.haze, {"max_haze": 0.5, "band_names": BANDS}),
        (radiometric.cloud_shadow, {"max_darkening": 0.5, "band_names": BANDS}),
    ],
)
def test_probability_counts_examples(operation, strengths):
    image = grey(batch=40)
    same = operation(image, KEY, probability=0.0, **strengths)
    np.testing.assert_array_equal(same, image)
    some = operation(image, KEY, probability=0.5, **strengths).numpy()
    changed = (some != image.numpy()).any(axis=(1, 2, 3))
    assert 8 <= changed.sum() <= 32


def test_missing_pixels_stay_missing():
    image = grey().numpy()
    image[:, 3] = 0
    kept = radiometric.keep_nodata(tf.constant(image), tf.constant(image + 1)).numpy()
    assert (kept[:, 3] == 0).all() and (kept[:, 4:] == np.float32(0.2) + 1).all()
