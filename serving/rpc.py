"""TensorFlow Serving's gRPC interface with the official messages (extra `[serving]`)."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from landcover_tf.errors import ServerError
from serving.protocol import (
    FULL_QUEUE,
    TOKEN_VARIABLE,
    Address,
    Signature,
    TensorInfo,
    UnavailableError,
)
from serving.tensors import DTYPE_NUMBERS, DTYPES, little_endian

# The client's default limit of 4 MB breaks on two patches with probabilities; the server
# itself has no limit below 2 GB. Keepalive pings stay off: a server with default settings ends a
# connection that sends them more often than every five minutes, and the time-out of a call
# notices a connection that died.
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Between attempts to connect gRPC would wait for up to two minutes, and answer meanwhile that
    # the server is away.
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

# What gRPC says, under UNAVAILABLE, where asking again is in vain.
TLS_FAULTS = (
    "CERTIFICATE_VERIFY_FAILED",
    "Hostname Verification Check failed",
    "WRONG_VERSION_NUMBER",
)
ROOTS_VARIABLE = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"


class RpcTransport:
    """Talks to one version of one model over gRPC; safe to use from several threads."""

    # Of these requests each asks for some of the outputs of its signature. The server joins those
    # only that ask for all (batching_session.cc), and runs others at once.
    joined = False

    def __init__(self, address: Address, *, model: str, version: int, timeout_s: float) -> None:
        try:
            import grpc
            from tensorflow_serving.apis import (
                get_model_metadata_pb2,
                predict_pb2,
                prediction_service_pb2_grpc,
            )
        except ImportError as error:
            raise ServerError(
                f"a grpc:// server needs the extra landcover-tf[serving] ({error}); install it "
                "or use the REST port with http://"
            ) from error
        self._grpc, self._predict, self._metadata = grpc, predict_pb2, get_model_metadata_pb2
        self.where = f"{address.scheme}://{address.host} model {model} version {version}"
        self._model, self._version, self._timeout_s = model, version, timeout_s
        self._channel = (
            grpc.secure_channel(address.host, grpc.ssl_channel_credentials(), OPTIONS)
            if address.secure
            else grpc.insecure_channel(address.host, OPTIONS)
        )
        token = address.token()
        self._sent = None if token is None else (("authorization", f"Bearer {token}"),)
        self._reached = False
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def signatures(self) -> Mapping[str, Signature]:
        """Returns the signatures by name."""
        request = self._metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        response = self._call(self._stub.GetModelMetadata, request)
        found = self._metadata.SignatureDefMap()
        if not response.metadata["signature_def"].Unpack(found):
            raise ServerError(f"{self.where} sent metadata of an unknown kind")
        return {
            name: Signature(inputs=_tensors(value.inputs), outputs=_tensors(value.outputs))
            for name, value in found.signature_def.items()
        }

    def describe(self) -> str:
        """Returns the `model.json` inside the served model."""
        request = self._request("describe", ["model_json"])
        tensor = request.inputs["request"]
        tensor.dtype = 7  # DT_STRING
        tensor.tensor_shape.dim.add(size=1)
        tensor.string_val.append(b"")
        values = self._call(self._stub.Predict, request).outputs["model_json"].string_val
        if len(values) != 1:
            raise ServerError(f"{self.where} does not describe itself")
        return str(values[0].decode(errors="replace"))

    def predict(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the named outputs of `serving_default` for stored values."""
        request = self._request("serving_default", outputs)
        pack(request.inputs["image"], images)
        response = self._call(self._stub.Predict, request)
        missing = [name for name in outputs if name not in response.outputs]
        if missing:
            raise ServerError(f"{self.where} answered without {', '.join(missing)}")
        return {name: unpack(response.outputs[name], self.where) for name in outputs}

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _request(self, signature: str, outputs: Sequence[str]) -> Any:
        request = self._predict.PredictRequest(output_filter=outputs)
        self._address(request.model_spec)
        request.model_spec.signature_name = signature
        return request

    def _address(self, spec: Any) -> None:
        spec.name = self._model
        spec.version.value = self._version

    def _call(self, method: Any, request: Any) -> Any:
        try:
            answer = method(request, timeout=self._timeout_s, metadata=self._sent)
        except self._grpc.RpcError as error:
            self._refuse(error, request.ByteSize())
        self._reached = True
        return answer

    def _refuse(self, error: Any, sent_bytes: int) -> NoReturn:
        codes, code = self._grpc.StatusCode, error.code()
        text = f"{self.where}: {code.name}: {' '.join((error.details() or '').split())[:500]}"
        if code == codes.UNAVAILABLE:
            if "Domain name not found" in text and not self._reached:
                raise ServerError(f"{text}; there is no such host") from error
            if any(fault in text for fault in TLS_FAULTS):
                raise ServerError(
                    f"{text}; does the server speak TLS, with a certificate that this machine "
                    f"trusts ({ROOTS_VARIABLE} names a file with others)?"
                ) from error
            raise UnavailableError(f"no answer from {text}", busy=FULL_QUEUE in text) from error
        advice = {
            codes.DEADLINE_EXCEEDED: f"; no answer within {self._timeout_s:g} s, raise the timeout "
            "or send smaller batches",
            codes.RESOURCE_EXHAUSTED: f"; the request had {sent_bytes:,} bytes, send smaller "
            "batches or windows",
            codes.UNAUTHENTICATED: f"; is the right token in {TOKEN_VARIABLE}?",
            codes.PERMISSION_DENIED: f"; is the right token in {TOKEN_VARIABLE}?",
            codes.UNIMPLEMENTED: "; is this the gRPC port of TensorFlow Serving (8500)?",
        }
        if code == codes.FAILED_PRECONDITION and "different shapes" in text:
            # From the server's batching_session.cc; padding, which it advises, would change maps.
            raise ServerError(
                f"{text}; it joined requests of other window sizes: let all clients use one, or "
                "start the server without --enable_batching"
            ) from error
        raise ServerError(text + advice.get(code, "")) from error


def pack(tensor: Any, array: np.ndarray) -> None:
    """Fills a TensorProto with the raw values of `array`.

    `tf.make_tensor_proto` writes uint16 number by number, which takes 230 ms a patch where this
    takes 0.2 ms.
    """
    tensor.dtype = DTYPE_NUMBERS[array.dtype.name]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = little_endian(array)


def unpack(tensor: Any, where: str) -> np.ndarray:
    """Returns the array in a TensorProto with raw or typed values.

    Raises:
        ServerError: Its values do not fill its shape.
    """
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    try:
        dtype = np.dtype(DTYPES[tensor.dtype])
        if tensor.tensor_content:
            values = np.frombuffer(tensor.tensor_content, dtype.newbyteorder("<")).astype(dtype)
        else:
            typed = tensor.float_val if dtype == np.float32 else tensor.int_val
            values = np.array(typed, dtype)
        return values.reshape(shape)
    except (KeyError, ValueError) as error:
        raise ServerError(f"{where} answered with a broken tensor: {error}") from error


def _tensors(values: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            dtype=DTYPES.get(value.dtype, "string" if value.dtype == 7 else str(value.dtype)),
            shape=tuple(dim.size for dim in value.tensor_shape.dim),
        )
        for name, value in values.items()
    }
