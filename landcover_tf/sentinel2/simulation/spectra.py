"""What surfaces, air and clouds reflect in the 13 bands, and how the sensor blurs them.

Surface reflectances are rounded values in the range of published spectral libraries, chosen so
that classes overlap: ripe crops look like dry grass, ploughed fields like bare ground, town
gardens like meadows, reed like shrub. What keeps them apart is texture and surroundings.
"""

from enum import IntEnum

import numpy as np

from landcover_tf.bands import SENTINEL2_L1C


class Material(IntEnum):
    """What covers the ground; a pixel mixes two of them."""

    SEA = 0
    RIVER = 1
    CONIFER = 2
    BROADLEAF = 3
    CROP_GREEN = 4
    CROP_RIPE = 5
    SOIL_BRIGHT = 6
    SOIL_DARK = 7
    GRASS = 8
    GRASS_DRY = 9
    SHRUB = 10
    REED = 11
    MUD = 12
    TILES = 13
    CONCRETE = 14
    WHITE_ROOF = 15
    ASPHALT = 16
    SAND = 17
    ROCK = 18


# Columns: B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B10 B11 B12, bottom-of-atmosphere reflectance.
_SURFACE = {
    Material.SEA: (22, 22, 17, 8, 6, 4, 4, 3, 3, 3, 2, 2, 1),
    Material.RIVER: (45, 55, 72, 60, 48, 27, 26, 22, 20, 15, 6, 6, 4),
    Material.CONIFER: (18, 24, 42, 33, 68, 155, 188, 202, 214, 218, 150, 128, 62),
    Material.BROADLEAF: (20, 27, 56, 35, 92, 225, 272, 290, 304, 308, 200, 172, 84),
    Material.CROP_GREEN: (21, 28, 67, 38, 104, 300, 372, 395, 410, 415, 235, 200, 95),
    Material.CROP_RIPE: (57, 74, 115, 143, 182, 224, 249, 269, 288, 296, 315, 338, 237),
    Material.SOIL_BRIGHT: (92, 112, 158, 205, 230, 246, 262, 278, 295, 305, 350, 370, 320),
    Material.SOIL_DARK: (50, 60, 86, 112, 128, 142, 152, 165, 176, 182, 220, 238, 205),
    Material.GRASS: (25, 33, 73, 48, 114, 268, 326, 346, 360, 365, 245, 222, 116),
    Material.GRASS_DRY: (56, 72, 112, 138, 178, 222, 246, 266, 284, 292, 310, 332, 230),
    Material.SHRUB: (21, 28, 51, 38, 82, 180, 216, 231, 244, 248, 180, 155, 78),
    Material.REED: (21, 28, 50, 37, 80, 184, 222, 238, 250, 252, 170, 144, 72),
    Material.MUD: (46, 54, 73, 82, 92, 108, 116, 124, 130, 130, 120, 112, 76),
    Material.TILES: (58, 70, 100, 134, 152, 168, 178, 190, 202, 208, 244, 260, 224),
    Material.CONCRETE: (74, 90, 126, 158, 176, 190, 202, 215, 228, 236, 275, 292, 256),
    Material.WHITE_ROOF: (280, 300, 320, 335, 340, 345, 350, 355, 358, 358, 350, 345, 320),
    Material.ASPHALT: (52, 60, 80, 96, 106, 115, 122, 130, 138, 142, 168, 178, 156),
    Material.SAND: (135, 168, 228, 275, 300, 318, 332, 346, 360, 368, 420, 440, 400),
    Material.ROCK: (66, 80, 113, 146, 164, 178, 190, 203, 216, 223, 262, 280, 240),
}
SURFACE = np.array([_SURFACE[material] for material in Material], np.float32) / 1000
"""Surface reflectance, float32 [materials, bands]."""

# Light scattered back by clear air over sea level: molecules scatter as wavelength^-4 (scaled to
# the usual 0.11 at 443 nm for a high sun), aerosol roughly as wavelength^-1.
_MICRONS = np.array([band.center_nm for band in SENTINEL2_L1C]) / 1000
RAYLEIGH = (0.105 * (0.4427 / _MICRONS) ** 4).astype(np.float32)
"""Path reflectance of the molecular atmosphere, [bands]."""
AEROSOL = (0.013 * (0.55 / _MICRONS) ** 1.2).astype(np.float32)
"""Path reflectance of a light haze, [bands]; scaled by the day's haze."""

TRANSMITTANCE = np.array(
    [0.80, 0.84, 0.86, 0.91, 0.93, 0.93, 0.95, 0.93, 0.96, 0.42, 0.0015, 0.94, 0.93], np.float32
)
"""Two-way transmittance to the ground and back, [bands]; water vapour closes B10, dims B09."""

# No ground light reaches B10, and its path is above the scattering air.
for _path in (RAYLEIGH, AEROSOL):
    _path[10] = 0.0008

CLOUD = np.array(
    [0.72, 0.71, 0.70, 0.71, 0.72, 0.73, 0.73, 0.72, 0.73, 0.42, 0.006, 0.44, 0.33], np.float32
)
"""Reflectance of thick low cloud, [bands]; most vapour lies above it, so B10 stays dark."""
CIRRUS = np.array(
    [0.060, 0.058, 0.056, 0.055, 0.055, 0.055, 0.055, 0.055, 0.055, 0.048, 0.040, 0.042, 0.034],
    np.float32,
)
"""Reflectance added by cirrus of strength 1, [bands]."""
SKYLIGHT = np.array(
    [0.52, 0.47, 0.41, 0.38, 0.36, 0.34, 0.33, 0.32, 0.31, 0.29, 0.25, 0.24, 0.22], np.float32
)
"""Share of the light that reaches ground in full shadow, [bands]: a fifth through the cloud, in
all bands alike, and light of the sky, mostly blue."""

# Modulation transfer at the band's Nyquist frequency as measured in flight; B10 as B09.
# Source: the values of Lanaras et al. 2017, as in the SupReME reference code.
_MTF = (0.32, 0.26, 0.28, 0.24, 0.38, 0.34, 0.34, 0.26, 0.33, 0.26, 0.26, 0.22, 0.23)
PSF_SIGMA_PX = np.array(
    [
        band.resolution_m / 10 * np.sqrt(-2 * np.log(mtf)) / np.pi
        for band, mtf in zip(SENTINEL2_L1C, _MTF, strict=True)
    ]
)
"""Standard deviation of the Gaussian with that transfer, in 10 m pixels, [bands]."""

NOISE = (0.0006, 0.012)
"""Noise variance is floor^2 + (gain * reflectance)^2: a signal-to-noise ratio below 90."""
