"""The engine that runs an export: its choice, and test-time augmentation around any of them."""

import importlib.util
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from landcover_tf.errors import ConfigError
from landcover_tf.model_info import ModelInfo, find_export
from landcover_tf.orientations import mean_over_orientations
from landcover_tf.system.quiet import start_tensorflow
from serving.config import Precision
from serving.local_model import decide
from serving.options import NetworkOptions
from serving.pipeline import Backend

if TYPE_CHECKING:
    from serving.client import ClientSettings


def chosen_engine(options: NetworkOptions) -> Literal["server", "openvino", "tensorflow"]:
    """Returns the name of the engine to run.

    Raises:
        ConfigError: OpenVINO was asked for and is not installed.
    """
    if options.server is not None:
        return "server"
    installed = importlib.util.find_spec("openvino") is not None
    if options.engine == "openvino" and not installed:
        raise ConfigError("--engine openvino needs OpenVINO; install landcover-tf[openvino]")
    if options.engine == "auto":
        return "openvino" if installed and not _has_gpu() else "tensorflow"
    return options.engine


def open_backend(folder: Path, info: ModelInfo, options: NetworkOptions) -> Backend:
    """Returns the engine for the export in `folder`, which local engines load when first needed.

    Raises:
        ServerError: No server answers, or it serves another model.
    """
    backend = _open_engine(folder, info, options)
    return Augmented(backend) if options.tta else backend


def client_settings(options: NetworkOptions) -> "ClientSettings":
    """Returns the limits of the client of a server."""
    from serving.client import ClientSettings
    from serving.protocol import Retries

    return ClientSettings(
        timeout_s=options.server_timeout_s,
        windows_per_request=min(options.batch_size, ClientSettings.windows_per_request),
        retries=Retries(patience_s=options.server_timeout_s),
    )


class Engine:
    """An export and the engine that runs it, opened when first needed and used for all scenes."""

    def __init__(self, model_path: str | Path, network: NetworkOptions) -> None:
        """Reads the export's contract; the engine itself waits.

        Raises:
            ModelError: There is no export.
        """
        self.folder = find_export(model_path)
        self.info = ModelInfo.load(self.folder)
        self._network = network
        self.runs_as: str | None = None
        """Name of the engine on the machines that compute in place of this one."""

    @cached_property
    def backend(self) -> Backend:
        """The engine; a server is asked what it serves."""
        return open_backend(self.folder, self.info, self._network)

    @property
    def name(self) -> str:
        """The engine and its precision, where the network runs."""
        return self.runs_as or self.backend.name

    @property
    def precision(self) -> Precision:
        """What the network computes in: float32 where a processor has no bfloat16.

        Only the engine can tell, which is not opened where float32 was asked for.
        """
        asked = self._network.precision
        return "bf16" if asked == "bf16" and "bf16" in self.name else "float32"


class Augmented:
    """Averages the probabilities of the eight flips and quarter turns of every window."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.one_shape = backend.one_shape
        self.name = f"{backend.name}, 8 orientations"

    def prepare(self, shape: tuple[int, ...], *, deciding: bool) -> None:
        """Prepares the engine for batches of a shape; it never decides itself."""
        del deciding
        self._backend.prepare(shape, deciding=False)

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Returns mean class probabilities, float32 [batch, height, width, classes]."""
        return mean_over_orientations(self._backend.probabilities, batch)

    def decide(self, batch: np.ndarray) -> np.ndarray:
        """Returns dense class and confidence in 1/254, uint8 [batch, height, width, 2]."""
        return decide(self.probabilities(batch))


def _open_engine(folder: Path, info: ModelInfo, options: NetworkOptions) -> Backend:
    engine = chosen_engine(options)
    if engine == "server":
        from serving.client import ServerBackend

        client = ServerBackend(str(options.server), info, settings=client_settings(options))
        client.check()
        return client
    if engine == "openvino":
        from serving.openvino_model import OpenVinoModel

        return OpenVinoModel(folder, precision=options.precision)
    from serving.local_model import TensorFlowModel

    return TensorFlowModel(folder, info, precision=options.precision)


@cache
def _has_gpu() -> bool:
    # Where no driver is, asking TensorFlow would import it only to leave it unused. Where one is,
    # TensorFlow may lack the libraries for it.
    if not any(Path(driver).exists() for driver in ("/dev/nvidia0", "/dev/dxg")):
        return False
    start_tensorflow()
    return bool(import_module("tensorflow").config.list_physical_devices("GPU"))
