"""The model behind a TensorFlow Serving server, used like the local one."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from landcover_tf.errors import ServerError
from landcover_tf.legend import IGNORED
from landcover_tf.model_info import ModelInfo
from serving.protocol import Address, Retries, Signature, Transport, UnavailableError
from serving.row_band_content import LEVELS

OUTPUTS = ("classes", "confidence", "probabilities")
FIRST_PATIENCE_S = 6.0
"""Longest patience with a server that never answered: its URL may be wrong."""

# What must be equal in the served model and in model.json, and how a person calls it.
AGREEMENTS = {
    "bands": "bands",
    "dtype": "input type",
    "nodata": "no-data value",
    "legend": "legend",
    "class_codes": "class order",
    "normalizer": "normalizer",
    "calibration": "calibration",
    "weights_sha256": "weights",
}


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """Limits of one client."""

    timeout_s: float = 60.0
    """Longest wait for one answer."""
    in_flight: int = 4
    """Requests under way at the same time; over REST the server joins them to batches."""
    windows_per_request: int = 4
    """Largest batch in one request, so that request and answer stay tens of megabytes."""
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        for name in ("timeout_s", "in_flight", "windows_per_request"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class ServerBackend:
    """Runs batches on a server that serves exactly the version that `info` describes.

    Nothing is asked when it is made. Before the first batch, and when a server answers a batch
    again that was lost before, its signatures and its `model.json` are compared with `info`; one
    that was only busy is the same.
    """

    one_shape = False

    def __init__(
        self, url: str, info: ModelInfo, *, settings: ClientSettings | None = None
    ) -> None:
        """Prepares a client.

        Args:
            url: http://host:8501, grpc://host:8500, or https and grpcs, also of a proxy with a
                path; /v1/models/NAME may follow when the server uses another name than `info`.
            info: The model that must be served; its version is asked for in every request, so a
                roll-forward on the server never mixes two models in one map.
            settings: Limits.

        Raises:
            ServerError: The URL is none of these, or gRPC is not installed.
        """
        address = Address.parse(url)
        self._settings = settings or ClientSettings()
        self._info = info
        self._transport = _transport(address, address.model or info.name, info, self._settings)
        self._threads = ThreadPoolExecutor(self._settings.in_flight, "server-request")
        self._checked = False
        self.name = f"server {url}"

    def __enter__(self) -> "ServerBackend":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drops what has not been sent and closes the connections."""
        self._threads.shutdown(cancel_futures=True)
        self._transport.close()

    def prepare(self, shape: tuple[int, ...], *, deciding: bool) -> None:
        """Compares the served model with `model.json`; a server loads its models itself.

        Raises:
            ServerError: The server is away, or serves another model.
        """
        del shape, deciding
        self.check()

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Returns class probabilities, float32 [batch, height, width, classes].

        Args:
            batch: Stored values in the model's dtype, [batch, height, width, bands].

        Raises:
            ServerError: The server is away, refused, or serves another model.
        """
        return self._run(batch, ("probabilities",))["probabilities"]

    def decide(self, batch: np.ndarray) -> np.ndarray:
        """Returns dense class and confidence in 1/254, uint8 [batch, height, width, 2].

        No-data pixels have class 255, as no class has their code, and confidence 0.
        """
        answer = self._run(batch, ("classes", "confidence"))
        index = np.full(256, IGNORED, np.uint8)
        index[list(self._info.class_codes)] = np.arange(len(self._info.class_codes))
        confidence = np.rint(answer["confidence"] * np.float32(LEVELS)).astype(np.uint8)
        return np.stack([index[answer["classes"]], confidence], axis=-1)

    def classes(self, batch: np.ndarray) -> np.ndarray:
        """Returns legend codes, uint8 [batch, height, width]."""
        return self._run(batch, ("classes",))["classes"]

    def stream(
        self, batches: Iterable[np.ndarray], outputs: Sequence[str] = OUTPUTS
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields the answers to `batches` in their order, several requests being under way.

        At most `in_flight` batches are read ahead of the consumer.
        """
        self.check()
        waiting: deque[Future[dict[str, np.ndarray]]] = deque()
        unwanted = threading.Event()
        try:
            for batch in batches:
                waiting.append(self._threads.submit(self._ask, batch, tuple(outputs), unwanted))
                if len(waiting) == self._settings.in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            unwanted.set()  # Who interrupts it does not wait for a server that is away.
            for future in waiting:
                future.cancel()

    def check(self) -> None:
        """Compares the served model with `model.json`, once.

        Raises:
            ServerError: The server is away, or serves another model; all differences are named.
        """
        if not self._checked:
            retries = self._settings.retries
            retries = replace(retries, patience_s=min(retries.patience_s, FIRST_PATIENCE_S))
            self._compare(retries.run)
            self._checked = True

    def _compare(self, run: Callable[[Callable[[], Any]], Any]) -> None:
        signatures = run(self._transport.signatures)
        problems = _signature_problems(signatures, self._info)
        if not problems:
            problems = _description_problems(run(self._transport.describe), self._info)
        if problems:
            raise ServerError(
                f"{self._transport.where} is not the model of model.json: {'; '.join(problems)}"
            )

    def _run(self, batch: np.ndarray, outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
        # Equal parts, one for each request that may be under way where the server joins them.
        requests = -(-len(batch) // self._settings.windows_per_request)
        if self._transport.joined:
            requests = max(requests, self._settings.in_flight)
        parts = np.array_split(batch, max(1, min(requests, len(batch))))
        answers = list(self.stream(parts, outputs))
        return {name: np.concatenate([answer[name] for answer in answers]) for name in outputs}

    def _ask(
        self, images: np.ndarray, outputs: tuple[str, ...], unwanted: threading.Event
    ) -> dict[str, np.ndarray]:
        if images.dtype != self._info.dtype:
            raise ValueError(f"expected {self._info.dtype} images, got {images.dtype}")
        if not len(images):
            return {name: np.empty(*self._expected(name, images.shape[:3])) for name in outputs}
        lost = False

        def predict() -> dict[str, np.ndarray]:
            nonlocal lost
            try:
                return self._transport.predict(images, outputs)
            except UnavailableError as error:
                lost = lost or not error.busy
                raise

        run = partial(self._settings.retries.run, unwanted=unwanted)
        answer = run(predict)
        if lost:  # What came back may be another model under the same number.
            self._compare(run)
        for name, array in answer.items():
            self._check_answer(name, array, images.shape[:3])
        return answer

    def _check_answer(self, name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
        shape, dtype = self._expected(name, shape)
        where = self._transport.where
        if array.shape != shape or array.dtype != dtype:
            raise ServerError(
                f"{where} answered {name} as {array.dtype} {array.shape}, expected {dtype} {shape}"
            )
        if dtype == np.float32 and not np.isfinite(array).all():
            raise ServerError(f"{where} answered {name} that are not numbers (NaN or infinite)")

    def _expected(self, name: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Returns shape and type of an output for images of a shape, [batch, height, width]."""
        if name == "probabilities":
            shape = (*shape, len(self._info.class_codes))
        return shape, np.dtype(np.uint8 if name == "classes" else np.float32)


def _transport(
    address: Address, model: str, info: ModelInfo, settings: ClientSettings
) -> Transport:
    if address.scheme.startswith("grpc"):
        from serving.rpc import RpcTransport

        return RpcTransport(
            address, model=model, version=info.version, timeout_s=settings.timeout_s
        )
    from serving.rest import RestTransport

    return RestTransport(
        address,
        model=model,
        version=info.version,
        timeout_s=settings.timeout_s,
        connections=settings.in_flight,
    )


def _signature_problems(signatures: Mapping[str, Signature], info: ModelInfo) -> list[str]:
    missing = [name for name in info.signatures if name not in signatures]
    if missing:
        have = ", ".join(sorted(s for s in signatures if not s.startswith("__"))) or "none"
        return [f"it has no signature {', '.join(missing)} (it has {have})"]
    image = signatures["serving_default"].inputs.get("image")
    expected = (-1, -1, -1, len(info.bands))
    if image is None:
        return ["its serving_default takes no image"]
    if image.shape != expected:
        return [f"it takes images of shape {image.shape}, expected {expected}"]
    if image.dtype != info.dtype:
        return [f"it takes {image.dtype} images, expected {info.dtype}"]
    return []


def _description_problems(text: str, info: ModelInfo) -> list[str]:
    try:
        served = json.loads(text)
    except (ValueError, RecursionError):
        return ["its description is not JSON"]
    if not isinstance(served, dict):
        return ["its description is not a JSON object"]
    expected = json.loads(json.dumps(info.to_dict()))
    return [
        f"{label} {_short(served.get(key))} instead of {_short(expected[key])}"
        for key, label in AGREEMENTS.items()
        if served.get(key) != expected[key]
    ]


def _short(value: Any) -> str:
    """Returns a value as a person compares it: names of bands and legends, not their tables."""
    try:
        text = str(value)
        if isinstance(value, dict):
            text = f"{value['name']} {[c['code'] for c in value['classes']]}"
        elif isinstance(value, list) and value:
            text = " ".join(str(band["name"]) for band in value)
    except (KeyError, TypeError):
        pass  # What a strange server sends is shown as it is.
    except RecursionError:
        text = "..."
    return text if len(text) <= 100 else f"{text[:97]}..."
