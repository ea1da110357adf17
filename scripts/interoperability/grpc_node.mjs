// Calls by grpc-js.
//
// grpc_node.mjs ADDRESS CA|- NAME=VALUE...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

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

await grpc(...process.argv.slice(2));
