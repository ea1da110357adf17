#!/usr/bin/env bash
# Guess: once Sentinel has promoted a replica and said so (+switch-master), the old primary, which is well and reachable, refuses writes or closes its connections.
# Seen: it goes on answering OK for some ten seconds, has no replica meanwhile, and throws all of it away when it becomes a replica itself.
# Version and source: Redis 7.0.15 (Debian redis-tools 5:7.0.15-1~deb12u7), src/sentinel.c, sentinelRefreshInstanceInfo, "wait_time = sentinel_publish_period*4" before "+convert-to-slave".
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

ask() { "$cli" -p "$1" "${@:2}" 2>/dev/null; }
sentinel=$(free_port)
printf '%s\n' "bind 127.0.0.1" "port $sentinel" "sentinel monitor main 127.0.0.1 $primary 1" >sentinel.conf
for (( try = 0; try < 200; try++ )); do
    [[ $(printf 'SET ready 1\nWAIT 1 100\n' | ask "$primary" | tail -1) == 1 ]] && break
    sleep 0.05
done
"$dir/redis-server" sentinel.conf --sentinel >sentinel.log & pids+=($!); disown
version=$(ask "$primary" INFO server | sed -n 's/^redis_version:\([0-9.]*\).*/\1/p')
for (( try = 0; try < 200; try++ )); do
    [[ $(ask "$sentinel" SENTINEL FAILOVER main) == OK ]] && break
    sleep 0.05
done
for (( try = 0; try < 400; try++ )); do
    grep -q '+switch-master' sentinel.log && break
    sleep 0.05
done
grep -q '+switch-master' sentinel.log
taken=0
for (( try = 0; try < 100; try++ )); do
    [[ $(ask "$primary" SET "lost-$try" 1 NX) == OK ]] || break
    taken=$(( taken + 1 ))
    sleep 0.2
done
kept=$(ask "$replica" KEYS 'lost-*' | grep -c . || true)

echo "version:  Redis $version"
echo "expected: writes taken by the old primary after +switch-master: 0"
echo "seen:     taken: $taken (five a second at most), known to the new primary: $kept"

[[ $version == 7.0.15 && $kept == 0 ]] && (( taken >= 10 && taken < 100 )) || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
