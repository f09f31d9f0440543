import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The adapters. Each one has a binary. */
export const ADAPTERS = ["tungstenite", "warp", "actix", "axum"] as const;

/** The folder of the binaries: `target/debug` of the workspace, unless Cargo puts them elsewhere. */
const BINARIES = join(process.env["CARGO_TARGET_DIR"] ?? "../../../target", "debug");

/** Load that comes from one address on purpose needs no limits of its rate. */
export const LIFTED = ["--command-rate=0", "--user-command-rate=0", "--reply-rate=0", "--max-per-address=0"];

/** A running chat server with a store of its own, which survives `kill`. */
export class Server {
  readonly data = mkdtempSync(join(tmpdir(), "chat-client-"));
  port = 0;
  #process: ChildProcess | undefined;

  private constructor(
    readonly adapter: string,
    readonly options: readonly string[],
  ) {}

  static async start(adapter: string = ADAPTERS[0], options: readonly string[] = LIFTED): Promise<Server> {
    const server = new Server(adapter, options);
    await server.start();
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** Starts the server, after a `kill` on the same port and store. */
  async start(): Promise<void> {
    const store = this.options.some((option) => option.startsWith("--data"))
      ? []
      : ["--data", this.data, "--durability", "process"];
    const listen = ["--listen", `127.0.0.1:${this.port}`, ...store];
    const child = spawn(join(BINARIES, `chatd-${this.adapter}`), [...listen, "--log-level=off", ...this.options], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process = child;
    for await (const line of createInterface(child.stdout)) {
      const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1];
      if (port) {
        this.port = Number(port);
        return;
      }
    }
    throw new Error(`${this.adapter} does not start`);
  }

  /** Sends a signal: `SIGKILL` ends the server at once, `SIGTERM` drains it. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }
}
