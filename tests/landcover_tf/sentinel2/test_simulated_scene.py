"""Simulated land and weather are sensible as physics."""

import math

import numpy as np
import pytest

from landcover_tf.sentinel2.simulation import noise
from landcover_tf.sentinel2.simulation.scene import make_scene, mirrored, sample
from landcover_tf.sentinel2.simulation.weather import outside_swath


def test_water_is_dark_and_plants_shine_in_the_infrared():
    scene = make_scene(land_seed=(1,), day_seed=(2,), size_px=240, cloud_fraction=0.0)
    codes = scene.landscape.codes
    red, infrared = scene.reflectance("B04"), scene.reflectance("B08")
    assert np.median(infrared[codes == 60]) < 0.05
    assert np.median((infrared - red)[codes == 20]) > 0.1
    # Reflectance of clear land lies where Level-1C reflectance lies.
    assert 0.02 < np.median(red) < 0.2
    # No ground light reaches the cirrus band.
    assert abs(np.median(scene.reflectance("B10"))) < 0.005


def test_cirrus_band_sees_cirrus_only():
    scene = make_scene(land_seed=(1,), day_seed=(2,), size_px=240, cloud_fraction=0.4)
    cirrus, cloudy = scene.weather.has_cirrus, scene.weather.cloudy
    b10 = scene.reflectance("B10")
    assert b10[cirrus].mean() > 3 * b10[~cirrus & ~cloudy].mean()


def test_shadow_falls_away_from_the_sun():
    scene = make_scene(land_seed=(1,), day_seed=(2,), size_px=480, cloud_fraction=0.06)
    opacity, shadow, sun = scene.weather.opacity, scene.weather.shadow, scene.sun
    spectrum = np.fft.rfft2(shadow) * np.conj(np.fft.rfft2(opacity))
    peak = np.unravel_index(np.argmax(np.fft.irfft2(spectrum)), opacity.shape)
    row, col = (p - 480 if p > 240 else p for p in peak)
    # Sun in the south-east: the shadow lies north-west, up and to the left.
    assert row < 0 and col < 0
    assert math.degrees(math.atan2(col, -row)) % 360 == pytest.approx(sun.azimuth + 180, abs=3)


def test_sampling_takes_block_centres():
    field = np.arange(36, dtype=np.float32).reshape(6, 6)
    # Around the centre of the 6 x 6 block lie pixels 14, 15, 20, 21.
    np.testing.assert_array_equal(sample(field, 6), [[17.5]])
    np.testing.assert_array_equal(sample(field, 2)[0, 0], (0 + 1 + 6 + 7) / 4)
    assert sample(field, 1) is field


def test_large_products_repeat_the_scene():
    small = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(
        mirrored(small, 5)[:, :3], [[1, 2, 2], [3, 4, 4], [3, 4, 4], [1, 2, 2], [1, 2, 2]]
    )


@pytest.mark.parametrize("scale", [2, 9, 40])
def test_smooth_noise_is_standard_and_smooth(scale):
    rng = np.random.default_rng(0)
    fields = np.stack([noise.smooth_noise(rng, (90, 90), scale) for _ in range(60)])
    assert fields.mean() == pytest.approx(0, abs=0.1)
    assert fields.std() == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(fields, axis=1)).mean() < 1.5 / scale


def test_lowest_takes_the_share_asked_for():
    score = np.arange(100.0).reshape(10, 10)
    among = score >= 20
    assert noise.lowest(score, among, 0.3).sum() == 30
    assert noise.lowest(score, among, 0.3)[2:5].all()
    assert noise.lowest(score, among, 0.0).sum() == 0
    assert noise.lowest(score, among, 0.95).sum() == 80


def test_swath_edge_leans_and_has_its_share():
    outside = outside_swath(600, 1, 0.2)
    assert outside.mean() == pytest.approx(0.2, abs=0.005)
    width = outside.sum(axis=1)
    # The track runs 12 degrees off north: 600 rows move the edge by 600 tan 12 = 128 px.
    assert width[0] - width[-1] == pytest.approx(600 * math.tan(math.radians(12)), abs=3)
