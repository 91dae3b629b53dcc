"""A double of TensorFlow Serving: its published REST and gRPC contracts over a real SavedModel.

Messages, services and the model are the real ones (official protos, the TF1 session loader that
the server's C++ code uses); the process around them is not. Error texts follow TensorFlow
Serving's sources: predict_util.cc, http_rest_api_handler.cc, basic_manager.cc.
"""

import threading
import time
from concurrent import futures
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from fakes.free_ports import free_ports
from fakes.rest_api import FULL, QuietServer, Relay, RestHandler
from fakes.servable import Refused, Servable, loaded
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import ClientSettings
from serving.protocol import Retries

QUICK = ClientSettings(timeout_s=20, in_flight=3, retries=Retries(first_pause_s=0.02))
"""How the tests ask it."""
BRIEF = replace(QUICK, retries=Retries(patience_s=0.3, first_pause_s=0.02))
"""How they ask what will not answer."""
SCHEMES = ("http", "grpc")

# batching_session.cc
JOINED = (
    "Tensors with name 'image:0' from different tasks have different shapes and padding is turned "
    "off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same name "
    "have equal dimensions starting with the first dim."
)


@dataclass
class Behaviour:
    """What the double does wrong on purpose."""

    delay_s: float = 0.0
    """Wait before each prediction."""
    meeting: threading.Barrier | None = None
    """Where predictions wait for each other before any is made."""
    token: str | None = None
    """Bearer token to ask for, as a proxy does."""
    prefix: str = ""
    """Path that a proxy puts before that of every REST request."""
    retry_after: str = ""
    """What it tells over REST as the time to come back when it is busy."""
    redirect: str = ""
    """Where a proxy sends every REST request instead."""
    page: str = ""
    """HTML with which a proxy answers every REST request."""
    failures: list[str] = field(default_factory=list)
    """Taken one by one by the next requests: busy, exhausted, drop, cut, nan, garbage, joined (gRPC
    only), stall and late (REST only), or over REST the JSON to answer with."""


