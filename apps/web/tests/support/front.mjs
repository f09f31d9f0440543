import { once } from "node:events";
import { createServer, request } from "node:http";

/**
 * A proxy in front of a server that has signed its users in: it adds headers to each request.
 *
 * @param {string} target
 */
export async function startFront(target) {
  /** @type {Record<string, string>} */
  const added = {};
  const { hostname, port } = new URL(target);
  /** @param {import("node:http").IncomingMessage} incoming */
  const forward = ({ url = "/", method = "GET", headers }) =>
    // A connection of its own for each request: the server may close an idle one at any time.
    request({ hostname, port, path: url, method, agent: false, headers: { ...headers, ...added } });
  const front = createServer((incoming, response) => {
    const outgoing = forward(incoming);
    outgoing.on("error", () => response.destroy());
    outgoing.on("response", (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    incoming.pipe(outgoing);
  });
  front.on("upgrade", (incoming, socket) => {
    const outgoing = forward(incoming);
    outgoing.on("error", () => socket.destroy());
    socket.on("error", () => outgoing.destroy());
    const reply = (/** @type {import("node:http").IncomingMessage} */ { statusCode, statusMessage, rawHeaders }) => {
      const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
      for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
      socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    };
    outgoing.on("upgrade", (answer, upstream, head) => {
      reply(answer);
      socket.write(head);
      upstream.pipe(socket).pipe(upstream);
      upstream.on("error", () => socket.destroy());
      socket.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
    });
    outgoing.on("response", (answer) => {
      reply(answer);
      answer.pipe(socket);
    });
    outgoing.end();
  });
  front.listen(0, "127.0.0.1");
  await once(front, "listening");
  const address = /** @type {import("node:net").AddressInfo} */ (front.address());
  return {
    url: `http://127.0.0.1:${address.port}/`,
    /** The headers that are added. */
    added,
    end() {
      front.closeAllConnections();
      front.close();
    },
  };
}
