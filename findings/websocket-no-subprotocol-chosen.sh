#!/usr/bin/env bash
# Guess: a server may answer a WebSocket handshake that offers subprotocols without choosing one, and the client goes on with none: RFC 6455 section 4.1 has it fail only for one that it did not offer.
# Seen: the client gives the connection up, "Server did not respond with sent protocols": the WHATWG's WebSockets standard asks that of browsers. So a page that puts credentials into subprotocols needs one of them, or another, told back.
# Version and source: undici 6.21.3 (npm), the WebSocket of Node.js; WHATWG WebSockets, "establish a WebSocket connection".
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

npm install --silent --prefix "$dir" undici@6.21.3

cat >"$dir/probe.mjs" <<'JAVASCRIPT'
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { WebSocket } from 'undici';

// Switches, and chooses the subprotocol that the path names, or none.
const server = createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', (data) => {
    const head = data.toString('latin1');
    const key = /^sec-websocket-key: *(.*?)\r$/im.exec(head)[1];
    const proof = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const chosen = /^GET \/(\S*)/.exec(head)[1];
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        `Sec-WebSocket-Accept: ${proof}\r\n${chosen ? `Sec-WebSocket-Protocol: ${chosen}\r\n` : ''}\r\n`,
    );
  });
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));

const opens = (path, offered) =>
  new Promise((done) => {
    const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}/${path}`, offered);
    socket.onopen = () => done(true);
    socket.onerror = () => done(false);
  });
const seen = [
  ['nothing offered, none chosen', await opens('', [])],
  ['two offered, none chosen', await opens('', ['secret.x', 'other'])],
  ['two offered, the second chosen', await opens('other', ['secret.x', 'other'])],
];
for (const [what, isOpen] of seen) console.log(`${what}: ${isOpen ? 'open' : 'given up'}`);
process.exit(JSON.stringify(seen.map(([, isOpen]) => isOpen)) === '[true,false,true]' ? 0 : 1);
JAVASCRIPT

version=$(node -p "require('$dir/node_modules/undici/package.json').version")
echo "undici $version, node $(node --version)"
node "$dir/probe.mjs"
