// A server and clients of Node. README.md says what each program here does.
//
// node.mjs serve ADDRESS http1
// node.mjs serve ADDRESS CERTIFICATE KEY: HTTP/2 and HTTP/1.1
// node.mjs call CA
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import readline from "node:readline";
import { Readable } from "node:stream";

const [command, ...rest] = process.argv.slice(2);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Where requests with the same key meet: who waits, and how often nobody did.
const meetings = new Map();
function meeting(name) {
  if (!meetings.has(name)) meetings.set(name, { waiting: [], said: 0 });
  return meetings.get(name);
}
function say(name) {
  const at = meeting(name);
  if (at.waiting.length > 0) at.waiting.shift()();
  else at.said++;
}
function hear(name) {
  const at = meeting(name);
  return at.said > 0 ? at.said-- : new Promise((heard) => at.waiting.push(heard));
}

async function answer(request, response) {
  const url = new URL(request.url.replace(/^\/+/, "/"), "http://x");
  const n = Number(url.searchParams.get("n"));
  const key = url.searchParams.get("key");
  const events = { "content-type": "text/event-stream" };
  switch (url.pathname) {
    case "/mirror":
      response.writeHead(200, { "content-type": "application/octet-stream" });
      return request.pipe(response);
    case "/bytes": {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
      const length = to === undefined ? n : to - from + 1;
      const range = to === undefined ? {} : { "content-range": `bytes ${from}-${to}/${n}` };
      const fields = { "content-length": length, "content-type": "application/octet-stream", ...range };
      response.writeHead(to === undefined ? 200 : 206, fields);
      return request.method === "HEAD" ? response.end() : Readable.from(pieces(length)).pipe(response);
    }
    case "/sse":
      response.writeHead(200, events);
      for (let at = 0; at < n; at++) {
        if (at > 0) await (key === null ? pause(Number(url.searchParams.get("ms"))) : hear(`next ${key}`));
        response.write(`id: ${at}\ndata: event ${at}\n\n`);
      }
      return response.end();
    case "/trailers": {
      let read = 0;
      for await (const part of request) read += part.length;
      response.writeHead(200, { trailer: "X-Sum" });
      response.write(`${request.trailers["x-up"]}\n`);
      response.addTrailers({ "x-sum": String(read) });
      return response.end();
    }
    case "/early":
      response.writeHead(200, { "content-length": 5 }).end("early");
      return request.resume();
    case "/endless": {
      const timer = setInterval(() => response.write("data: and so on\n\n"), 10);
      response.on("close", () => {
        clearInterval(timer);
        say(`gone ${key}`);
      });
      return response.writeHead(200, events).write("data: and so on\n\n");
    }
    case "/gone":
      await hear(`gone ${key}`);
      return response.end();
    case "/next":
      say(`next ${key}`);
      return response.end();
  }
  response.writeHead(Number(url.pathname.split("/").pop()), { etag: '"e"' }).end();
}

function serve(address, certificate, key) {
  const [host, port] = address.split(":");
  const tls = () => ({ cert: readFileSync(certificate), key: readFileSync(key), allowHTTP1: true });
  const server = certificate === "http1" ? http.createServer(answer) : http2.createSecureServer(tls(), answer);
  // Who keeps connections waiting decides how long.
  server.keepAliveTimeout = 0;
  server.listen(Number(port), host);
}

function* pieces(length) {
  for (let left = length; left > 0; left -= 65536) yield Buffer.alloc(Math.min(left, 65536), "x");
}

// Reads an answer, says between the events of one that it got them, and leaves behind its first piece where it is told to.
async function read(stream, began, asked, leave, simple) {
  const sum = createHash("sha256");
  const got = { length: 0, first: 0 };
  let left = false;
  try {
    for await (const part of stream ?? []) {
      if (got.length === 0) got.first = (performance.now() - began) / 1000;
      got.length += part.length;
      sum.update(part);
      if (asked.gone) {
        left = true;
        leave();
        await simple(asked.gone);
        break;
      }
      const events = asked.next ? Buffer.from(part).toString("latin1").split("\n\n").length - 1 : 0;
      for (let at = 0; at < events; at++) await simple(asked.next);
    }
  } catch (error) {
    // Where the client has left, fetch says so at the end.
    if (!left || error.name !== "AbortError") throw error;
  }
  return left ? got : { ...got, sum: sum.digest("hex"), whole: (performance.now() - began) / 1000 };
}

