"""Real clients, proxies and servers around the gateway: what each sees must be what it sees without a gateway.

walk.py VENV NODE_MODULES GO_PROGRAM GRPC_PROGRAM STAGE…: STAGE starts gateways, as bench/run does. GO_PROGRAM is that of
conformance/programs, GRPC_PROGRAM that of this folder.
"""

import atexit
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import proxies
from callers import Curl, Httpx, Lines
from proxies import free_port, start

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = HERE.parents[1] / "conformance/programs"
GIB = 1 << 30


def case(name, method, target, body=0, **more):
    return {"name": name, "method": method, "target": target, "body": body, **more}


CASES = [
    case("GET", "GET", "/bytes?n=100000"),
    case("POST 1 MiB", "POST", "/mirror", 1 << 20),
    case("chunked", "POST", "/mirror", 1 << 20, chunked=True),
    case("events", "GET", "/sse?n=3&ms=300"),
    case("HEAD", "HEAD", "/bytes?n=1234"),
    case("204", "GET", "/status/204"),
    case("304", "GET", "/status/304"),
    case("503", "GET", "/status/503"),
    case("DELETE", "DELETE", "/status/404"),
]
# Those that only curl can send, or that are too much for every client.
CURL = [
    case("odd target", "GET", "//a/%2F/b;c?n=10&x=%20&&y=|", shown="target"),
    case("Expect", "POST", "/bytes?n=7", 1 << 21, headers={"Expect": "100-continue"}),
    case("slow reader", "GET", "/bytes?n=4000000", rate=4_000_000),
]
# Only where the server lingers: else nothing holds back what resets its answer.
EARLY = [case("early answer", "POST", "/early", 4 << 20)]
LARGE = [case("1 GiB down", "GET", f"/bytes?n={GIB}"), case("1 GiB up", "POST", "/bytes?n=5", GIB)]

# What is different with a proxy: whose, with which settings, in which cases, what, and why (docs/compatibility.md says it too).
# No cases are all of them.
DIFFERENCES = [
    ("nginx", "defaults", ("events",), ("late",), "proxy_buffering holds events back"),
    ("nginx", "defaults", ("chunked",), ("content-length",), "proxy_request_buffering: it knows the length by then"),
    (
        "Caddy",
        "defaults",
        ("POST 1 MiB", "chunked"),
        ("length", "sum", "broken"),
        "without enable_full_duplex an upload loses bytes where the answer begins before it is whole",
    ),
    (
        "Traefik",
        "",
        ("POST 1 MiB", "chunked"),
        ("length", "sum", "broken"),
        "an upload loses bytes where the answer begins before it is whole, and no setting is known",
    ),
    ("Traefik", "defaults", ("odd target",), ("sum",), "sanitizePath"),
    ("Traefik", "defaults", (), ("content-type",), "it guesses the type of an answer without one"),
    ("Traefik", "", ("304",), ("content-type",), "it drops the type of a 304"),
    ("Caddy", "", (), ("content-type",), "it guesses the type of an answer without one, and drops that of a 304"),
]


class Table:
    def __init__(self):
        self.rows, self.failures = [], []

    def note(self, chain, name, caller, direct, got):
        """Compares what came with what comes without a gateway."""
        self.judge(chain, name, caller, differences(direct, got))

    def fails(self, chain, caller, name, why):
        self.judge(chain, name, caller, [f"broken {why}"])

    def judge(self, chain, name, caller, found):
        allowed = {
            kind
            for (proxy, settings, names, kinds, _) in DIFFERENCES
            for kind in kinds
            if f"{proxy} " in chain and settings in chain and (name in names or not names)
        }
        for what in found:
            if what.split()[0] not in allowed:
                self.failures.append(f"{chain}, {caller}, {name}: {what}")
        self.rows.append((chain, caller, name, "; ".join(found) or "same"))

    def finish(self):
        merged = {}
        for chain, caller, name, outcome in self.rows:
            merged.setdefault((chain, caller), {}).setdefault(outcome, []).append(name)
        print("\n| way | client | outcome |\n|---|---|---|")
        for (chain, caller), outcomes in merged.items():
            text = "; ".join(f"{outcome}: {', '.join(names)}" for outcome, names in outcomes.items())
            print(f"| {chain} | {caller} | {text} |")
        for failure in self.failures:
            print(f"FAILED {failure}")
        print(f"{len(self.rows)} cases, {len(self.failures)} failures")
        return not self.failures


