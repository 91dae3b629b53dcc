"""TensorFlow Serving's REST interface, without TensorFlow.

Images travel as base64 of raw values through the signature `predict_bytes`: a 256 x 256 x 13
patch takes 2.3 MB instead of 5 MB of JSON numbers, and is not parsed number by number.
"""

import base64
import json
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

import numpy as np
import requests
from urllib3.exceptions import ReadTimeoutError

from landcover_tf.errors import ServerError
from serving.protocol import (
    FULL_QUEUE,
    TOKEN_VARIABLE,
    Address,
    Signature,
    TensorInfo,
    UnavailableError,
)
from serving.tensors import little_endian, parse_tensor

BUSY = (429, 503)
"""HTTP codes of a server that may take the request later."""
FIRST_CONNECTION_S = 5.0
"""Longest wait for a connection to a server that never answered: its URL may be wrong."""

_DROPPED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""What a lost connection is over TLS, where it is an ordinary one that is reset otherwise."""


class RestTransport:
    """Talks to one version of one model over HTTP; safe to use from several threads."""

    joined = True

    def __init__(
        self, address: Address, *, model: str, version: int, timeout_s: float, connections: int
    ) -> None:
        self._base = f"{address.scheme}://{address.host}{address.prefix}/v1/models/{model}"
        self._versioned = f"{self._base}/versions/{version}"
        self.where = self._versioned
        self._timeout_s = timeout_s
        self._reached = False
        self._session = requests.Session()
        token = address.token()
        if token is not None:
            self._session.auth = _Bearer(token)
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections)
        self._session.mount(f"{address.scheme}://", adapter)

    def signatures(self) -> Mapping[str, Signature]:
        """Returns the signatures by name."""
        answer = self._ask("GET", f"{self._versioned}/metadata")
        try:
            found = answer["metadata"]["signature_def"]["signature_def"]
            return {
                name: Signature(
                    inputs=_tensors(value["inputs"]), outputs=_tensors(value["outputs"])
                )
                for name, value in found.items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"{self.where} sent metadata without {error}") from error

    def describe(self) -> str:
        """Returns the `model.json` inside the served model."""
        body = {"signature_name": "describe", "inputs": {"request": [""]}}
        outputs = self._ask("POST", f"{self._versioned}:predict", body).get("outputs")
        if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], str):
            raise ServerError(f"{self.where} does not describe itself; got {str(outputs)[:80]}")
        return outputs[0]

    def predict(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the named outputs for stored values; REST sends all and drops the others."""
        packed = [{"b64": base64.b64encode(little_endian(i)).decode()} for i in images]
        size = [list(images.shape[1:3])] * len(images)
        body = {
            "signature_name": "predict_bytes",
            "inputs": {"image_bytes": packed, "size": size},
        }
        answer = self._ask("POST", f"{self._versioned}:predict", body)
        try:
            return {
                name: np.stack(
                    [parse_tensor(base64.b64decode(item["b64"], validate=True))
                     for item in answer["outputs"][f"{name}_bytes"]]
                )
                for name in outputs
            }  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(
                f"{self.where} answered without the expected outputs: {error!r}"
            ) from error

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        response = self._send(method, url, body)
        self._reached = True
        if response.status_code != requests.codes.ok:
            self._refuse(url, response)
        try:
            answer = json.loads(response.content, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("Content-Type", "no content type")
            beginning = " ".join(response.text[:200].split())[:80]
            raise ServerError(
                f"{url} did not answer with valid JSON: {error}; got {kind}: {beginning}"
            ) from error
        if not isinstance(answer, dict):
            raise ServerError(f"{url} did not answer with a JSON object")
        return answer

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None) -> requests.Response:
        # Not of later requests: urllib3 counts the sending of images as a part of connecting.
        connect_s = self._timeout_s if self._reached else min(FIRST_CONNECTION_S, self._timeout_s)
        timeouts = connect_s, self._timeout_s
        try:
            # After a redirect, requests would repeat a POST as a GET.
            return self._session.request(
                method, url, json=body, timeout=timeouts, allow_redirects=False
            )
        except requests.exceptions.ChunkedEncodingError as error:
            raise ServerError(f"the answer of {url} was cut short: {error}") from error
        except requests.exceptions.Timeout as error:
            if _is_unconnected(error):
                raise UnavailableError(
                    f"no model server at {url}: no connection within {connect_s:g} s"
                ) from error
            raise self._too_slow(url) from error
        except requests.exceptions.SSLError as error:
            cause = _ssl_cause(error)
            if isinstance(cause, _DROPPED):
                raise UnavailableError(f"{url} dropped the connection: {cause}") from error
            raise ServerError(
                f"no encrypted connection to {url}: {cause}; does the server speak TLS, "
                "with a certificate that this machine trusts (REQUESTS_CA_BUNDLE names others)?"
            ) from error
        except requests.exceptions.ProxyError as error:
            raise UnavailableError(
                f"the proxy of the environment (HTTP_PROXY, HTTPS_PROXY) does not lead to {url}: "
                f"{_reason(error)}; NO_PROXY={urlsplit(url).hostname} goes around it"
            ) from error
        except requests.exceptions.ConnectionError as error:
            # What requests makes of an answer that stalls after its headers.
            if error.args and isinstance(error.args[0], ReadTimeoutError):
                raise self._too_slow(url) from error
            # The name of a container is gone while it starts again.
            if _is_unknown_host(error) and not self._reached:
                raise ServerError(
                    f"cannot ask {url}, there is no such host: {_reason(error)}"
                ) from error
            raise UnavailableError(f"no model server at {url}: {_reason(error)}") from error
        except OSError as error:  # Of requests, and that of a REQUESTS_CA_BUNDLE that is not there.
            raise ServerError(f"cannot ask {url}: {error}") from error

    def _too_slow(self, url: str) -> ServerError:
        return ServerError(
            f"{url} did not answer within {self._timeout_s:g} s; raise the timeout or send "
            "smaller batches"
        )

    def _refuse(self, url: str, response: requests.Response) -> NoReturn:
        message = _error_text(response.text)
        code = response.status_code
        if code in BUSY:
            pause_s = _pause_s(response)
            asked = f", and asks for a pause of {pause_s:g} s" if pause_s else ""
            raise UnavailableError(
                f"{url} is busy (HTTP {code}){asked}: {message}",
                busy=code == requests.codes.too_many_requests or FULL_QUEUE in message,
                retry_after_s=pause_s,
            )
        if response.is_redirect:
            raise ServerError(
                f"{url} redirects to {response.headers['location'][:200]}; give the URL of the "
                "model server itself"
            )
        if code == requests.codes.not_found:
            message += f"; see {self._base} for the versions that are served"
        elif code in (requests.codes.unauthorized, requests.codes.forbidden):
            message += f"; is the right token in {TOKEN_VARIABLE}?"
        elif code == requests.codes.request_entity_too_large:
            message += "; send smaller batches or windows"
        elif code == requests.codes.gateway_timeout or "deadline" in message.lower():
            message += (
                "; the server or a proxy allows a request less time than the client: raise "
                "--rest_api_timeout_in_ms of the server, or send smaller batches"
            )
        raise ServerError(f"{url} answered HTTP {code}: {message}")


