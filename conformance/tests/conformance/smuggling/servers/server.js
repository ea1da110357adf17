// Notes the gateway's id and the target of each request that it sees: node server.js PORT LOG
const fs = require("fs");
const [, , port, log] = process.argv;
require("http")
  .createServer((request, response) => {
    fs.appendFileSync(log, `${request.headers["x-request-id"] ?? "-"} ${request.url}\n`);
    request.on("error", () => {}).on("end", () => response.end("ok")).resume();
  })
  .listen(Number(port), "127.0.0.1");
