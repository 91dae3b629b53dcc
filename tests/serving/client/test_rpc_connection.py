"""How the client holds its connection over gRPC."""

import math

import pytest
from fakes.model_server import QUICK

from landcover_tf.errors import ServerError
from serving.client import ServerBackend
from serving.rpc import OPTIONS


def test_pings_come_no_more_often_than_a_server_allows():
    """Without settings of its own, it ends the connection of who pings within five minutes.

    GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS in gRPC's channel_arg_names.h.
    """
    assert dict(OPTIONS).get("grpc.keepalive_time_ms", math.inf) >= 300_000


def test_an_unknown_host_is_asked_once(info):
    with (
        ServerBackend("grpc://no.such.host.invalid", info, settings=QUICK) as client,
        pytest.raises(ServerError, match=r"no\.such\.host\.invalid.*; there is no such host$"),
    ):
        client.check()