const passed = (url, status) => {
  if (status !== 200) throw new Error(`${url}: ${status}`);
};
const trailersOf = (asked) => (asked.trailers ? { te: "trailers", trailer: "X-Up" } : {});
const sessions = new Map();

const callers = {
  // `fetch`, which is undici.
  async fetch(asked) {
    const { url, method, headers, body, chunked } = asked;
    const began = performance.now();
    const upload = body === 0 ? undefined : chunked ? Readable.toWeb(Readable.from(pieces(body))) : Buffer.alloc(body, "x");
    const leaving = new AbortController();
    const response = await fetch(url, {
      ...{ method, headers, body: upload, duplex: "half", redirect: "manual", signal: leaving.signal },
    });
    const simple = async (beside) => {
      const other = await fetch(beside, { headers });
      await other.arrayBuffer();
      passed(beside, other.status);
    };
    const fields = Object.fromEntries(response.headers);
    const got = await read(response.body, began, asked, () => leaving.abort(), simple);
    return { status: response.status, headers: fields, ...got };
  },
  async http(asked, ca) {
    const { url, method, headers, body, chunked } = asked;
    const began = performance.now();
    const { request: open } = url.startsWith("https:") ? https : http;
    const length = chunked || method === "GET" || method === "HEAD" ? {} : { "content-length": body };
    const ask = (to, options, run) =>
      new Promise((done, failed) => {
        const request = open(to, { ca, ...options });
        request.on("response", (response) => done({ request, response })).on("error", failed);
        run(request);
      });
    const { request, response } = await ask(url, { method, headers: { ...headers, ...length, ...trailersOf(asked) } }, (request) => {
      if (asked.trailers) request.addTrailers({ "X-Up": "up" });
      if (headers.expect) request.on("continue", () => request.end(Buffer.alloc(body, "x")));
      else if (body === 0) request.end();
      else Readable.from(pieces(body)).pipe(request);
    });
    const simple = async (beside) => {
      const other = await ask(beside, { headers }, (request) => request.end());
      for await (const _ of other.response);
      passed(beside, other.response.statusCode);
    };
    const got = await read(response, began, asked, () => request.destroy(), simple);
    return { status: response.statusCode, headers: response.headers, trailers: response.trailers, ...got };
  },
  async http2(asked, ca) {
    const { url, method, headers, body } = asked;
    const began = performance.now();
    const { origin, pathname, search } = new URL(url);
    if (sessions.get(origin)?.closed ?? true) {
      // The streams of a session that breaks tell of it.
      sessions.set(origin, http2.connect(origin, { ca }).on("error", () => {}));
    }
    const session = sessions.get(origin);
    const ask = async (path, fields, options, run) => {
      const stream = session.request({ ":path": path, ...fields }, options);
      run(stream);
      const head = await new Promise((done, failed) => stream.on("response", done).on("error", failed));
      return { stream, head };
    };
    const trailers = {};
    const { ":status": status, ...fields } = await (async () => {
      const options = { endStream: body === 0, waitForTrailers: Boolean(asked.trailers) };
      const { stream, head } = await ask(pathname + search, { ":method": method, ...headers, ...trailersOf(asked) }, options, (stream) => {
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-up": "up" }));
        stream.on("trailers", (got) => Object.assign(trailers, got));
        if (body > 0) Readable.from(pieces(body)).pipe(stream);
      });
      const simple = async (beside) => {
        const { pathname, search } = new URL(beside);
        const other = await ask(pathname + search, headers, {}, () => {});
        for await (const _ of other.stream);
        passed(beside, other.head[":status"]);
      };
      const leave = () => stream.close(http2.constants.NGHTTP2_CANCEL);
      return { ...head, ...(await read(stream, began, asked, leave, simple)) };
    })();
    const { length, first, sum, whole, ...plain } = fields;
    return { status, headers: plain, trailers, length, first, sum, whole };
  },
};

async function call(authority) {
  const ca = readFileSync(authority);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    let got;
    try {
      const late = pause(60_000).then(() => {
        throw new Error("no answer in time");
      });
      got = await Promise.race([callers[asked.by](asked, ca), late]);
    } catch (error) {
      got = { error: String(error.cause ?? error) };
    }
    console.log(JSON.stringify(got));
  }
  process.exit();
}

await { serve, call }[command](...rest);
