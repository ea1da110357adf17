"""Notes the gateway's id and the target of each request that it sees. A WSGI application; LOG names the file."""

import os


def app(environ, start_response):
    target = environ["PATH_INFO"]
    with open(os.environ["LOG"], "a") as log:
        log.write(f"{environ.get('HTTP_X_REQUEST_ID', '-')} {target}\n")
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
