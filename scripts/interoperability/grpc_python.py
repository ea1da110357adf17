"""A server and a client of gRPC in Python; messages are bytes as they are.

grpc_python.py serve ADDRESS [CERTIFICATE KEY]
grpc_python.py call ADDRESS CA|- NAME=VALUE...
"""

import json
import sys
import time
from concurrent import futures

import grpc

cancelled = [0]


class Probe(grpc.GenericRpcHandler):
    def service(self, call):
        kinds = {
            "Echo": grpc.stream_stream_rpc_method_handler(echo),
            "Fail": grpc.unary_unary_rpc_method_handler(fail),
            "Count": grpc.unary_stream_rpc_method_handler(count),
            "Hang": grpc.stream_stream_rpc_method_handler(hang),
            "Cancelled": grpc.unary_unary_rpc_method_handler(lambda _, __: b"%d" % cancelled[0]),
        }
        return kinds.get(call.method.rsplit("/", 1)[1])


def echo(messages, context):
    context.send_initial_metadata((("x-head", "1"),))
    context.set_trailing_metadata((("x-trailer", "2"), ("x-bytes-bin", b"\x00\xff")))
    yield from messages


def fail(_, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "grün, 100%")


def count(message, _):
    for at in range(3):
        yield b"%s %d" % (message, at)
        time.sleep(0.1)


def hang(_, context):
    def ended():
        cancelled[0] += 1

    context.add_callback(ended)
    yield b"begun"
    while context.is_active():
        time.sleep(0.02)


def serve(address, *identity):
    server = grpc.server(futures.ThreadPoolExecutor(20))
    server.add_generic_rpc_handlers((Probe(),))
    if identity:
        certificate, key = (open(path, "rb").read() for path in identity)
        server.add_secure_port(address, grpc.ssl_server_credentials(((key, certificate),)))
    else:
        server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def call(address, authority, *metadata):
    metadata = tuple(tuple(pair.split("=", 1)) for pair in metadata)
    if authority == "-":
        channel = grpc.insecure_channel(address)
    else:
        security = grpc.ssl_channel_credentials(open(authority, "rb").read())
        override = (("grpc.ssl_target_name_override", "localhost"),)
        channel = grpc.secure_channel(address, security, override)
    extra = {"metadata": metadata, "timeout": 60}
    results = {}

    sent = b"u" * 100_000
    try:
        got, made = channel.unary_unary("/test.Probe/Echo").with_call(sent, **extra)
        head, trailer = dict(made.initial_metadata()), dict(made.trailing_metadata())
        results["unary"] = (
            f"OK {str(got == sent).lower()} [{head['x-head']}] [{trailer['x-trailer']}]"
            f" [{trailer['x-bytes-bin'].hex()}]"
        )
    except grpc.RpcError as error:
        results["unary"] = f"{error.code().name} {error.details()}"

    try:
        channel.unary_unary("/test.Probe/Fail")(b"", **extra)
    except grpc.RpcError as error:
        name = "".join(word.capitalize() for word in error.code().name.split("_"))
        results["failed"] = f"{name} {error.details()}"

    got = [part.decode() for part in channel.unary_stream("/test.Probe/Count")(b"number", **extra)]
    results["streamed"] = f"{','.join(got)} true"

    from queue import Queue

    queue, got = Queue(), []
    stream = channel.stream_stream("/test.Probe/Echo")(iter(queue.get, None), **extra)
    for at in range(3):
        queue.put(b"piece %d" % at)
        # Each is back before the next is sent.
        got.append(next(stream).decode())
    queue.put(None)
    results["both ways"] = f"{','.join(got)} {str(not list(stream)).lower()}"

    number = lambda: int(channel.unary_unary("/test.Probe/Cancelled")(b"", **extra))
    before = number()
    stream = channel.stream_stream("/test.Probe/Hang")(iter(Queue().get, None), **extra)
    first = next(stream).decode()
    stream.cancel()
    for _ in range(100):
        if number() > before:
            break
        time.sleep(0.05)
    results["cancelled"] = f"{first}, the server saw it: {str(number() == before + 1).lower()}"
    print(json.dumps(results))


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
