#!/usr/bin/env bash
# Guess: a primary of a cluster that stood still for longer than cluster-node-timeout, and was replaced meanwhile, takes no writes when it goes on: it was away too long, and the others tell it.
# Seen: it answers OK to every write that waited for it on a connection that was open, and throws all of them away when it hears that it was replaced.
# Version and source: Redis 7.0.15 (Debian redis-tools 5:7.0.15-1~deb12u7), src/cluster.c: getNodeByQuery looks at the state that clusterUpdateState left, which runs from the timer and the bus, behind the commands that are read first.
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
    while port=$(( 10000 + (RANDOM << 15 | RANDOM) % 12000 )); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && ! (exec 3<>"/dev/tcp/127.0.0.1/$(( port + 10000 ))") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
}
ask() { "$cli" -p "$1" "${@:2}" 2>/dev/null; }
until_true() {
    local try
    for (( try = 0; try < 600; try++ )); do
        if "$@"; then return; fi
        sleep 0.05
    done
    echo "waited in vain: $*" >&2
    exit 1
}

# Three primaries, and a replica of the first.
ports=()
for node in 0 1 2 3; do
    port=$(free_port)
    ports+=("$port")
    mkdir "$node"
    "$dir/redis-server" --bind 127.0.0.1 --port "$port" --dir "$dir/$node" --save "" --appendonly no --cluster-enabled yes \
        --cluster-node-timeout 1000 --repl-diskless-sync-delay 0 >"$node.log" & pids+=($!); disown
done
for port in "${ports[@]}"; do until_true eval "[[ \$(ask $port PING) == PONG ]]"; done
version=$(ask "${ports[0]}" INFO server | sed -n 's/^redis_version:\([0-9.]*\).*/\1/p')
"$cli" --cluster create "127.0.0.1:${ports[0]}" "127.0.0.1:${ports[1]}" "127.0.0.1:${ports[2]}" --cluster-yes >/dev/null
"$cli" --cluster add-node "127.0.0.1:${ports[3]}" "127.0.0.1:${ports[0]}" --cluster-slave \
    --cluster-master-id "$(ask "${ports[0]}" CLUSTER MYID)" >/dev/null
until_true eval "ask ${ports[0]} INFO replication | grep -q state=online"

# A connection to the first primary, which stands still. Its replica is promoted.
key="{$(for (( i = 0; ; i++ )); do (( $(ask "${ports[0]}" CLUSTER KEYSLOT "$i") < 5000 )) && { echo "$i"; break; }; done)}"
exec 5<>"/dev/tcp/127.0.0.1/${ports[0]}"
printf 'PING\r\n' >&5
IFS= read -r -t 5 _ <&5
kill -STOP "${pids[0]}"
until_true eval "[[ \$(ask ${ports[3]} ROLE | head -1) == master && \$(ask ${ports[3]} SET $key:well 1) == OK ]]"
# Writes that wait for it, on a connection that was open before.
printf 'SET %s 1 NX\r\n' "$key:1" "$key:2" "$key:3" "$key:4" "$key:5" >&5
sleep 1
kill -CONT "${pids[0]}"
taken=0
for write in 1 2 3 4 5; do
    IFS= read -r -t 5 answer <&5
    if [[ $answer == +OK* ]]; then taken=$(( taken + 1 )); fi
done
until_true eval "[[ \$(ask ${ports[0]} ROLE | head -1) == slave ]]"
kept=0
for write in 1 2 3 4 5; do kept=$(( kept + $(ask "${ports[3]}" EXISTS "$key:$write") )); done

echo "version:  Redis $version"
echo "expected: writes taken by the replaced primary: 0"
echo "seen:     taken: $taken of 5, known to the new primary: $kept"

[[ $version == 7.0.15 && $kept == 0 ]] && (( taken >= 1 )) || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
