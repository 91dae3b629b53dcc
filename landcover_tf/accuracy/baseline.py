"""The per-pixel baseline: what bands (and a little context) alone tell about the class.

A network that does not beat gradient-boosted trees on the same pixels has learnt nothing from
shapes and texture. The baseline sees the training pixels of the network and is scored on the
same held-out pixels.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.ndimage import uniform_filter

from landcover_tf.errors import ConfigError, DatasetError
from landcover_tf.legend import IGNORED

BaselineKind = Literal["hist-gradient-boosting", "lightgbm"]


def pixel_features(image: np.ndarray, context: int = 0) -> np.ndarray:
    """Returns the features of every pixel of one patch.

    Args:
        image: Reflectance, float32 [height, width, bands], 0 in all bands without data.
        context: Width of a square window in pixels; its mean and standard deviation of each
            band are added. 0 adds none. Pixels without data do not count in a window.

    Returns:
        float32 [height, width, features]: bands, then means, then standard deviations.
    """
    image = np.asarray(image, np.float32)
    if not context:
        return image
    if context < 3 or context % 2 == 0:
        raise ConfigError(f"--baseline-context must be 0 or an odd number above 1, got {context}")
    has_data = (image != 0).any(axis=-1, keepdims=True).astype(np.float64)
    wide = image.astype(np.float64)
    size = (context, context, 1)
    # Outside the patch there is nothing, not a mirror image of the inside.
    share = uniform_filter(has_data, size, mode="constant")
    share = np.maximum(share, 0.5 / context**2)
    mean = uniform_filter(wide * has_data, size, mode="constant") / share
    square = uniform_filter(wide**2 * has_data, size, mode="constant") / share
    std = np.sqrt(np.maximum(square - mean**2, 0))
    return np.concatenate([image, mean, std], axis=-1).astype(np.float32)


def sample_pixels(
    patches: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    pixels: int,
    labelled_pixels: int,
    context: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns features and labels of pixels drawn evenly from labelled, usable pixels.

    Args:
        patches: (reflectance [height, width, bands], dense label uint8 [height, width]).
        pixels: About how many to draw; each patch gives the same share of its labelled pixels.
        labelled_pixels: Labelled, usable pixels of all patches, those of overlaps in each.
        context: See `pixel_features`.
        seed: Decides which.

    Returns:
        float32 [pixels, features], uint8 [pixels].

    Raises:
        DatasetError: No pixel is labelled.
    """
    rng = np.random.default_rng(seed)
    features: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    fraction = pixels / max(labelled_pixels, 1)
    for image, label in patches:
        chosen = (label != IGNORED) & (rng.random(label.shape) < fraction)
        if chosen.any():
            features.append(pixel_features(image, context)[chosen])
            labels.append(label[chosen])
    if not labels:
        raise DatasetError("the baseline needs labelled training pixels; there are none")
    return np.concatenate(features), np.concatenate(labels)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A fitted per-pixel classifier."""

    kind: BaselineKind
    context: int
    training_pixels: int
    seconds: float
    """Time that fitting took."""
    classifier: Any
    classes: np.ndarray
    """Dense class of each output of the classifier."""

    def predict(self, image: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
        """Returns the dense class of each pixel.

        Args:
            image: Reflectance, float32 [height, width, bands].
            where: Pixels to classify, bool [height, width]; all by default.

        Returns:
            uint8 [height, width], IGNORED where not asked.
        """
        where = np.ones(image.shape[:2], bool) if where is None else where
        classes = np.full(image.shape[:2], IGNORED, np.uint8)
        number = int(self.classes[-1]) + 1
        classes[where] = self.probabilities(image, where, number).argmax(axis=1)
        return classes

    def probabilities(self, image: np.ndarray, where: np.ndarray, number: int) -> np.ndarray:
        """Returns the probability of every class, 0 for those that no training pixel had.

        Args:
            image: Reflectance, float32 [height, width, bands].
            where: Pixels to classify, bool [height, width].
            number: Classes of the legend.

        Returns:
            float64 [pixels, number], pixels in the order of `image[where]`.
        """
        result = np.zeros((int(where.sum()), number))
        if len(result):
            features = pixel_features(image, self.context)[where]
            result[:, self.classes] = self._shares(features)
        return result

    def _shares(self, features: np.ndarray) -> np.ndarray:
        if self.kind == "lightgbm":
            # The booster itself: the scikit-learn wrapper warns about absent column names.
            shares = np.asarray(self.classifier.booster_.predict(features))
            # Of two classes it gives the second one's alone.
            return np.stack([1 - shares, shares], axis=1) if shares.ndim == 1 else shares
        return np.asarray(self.classifier.predict_proba(features))


def fit_baseline(
    kind: BaselineKind,
    features: np.ndarray,
    labels: np.ndarray,
    *,
    context: int,
    seed: int,
) -> Baseline:
    """Returns gradient-boosted trees fitted to single pixels.

    Classes are not weighted: that gives the baseline its best overall accuracy.

    Args:
        kind: `hist-gradient-boosting` (scikit-learn) or `lightgbm` (extra `baseline`).
        features: float32 [pixels, features].
        labels: Dense classes, uint8 [pixels].
        context: With which the features were computed.
        seed: Decides the trees' random choices.

    Raises:
        ConfigError: LightGBM is not installed.
        DatasetError: There are fewer than two classes.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise DatasetError(f"the baseline needs two classes, the sampled pixels have {classes}")
    start = time.monotonic()
    if kind == "lightgbm":
        classifier = _lightgbm(len(classes), seed)
        classifier.fit(features, np.searchsorted(classes, labels))
    else:
        from sklearn.ensemble import HistGradientBoostingClassifier

        classifier = HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.15, early_stopping=False, random_state=seed
        )
        classifier.fit(features, labels)
    return Baseline(
        kind=kind,
        context=context,
        training_pixels=len(labels),
        seconds=time.monotonic() - start,
        classifier=classifier,
        classes=classes.astype(np.uint8),
    )


def feature_names(band_names: Sequence[str], context: int) -> tuple[str, ...]:
    """Returns the names of the features in order."""
    names = list(band_names)
    if context:
        names += [f"{n} {what} {context}x{context}" for what in ("mean", "std") for n in band_names]
    return tuple(names)


def _lightgbm(classes: int, seed: int) -> Any:
    try:
        from lightgbm import LGBMClassifier
    except ImportError as error:
        raise ConfigError(
            "--baseline lightgbm needs LightGBM; install landcover-tf[baseline], or use --baseline "
            "hist-gradient-boosting"
        ) from error
    return LGBMClassifier(
        n_estimators=100, learning_rate=0.1, num_leaves=31, random_state=seed,
        objective="multiclass" if classes > 2 else "binary", verbosity=-1,
    )  # fmt: skip