class _Bearer(requests.auth.AuthBase):
    """Adds a token; a header of the session would give way to what ~/.netrc says."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _error_text(text: str) -> str:
    """Returns the message of an error reply, which is not always valid JSON (C escapes)."""
    try:
        return str(json.loads(text)["error"])[:500]
    except (ValueError, KeyError, TypeError, RecursionError):
        return " ".join(text.split())[:500] or "no message"


def _pause_s(response: requests.Response) -> float:
    """Returns the pause in `Retry-After`; 0 where there is none, or the date of its other form."""
    value = response.headers.get("Retry-After", "").strip()
    return float(value) if re.fullmatch(r"[0-9]{1,9}", value) else 0.0


def _is_unknown_host(error: Exception) -> bool:
    """Returns whether names were looked up and this one does not exist; asking again is in vain."""
    inner = error.args[0] if error.args else error
    cause = getattr(getattr(inner, "reason", None), "__context__", None)
    return isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN


def _ssl_cause(error: Exception) -> object:
    """Returns what the standard library raised over TLS, which requests wraps twice."""
    inner = error.args[0] if error.args else error
    wrapped = getattr(inner, "reason", inner)
    return wrapped.args[0] if getattr(wrapped, "args", ()) else wrapped


def _is_unconnected(error: requests.exceptions.Timeout) -> bool:
    """Returns whether the connection took too long; that of TLS is told as an answer that did."""
    inner = error.args[0] if error.args else error
    connecting = isinstance(error, requests.exceptions.ConnectTimeout)
    return connecting or "handshake" in str(getattr(inner, "__cause__", None))


def _reason(error: Exception) -> str:
    """Returns what went wrong, out of what requests and urllib3 wrapped around it."""
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)
    inner = getattr(inner, "original_error", inner)  # Of a proxy.
    parts = getattr(inner, "args", ())
    return str(parts[-1] if parts else inner).rsplit(": ", 1)[-1]


def _tensors(values: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            dtype=str(value["dtype"]).removeprefix("DT_").lower().replace("float", "float32"),
            shape=tuple(int(dim["size"]) for dim in value["tensor_shape"].get("dim", ())),
        )
        for name, value in values.items()
    }
