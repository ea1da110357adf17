#!/usr/bin/env bash
# Guess: CLIENT LIST shows in qbuf how much of an unfinished command has arrived; the manual says "query buffer length (0 means no query pending)".
# Seen: qbuf is 0 while seven of eight arguments of a command, 28 KiB, have arrived and the eighth has not; they are in argv-mem.
# Version and source: Redis 7.0.15 (Debian redis-tools 5:7.0.15-1~deb12u7), src/networking.c, processMultibulkBuffer: each argument is copied out of the query buffer when it is complete, not when the command is.
set -euo pipefail

dir=$(mktemp -d)
pids=()
cleanup() {
    if (( ${#pids[@]} )); then kill -KILL "${pids[@]}" 2>/dev/null || true; fi
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
port=$(free_port)
"$dir/redis-server" --port "$port" --bind 127.0.0.1 --dir "$dir" --save "" --appendonly no >server.log & pids+=($!); disown
ask() { "$cli" -p "$port" "$@" 2>/dev/null; }
for (( try = 0; try < 200; try++ )); do
    [[ $(ask PING) == PONG ]] && break
    sleep 0.05
done
version=$(ask INFO server | sed -n 's/^redis_version:\([0-9.]*\).*/\1/p')

# A command of eight arguments, of which seven come.
argument=$(printf 'x%.0s' {1..4096})
exec 4<>"/dev/tcp/127.0.0.1/$port"
printf '*8\r\n' >&4
for (( sent = 0; sent < 7; sent++ )); do printf '$4096\r\n%s\r\n' "$argument" >&4; done

qbuf=none argv=0
for (( try = 0; try < 200; try++ )); do
    # The other client is this one.
    client=$(ask CLIENT LIST | grep -v 'cmd=client' || true)
    qbuf=$(sed -n 's/.* qbuf=\([0-9]*\) .*/\1/p' <<<"$client")
    argv=$(sed -n 's/.* argv-mem=\([0-9]*\) .*/\1/p' <<<"$client")
    if (( ${argv:-0} >= 7 * 4096 )); then break; fi
    sleep 0.05
done

echo "version:  Redis $version"
echo "expected: qbuf at least 28672"
echo "seen:     qbuf $qbuf, argv-mem $argv"

[[ $version == 7.0.15 && $qbuf == 0 && $argv -ge 28672 ]] || {
    echo "the behaviour is no longer the one described above" >&2
    exit 1
}
