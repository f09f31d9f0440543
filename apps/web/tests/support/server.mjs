import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const root = new URL("../../../../", import.meta.url).pathname;
const binaries = join(process.env["CARGO_TARGET_DIR"] ?? join(root, "target"), "debug");

/** @param {string} adapter */
export const binary = (adapter) => join(binaries, `chatd-${adapter}`);

/** The adapters, and the further ways in which some of them upgrade. */
export const ADAPTERS = ["tungstenite", "axum", "warp", "actix"];
export const MODES = ["axum", "warp", "actix"].map((adapter) => ({ adapter, mode: "framework" }));

/** True if the run covers every combination and the large rooms. */
export const isFull = process.env["BROWSER_TESTS"] === "full";

/** A server process with a store of its own, on a free port that it keeps when it is started again. */
export class Server {
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #process;
  #listen = "127.0.0.1:0";
  url = "";

  /**
   * @param {string} adapter
   * @param {string} folder
   * @param {readonly string[]} options
   */
  constructor(adapter, folder, options) {
    this.adapter = adapter;
    this.folder = folder;
    this.options = options;
  }

  /**
   * @param {string} [adapter]
   * @param {readonly string[]} [options]
   */
  static async start(adapter = "tungstenite", options = []) {
    const folder = await mkdtemp(join(tmpdir(), "chat-page-"));
    const server = new Server(adapter, folder, options);
    await server.restart();
    return server;
  }

  /** Starts the process, on the same port as before. */
  async restart() {
    const options = ["--listen", this.#listen, "--data", join(this.folder, "data"), ...this.options];
    const child = spawn(binary(this.adapter), options, { stdio: ["ignore", "pipe", "ignore"] });
    this.#process = child;
    const [line] = await Promise.race([
      once(createInterface(child.stdout), "line"),
      once(child, "error").then(([error]) => Promise.reject(error)),
      once(child, "exit").then(([code]) => Promise.reject(new Error(`the server ended with ${code}`))),
    ]);
    this.url = /page (\S+)/.exec(String(line))?.[1] ?? "";
    this.#listen = new URL(this.url).host;
  }

  /** Ends the process as a crash does. */
  async kill() {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async end() {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}
