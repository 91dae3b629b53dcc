"""A double of TensorFlow Serving: its published REST and gRPC contracts over a real SavedModel.

Messages, services and the model are the real ones (official protos, the TF1 session loader that
the server's C++ code uses); the process around them is not. Error texts follow TensorFlow
Serving's sources: predict_util.cc, http_rest_api_handler.cc, basic_manager.cc.
"""

import base64
import json
import re
import threading
import time
from concurrent import futures
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

HTTP_OF_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class Refused(Exception):  # noqa: N818 - an answer rather than an error
    """An error reply in gRPC's terms."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Servable:
    """One loaded version."""

    def __init__(self, folder: Path) -> None:
        loader = tf.compat.v1.saved_model.loader
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            graph = loader.load(self.session, ["serve"], str(folder))
        self.signatures = graph.signature_def

    def run(self, name: str, inputs: dict, output_filter: list[str]) -> dict[str, np.ndarray]:
        if name not in self.signatures:
            message = f'Serving signature key "{name}" not found.'
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, message)
        signature = self.signatures[name]
        wanted, sent = set(signature.inputs), set(inputs)
        if wanted != sent:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input size does not match signature: {len(sent)}!={len(wanted)} "
                f"len({{{','.join(sorted(sent))}}}) != len({{{','.join(sorted(wanted))}}}). "
                f"Sent extra: {{{','.join(sorted(sent - wanted))}}}. "
                f"Missing but required: {{{','.join(sorted(wanted - sent))}}}.",
            )
        for alias in output_filter:
            if alias not in signature.outputs:
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"output tensor alias not found in signature: {alias} Outputs expected to be "
                    f"in the set {{{','.join(sorted(signature.outputs))}}}.",
                )
        fetches = {k: signature.outputs[k].name for k in output_filter or signature.outputs}
        feed = {signature.inputs[k].name: v for k, v in inputs.items()}
        for key, value in inputs.items():
            expected = tf.as_dtype(signature.inputs[key].dtype)
            if value.dtype != object and tf.as_dtype(value.dtype) != expected:
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Expects arg[0] to be {expected.name} but {value.dtype.name} is provided",
                )
        try:
            return self.session.run(fetches, feed)
        except tf.errors.InvalidArgumentError as error:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, error.message) from error
        except ValueError as error:  # The session refuses a shape before it runs.
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error


@dataclass
class Behaviour:
    """What the double does wrong on purpose."""

    delay_s: float = 0.0
    """Wait before each prediction."""
    failures: list[str] = field(default_factory=list)
    """Taken one by one by the next requests: busy, exhausted, drop, cut, nan, garbage."""


class ModelServer:
    """Serves all versions under `folder`, a model's folder, on loopback ports of its own."""

    def __init__(self, folder: Path, *, max_message_bytes: int = -1) -> None:
        self.name = folder.name
        self.behaviour = Behaviour()
        self.predictions: list[str] = []
        """SHA-256 of the raw values of every image that was predicted."""
        self._lock = threading.Lock()
        self._max_message_bytes = max_message_bytes
        self._servables: dict[int, Servable] = {}
        self._start(rest_port=0, grpc_port=0)
        self.load(folder)

    def load(self, folder: Path) -> None:
        """Serves the versions that `folder` holds now, and no other."""
        versions = {int(p.name): p for p in folder.iterdir() if p.name.isdigit()}
        self._servables = {
            number: self._servables.get(number) or Servable(path)
            for number, path in versions.items()
        }

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._rest.server_port}"

    @property
    def grpc_url(self) -> str:
        return f"grpc://127.0.0.1:{self._grpc_port}"

    def url(self, scheme: str) -> str:
        return self.grpc_url if scheme == "grpc" else self.rest_url

    def _start(self, *, rest_port: int, grpc_port: int) -> None:
        handler = type("Handler", (_RestHandler,), {"model_server": self})
        self._rest = _Http(("127.0.0.1", rest_port), handler)
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()
        # The real server takes messages up to 2 GB; Python's default is 4 MB.
        limits = [("grpc.max_receive_message_length", self._max_message_bytes),
                  ("grpc.max_send_message_length", -1)]  # fmt: skip
        self._rpc = grpc.server(futures.ThreadPoolExecutor(8), options=limits)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Prediction(self), self._rpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), self._rpc)
        self._grpc_port = self._rpc.add_insecure_port(f"127.0.0.1:{grpc_port}")
        self._rpc.start()

    def restart(self, pause_s: float, folder: Path | None = None) -> None:
        """Goes away for `pause_s` and comes back on the same ports, with `folder` if given."""
        ports = self._rest.server_port, self._grpc_port
        self.stop()
        if folder:
            self.load(folder)
        time.sleep(pause_s)
        self._start(rest_port=ports[0], grpc_port=ports[1])

    def stop(self) -> None:
        self._rest.shutdown()
        self._rest.server_close()
        self._rpc.stop(grace=None).wait()

    def __enter__(self) -> "ModelServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def take_failure(self) -> str | None:
        with self._lock:
            return self.behaviour.failures.pop(0) if self.behaviour.failures else None

    def find(self, name: str, version: int | None) -> tuple[int, Servable]:
        """Returns the asked or the latest version."""
        asked = f"Specific({name}, {version})" if version is not None else f"Latest({name})"
        versions = self._servables if name == self.name else {}
        number = max(versions, default=-1) if version is None else version
        if number not in versions:
            message = f"Servable not found for request: {asked}"
            raise Refused(grpc.StatusCode.NOT_FOUND, message)
        return number, versions[number]

    def predict(self, servable: Servable, signature: str, inputs: dict, wanted: list[str]) -> dict:
        """Returns the outputs after the delay; counts the prediction."""
        time.sleep(self.behaviour.delay_s)
        outputs = servable.run(signature, inputs, wanted)
        if signature != "describe":
            images = next(v for k, v in inputs.items() if k.startswith("image"))
            hashes = [
                sha256(i if isinstance(i, bytes) else i.tobytes()).hexdigest() for i in images
            ]
            with self._lock:
                self.predictions += hashes
        return outputs

    def status(self, name: str, version: int | None) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the state of the asked version, or of all."""
        known = self._servables if name == self.name else {}
        if not known or (version is not None and version not in known):
            asked = name if version is None else f"{name} with version {version}"
            message = f"Could not find any versions of model {asked}"
            raise Refused(grpc.StatusCode.NOT_FOUND, message)
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(known if version is None else [version], reverse=True):
            state = get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
            response.model_version_status.add(version=number, state=state)
        return response

    def metadata(self, name: str, version: int | None) -> tuple[int, object]:
        """Returns the version and its SignatureDefMap."""
        number, servable = self.find(name, version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, signature in servable.signatures.items():
            signatures.signature_def[key].CopyFrom(signature)
        return number, signatures


def _spec_version(spec) -> int | None:
    return spec.version.value if spec.HasField("version") else None


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def Predict(self, request, context):  # noqa: N802 - the service's name
        spec = request.model_spec
        failure = self._server.take_failure()
        if failure in ("busy", "drop"):
            context.abort(grpc.StatusCode.UNAVAILABLE, "Task size was larger than queue")
        if failure == "exhausted":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "out of memory")
        try:
            number, servable = self._server.find(spec.name, _spec_version(spec))
            outputs = self._server.predict(
                servable,
                spec.signature_name or "serving_default",
                {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()},
                list(request.output_filter),
            )
        except Refused as refused:
            context.abort(refused.code, str(refused))
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            if failure == "nan" and value.dtype == np.float32:
                value = np.full_like(value, np.nan)
            if failure == "cut":
                value = value[:, :-1]
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        response.model_spec.name = spec.name
        response.model_spec.version.value = number
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        spec = request.model_spec
        if list(request.metadata_field) != ["signature_def"]:
            message = "Metadata field is not supported"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
        try:
            number, signatures = self._server.metadata(spec.name, _spec_version(spec))
        except Refused as refused:
            context.abort(refused.code, str(refused))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = number
        response.metadata["signature_def"].Pack(signatures)
        return response


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def GetModelStatus(self, request, context):  # noqa: N802
        spec = request.model_spec
        try:
            return self._server.status(spec.name, _spec_version(spec))
        except Refused as refused:
            context.abort(refused.code, str(refused))


class _Http(ThreadingHTTPServer):
    def handle_error(self, request, client_address) -> None:
        """Says nothing: clients that give up waiting are part of the tests."""


class _RestHandler(BaseHTTPRequestHandler):
    model_server: ModelServer
    protocol_version = "HTTP/1.1"
    PREDICT = re.compile(r"(?i)/v1/models/([^/:]+)(?:/versions/(\d+))?:(classify|regress|predict)")
    STATUS = re.compile(r"(?i)/v1/models(?:/([^/:]+))?(?:/versions/(\d+))?(/metadata)?")

    def log_message(self, *_: object) -> None:
        """Keeps the test output clean."""

    def do_GET(self) -> None:
        if not (match := self.STATUS.fullmatch(self.path)) or not match[1]:
            return self._error(400, f"Malformed request: GET {self.path}")
        version = int(match[2]) if match[2] else None
        options = dict(preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        try:
            if not match[3]:
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
        if failure == "drop":
            self.close_connection = True
            return None
        if failure in ("busy", "exhausted"):
            return self._error(503 if failure == "busy" else 429, "Task size was too large")
        if not (match := self.PREDICT.fullmatch(self.path)):
            return self._error(400, f"Malformed request: POST {self.path}")
        try:
            version = int(match[2]) if match[2] else None
            text = self._predict(match[1], version, json.loads(body), failure)
        except Refused as refused:
            return self._error(HTTP_OF_CODE[refused.code], str(refused))
        except ValueError as error:
            return self._error(400, f"JSON Parse error: {error}")
        return self._reply(200, text, cut=failure == "cut")

    def _predict(self, name: str, version: int | None, body: dict, failure: str | None) -> str:
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

    def _error(self, code: int, message: str) -> None:
        self._reply(code, json.dumps({"error": message}))

    def _reply(self, code: int, text: str, *, cut: bool = False) -> None:
        content = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut


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