class ModelServer:
    """Serves all versions under `folder`, a model's folder, on loopback ports of its own."""

    def __init__(self, folder: Path, *, max_message_bytes: int = -1) -> None:
        self.name = folder.name
        self.behaviour = Behaviour()
        self.labels: dict[str, int] = {}
        """Version of each label, as `version_labels` in models.config."""
        self.predictions: list[str] = []
        """SHA-256 of the raw values of every image that was predicted."""
        self.batches: list[int] = []
        """How many images each of these requests had."""
        self.output_filters: list[list[str]] = []
        """What each request over gRPC asked for."""
        self._lock = threading.Lock()
        self._max_message_bytes = max_message_bytes
        self._servables: dict[int, Servable] = {}
        # Nobody else is given them while it is away.
        self._ports = free_ports(2)
        self._start(*self._ports)
        self.load(folder)

    def load(self, folder: Path, *, anew: bool = False) -> None:
        """Serves the versions that `folder` holds now, and no other."""
        if anew:
            self._servables = {}
        versions = {int(p.name): p for p in folder.iterdir() if p.name.isdigit()}
        self._servables = {
            number: self._servables.get(number)
            or loaded(path, (path / "saved_model.pb").stat().st_mtime_ns)
            for number, path in versions.items()
        }

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._rest.server_port}"

    @property
    def grpc_url(self) -> str:
        return f"grpc://127.0.0.1:{self._relay.server_port}"

    def url(self, scheme: str) -> str:
        return self.grpc_url if scheme == "grpc" else self.rest_url

    def _start(self, rest_port: int, grpc_port: int) -> None:
        handler = type("Handler", (RestHandler,), {"model_server": self})
        self._rest = QuietServer(("127.0.0.1", rest_port), handler)
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()
        # The real server takes messages up to 2 GB; Python's default is 4 MB.
        limits = [("grpc.max_receive_message_length", self._max_message_bytes),
                  ("grpc.max_send_message_length", -1)]  # fmt: skip
        self._rpc = grpc.server(futures.ThreadPoolExecutor(8), options=limits)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Prediction(self), self._rpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), self._rpc)
        relay = type("Relay", (Relay,), {"port": self._rpc.add_insecure_port("127.0.0.1:0")})
        self._rpc.start()
        self._relay = QuietServer(("127.0.0.1", grpc_port), relay)
        threading.Thread(target=self._relay.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Goes away, and ends all connections."""
        for one in (self._rest, self._relay):
            one.shutdown()
            one.server_close()
        self._rpc.stop(grace=None).wait()

    def drop_rpc_connections(self) -> None:
        """Ends the connections over gRPC without an answer."""
        self._relay.drop_connections()

    def start_again(self) -> None:
        """Comes back on the same ports."""
        self._start(*self._ports)

    def __enter__(self) -> "ModelServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def take_failure(self) -> str | None:
        with self._lock:
            return self.behaviour.failures.pop(0) if self.behaviour.failures else None

    def admits(self, authorization: str | None) -> bool:
        """Returns whether a request with this header is one of a proxy's users."""
        token = self.behaviour.token
        return token is None or authorization == f"Bearer {token}"

    def find(self, name: str, version: int | str | None) -> tuple[int, Servable]:
        """Returns the asked version, that of a label, or the latest."""
        version = self._of_label(name, version)
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
        if self.behaviour.meeting is not None:
            self.behaviour.meeting.wait()
        outputs = servable.run(signature, inputs, wanted)
        if signature != "describe":
            images = next(v for k, v in inputs.items() if k.startswith("image"))
            hashes = [
                sha256(i if isinstance(i, bytes) else i.tobytes()).hexdigest() for i in images
            ]
            with self._lock:
                self.predictions += hashes
                self.batches.append(len(hashes))
        return outputs

    def _of_label(self, name: str, version: int | str | None) -> int | None:
        if not isinstance(version, str):
            return version
        if name != self.name or version not in self.labels:  # server_core.cc
            message = f"Unrecognized servable version label: {version}"
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, message)
        return self.labels[version]

    def status(
        self, name: str, version: int | str | None
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the state of the asked version, or of all."""
        version = self._of_label(name, version)
        known = self._servables if name == self.name else {}
        if not known or (version is not None and version not in known):
            what = "any versions" if version is None else f"version {version}"
            message = f"Could not find {what} of model {name}"  # get_model_status_impl.cc
            raise Refused(grpc.StatusCode.NOT_FOUND, message)
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(known if version is None else [version], reverse=True):
            state = get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
            one = response.model_version_status.add(version=number, state=state)
            one.status.SetInParent()  # OK, and no message.
        return response

    def metadata(self, name: str, version: int | str | None) -> tuple[int, object]:
        """Returns the version and its SignatureDefMap."""
        number, servable = self.find(name, version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, signature in servable.signatures.items():
            signatures.signature_def[key].CopyFrom(signature)
        return number, signatures


def _spec_version(spec) -> int | str | None:
    if spec.WhichOneof("version_choice") == "version_label":
        return spec.version_label
    return spec.version.value if spec.HasField("version") else None


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def Predict(self, request, context):  # noqa: N802 - the service's name
        self._require_token(context)
        spec = request.model_spec
        failure = self._server.take_failure()
        self._server.output_filters.append(list(request.output_filter))
        if failure == "drop":
            self._server.drop_rpc_connections()
        if failure in ("busy", "drop"):
            context.abort(grpc.StatusCode.UNAVAILABLE, FULL if failure == "busy" else "")
        if failure == "exhausted":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "out of memory")
        if failure == "joined":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, JOINED)
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
        self._require_token(context)
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

    def _require_token(self, context) -> None:
        sent = dict(context.invocation_metadata()).get("authorization")
        if not self._server.admits(sent):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no valid token")


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def GetModelStatus(self, request, context):  # noqa: N802
        spec = request.model_spec
        try:
            return self._server.status(spec.name, _spec_version(spec))
        except Refused as refused:
            context.abort(refused.code, str(refused))
