"""The status of models, which health checks ask for: the double answers as TensorFlow Serving."""

import grpc
import pytest
import requests
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc


def rest_status(server, name: str, version: int | None):
    """Returns states and errors by version, or the HTTP code and the text of a refusal."""
    path = f"/v1/models/{name}" + ("" if version is None else f"/versions/{version}")
    answer = requests.get(server.url("http") + path, timeout=10)
    if answer.status_code != 200:
        return answer.status_code, answer.json()["error"]
    found = answer.json()["model_version_status"]
    return {
        one["version"]: (one["state"], one["status"]["error_code"], one["status"]["error_message"])
        for one in found
    }


def rpc_status(server, name: str, version: int | None):
    """Returns states and errors by version, or the code and the text of a refusal."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    with grpc.insecure_channel(server.url("grpc").removeprefix("grpc://")) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            found = stub.GetModelStatus(request, timeout=10).model_version_status
        except grpc.RpcError as error:
            return error.code(), error.details()
    assert all(one.HasField("status") for one in found)
    states, codes = get_model_status_pb2.ModelVersionStatus.State, error_codes_pb2.Code
    return {
        str(one.version): (
            states.Name(one.state),
            codes.Name(one.status.error_code),
            one.status.error_message,
        )
        for one in found
    }


@pytest.mark.parametrize("version", [None, 1])
def test_a_served_version_is_available(any_server, version):
    for status in (rest_status, rpc_status):
        assert status(any_server, "landcover", version) == {"1": ("AVAILABLE", "OK", "")}


@pytest.mark.parametrize(("name", "version"), [("landcover", 7), ("forests", None), ("forests", 1)])
def test_what_is_not_served_is_not_found(any_server, name, version):
    for status, expected in ((rest_status, 404), (rpc_status, grpc.StatusCode.NOT_FOUND)):
        code, text = status(any_server, name, version)
        assert code == expected
        what = "any versions" if version is None else f"version {version}"
        assert f"Could not find {what} of model {name}" in text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_of_something_else_is_not_found(any_server, method):
    answer = requests.request(method, f"{any_server.url('http')}/healthz", data="", timeout=10)
    assert answer.status_code == 404
