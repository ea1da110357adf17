#!/usr/bin/env bash
# Guess: WAIT covers what its own connection wrote, so on a connection that has written nothing it returns at once.
# Seen: only on one that has sent nothing at all; after a single GET it waits until the replicas have every write of every other connection made before that GET.
# Version and source: Redis 7.0.15 (Debian redis-tools 5:7.0.15-1~deb12u7), src/server.c, processCommand, "c->woff = server.master_repl_offset" after any command; the manual says "the previous write commands sent in the context of the current connection".
set -euo pipefail

dir=$(mktemp -d)
pids=()
cleanup() {
    if (( ${#pids[@]} )); then
        kill -CONT "${pids[@]}" 2>/dev/null || true
        kill -KILL "${pids[@]}" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap cleanup EXIT

chmod 755 "$dir"
cd "$dir"
# The server's own package, pinned, and the libraries that it needs.
apt-get -qq download redis-tools=5:7.0.15-1~deb12u7 libjemalloc2 liblzf1 libatomic1 2>/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/$(uname -m)-linux-gnu"
# The server and its checker are one program, which looks at its own name.
ln -s "$dir/root/usr/bin/redis-check-rdb" "$dir/redis-server"
cli="$dir/root/usr/bin/redis-cli"

free_port() {
    local port
    while port=$(( 10000 + (RANDOM << 15 | RANDOM) % 20000 )); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then printf '%s\n' "$port"; return; fi
    done
}
primary=$(free_port)
replica=$(free_port)
settings=(--bind 127.0.0.1 --dir "$dir" --save "" --appendonly no --repl-diskless-sync-delay 0)
"$dir/redis-server" --port "$primary" "${settings[@]}" >primary.log & pids+=($!); disown
"$dir/redis-server" --port "$replica" "${settings[@]}" --replicaof 127.0.0.1 "$primary" >replica.log & pids+=($!); disown
replica_pid=${pids[1]}

ask() { "$cli" -p "$primary" "$@" 2>/dev/null; }
for (( try = 0; try < 200; try++ )); do
    [[ $(printf 'SET ready 1\nWAIT 1 100\n' | ask | tail -1) == 1 ]] && break
    sleep 0.05
done
version=$(ask INFO server | sed -n 's/^redis_version:\([0-9.]*\).*/\1/p')

# From here on the replica takes nothing.
kill -STOP "$replica_pid"
ask SET by-another-connection 1 >/dev/null
fresh=$(ask WAIT 1 200)
reader=$(printf 'GET by-another-connection\nWAIT 1 200\n' | ask | tail -1)

echo "version:  Redis $version"
echo "expected: confirmed on a fresh connection: 1, after a GET: 1"
echo "seen:     confirmed on a fresh connection: $fresh, after a GET: $reader"

[[ $version == 7.0.15 && $fresh == 1 && $reader == 0 ]] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
