// The peer of commits: the event-storage library behind Node's own HTTP server,
// in the place of its HTTP layer, which is not on npm. Run as
// `node server.mjs PORT DIRECTORY`. It parses a commit, commits it, and answers
// 201 with the commit as JSON once the library says that it is written: no
// framework, no routes, no conditions.
import http from "node:http";
import EventStore from "event-storage";

const [port, storageDirectory] = process.argv.slice(2);
const COMMIT = /^\/streams\/(.+)\/commit$/;

const store = new EventStore({ storageDirectory });

function commit(stream, body, response) {
  store.commit(stream, JSON.parse(body).events, (done) => {
    const answer = Buffer.from(JSON.stringify(done));
    response.writeHead(201, { "Content-Type": "application/json", "Content-Length": answer.length });
    response.end(answer);
  });
}

const server = http.createServer((request, response) => {
  const found = request.method === "POST" && COMMIT.exec(request.url);
  if (!found) {
    response.writeHead(404, { "Content-Length": 0 }).end();
    return;
  }
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => commit(decodeURIComponent(found[1]), Buffer.concat(pieces), response));
});
server.keepAliveTimeout = 600_000;
store.once("ready", () => server.listen(Number(port), "127.0.0.1", 4096));
process.once("SIGTERM", () => process.exit(0));
