"""What every way to a model server shares: addresses, signatures, failures, and retries."""

import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np

from landcover_tf.errors import ServerError

Answer = TypeVar("Answer")

DEFAULT_PORTS = {"http": 8501, "https": 443, "grpc": 8500, "grpcs": 443}
TOKEN_VARIABLE = "LANDCOVER_SERVER_TOKEN"
"""Environment variable with the bearer token of a proxy that asks for one."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a model is served."""

    scheme: str
    """http, https, grpc or grpcs."""
    host: str
    """host:port."""
    prefix: str = ""
    """Path of a proxy before /v1/models, such as /landcover."""
    model: str | None = None
    """Model name, if the URL has one."""

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.endswith("s")

    @staticmethod
    def parse(url: str) -> "Address":
        """Returns the address in `http://host:8501`, `grpc://host:8500`, or of a proxy in
        `https://host/prefix`; `/v1/models/NAME` may follow.

        Without a port it is TensorFlow Serving's own, and 443 of an encrypted connection.

        Raises:
            ServerError: It is none of these.
        """
        expected = (
            "expected a server URL such as http://localhost:8501 (REST), grpc://localhost:8500 or "
            f"https://host/prefix, got {_without_credentials(url)!r}"
        )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ServerError(expected) from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ServerError(expected)
        if "@" in parts.netloc:
            raise ServerError(
                f"{expected}; a name and a password would stand in the tags of the map, put a "
                f"token into the environment variable {TOKEN_VARIABLE}"
            )
        if parts.query or parts.fragment:
            raise ServerError(f"{expected}; nothing may follow a ? or #")
        prefix, model = _split_path(parts.path, expected)
        if prefix and parts.scheme.startswith("grpc"):
            raise ServerError(f"{expected}; gRPC knows no path before /v1/models/NAME")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = port or DEFAULT_PORTS[parts.scheme]
        return Address(scheme=parts.scheme, host=f"{host}:{port}", prefix=prefix, model=model)

    def token(self) -> str | None:
        """Returns the token to send with every request; None if the environment has none.

        Raises:
            ServerError: It is no token, or would travel unencrypted to another machine.
        """
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not token:
            return None
        if not re.fullmatch(r"[!-~]+", token):
            raise ServerError(f"{TOKEN_VARIABLE} must be one word of ASCII characters")
        if not self.secure and self.host.rpartition(":")[0] not in LOOPBACK:
            raise ServerError(
                f"{self.scheme}://{self.host} would get the token of {TOKEN_VARIABLE} unencrypted; "
                f"use {self.scheme}s://, or unset the variable"
            )
        return token


def _without_credentials(url: str) -> str:
    """Returns a URL as it may be shown."""
    return re.sub(r"//[^/?#]*@", "//", url)


def _split_path(path: str, expected: str) -> tuple[str, str | None]:
    """Returns the prefix and the model's name in a path, [/prefix][/v1/models/NAME]."""
    names = [name for name in path.split("/") if name]
    model = None
    if "models" in names:
        if names[-3:-1] != ["v1", "models"]:
            raise ServerError(f"{expected}; the path must end in /v1/models/NAME or before it")
        model = names[-1]
        names = names[:-3]
    if any(":" in name for name in (*names, model or "")):
        raise ServerError(f"{expected}; the path must end in /v1/models/NAME or before it")
    return "".join(f"/{name}" for name in names), model


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


FULL_QUEUE = "batch scheduling queue"
"""What TensorFlow Serving says, under UNAVAILABLE, of requests that it has no room for
(shared_batch_scheduler.h); a proxy says the code alone where no server is behind it."""


class UnavailableError(ServerError):
    """The server did not take the request now; asking again can help."""

    def __init__(self, message: str, *, busy: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.busy = busy
        """Whether the model server itself said so: it is still there, with the model it had."""
        self.retry_after_s = retry_after_s
        """Shortest pause that the server asks for."""


class Transport(Protocol):
    """A way to talk to a server about one version of one model."""

    where: str
    """The server and model, for messages."""
    joined: bool
    """Whether the server joins requests for predictions that wait at the same time."""

    def signatures(self) -> Mapping[str, Signature]:
        """Returns the signatures by name."""

    def describe(self) -> str:
        """Returns the `model.json` inside the served model."""

    def predict(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the named outputs of `serving_default` for stored values.

        Args:
            images: Stored values, [batch, height, width, bands], the model's dtype.
            outputs: Some of `classes`, `confidence`, `probabilities`.

        Raises:
            UnavailableError: The server is away or overloaded; the request may be repeated.
            ServerError: The server refused the request or answered nonsense.
        """

    def close(self) -> None:
        """Gives connections back."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """For how long and after which pauses a request is repeated that found no server."""

    patience_s: float = 60.0
    """Time since the first failure after which it is given up; 0 asks once."""
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0

    def __post_init__(self) -> None:
        if self.patience_s < 0:
            raise ValueError(f"patience_s must not be negative, got {self.patience_s}")

    def run(self, ask: Callable[[], Answer], *, unwanted: threading.Event | None = None) -> Answer:
        """Returns what `ask` returns, repeated while it raises `UnavailableError`.

        Pauses double and vary at random by half, so that many clients do not return at once, and
        last at least as long as the server asks for.

        Args:
            ask: Sends the request.
            unwanted: Set from another thread when the answer is no longer needed, for which no
                pause is waited to its end.

        Raises:
            ServerError: The last attempt's, with the number of attempts and the time they took.
        """
        attempts, begin = 0, None
        while True:
            attempts += 1
            try:
                return ask()
            except UnavailableError as error:
                # From the failure on: the request may have run for minutes when it was lost.
                begin = time.monotonic() if begin is None else begin
                waited = time.monotonic() - begin
                left = self.patience_s - waited
                in_vain = unwanted is not None and unwanted.is_set()
                if in_vain or left <= 0 or error.retry_after_s > left:
                    number = f"{attempts} attempt{'s' if attempts > 1 else ''}"
                    raise ServerError(
                        f"{error}; gave up after {number} in {waited:.0f} s"
                    ) from error
                # Needs no seed: it changes no result.
                pause = min(self._pause_s(attempts) * random.uniform(0.5, 1.0), left)
                pause = max(pause, error.retry_after_s)
            (time.sleep if unwanted is None else unwanted.wait)(pause)

    def _pause_s(self, attempts: int) -> float:
        # The exponent is bounded, or hours of attempts would exceed what a float holds.
        return min(self.first_pause_s * 2.0 ** min(attempts - 1, 30), self.longest_pause_s)
