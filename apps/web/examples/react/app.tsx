import { type Chat, connect, type Message } from "@chat-core/client";
import { useRoom } from "@chat-core/client/react";
import { type FormEvent, StrictMode, useEffect, useState } from "react";
import { createRoot, type Root } from "react-dom/client";

function Line({ message, onReact }: { message: Message; onReact: () => void }) {
  const reactions = message.reactions?.map(({ reaction, count }) => ` ${reaction}${count}`);
  return (
    <li>
      <b>{message.user.name}</b> {message.body?.text ?? "deleted"} {reactions} <button onClick={onReact}>👍</button>
    </li>
  );
}

function Room({ chat, name }: { chat: Chat; name: string }) {
  const { room, state } = useRoom(chat, name, { last: 50 });
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const last = state?.messages.at(-1)?.seq;

  // What is shown counts as read.
  useEffect(() => room?.read(last), [room, last]);
  if (!room || !state) return null;

  const tell = (error: Error) => setProblem(error.message);
  const send = (event: FormEvent) => {
    event.preventDefault();
    room.send(text).then(() => setProblem(""), tell);
    setText("");
  };
  return (
    <section aria-label={name}>
      <p role="status">
        {state.status}, {state.members.map((member) => member.name).join(", ")} {problem}
      </p>
      {state.more && <button onClick={() => void room.older().catch(tell)}>Older</button>}
      <ul>
        {state.messages.map((message) => (
          <Line key={message.seq} message={message} onReact={() => void room.react(message.seq, "👍").catch(tell)} />
        ))}
        {state.pending.map(({ key, body, state }) => (
          <li key={key} className={state}>
            {body.text} {state === "failed" && <button onClick={() => void room.retry(key).catch(tell)}>Retry</button>}
          </li>
        ))}
      </ul>
      <form onSubmit={send}>
        <input value={text} onChange={(event) => setText(event.target.value)} aria-label="Message" />
      </form>
    </section>
  );
}

/** Shows a room in an element. */
export function show(element: Element, url: string, name: string): { chat: Chat; root: Root } {
  const chat = connect(url);
  const root = createRoot(element);
  root.render(<StrictMode><Room chat={chat} name={name} /></StrictMode>);
  return { chat, root };
}
