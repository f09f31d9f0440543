import { render } from "preact";
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { exit, identity, type Identity } from "./model/identity.ts";
import { Session } from "./model/session.ts";
import { SessionContext } from "./ui/context.ts";
import { useSource } from "./ui/hooks.ts";
import { Chat } from "./views/Chat.tsx";
import { SignIn } from "./views/SignIn.tsx";

/** Reasons to leave the chat that another sign-in can correct. */
const SIGN_IN_AGAIN = new Set(["unauthorized", "token_expired", "bad_name", "hello_required", "hello_timeout"]);

function App(): JSX.Element {
  const person = useSource(identity);
  const [problem, setProblem] = useState<string>();
  if (person === undefined) return <SignIn problem={problem} />;
  return <SignedIn key={JSON.stringify(person)} person={person} onRefused={setProblem} />;
}

interface Props {
  readonly person: Identity;
  readonly onRefused: (code: string) => void;
}

function SignedIn({ person, onRefused }: Props): JSX.Element {
  const session = useMemo(() => new Session(person), []);
  useEffect(
    () =>
      session.chat.subscribe(({ status, error }) => {
        if (status !== "closed" || error === undefined || !SIGN_IN_AGAIN.has(error.code)) return;
        onRefused("isKnown" in person ? "login_ended" : error.code);
        exit();
      }),
    [session],
  );
  useEffect(() => () => session.end(), [session]);
  return (
    <SessionContext.Provider value={session}>
      <Chat />
    </SessionContext.Provider>
  );
}

const root = document.getElementById("app");
if (root !== null) render(<App />, root);
