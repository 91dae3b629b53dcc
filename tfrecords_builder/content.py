"""Fingerprints of what patches show, which find shared pixels even without coordinates.

Each neighbourhood of 3 x 3 pixels is hashed, of 7 x 7 where a pixel holds little. A hash does not
depend on where in its patch the neighbourhood lies, so two patches cut from overlapping images
agree wherever they overlap, however they are shifted. Only hashes below a limit are kept: the same
ones in every patch.
"""

import math
from collections.abc import Iterator

import numpy as np

SAMPLES_PER_PATCH = 512
MIN_SHARED = 4
"""Fingerprints that must agree before a patch is said to share content."""
MIN_SHARED_FRACTION = 0.005
SEARCHED_AT_ONCE = 2**26
"""Fingerprints of all patches that are sorted together, 8 bytes each and as much while sorting."""


def fingerprints(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Returns a sample of the hashes of a patch's neighbourhoods, unique uint64 [n].

    Neighbourhoods with an invalid pixel, and those whose pixels are all the same or nearly so
    (water, fill, saturation), say nothing of the place and are left out.

    Args:
        image: Stored values, [height, width, bands].
        valid: Pixels with data, bool [height, width].
    """
    height, width = valid.shape
    side, least_changes = _neighbourhood(image)
    if min(height, width) < side:
        return np.zeros(0, np.uint64)
    pixel = _mixed(_words(image) @ _odd_numbers(image.shape[2]))
    usable = _window_sums(valid, side, side) == side**2
    changes = _window_sums(pixel[:, 1:] != pixel[:, :-1], side, side - 1)
    changes += _window_sums(pixel[1:] != pixel[:-1], side - 1, side)
    weights = _odd_numbers(side)
    across = sum(pixel[:, n : width - side + 1 + n] * weights[n] for n in range(side))
    down = _mixed(across)
    hashed = sum(down[n : height - side + 1 + n] * weights[n] for n in range(side))
    found = _mixed(hashed[usable & (changes >= least_changes)])
    stride = max(height * width // SAMPLES_PER_PATCH, 1)
    return np.unique(found[found < np.uint64((2**64 - 1) // stride)])


def shared_fractions(
    samples: list[np.ndarray], split: np.ndarray, splits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how much of each patch's content occurs in other splits.

    Args:
        samples: Fingerprints of each patch, ascending.
        split: Split number of each patch, int [patches].
        splits: Number of splits.

    Returns:
        The share of a patch's fingerprints that occur in each split, float64
        [patches, splits], with 0 for its own split, and whether that is more than chance, bool
        of the same shape.
    """
    counts = np.zeros((len(samples), splits), np.int64)
    for part in _ranges(samples):
        of_split = [
            np.unique(np.concatenate([np.zeros(0, np.uint64), *(part[i] for i in members)]))
            for members in (np.flatnonzero(split == s) for s in range(splits))
        ]
        for number, sample in enumerate(part):
            for other in range(splits):
                if other != split[number]:
                    counts[number, other] += _count_common(sample, of_split[other])
    total = np.array([max(len(sample), 1) for sample in samples])
    share = counts / total[:, None]
    return share, (counts >= MIN_SHARED) & (share >= MIN_SHARED_FRACTION)


def _ranges(samples: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Yields the fingerprints of each patch in one range of hashes after the other.

    A hash is searched among those of its range only, so that memory does not hold all of them
    twice more.
    """
    parts = max(math.ceil(sum(map(len, samples)) / SEARCHED_AT_ONCE), 1)
    largest = max((int(sample[-1]) for sample in samples if len(sample)), default=0)
    borders = np.array([largest * number // parts for number in range(1, parts)], np.uint64)
    places = [np.r_[0, np.searchsorted(sample, borders), len(sample)] for sample in samples]
    for number in range(parts):
        yield [
            s[place[number] : place[number + 1]] for s, place in zip(samples, places, strict=True)
        ]


def _count_common(sample: np.ndarray, known: np.ndarray) -> int:
    """Returns how many of `sample` are in `known`, which is sorted and may be far larger."""
    if not len(known):
        return 0
    # np.isin would sort both together for every patch: seconds for a tile's fingerprints.
    place = np.searchsorted(known, sample)
    return int((known[np.minimum(place, len(known) - 1)] == sample).sum())


def _neighbourhood(image: np.ndarray) -> tuple[int, int]:
    """Returns the side of a neighbourhood and how many changes between its pixels it must have.

    Nine pixels of one 8-bit band with noise of one or two steps take so few values that they are
    alike somewhere among a million. 49 with changes at a quarter of their 84 borders are not.
    """
    return (3, 1) if image.shape[2] * image.dtype.itemsize >= 6 else (7, 21)


def _window_sums(flags: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns the number of True in each window, int64 [rows - height + 1, cols - width + 1]."""
    total = np.pad(flags.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    columns = total[height:] - total[:-height]
    return np.asarray(columns[:, width:] - columns[:, :-width])


def _words(image: np.ndarray) -> np.ndarray:
    """Returns stored values as integers that are equal where the values are."""
    if image.dtype.kind == "f":
        return image.astype(np.float32).view(np.uint32).astype(np.uint64)
    return image.astype(np.int64).view(np.uint64)


def _odd_numbers(count: int) -> np.ndarray:
    return np.random.default_rng(20150623).integers(0, 2**63, count, np.uint64) * np.uint64(
        2
    ) + np.uint64(1)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Returns well-spread hashes (the finalizer of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
