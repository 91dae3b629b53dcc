"""The SavedModel run by OpenVINO."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes.small_export import small_info
from local_export import SmallExport

from landcover_tf.exporting.saved_model import write_export
from landcover_tf.models.layers import LocalStatistics
from serving.openvino_model import OpenVinoModel

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


def test_bfloat16_leaves_what_comes_before_convolutions_in_float32(tmp_path: Path) -> None:
    core = pytest.importorskip("openvino").Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes in float32")
    import keras

    info = small_info()
    image = keras.Input((None, None, len(info.bands)), name="image")
    # Mean 0.15, deviation 0.07, as of the reflectance of a band.
    normal = keras.layers.Rescaling(1 / 0.07, offset=-0.15 / 0.07)(image)
    statistics = LocalStatistics((9,))(normal)
    logits = keras.layers.Conv2D(len(info.class_codes), 1, name="logits")(statistics)
    network = keras.Model(image, logits)
    kernel, bias = network.layers[-1].get_weights()
    # The first class where the deviation of the first band is above 105, the second elsewhere.
    kernel[...], bias[...] = 0, -9
    kernel[0, 0, 8, 0], bias[:2] = 40, (-40 * 0.15, 0)
    network.layers[-1].set_weights([kernel, bias])
    rng = np.random.default_rng(0)
    level = rng.uniform(1500, 5000, (1, 4, 4, 4)).repeat(32, axis=1).repeat(32, axis=2)
    spread = rng.choice([30, 250], (1, 4, 4, 1)).repeat(32, axis=1).repeat(32, axis=2)
    images = (level + spread * rng.normal(size=level.shape)).clip(1, 9999).astype(np.uint16)
    write_export(network, info, tmp_path / "1", check_images=images)

    plain, short = (
        OpenVinoModel(tmp_path / "1", precision=precision).probabilities(images)
        for precision in ("float32", "bf16")
    )
    # Inputs of the convolution are rounded to 2^-9 of their value, of 0.15 where it decides, which
    # the weight makes 0.012 of a logit, and that a quarter as much of a probability. The deviations
    # themselves, computed in bfloat16, were wrong by up to 0.97 of a probability.
    assert 1e-4 < np.abs(plain - short).max() < 0.01


@needs_openvino
def test_openvino_agrees_with_tensorflow(small_export: SmallExport) -> None:
    from serving.local_model import TensorFlowModel
    from serving.openvino_model import OpenVinoModel

    batch = np.random.default_rng(5).integers(1001, 6000, (2, 64, 96, 4)).astype(np.uint16)
    first = TensorFlowModel(small_export.folder, small_export.info)
    second = OpenVinoModel(small_export.folder)
    expected = first.probabilities(batch)
    np.testing.assert_allclose(second.probabilities(batch), expected, atol=1e-5)
    for engine in (first, second):
        decided = engine.decide(batch)
        agreed = (decided[..., 0] == expected.argmax(axis=-1)).mean()
        assert agreed >= 0.999
        assert np.abs(decided[..., 1] - expected.max(axis=-1) * 254).max() < 0.51


@needs_openvino
def test_openvino_leaves_nothing_in_the_home_folder(
    small_export: SmallExport, tmp_path: Path
) -> None:
    # Its telemetry would keep a number for the user there, and send it at each use.
    code = (
        "import sys; from pathlib import Path; from serving.openvino_model import OpenVinoModel; "
        "OpenVinoModel(Path(sys.argv[1])).prepare((1, 64, 64, 4), deciding=True)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "CI"} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, str(small_export.folder)]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert not list(tmp_path.iterdir())