def differences(direct, got):
    found = [
        f"{key} {direct[key]} became {got[key]}" for key in ("status", "length", "sum") if direct[key] != got[key]
    ]
    for name in direct["fields"].keys() | got["fields"].keys():
        before, after = direct["fields"].get(name), got["fields"].get(name)
        if before != after:
            found.append(f"{name} {before} became {after}")
    # Events come one by one: the first well before the last.
    if "event-stream" in direct["fields"].get("content-type", "") and got["whole"] - got["first"] < 0.3:
        found.append("late events")
    return found


def memory(pids):
    """The most that the processes held, in bytes."""
    lines = [line for pid in pids for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM")]
    return sum(int(line.split()[1]) * 1024 for line in lines)


def main():
    venv, modules, go, grpc_go = (pathlib.Path(argument) for argument in sys.argv[1:5])
    work = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    atexit.register(proxies.stop_all)
    found = proxies.programs(venv)
    behind = []
    for name, make, program in found:
        for settings in ("recommended", "defaults"):
            behind.append((name, settings, make, program, free_port()))
    servers = {name: free_port() for name in ("go", "go-h2c", "go-tls", "node", "grpc-go", "grpc-python", "grpc-tls")}
    url = {
        "go": "http://127.0.0.1:{}", "go-h2c": "http://localhost:{}", "go-tls": "https://localhost:{}",
        "node": "http://127.0.0.1:{}", "grpc-go": "http://localhost:{}", "grpc-python": "http://localhost:{}",
        "grpc-tls": "https://localhost:{}",
    }
    bound = [f"resource://{name}={url[name].format(port)}" for name, port in servers.items()]
    bound += [f"resource://{port}=http://127.0.0.1:{port}" for *_, port in behind]
    stage = subprocess.Popen(
        sys.argv[5:] + ["--certificates", str(work)] + bound, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(lambda: (stage.stdin.close(), stage.wait(30)))
    scene = json.loads(stage.stdout.readline())
    echo_port = int(scene["echo"].rsplit(":", 1)[1])
    gateway_port = int(scene["plain"].rsplit(":", 1)[1])
    authority, identity = work / "authority.pem", (work / "certificate.pem", work / "key.pem")

    def headers(resource):
        token = scene["mandates"][f"resource://{resource}"]
        return {"Authorization": f"Bearer {token}", "X-Caracal-Resource": f"resource://{resource}"}

    start("go", work, [go, "serve", f"127.0.0.1:{servers['go']}", "http1"], servers["go"])
    start("go-h2c", work, [go, "serve", f"127.0.0.1:{servers['go-h2c']}", "h2c"], servers["go-h2c"])
    start("go-tls", work, [go, "serve", f"127.0.0.1:{servers['go-tls']}", *identity], servers["go-tls"])
    start("node", work, ["node", PROGRAMS / "node.mjs", "serve", f"127.0.0.1:{servers['node']}", "http1"], servers["node"])
    curl1, curl2 = Curl("--http1.1"), Curl("--http2-prior-knowledge")
    node = ["node", PROGRAMS / "node.mjs", "call", authority]
    clients = [
        curl1,
        Lines("http.client", ["python3", PROGRAMS / "python.py", "call", "-"], {"by": "http"}),
        Httpx(False),
        Lines("Go net/http", [go, "call", authority], {"by": "http"}),
        Lines("Node fetch", node, {"by": "fetch"}),
        Lines("Node http", node, {"by": "http"}),
    ]
    clients2 = [
        curl2, Httpx(True),
        Lines("Go HTTP/2", [go, "call", authority], {"by": "http2"}),
        Lines("Node http2", node, {"by": "http2"}),
    ]
    table = Table()
    gateway = f"http://127.0.0.1:{gateway_port}"
    directly = {}

    def walk(way, caller, cases, base, resource, upstream, client_of_upstream=None):
        for asked in cases:
            reference = client_of_upstream or caller
            key = (reference.name, asked["name"], upstream)
            try:
                if key not in directly:
                    directly[key] = reference(upstream, asked, {})
                table.note(way, asked["name"], caller.name, directly[key], caller(base, asked, headers(resource)))
            except Exception as error:
                table.fails(way, caller.name, asked["name"], f"{type(error).__name__}: {error}")

    # Every client, through the gateway alone.
    for caller in clients:
        walk("gateway", caller, CASES, gateway, "none", scene["echo"])
        walk("gateway, Go", caller, CASES, gateway, "go", f"http://127.0.0.1:{servers['go']}")
        walk("gateway, Node", caller, CASES, gateway, "node", f"http://127.0.0.1:{servers['node']}")
    go_url = f"http://127.0.0.1:{servers['go']}"
    for caller in clients2:
        h2c = f"http://localhost:{servers['go-h2c']}"
        walk("gateway, Go over HTTP/2", caller, CASES, gateway, "go-h2c", h2c)
        walk("gateway, Go over TLS", caller, CASES, gateway, "go-tls", h2c)
    walk("gateway, Go over HTTP/2", curl1, CASES, gateway, "go-h2c", go_url)
    walk("gateway", curl1, CURL, gateway, "none", scene["echo"])
    walk("gateway, Go", curl1, EARLY, gateway, "go", go_url)
    walk("gateway, Go over HTTP/2", clients2[2], EARLY, gateway, "go-h2c", h2c)
    walk("gateway", curl2, CASES + CURL, gateway, "none", scene["echo"], curl1)

    # Every proxy, behind the gateway and in front of it.
    for name, settings, make, program, port in behind:
        start(f"{name} {port}", work, make(program, work, settings, port, echo_port), port)
        walk(f"gateway, {name} {settings}", curl1, CASES + CURL, gateway, str(port), scene["echo"])
        front = free_port()
        start(f"{name} {front}", work, make(program, work, settings, front, gateway_port), front)
        base = f"http://127.0.0.1:{front}"
        for caller in (curl1, clients[2], clients[3], clients[4]):
            cases = CASES + CURL if caller is curl1 else CASES
            walk(f"{name} {settings}, gateway", caller, cases, base, "none", scene["echo"])
        if settings == "recommended":
            both = str(behind[0][4])
            walk(f"{name} {settings}, gateway, {behind[0][0]}", curl1, CASES, base, both, scene["echo"])
    for name, make, program in found:
        if make is proxies.haproxy:
            port = free_port()
            command = proxies.haproxy_with_header(program, work, "recommended", port, gateway_port)
            start(f"{name} header", work, command, port)
            walk(f"{name} with PROXY header, gateway", curl1, CASES, f"http://127.0.0.1:{port}", "none", scene["echo"])

    # A gigabyte each way, in the memory that the gateway has anyway.
    before = memory(scene["pids"])
    for caller in (curl1, curl2):
        walk("gateway", caller, LARGE, gateway, "none", scene["echo"], curl1)
    walk("gateway, Go over HTTP/2", curl2, LARGE[:1], gateway, "go-h2c", go_url, curl1)
    grown = memory(scene["pids"]) - before
    print(f"the gateways held {before >> 20} MiB at most before the gigabytes, and {grown >> 20} MiB more with them")
    if grown > 64 << 20:
        table.failures.append(f"memory grew by {grown >> 20} MiB")

    grpc(table, work, venv, modules, grpc_go, scene, servers, headers, authority, identity)
    sys.exit(0 if table.finish() else 1)


def grpc(table, work, venv, modules, grpc_go, scene, servers, headers, authority, identity):
    """Each stack's client with each one's server: directly, and through the gateway with and without TLS."""
    python, script = venv / "bin/python", HERE / "grpc_python.py"
    place = {name: f"127.0.0.1:{servers[name]}" for name in ("grpc-go", "grpc-python", "grpc-tls")}
    start("grpc-go", work, [go, "serve", place["grpc-go"]], servers["grpc-go"])
    start("grpc-tls", work, [go, "serve", place["grpc-tls"], *identity], servers["grpc-tls"])
    start("grpc-python", work, [python, script, "serve", place["grpc-python"]], servers["grpc-python"])
    callers = {
        "grpc-go": [go, "call"],
        "grpcio": [python, script, "call"],
        "grpc-js": ["node", HERE / "grpc_node.mjs"],
    }
    for name, command in callers.items():
        for server in place:
            trusted = authority if server == "grpc-tls" else "-"
            direct = run(command + [place[server], trusted], modules)
            for kind, address, ca in (("plain", scene["plain"], "-"), ("TLS", scene["secure"], authority)):
                pairs = [f"{key.lower()}={value}" for key, value in headers(server).items()]
                got = run(command + [address, ca] + pairs, modules)
                for what in direct.keys() | got.keys():
                    way, same = f"gateway over {kind}, {server}", direct.get(what) == got.get(what)
                    outcome = f"same ({got.get(what)})" if what == "failed" and same else "same"
                    if same:
                        table.rows.append((way, name, what, outcome))
                    else:
                        table.fails(way, name, what, f"{direct.get(what)} became {got.get(what)}")


def run(command, folder):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=folder, timeout=120)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return {"everything": (done.stderr or done.stdout).strip()[-300:]}


main()
