"""TensorFlow Serving's REST API over a `ModelServer`."""

import base64
import json
import re
import select
import socket
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler
from types import MappingProxyType
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from fakes.servable import HTTP_OF_CODE, Refused
from google.protobuf import json_format

# shared_batch_scheduler.h
FULL = "The batch scheduling queue to which this task was submitted is full"
# json_tensor.cc, AddValueToTensor
JSON_TYPES = (
    *(tf.float32, tf.float64, tf.int8, tf.int16, tf.int32, tf.int64),
    *(tf.uint8, tf.uint32, tf.uint64, tf.bool, tf.string),
)
# evhttp_send_error of libevent
NOT_FOUND = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY>"


class QuietServer(ThreadingHTTPServer):
    """Ends the connections that clients keep open when it closes, as a process that ends does."""

    def __init__(self, *arguments: Any) -> None:
        self._kept: set[socket.socket] = set()
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        self._kept.add(request)
        return request, address

    def shutdown_request(self, request: Any) -> None:
        self._kept.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Ends the connections of all clients, who may connect again."""
        for request in list(self._kept):
            with suppress(OSError):  # The client was faster.
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address) -> None:
        """Says nothing: clients that give up waiting are part of the tests."""


class Relay(BaseRequestHandler):
    """Passes bytes on to a port of this machine, so that connections can be dropped on the way."""

    port: int

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as inside, suppress(OSError):
            other = {self.request: inside, inside: self.request}
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    other[ready].sendall(data)


class RestHandler(BaseHTTPRequestHandler):
    model_server: Any  # The ModelServer that answers.
    protocol_version = "HTTP/1.1"
    # http_rest_api_util.cc
    VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    PREDICT = re.compile(rf"(?i)/v1/models/([^/:]+){VERSION}:(?:classify|regress|predict)")
    STATUS = re.compile(rf"(?i)/v1/models(?:/([^/:]+))?{VERSION}(?P<metadata>/metadata)?")

    def log_message(self, *_: object) -> None:
        """Keeps the test output clean."""

    def parse_request(self) -> bool:
        """Does what a proxy in front does: takes its prefix away and asks for a token."""
        if not super().parse_request():
            return False
        behaviour = self.model_server.behaviour
        if behaviour.redirect or behaviour.page:
            self.close_connection = True
            location = {"Location": behaviour.redirect + self.path} if behaviour.redirect else {}
            headers = location | {"Content-Type": "text/html"}
            self._reply(301 if location else 200, behaviour.page, headers=headers)
            return False
        if not self.path.startswith(behaviour.prefix):
            self._error(404, "Not Found")
            return False
        self.path = self.path.removeprefix(behaviour.prefix)
        if not self.model_server.admits(self.headers.get("Authorization")):
            self.close_connection = True
            self._error(401, "no valid token")
            return False
        if not self.path.lower().startswith("/v1/"):  # http_server.cc
            self.close_connection = True
            self._reply(404, NOT_FOUND, headers={"Content-Type": "text/html"})
            return False
        return True

    def do_GET(self) -> None:
        if not (match := self.STATUS.fullmatch(self.path)) or not match[1]:
            return self._error(400, f"Malformed request: GET {self.path}")
        version = _version(match)
        options = dict(preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        try:
            if not match["metadata"]:
                status = self.model_server.status(match[1], version)
                return self._reply(200, json_format.MessageToJson(status, **options))
            number, signatures = self.model_server.metadata(match[1], version)
        except Refused as refused:
            return self._error(HTTP_OF_CODE[refused.code], str(refused))
        spec = {"name": match[1], "signature_name": "", "version": str(number)}
        found = json_format.MessageToDict(signatures, **options)
        return self._reply(
            200, json.dumps({"model_spec": spec, "metadata": {"signature_def": found}})
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        failure = self.model_server.take_failure()
        if failure is not None and failure.startswith(("{", "[")):
            return self._reply(200, failure)
        if failure == "drop":
            self.close_connection = True
            return None
        if failure in ("busy", "exhausted"):
            told = self.model_server.behaviour.retry_after
            headers = {"Retry-After": told} if told else {}
            code = 503 if failure == "busy" else 429
            text = FULL if failure == "busy" else "out of memory"
            return self._error(code, text, headers)
        if failure == "late":
            late = HTTP_OF_CODE[grpc.StatusCode.DEADLINE_EXCEEDED]
            return self._error(late, "Timed out waiting for notification")
        if not (match := self.PREDICT.fullmatch(self.path)):
            return self._error(400, f"Malformed request: POST {self.path}")
        try:
            text = self._predict(match[1], _version(match), json.loads(body), failure)
        except Refused as refused:
            return self._error(HTTP_OF_CODE[refused.code], str(refused))
        except ValueError as error:
            return self._error(400, f"JSON Parse error: {error}")
        return self._reply(200, text, ending=failure)

    def _predict(
        self, name: str, version: int | str | None, body: dict, failure: str | None
    ) -> str:
        _, servable = self.model_server.find(name, version)
        signature_name = body.get("signature_name") or "serving_default"
        if signature_name not in servable.signatures:
            message = f'Serving signature name: "{signature_name}" not found in signature def'
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, message)
        signature = servable.signatures[signature_name]
        inputs = {
            key: _array(value, signature.inputs[key].dtype)
            for key, value in _columns(body, signature).items()
            if key in signature.inputs
        }
        outputs = self.model_server.predict(servable, signature_name, inputs, [])
        plain = {key: _plain(key, value) for key, value in outputs.items()}
        if failure == "garbage":
            return '{"outputs": {"classes_bytes": 7}}'
        if "inputs" in body:
            text = json.dumps({"outputs": plain if len(plain) > 1 else next(iter(plain.values()))})
        else:
            rows = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
            if len(plain) == 1:
                rows = [next(iter(row.values())) for row in rows]
            text = json.dumps({"predictions": rows})
        return text.replace('"outputs":', '"extra": NaN, "outputs":') if failure == "nan" else text

    def _error(
        self, code: int, message: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._reply(code, json.dumps({"error": message}), headers=headers)

    def _reply(
        self,
        code: int,
        text: str,
        *,
        ending: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        content = text.encode()
        broken = ending in ("cut", "stall")
        self.send_response(code)
        headers = {"Content-Type": "application/json", "Content-Length": len(content), **headers}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if broken else content)
        if ending == "stall":
            self.rfile.read(1)  # Until the client leaves.
        self.close_connection = self.close_connection or broken


def _version(match: re.Match) -> int | str | None:
    """Returns the number or the label that a path asks for."""
    return int(match["version"]) if match["version"] else match["label"]


def _columns(body: dict, signature) -> dict:
    """Returns the values of each input from the row or the column format."""
    if ("instances" in body) == ("inputs" in body):
        raise ValueError("expected one of 'instances' and 'inputs'")
    if "inputs" in body:
        values = body["inputs"]
        return values if isinstance(values, dict) else {next(iter(signature.inputs)): values}
    rows = body["instances"]
    if rows and isinstance(rows[0], dict) and "b64" not in rows[0]:
        return {key: [row[key] for row in rows] for key in rows[0]}
    return {next(iter(signature.inputs)): rows}


def _array(values, dtype: int) -> np.ndarray:
    kind = tf.as_dtype(dtype)
    if kind not in JSON_TYPES:
        first = np.ravel(values)[0]
        message = f"Conversion of JSON Value: {first} to type: {kind.name}"
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, message)
    if kind != tf.string:
        return np.array(values, kind.as_numpy_dtype)
    strings = [base64.b64decode(v["b64"]) if isinstance(v, dict) else v.encode() for v in values]
    return np.array(strings, object)


def _plain(name: str, values: np.ndarray):
    """Returns JSON values; strings of outputs named `..._bytes` become base64."""
    if values.dtype != object:
        return values.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(v).decode()} for v in values]
    return [v.decode() for v in values]
