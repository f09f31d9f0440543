import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Admission, admission, enter, findOtherWindow, lastName, refusalOf } from "../model/identity.ts";
import { useTexts } from "../ui/context.ts";

/** Refusals after which a name alone does not help. */
const TOKEN_NEEDED = new Set(["unauthorized", "token_expired", "hello_required", "hello_timeout"]);

/** The first page: a name, or a token where the server knows its users. */
export function SignIn({ problem }: { readonly problem: string | undefined }): JSX.Element {
  const t = useTexts();
  const [way, setWay] = useState<Admission>();
  // The form that the user has chosen, or that the refusal asks for.
  const [hasToken, setHasToken] = useState(problem !== undefined && TOKEN_NEEDED.has(problem));
  const ask = () => {
    setWay(undefined);
    void admission().then(setWay);
  };
  useEffect(ask, []);
  const known = typeof way === "object" ? way.known : undefined;
  // After a refusal, the user sees the reason first.
  useEffect(() => {
    if (known !== undefined && problem === undefined) enter({ isKnown: true });
  }, [known]);
  return (
    <main class="sign-in">
      <div class="card">
        <img src={iconAddress()} alt="" width="44" height="44" />
        {way === undefined && <p role="status">{t.checking}</p>}
        {way === "unreachable" && (
          <>
            <p role="alert">{t.unreachable}</p>
            <button type="button" class="button primary" onClick={ask}>
              {t.tryAgain}
            </button>
          </>
        )}
        {known !== undefined && problem !== undefined && (
          <>
            <p role="alert">{t.refusal(problem)}</p>
            <button type="button" class="button primary" onClick={() => enter({ isKnown: true })}>
              {t.enterAs(known)}
            </button>
          </>
        )}
        {way === "refused" && !hasToken && (
          <div class="reason">
            <h1>{t.elsewhereTitle}</h1>
            {problem !== undefined && <p role="alert">{t.refusal(problem)}</p>}
            {t.elsewhere.map((line) => (
              <p key={line} class="muted">
                {line}
              </p>
            ))}
            <button type="button" class="button primary" onClick={ask}>
              {t.tryAgain}
            </button>
          </div>
        )}
        {way === "name" && !hasToken && <NameForm problem={problem} />}
        {(way === "token" || ((way === "name" || way === "refused") && hasToken)) && <TokenForm problem={problem} />}
        {(way === "name" || way === "refused") && (
          <button type="button" class="text-button other-way" onClick={() => setHasToken(!hasToken)}>
            {!hasToken ? t.withToken : way === "name" ? t.withName : t.cancel}
          </button>
        )}
      </div>
    </main>
  );
}

/** The built page knows the address of its icon. */
function iconAddress(): string {
  return document.querySelector<HTMLLinkElement>("link[rel=icon]")?.href ?? "";
}

function NameForm({ problem }: { readonly problem: string | undefined }): JSX.Element {
  const t = useTexts();
  const [name, setName] = useState(lastName);
  const [other, setOther] = useState<string>();
  const [refusal, setRefusal] = useState(problem);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    field.current?.select();
    return findOtherWindow((found) => {
      setOther(found);
      // A second window is most often a second person.
      setName((present) => (present === found ? "" : present));
    });
  }, []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const wanted = name.trim().normalize("NFKC");
    if (wanted === "") return field.current?.focus();
    const code = await refusalOf(wanted);
    if (code === undefined) enter({ name: wanted });
    else {
      setRefusal(code);
      field.current?.focus();
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <h1>{t.welcome}</h1>
      <p class="muted">{other === undefined ? t.welcomeWhy : t.secondWindow(other)}</p>
      <label class="field">
        <span>{t.name}</span>
        <input
          ref={field}
          value={name}
          onInput={({ currentTarget }) => setName(currentTarget.value)}
          maxLength={64}
          autoComplete="nickname"
          autoFocus
          dir="auto"
          required
          aria-describedby="name-hint"
          aria-invalid={refusal !== undefined}
        />
      </label>
      <p id="name-hint" class={refusal === undefined ? "hint" : "hint bad"} role={refusal === undefined ? undefined : "alert"}>
        {refusal === undefined ? t.nameHint : t.refusal(refusal)}
      </p>
      <button type="submit" class="button primary">
        {t.enter}
      </button>
    </form>
  );
}

function TokenForm({ problem }: { readonly problem: string | undefined }): JSX.Element {
  const t = useTexts();
  const [token, setToken] = useState("");
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (token.trim() !== "") enter({ token: token.trim() });
  };
  return (
    <form onSubmit={submit}>
      <h1>{t.tokenTitle}</h1>
      <p class="muted">{t.tokenWhy}</p>
      <label class="field">
        <span>{t.token}</span>
        <input
          type="password"
          value={token}
          onInput={({ currentTarget }) => setToken(currentTarget.value)}
          autoComplete="off"
          spellcheck={false}
          autoFocus
          required
          aria-describedby="token-hint"
          aria-invalid={problem !== undefined}
        />
      </label>
      <p id="token-hint" class={problem === undefined ? "hint" : "hint bad"} role={problem === undefined ? undefined : "alert"}>
        {problem === undefined ? t.tokenHint : t.refusal(problem)}
      </p>
      <button type="submit" class="button primary">
        {t.signIn}
      </button>
    </form>
  );
}
