"""Shapes of masks: buffers in metres, and where shadows fall."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_tf.sentinel2.mask_shapes import dilate, opened, project_shadow


@pytest.mark.parametrize(("distance_m", "expected"), [(0, 1), (59, 1), (60, 5), (85, 9), (120, 13)])
def test_dilation_is_in_metres(distance_m, expected):
    # Centres within 60 m: 4 neighbours; sqrt(2) * 60 = 84.9 adds the diagonals.
    marked = np.zeros((9, 9), bool)
    marked[4, 4] = True
    assert dilate(marked, distance_m, 60.0).sum() == expected


def test_dilation_of_nothing_is_nothing():
    assert not dilate(np.zeros((5, 5), bool), 1000, 60).any()


@pytest.mark.parametrize(
    ("azimuth", "row", "col"),
    [(180, -1, 0), (0, 1, 0), (90, 0, -1), (270, 0, 1), (135, -1, -1), (315, 1, 1)],
)
def test_shadow_lies_away_from_the_sun(azimuth, row, col):
    # Sun in the south (180) throws shadows north, which is up.
    cloud = np.zeros((81, 81), bool)
    cloud[40, 40] = True
    shadow = project_shadow(
        cloud, sun_zenith_deg=45, sun_azimuth_deg=azimuth, pixel_m=60, highest_m=1000
    )
    rows, cols = np.argwhere(shadow).mean(0) - 40
    assert (np.sign(np.round(rows)), np.sign(np.round(cols))) == (row, col)


def test_shadow_distance():
    # Zenith 45 degrees: the shadow of 600..1200 m is 600..1200 m away, 10 to 20 px of 60 m.
    cloud = np.zeros((1, 61), bool)
    cloud[0, 0] = True
    shadow = project_shadow(
        cloud, sun_zenith_deg=45, sun_azimuth_deg=270, pixel_m=60, lowest_m=600, highest_m=1200
    )
    assert np.flatnonzero(shadow[0]).tolist() == list(range(10, 21))


def test_shadow_has_no_gaps():
    cloud = np.zeros((121, 121), bool)
    cloud[60, 60] = True
    shadow = project_shadow(cloud, sun_zenith_deg=50, sun_azimuth_deg=160, pixel_m=60)
    from scipy import ndimage

    assert ndimage.label(shadow, np.ones((3, 3)))[1] == 1


@given(st.floats(0, 89), st.floats(0, 360))
def test_shadow_of_a_whole_sky_never_fails(zenith, azimuth):
    cloud = np.ones((6, 6), bool)
    found = project_shadow(cloud, sun_zenith_deg=zenith, sun_azimuth_deg=azimuth, pixel_m=60)
    assert found.shape == (6, 6)


def test_opening_removes_specks_and_threads():
    marked = np.zeros((9, 9), bool)
    marked[1, 1] = True
    marked[7, :] = True
    marked[3:6, 3:6] = True
    assert opened(marked).sum() == 5  # What a plus fits into.
