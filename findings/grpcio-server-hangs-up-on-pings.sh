#!/usr/bin/env bash
# Guess: PING every second on a connection with an open, silent stream keeps it alive: RFC 9113 section 6.7 sets no bound, and servers bound such frames by the hundred.
# Seen: with its defaults the server answers five of them and ends the connection at the next with GOAWAY, ENHANCE_YOUR_CALM, "too_many_pings", and every stream with it: it wants five minutes between two, unless it sent something of a response meanwhile.
# Version and source: grpcio 1.85.3 (PyPI), with h2 4.3.0 as the client; gRPC core, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS (300000) and GRPC_ARG_HTTP2_MAX_PING_STRIKES (2); the same in grpc-go, keepalive.EnforcementPolicy.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet grpcio==1.85.3 h2==4.3.0

cat >"$dir/probe.py" <<'PYTHON'
import socket, sys, time
from concurrent import futures

import grpc
import h2.config, h2.connection


def silent(_, context):
    while context.is_active():
        time.sleep(0.05)
    yield b""


class Any(grpc.GenericRpcHandler):
    def service(self, _):
        return grpc.unary_stream_rpc_method_handler(silent)


server = grpc.server(futures.ThreadPoolExecutor(1))
server.add_generic_rpc_handlers((Any(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()

peer = socket.create_connection(("127.0.0.1", port))
peer.settimeout(10)
client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
client.initiate_connection()
head = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/a.B/C")]
client.send_headers(1, head + [("te", "trailers"), ("content-type", "application/grpc")])
client.send_data(1, b"\0\0\0\0\0", end_stream=True)
peer.sendall(client.data_to_send())


def exactly(length):
    data = b""
    while len(data) < length:
        data += peer.recv(length - len(data)) or sys.exit("the server hung up without a word")
    return data


# The server's SETTINGS are acknowledged unread; the frames that matter are PING (6) and GOAWAY (7).
peer.sendall(b"\0\0\0\4\1\0\0\0\0")
answered, goodbye = 0, None
while goodbye is None and answered < 20:
    peer.sendall(b"\0\0\x08\6\0\0\0\0\0" + answered.to_bytes(8, "big"))
    kind = None
    while kind not in (6, 7):
        head = exactly(9)
        kind, acknowledges = head[3], head[4] & 1
        payload = exactly(int.from_bytes(head[:3], "big"))
        if kind == 6 and not acknowledges:
            peer.sendall(b"\0\0\x08\6\1\0\0\0\0" + payload)
            kind = None
    if kind == 7:
        goodbye = int.from_bytes(payload[4:8], "big"), payload[8:].decode()
    else:
        answered += 1
        time.sleep(1)
server.stop(0)
print(f"grpcio {grpc.__version__}: {answered} PINGs answered, then GOAWAY {goodbye}")
sys.exit(goodbye != (11, "too_many_pings") or answered > 5)
PYTHON
"$dir/venv/bin/python" "$dir/probe.py"
