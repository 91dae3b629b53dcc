"""A loaded SavedModel and the error replies of TensorFlow Serving, in gRPC's terms."""

from functools import cache
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf

HTTP_OF_CODE = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 400,  # http_server.cc
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class Refused(Exception):  # noqa: N818 - an answer rather than an error
    """An error reply in gRPC's terms."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@cache
def loaded(folder: Path, written_ns: int) -> "Servable":
    """Returns the version in `folder`, which servers of one session share.

    Args:
        folder: Of a SavedModel.
        written_ns: When it was written.
    """
    return Servable(folder)


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
