"""Clients. Each takes a base URL and a case and tells what came."""

import hashlib
import json
import subprocess
import time

import httpx

# What is compared of a head, besides the status.
FIELDS = ("content-type", "content-length", "etag", "location", "content-range", "retry-after")


# The most of a body that is held, in bytes.
MEMORY = 1 << 24


def summary(status, headers, length, digest, first=0.0, whole=0.0):
    fields = {name: headers[name] for name in FIELDS if name in headers}
    return {"status": status, "fields": fields, "length": length, "sum": digest, "first": first, "whole": whole}


class Curl:
    def __init__(self, option):
        self.option = option
        self.name = f"curl {option.lstrip('-')}"

    def __call__(self, base, case, headers):
        command = ["curl", "-sS", "--path-as-is", "-N", "--max-time", "120", self.option]
        command += ["-D", "/dev/stderr", "-o", "-"]
        command += ["--head"] if case["method"] == "HEAD" else ["-X", case["method"]]
        sent = dict(headers, **case.get("headers", {}))
        if case["body"]:
            command += ["--data-binary", "@-", "-H", "Content-Type: application/octet-stream"]
            if case.get("chunked"):
                command += ["-H", "Transfer-Encoding: chunked"]
        for name, value in sent.items():
            command += ["-H", f"{name}: {value}"]
        if rate := case.get("rate"):
            command += ["--limit-rate", str(rate)]
        if case["body"] > MEMORY:
            # Else curl holds all of it.
            command[command.index("--data-binary") : command.index("--data-binary") + 2] = ["-T", "-"]
        command.append(base + case["target"])
        began = time.monotonic()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as curl:
            feed(curl.stdin, case["body"])
            digest, length, first, start = hashlib.sha256(), 0, 0.0, b""
            while part := curl.stdout.read1(1 << 20):
                first = first or time.monotonic() - began
                length += len(part)
                digest.update(part)
                start += part[: MEMORY - len(start)]
            errors = curl.stderr.read().decode("latin-1")
        whole = time.monotonic() - began
        if curl.returncode:
            raise RuntimeError(errors.strip().splitlines()[-1])
        heads = [head for head in errors.replace("\r", "").split("\n\n") if head.startswith("HTTP/")]
        lines = heads[-1].splitlines()
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        if case["method"] == "HEAD":
            digest, length = hashlib.sha256(), 0
        if shown := case.get("shown"):
            # The rest of what the upstream tells of the request is its head, which is meant to be another.
            return summary(int(lines[0].split()[1]), {}, 0, json.loads(start)[shown], first, whole)
        return summary(int(lines[0].split()[1]), fields, length, digest.hexdigest(), first, whole)


def feed(pipe, length):
    import threading

    def run():
        block, left = b"x" * 65536, length
        try:
            while left:
                left -= pipe.write(block[: min(left, len(block))])
            pipe.close()
        except BrokenPipeError:
            pass

    threading.Thread(target=run, daemon=True).start()


class Httpx:
    def __init__(self, http2):
        self.client = httpx.Client(http1=not http2, http2=http2, timeout=60, trust_env=False)
        self.name = "httpx http2" if http2 else "httpx"

    def __call__(self, base, case, headers):
        body = b"x" * case["body"] or None
        began, first, data = time.monotonic(), 0.0, b""
        content = iter([body]) if case.get("chunked") else body
        with self.client.stream(case["method"], base + case["target"], content=content, headers=headers) as response:
            for part in response.iter_raw():
                first = first or time.monotonic() - began
                data += part
        fields = {name.lower(): value for name, value in response.headers.items()}
        digest = hashlib.sha256(data).hexdigest()
        return summary(response.status_code, fields, len(data), digest, first, time.monotonic() - began)


class Lines:
    """A program that takes requests as lines of JSON."""

    def __init__(self, name, command, more):
        self.name, self.more = name, more
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, base, case, headers):
        sent = dict(headers, **case.get("headers", {}))
        asked = {
            "url": base + case["target"],
            "method": case["method"],
            "headers": {name.lower(): value for name, value in sent.items()},
            "body": case["body"],
            "chunked": case.get("chunked", False),
            **self.more,
        }
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        got = json.loads(self.process.stdout.readline())
        if got.get("error"):
            raise RuntimeError(got["error"])
        return summary(got["status"], got["headers"], got["length"], got["sum"], got["first"], got["whole"])
