import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { binary } from "./server.mjs";

const packaging = new URL("../../../../packaging/", import.meta.url).pathname;

const NATS = ["nats1", "nats2", "nats3"];
const NODES = ["chat1", "chat2"];

/** The time in which a process must serve. */
const START_MS = 30_000;

/**
 * What `packaging/compose-cluster.yaml` describes, as processes of this machine: three servers of NATS, two nodes and
 * nginx, with the files and the variables of `packaging`. Only addresses and folders are others.
 */
export class Cluster {
  /** The address of nginx. */
  url = "";
  /** @type {Map<string, import("node:child_process").ChildProcess>} */
  #processes = new Map();
  /** The address of each name and port. @type {Record<string, string>} */
  #addresses = {};

  /** @param {string} folder */
  constructor(folder) {
    this.folder = folder;
  }

  static async start() {
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), "chat-cluster-")));
    try {
      await cluster.#start();
    } catch (error) {
      await cluster.end();
      throw error;
    }
    return cluster;
  }

  async #start() {
    const names = [
      ...NATS.flatMap((name) => [`${name}:4222`, `${name}:6222`, `${name}:8222`]),
      ...NODES.map((name) => `${name}:8080`),
      "nginx:80",
    ];
    const addresses = await freeAddresses(names.length);
    this.#addresses = Object.fromEntries(names.map((name, index) => [name, addresses[index] ?? ""]));
    this.url = `http://${this.#at("nginx:80")}/`;
    await Promise.all(NATS.map((name) => this.restart(name)));
    await Promise.all(NODES.map((name) => this.restart(name)));
    await this.#startNginx();
  }

  /**
   * Starts a server of NATS or a node that does not run, and waits until it serves.
   *
   * @param {string} name
   */
  async restart(name) {
    if (NATS.includes(name)) await this.#startNats(name);
    else await this.#startNode(name);
  }

  /** @param {string} name */
  async #startNats(name) {
    const store = join(this.folder, name);
    await mkdir(store, { recursive: true });
    const own = /** @type {const} */ ([
      ["0.0.0.0:4222", this.#at(`${name}:4222`)],
      ["0.0.0.0:6222", this.#at(`${name}:6222`)],
      ["127.0.0.1:8222", this.#at(`${name}:8222`)],
      ["store_dir: /data", `store_dir: ${store}`],
    ]);
    const config = await this.#config("cluster/nats.conf", [...own, ...this.#named(NATS, 6222)]);
    const file = join(this.folder, `${name}.conf`);
    await writeFile(file, config);
    this.#spawn(name, process.env["NATS_SERVER"] ?? "nats-server", ["-c", file], { SERVER_NAME: name });
    await this.#serves(name, `http://${this.#at(`${name}:8222`)}/healthz`);
  }

  /** @param {string} name */
  async #startNode(name) {
    const compose = await readFile(join(packaging, "compose-cluster.yaml"), "utf8");
    const [, block = ""] = /^x-variables: &variables\n((?: .*\n)+)/mu.exec(compose) ?? [];
    const pairs = [...block.matchAll(/^ {2}(CHATD_\w+): "?([^"\n]*)"?$/gmu)];
    const variables = Object.fromEntries(pairs.map(([, key, value = ""]) => [key, value]));
    variables["CHATD_CLUSTER"] = replaced(variables["CHATD_CLUSTER"] ?? "", this.#named(NATS, 4222));
    variables["CHATD_TRUST_PROXY"] = replaced(variables["CHATD_TRUST_PROXY"] ?? "", [["172.28.0.0/24", "127.0.0.1"]]);
    variables["CHATD_CLUSTER_STATE"] = replaced(variables["CHATD_CLUSTER_STATE"] ?? "", [
      ["/data/cluster", join(this.folder, `${name}-state`)],
    ]);
    const address = this.#at(`${name}:8080`);
    this.#spawn(name, binary("axum"), [], { ...variables, CHATD_NODE: name, CHATD_LISTEN: address });
    await this.#serves(name, `http://${address}/readyz`);
  }

  async #startNginx() {
    const listen = /** @type {const} */ (["listen 80;", `listen ${this.#at("nginx:80")};`]);
    const site = await this.#config("cluster/nginx.conf", [listen, ...this.#named(NODES, 8080)]);
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    const temporary = paths.map((name) => `${name}_temp_path ${join(this.folder, name)};`).join("\n");
    const file = join(this.folder, "nginx.conf");
    await writeFile(
      file,
      `daemon off;\nmaster_process off;\npid ${join(this.folder, "pid")};\nevents {}\n` +
        `http {\naccess_log off;\n${temporary}\n${site}}\n`,
    );
    this.#spawn("nginx", "nginx", ["-c", file, "-p", this.folder, "-e", join(this.folder, "errors")], {});
    await this.#serves("nginx", this.url);
  }

  /**
   * A file of `packaging` with these parts replaced, each of which must be there.
   *
   * @param {string} name
   * @param {readonly (readonly [string, string])[]} parts
   */
  async #config(name, parts) {
    return replaced(await readFile(join(packaging, name), "utf8"), parts);
  }

  /**
   * The addresses in place of these names with this port.
   *
   * @param {readonly string[]} names
   * @param {number} port
   */
  #named(names, port) {
    return names.map((name) => /** @type {const} */ ([`${name}:${port}`, this.#at(`${name}:${port}`)]));
  }

  /** @param {string} name */
  #at(name) {
    const address = this.#addresses[name];
    if (!address) throw new Error(`no address of ${name}`);
    return address;
  }

  /**
   * @param {string} name
   * @param {string} command
   * @param {readonly string[]} options
   * @param {Record<string, string>} variables
   */
  #spawn(name, command, options, variables) {
    const child = spawn(command, options, { stdio: "ignore", env: { ...process.env, ...variables } });
    child.on("error", (error) => (this.#failed = new Error(`${command} is not installed`, { cause: error })));
    this.#processes.set(name, child);
  }

  /** @type {Error | undefined} */
  #failed;

  /**
   * Waits until a process answers with 200.
   *
   * @param {string} name
   * @param {string} url
   */
  async #serves(name, url) {
    const until = Date.now() + START_MS;
    while (!(await answers(url))) {
      if (this.#failed) throw this.#failed;
      if (this.#processes.get(name)?.exitCode !== null || Date.now() > until) throw new Error(`${name} does not serve`);
      await setTimeout(50);
    }
  }

  /**
   * The number of clients of each node, 0 of one that does not run.
   *
   * @returns {Promise<Record<string, number>>}
   */
  async clients() {
    const counted = NODES.map(async (name) => {
      const answer = await fetch(`http://${this.#at(`${name}:8080`)}/readyz`).catch(() => undefined);
      return [name, answer === undefined ? 0 : (await answer.json()).sessions];
    });
    return Object.fromEntries(await Promise.all(counted));
  }

  /** The server of NATS that leads the stream of rooms. */
  async leader() {
    const answer = await fetch(`http://${this.#at("nats1:8222")}/jsz?accounts=true&streams=true`);
    const { account_details: accounts } = await answer.json();
    for (const { stream_detail: streams } of accounts ?? []) {
      for (const { name, cluster } of streams ?? []) if (name === "chat" && cluster?.leader) return String(cluster.leader);
    }
    throw new Error("the stream has no leader");
  }

  /**
   * Ends a process as a crash does.
   *
   * @param {string} name
   */
  async kill(name) {
    const child = this.#processes.get(name);
    this.#processes.delete(name);
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async end() {
    await Promise.all([...this.#processes.keys()].map((name) => this.kill(name)));
    await rm(this.folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} text
 * @param {readonly (readonly [string, string])[]} parts
 */
function replaced(text, parts) {
  for (const [part, by] of parts) {
    if (!text.includes(part)) throw new Error(`there is no ${part}`);
    text = text.replaceAll(part, by);
  }
  return text;
}

/** @param {string} url */
async function answers(url) {
  const answer = await fetch(url).catch(() => undefined);
  await answer?.arrayBuffer();
  return answer?.status === 200;
}

/** @param {number} count */
async function freeAddresses(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  const addresses = await Promise.all(
    servers.map(async (server) => {
      await once(server, "listening");
      return `127.0.0.1:${/** @type {import("node:net").AddressInfo} */ (server.address()).port}`;
    }),
  );
  servers.forEach((server) => server.close());
  return addresses;
}
