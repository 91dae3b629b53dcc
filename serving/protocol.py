"""What every way to a model server shares: addresses, signatures, failures, and retries."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np

from landcover_tf.errors import ServerError

Answer = TypeVar("Answer")

SCHEMES = ("http", "https", "grpc", "grpcs")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a model is served."""

    scheme: str
    """http, https, grpc or grpcs."""
    host: str
    """host:port."""
    model: str | None = None
    """Model name, if the URL has one."""

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.endswith("s")

    @staticmethod
    def parse(url: str) -> "Address":
        """Returns the address in `http://host:8501`, `grpc://host:8500` or with
        `/v1/models/NAME` behind it.

        Raises:
            ServerError: It is none of these.
        """
        expected = (
            f"expected a server URL such as http://localhost:8501 (REST) or grpc://localhost:8500, "
            f"got {url!r}"
        )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ServerError(expected) from None
        names = [name for name in parts.path.split("/") if name]
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ServerError(expected)
        if names and (len(names) != 3 or names[:2] != ["v1", "models"]):
            raise ServerError(f"{expected}; only /v1/models/NAME may follow the port")
        default = 8500 if parts.scheme.startswith("grpc") else 8501
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return Address(
            scheme=parts.scheme,
            host=f"{host}:{port or default}",
            model=names[2] if names else None,
        )


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One input or output of a signature, as the server announces it."""

    dtype: str
    shape: tuple[int, ...]
    """-1 where any size goes."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What the server takes and gives under one signature name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


class UnavailableError(ServerError):
    """The server did not take the request now; asking again can help."""


class Transport(Protocol):
    """A way to talk to a server about one version of one model."""

    where: str
    """The server and model, for messages."""

    def signatures(self) -> Mapping[str, Signature]:
        """Returns the signatures by name."""

    def describe(self) -> str:
        """Returns the `model.json` inside the served model."""

    def predict(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the named outputs of `serving_default` for stored values.

        Args:
            images: Stored values, [batch, height, width, bands], the model's dtype.
            outputs: Of `classes`, `confidence`, `probabilities`.

        Raises:
            UnavailableError: The server is away or overloaded; the request may be repeated.
            ServerError: The server refused the request or answered nonsense.
        """

    def close(self) -> None:
        """Gives connections back."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often and after which pauses a request is repeated that found no server."""

    attempts: int = 6
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0

    def run(self, ask: Callable[[], Answer]) -> Answer:
        """Returns what `ask` returns, repeated while it raises `UnavailableError`.

        Pauses double and vary at random by half, so that many clients do not return at once.

        Raises:
            ServerError: The last attempt's, with the number of attempts.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return ask()
            except UnavailableError as error:
                if attempt == self.attempts:
                    raise ServerError(f"{error}; gave up after {attempt} attempts") from error
            pause = min(self.first_pause_s * 2 ** (attempt - 1), self.longest_pause_s)
            time.sleep(pause * random.uniform(0.5, 1.0))  # Needs no seed: it changes no result.
        raise ValueError(f"attempts must be at least 1, got {self.attempts}")
