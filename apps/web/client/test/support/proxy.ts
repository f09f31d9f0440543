import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { connect } from "node:net";

/** A fault of one connection. */
export type Fault =
  /** Ends both sides after this number of bytes from the server. */
  | { readonly kind: "cut"; readonly bytes: number }
  /** Passes nothing on after this number of bytes from the server, and ends nothing. */
  | { readonly kind: "silence"; readonly bytes: number }
  /** Passes all bytes on after a pause, in pieces of this size. */
  | { readonly kind: "delay"; readonly ms: number; readonly bytes: number }
  | undefined;

/** A TCP proxy that breaks connections as it is told. */
export class Proxy {
  /** The fault of each next connection. Without one, everything passes. */
  readonly faults: Fault[] = [];
  /** The number of connections up to now. */
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(port: () => number) {
    this.#server = createServer((client) => this.#pass(client, port()));
  }

  /** Starts a proxy for a port of this machine, which may change. */
  static async start(port: () => number): Promise<Proxy> {
    const proxy = new Proxy(port);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/ws`;
  }

  /** Ends all connections with a reset. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #pass(client: Socket, port: number): void {
    this.connections++;
    const fault = this.faults.shift();
    const server = connect(port, "127.0.0.1");
    this.#sockets.add(client).add(server);
    // What was written before the end still arrives.
    server.on("error", () => {}).on("close", () => client.destroySoon());
    client.on("error", () => {}).on("close", () => server.destroy());
    for (const socket of [client, server]) socket.setNoDelay().on("close", () => this.#sockets.delete(socket));
    let passed = 0;
    let isSilent = false;
    client.on("data", (data) => {
      if (!isSilent) server.write(data);
    });
    if (fault?.kind === "delay") {
      server.on("data", (data) => void this.#delay(client, data, fault.ms, fault.bytes));
      return;
    }
    server.on("data", (data) => {
      if (isSilent) return;
      const left = fault ? fault.bytes - passed : Infinity;
      passed += data.length;
      if (data.length < left) return void client.write(data);
      client.write(data.subarray(0, left));
      isSilent = true;
      if (fault?.kind === "cut") server.destroy();
    });
  }

  #queue = Promise.resolve();

  async #delay(client: Socket, data: Buffer, ms: number, bytes: number): Promise<void> {
    this.#queue = this.#queue.then(async () => {
      for (let start = 0; start < data.length && !client.destroyed; start += bytes) {
        await new Promise((resolve) => setTimeout(resolve, ms));
        client.write(data.subarray(start, start + bytes));
      }
    });
    await this.#queue;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
  }
}
