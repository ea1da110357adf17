"""A server and a client of Python's standard library. README.md says what each program here does.

python.py serve ADDRESS http1
python.py call -: without TLS
"""

import collections
import hashlib
import http.client
import http.server
import json
import re
import sys
import threading
import time
import urllib.parse

PIECE = 1 << 16
# Where requests with the same key meet.
meetings = collections.defaultdict(lambda: threading.Semaphore(0))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        place = urllib.parse.urlsplit(self.path)
        self.asked = dict(urllib.parse.parse_qsl(place.query))
        name = place.path.strip("/").split("/")[0]
        getattr(self, f"answer_{name}")()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def head(self, status, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def upload(self):
        """The pieces of the request's body. What comes behind it is in `trailers`."""
        self.trailers = {}
        if self.headers.get("Transfer-Encoding") != "chunked":
            left = int(self.headers.get("Content-Length", 0))
            while left and (part := self.rfile.read(min(left, PIECE))):
                left -= len(part)
                yield part
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.trailers = http.client.parse_headers(self.rfile)

    def chunk(self, part):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    def answer_mirror(self):
        self.head(200, Content_Type="application/octet-stream", Transfer_Encoding="chunked")
        for part in self.upload():
            self.chunk(part)
        self.wfile.write(b"0\r\n\r\n")

    def answer_bytes(self):
        length, status, fields = int(self.asked["n"]), 200, {}
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = map(int, found.groups())
            status, fields = 206, {"Content_Range": f"bytes {first}-{last}/{length}"}
            length = last - first + 1
        self.head(status, Content_Type="application/octet-stream", Content_Length=length, **fields)
        while length and self.command != "HEAD":
            length -= self.wfile.write(b"x" * min(length, PIECE))

    def answer_sse(self):
        self.head(200, Content_Type="text/event-stream", Transfer_Encoding="chunked")
        for at in range(int(self.asked["n"])):
            if at and "key" in self.asked:
                meetings["next", self.asked["key"]].acquire()
            elif at:
                time.sleep(int(self.asked["ms"]) / 1000)
            self.chunk(f"id: {at}\ndata: event {at}\n\n".encode())
        self.wfile.write(b"0\r\n\r\n")

    def answer_trailers(self):
        read = sum(map(len, self.upload()))
        self.head(200, Transfer_Encoding="chunked", Trailer="X-Sum")
        self.chunk(f"{self.trailers.get('X-Up')}\n".encode())
        self.wfile.write(f"0\r\nX-Sum: {read}\r\n\r\n".encode())

    def answer_early(self):
        self.head(200, Content_Length=5)
        self.wfile.write(b"early")
        # Else the end of the connection could take the answer along.
        for _ in self.upload():
            pass

    def answer_endless(self):
        self.head(200, Content_Type="text/event-stream", Transfer_Encoding="chunked")
        try:
            while True:
                self.chunk(b"data: and so on\n\n")
                time.sleep(0.01)
        except OSError:
            self.close_connection = True
        meetings["gone", self.asked["key"]].release()

    def answer_gone(self):
        meetings["gone", self.asked["key"]].acquire()
        self.head(200, Content_Length=0)

    def answer_next(self):
        meetings["next", self.asked["key"]].release()
        self.head(200, Content_Length=0)

    def answer_status(self):
        status = int(self.path.rsplit("/", 1)[1])
        self.head(status, ETag='"e"', **({} if status in (204, 304) else {"Content_Length": 0}))


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Callers that leave are no fault."""


def serve(address, _):
    host, port = address.split(":")
    Server((host, int(port)), Handler).serve_forever()


def connect(url):
    place = urllib.parse.urlsplit(url)
    return http.client.HTTPConnection(place.hostname, place.port, timeout=60), url.split(place.netloc, 1)[1]


def send(connection, length, chunked):
    """Sends a body while the answer is read."""
    try:
        while length:
            part = b"x" * min(length, PIECE)
            length -= len(part)
            connection.send(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        if chunked:
            connection.send(b"0\r\n\r\n")
    except OSError:
        pass


def ask(asked):
    connection, target = connect(asked["url"])
    began = time.monotonic()
    connection.putrequest(asked["method"], target, skip_accept_encoding=True)
    for name, value in asked["headers"].items():
        connection.putheader(name, value)
    chunked = asked.get("chunked", False)
    if chunked:
        connection.putheader("Transfer-Encoding", "chunked")
    elif asked["body"] or asked["method"] in ("POST", "PUT", "DELETE"):
        connection.putheader("Content-Length", str(asked["body"]))
    connection.endheaders()
    sender = threading.Thread(target=send, args=(connection, asked["body"], chunked))
    sender.start()
    response = connection.getresponse()
    fields = {name.lower(): value for name, value in response.getheaders()}
    got = {"status": response.status, "headers": fields, "length": 0, "first": 0.0}
    digest = hashlib.sha256()
    while part := response.read1(PIECE):
        got["first"] = got["first"] or time.monotonic() - began
        got["length"] += len(part)
        digest.update(part)
        if asked.get("gone"):
            response.close()
            connection.close()
            simple(asked, asked["gone"])
            return got
        for _ in range(part.count(b"\n\n") if asked.get("next") else 0):
            simple(asked, asked["next"])
    sender.join()
    connection.close()
    return {**got, "sum": digest.hexdigest(), "whole": time.monotonic() - began}


def simple(asked, url):
    """Asks for something beside the request."""
    connection, target = connect(url)
    connection.request("GET", target, headers=asked["headers"])
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{url}: {response.status}")


def call(_):
    for line in sys.stdin:
        try:
            got = ask(json.loads(line))
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            got = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(got), flush=True)


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
