import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { Parser } from "@asyncapi/parser";
import { connect, type WebSocketClass } from "@chat-core/client";
import { Ajv } from "ajv";
import { Server } from "./support/server.js";
import { until } from "./support/until.js";

const TEXT = readFileSync("../../../docs/asyncapi.json", "utf8");

interface Described {
  readonly payload: object;
  readonly examples: readonly { readonly payload: { readonly type: string } }[];
}

const { components } = JSON.parse(TEXT) as { components: { messages: Record<string, Described> } };
const ajv = new Ajv({ allErrors: true }).addVocabulary(["components"]);
ajv.addSchema({ $id: "doc", components } as object);

/** Checks a frame against the schema of its type. */
function check(direction: "event" | "command", frame: { readonly type: string }): void {
  const name = `${direction}.${frame.type}`;
  assert.ok(components.messages[name], `${name} is not described`);
  const isValid = ajv.validate({ $ref: `doc#/components/messages/${name}/payload` }, frame);
  assert.ok(isValid, `${name}: ${JSON.stringify(frame)} ${ajv.errorsText()}`);
}

test("the AsyncAPI document is valid", async () => {
  const problems = await new Parser().validate(TEXT);
  assert.deepEqual(problems.filter(({ severity }) => severity <= 1), []);
});

test("each example fits its schema and the types of this client", () => {
  const values = { event: [] as string[], command: [] as string[] };
  for (const [name, { examples }] of Object.entries(components.messages)) {
    const direction = name.startsWith("event") ? "event" : "command";
    for (const { payload } of examples) {
      check(direction, payload);
      values[direction].push(JSON.stringify(payload));
    }
  }
  // The compiler refuses fields that a type does not have, missing ones, and wrong types.
  writeFileSync(
    "build/examples.ts",
    `import type { Command, CommandType, WireEvent } from "../src/index.js";
type Typing = { type: "typing"; room: string; active: boolean };
type AnyCommand = { [T in CommandType]: Command<T> & { ref?: string } }[CommandType] | Typing;
export const events: WireEvent[] = [${values.event.join(",\n")}];
export const commands: AnyCommand[] = [${values.command.join(",\n")}];\n`,
  );
  const flags = ["--noEmit", "--ignoreConfig", "--strict", "--module", "nodenext", "--target", "es2022"];
  const result = spawnSync("node_modules/.bin/tsc", [...flags, "build/examples.ts"], { encoding: "utf8" });
  assert.equal(result.stdout, "");
});

test("the frames of a conversation fit their schemas", async () => {
  await using server = await Server.start();
  const frames = new Set<string>();
  // A WebSocket that records what passes.
  const Recorder = class extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      this.addEventListener("message", ({ data }) => this.#record("event", data));
    }

    override send(data: string): void {
      this.#record("command", data);
      super.send(data);
    }

    #record(direction: "event" | "command", text: string): void {
      const frame = JSON.parse(text);
      frames.add(`${direction}.${frame.type}`);
      // What servers do not know yet is not described yet.
      if (frame.type !== "read") check(direction, frame);
    }
  } satisfies WebSocketClass;
  const [ann, bo] = ["Ann", "Bo"].map((name) => connect(server.url, { name, WebSocket: Recorder }));
  assert.ok(ann && bo);
  const [room, other] = [ann.join("lobby"), bo.join("lobby")];
  await until(room, ({ status, count }) => status === "live" && count === 2);
  room.typing();
  await room.send("hello");
  await assert.rejects(room.send(" "));
  await room.history();
  await room.search("hello");
  await ann.request({ type: "ping" });
  ann.reconnect();
  await room.send("again");
  other.leave();
  await until(room, ({ count }) => count === 1);
  const drained = new Promise((resolve) => ann.on("closing", resolve));
  await server.kill("SIGTERM");
  await drained;
  ann.close();
  bo.close();
  const replies = ["welcome", "joined", "left", "sent", "history", "found", "members", "pong", "error"];
  for (const type of [...replies, "message", "presence", "typing", "closing"]) assert.ok(frames.has(`event.${type}`), type);
});
