import type { ComponentChildren, JSX } from "preact";
import { seconds } from "../model/format.ts";
import type { Ledger, Resumption } from "../model/ledger.ts";
import { time } from "../model/format.ts";
import { useSession, useTexts } from "../ui/context.ts";
import { useClock, useSource } from "../ui/hooks.ts";
import { Icon } from "../ui/icons.tsx";
import { PanelFrame } from "./PanelFrame.tsx";

/** The panel that shows what the server guarantees, and lets the user try to break it. */
export function HoodPanel({ room }: { readonly room: string }): JSX.Element {
  const t = useTexts();
  const { line, chat } = useSession();
  const { cut, since, frames, rooms } = useSource(line.state);
  const now = useClock(true);
  const ledger = rooms.get(room);
  const isUp = since !== undefined;
  return (
    <PanelFrame title={t.hood}>
      <p class="muted">{t.hoodWhy}</p>
      <Section title={t.line}>
        <p class={isUp ? "line-state up" : "line-state"} role="status">
          <span class="lamp" aria-hidden="true" />
          {isUp ? t.online : cut ? t.lineCut : t.lineDown}
          {isUp && <span class="muted" aria-hidden="true">{seconds(now - since)}</span>}
        </p>
        <div class="actions">
          {cut ? (
            <button
              type="button"
              class="button primary"
              onClick={() => {
                line.restore();
                chat.reconnect();
              }}
            >
              {t.reconnectLine}
            </button>
          ) : (
            <>
              <button type="button" class="button danger" onClick={() => line.cut()}>
                {t.cut}
              </button>
              <button
                type="button"
                class="button"
                onClick={() => {
                  line.drop();
                  chat.reconnect();
                }}
              >
                {t.reconnect}
              </button>
            </>
          )}
        </div>
      </Section>
      {ledger !== undefined && <Entries ledger={ledger} />}
      <Section title={t.resumes}>
        {ledger === undefined || ledger.resumptions.length === 0 ? (
          <p class="muted">{t.noResume}</p>
        ) : (
          <ol class="resumptions">
            {ledger.resumptions.map((resumption) => (
              <Resumed key={resumption.at} resumption={resumption} />
            ))}
          </ol>
        )}
      </Section>
      <Section title={t.frames}>
        <ol class="frames">
          {frames.map(({ id, out, type, detail }) => (
            <li key={id} class={out ? "out" : ""}>
              <span aria-label={out ? t.out : t.in}>{out ? "↑" : "↓"}</span> <b>{type}</b> <span class="clip">{detail}</span>
            </li>
          ))}
        </ol>
      </Section>
    </PanelFrame>
  );
}

function Section({ title, children }: { readonly title: string; readonly children: ComponentChildren }): JSX.Element {
  return (
    <section class="hood-section">
      <h3>{title}</h3>
      {children}
    </section>
  );
}

function Entries({ ledger }: { readonly ledger: Ledger }): JSX.Element {
  const t = useTexts();
  const { received, lost, doubled, gone, seq, epoch } = ledger;
  const isGood = lost === 0 && doubled === 0;
  return (
    <Section title={t.log}>
      <dl class="numbers">
        <div>
          <dt>{t.received}</dt>
          <dd>{received}</dd>
        </div>
        <div class={lost > 0 ? "bad" : ""}>
          <dt>{t.lost}</dt>
          <dd>{lost}</dd>
        </div>
        <div class={doubled > 0 ? "bad" : ""}>
          <dt>{t.doubled}</dt>
          <dd>{doubled}</dd>
        </div>
      </dl>
      <p class={isGood ? "verdict good" : "verdict bad"} role="status">
        <Icon name={isGood ? "check" : "alert"} />
        {isGood ? t.verdictGood : t.verdictBad}
      </p>
      {gone > 0 && <p class="muted">{t.verdictGap(gone)}</p>}
      <dl class="pairs">
        <dt title={t.cursorWhy}>{t.cursor}</dt>
        <dd>
          <code class="cursor">{seq}</code>
        </dd>
        <dt>{t.epoch}</dt>
        <dd>
          <code>{epoch}</code>
        </dd>
      </dl>
    </Section>
  );
}

function Resumed({ resumption }: { readonly resumption: Resumption }): JSX.Element {
  const t = useTexts();
  const { after, got, recovered, at } = resumption;
  return (
    <li>
      <time>{time(at)}</time> {t.resumedFrom(after)}: {recovered ? t.resumedGot(got) : t.resumedLost}.
    </li>
  );
}
