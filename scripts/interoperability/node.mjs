// Servers and clients of Node.
//
// node.mjs serve PORT: the endpoints of the upstream that the gateway's own tests use
// node.mjs call: one request for each line of JSON, one line of JSON for each answer
// node.mjs grpc ADDRESS CA|- NAME=VALUE...: calls by grpc-js
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import { createRequire } from "node:module";
import readline from "node:readline";
import { Readable } from "node:stream";

const [command, ...rest] = process.argv.slice(2);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function serve(port) {
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url.replace(/^\/+/, "/"), "http://x");
    const n = Number(url.searchParams.get("n"));
    if (url.pathname === "/mirror") {
      request.pipe(response);
    } else if (url.pathname === "/bytes") {
      response.writeHead(200, { "content-length": n, "content-type": "application/octet-stream" });
      if (request.method === "HEAD") return response.end();
      const block = Buffer.alloc(65536, "x");
      Readable.from(
        (function* () {
          for (let left = n; left > 0; left -= block.length) yield block.subarray(0, Math.min(left, block.length));
        })(),
      ).pipe(response);
    } else if (url.pathname === "/sse") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (let at = 0; at < n; at++) {
        if (at > 0) await pause(Number(url.searchParams.get("ms")));
        response.write(`id: ${at}\ndata: event ${at}\n\n`);
      }
      response.end();
    } else {
      response.writeHead(Number(url.pathname.split("/").pop())).end();
    }
  });
  server.listen(Number(port), "127.0.0.1");
}

async function read(stream, began) {
  const sum = createHash("sha256");
  let length = 0;
  let first = 0;
  for await (const part of stream ?? []) {
    if (length === 0) first = (performance.now() - began) / 1000;
    length += part.length;
    sum.update(part);
  }
  return { length, first, sum: sum.digest("hex"), whole: (performance.now() - began) / 1000 };
}

function* pieces(length) {
  for (let left = length; left > 0; left -= 65536) yield Buffer.alloc(Math.min(left, 65536), "x");
}

const callers = {
  // `fetch`, which is undici.
  async fetch({ url, method, headers, body, chunked }) {
    const began = performance.now();
    const upload = body === 0 ? undefined : chunked ? Readable.toWeb(Readable.from(pieces(body))) : Buffer.alloc(body, "x");
    const response = await fetch(url, { method, headers, body: upload, duplex: "half", redirect: "manual" });
    return { status: response.status, headers: Object.fromEntries(response.headers), ...(await read(response.body, began)) };
  },
  async http({ url, method, headers, body, chunked }) {
    const began = performance.now();
    const response = await new Promise((done, failed) => {
      const request = http.request(url, { method, headers: chunked ? headers : { ...headers, "content-length": body } });
      request.on("response", done).on("error", failed);
      if (headers.expect) request.on("continue", () => request.end(Buffer.alloc(body, "x")));
      else if (body === 0) request.end();
      else Readable.from(pieces(body)).pipe(request);
    });
    return { status: response.statusCode, headers: response.headers, ...(await read(response, began)) };
  },
  async http2({ url, method, headers, body }) {
    const began = performance.now();
    const { origin, pathname, search } = new URL(url);
    const session = http2.connect(origin);
    const stream = session.request({ ":method": method, ":path": pathname + search, ...headers }, { endStream: body === 0 });
    if (body > 0) Readable.from(pieces(body)).pipe(stream);
    const answer = await new Promise((done, failed) => stream.on("response", done).on("error", failed));
    const { ":status": status, ...fields } = answer;
    const got = { status, headers: fields, ...(await read(stream, began)) };
    session.close();
    return got;
  },
};

async function call() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    let got;
    try {
      got = await callers[asked.by](asked);
    } catch (error) {
      got = { error: String(error.cause ?? error) };
    }
    console.log(JSON.stringify(got));
  }
}

async function grpc(address, authority, ...pairs) {
  const { Client, Metadata, credentials, status } = createRequire(process.cwd() + "/")("@grpc/grpc-js");
  const security =
    authority === "-" ? credentials.createInsecure() : credentials.createSsl(readFileSync(authority));
  const client = new Client(address, security, { "grpc.ssl_target_name_override": "localhost" });
  const metadata = new Metadata();
  for (const pair of pairs) metadata.set(...pair.split(/=(.*)/s, 2));
  const plain = (bytes) => bytes;
  const path = (name) => `/test.Probe/${name}`;
  const results = {};
  const unary = (name, message) =>
    new Promise((done) => {
      const seen = {};
      client
        .makeUnaryRequest(path(name), plain, plain, message, metadata, (error, answer) => done({ error, answer, ...seen }))
        .on("metadata", (head) => (seen.head = head))
        .on("status", (end) => (seen.end = end));
    });
  const sent = Buffer.alloc(100_000, "u");
  const echoed = await unary("Echo", sent);
  await pause(10);
  results.unary = echoed.error
    ? String(echoed.error)
    : `OK ${sent.equals(echoed.answer)} [${echoed.head.get("x-head")}]`;
  const failed = await unary("Fail", Buffer.alloc(0));
  results.failed = `${failed.error.code === status.FAILED_PRECONDITION} ${failed.error.details}`;
  const parts = [];
  for await (const part of client.makeServerStreamRequest(path("Count"), plain, plain, Buffer.from("number"), metadata))
    parts.push(String(part));
  results.streamed = `${parts} true`;
  const stream = client.makeBidiStreamRequest(path("Hang"), plain, plain, metadata);
  stream.on("error", () => {});
  const first = await new Promise((done) => stream.once("data", done));
  const count = async () => Number((await unary("Cancelled", Buffer.alloc(0))).answer);
  const before = await count();
  stream.cancel();
  for (let tries = 0; tries < 100 && (await count()) === before; tries++) await pause(50);
  results.cancelled = `${first}, the server saw it: ${(await count()) === before + 1}`;
  console.log(JSON.stringify(results));
  client.close();
}

await { serve, call, grpc }[command](...rest);
