import { connect } from "@chat-core/client";

const chat = connect(document.body.dataset.url ?? "/ws");
const room = chat.join("lobby", { last: 20 });

function line(user, text, state = "") {
  const item = document.createElement("li");
  item.textContent = `${user}: ${text}`;
  item.className = state;
  return item;
}

room.subscribe(({ status, count, messages, pending }) => {
  document.querySelector("#status").textContent = `${status}, ${count} here`;
  document.querySelector("#messages").replaceChildren(
    ...messages.map(({ user, body }) => line(user.name, body?.text ?? "deleted")),
    ...pending.map(({ body, state }) => line("you", body.text, state)),
  );
});

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { text } = event.target.elements;
  // A message that fails stays in the list, where a page could offer `room.retry(key)`.
  room.send(text.value).catch((error) => console.warn(error.code));
  text.value = "";
});
