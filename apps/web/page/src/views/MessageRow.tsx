import type { Message, PendingSend, User } from "@chat-core/client";
import type { ComponentChildren, JSX } from "preact";
import { memo } from "../ui/memo.ts";
import { day, fullTime, time } from "../model/format.ts";
import { type Reacted, hasReacted } from "../model/reactions.ts";
import { type Mention, isMentioned, mentionedNames } from "../model/mentions.ts";
import type { Row } from "../model/rows.ts";
import type { Source } from "../model/store.ts";
import type { Texts } from "../model/texts.ts";
import { Avatar } from "../ui/Avatar.tsx";
import { Text } from "../ui/Text.tsx";
import { useSource } from "../ui/hooks.ts";
import { Icon, IconButton } from "../ui/icons.tsx";
import { DeleteButton } from "./DeleteButton.tsx";

/** What a user can do with messages. An action that the server does not offer is absent. */
export interface Actions {
  readonly copyLink: (message: Message) => void;
  readonly retry: (key: string) => void;
  readonly discard: (key: string) => void;
  readonly goTo: (seq: number) => void;
  /** The reactions that the user has set in this tab. */
  readonly own: Source<Reacted>;
  readonly reply?: (message: Message) => void;
  readonly edit?: (message: Message) => void;
  readonly remove?: (message: Message) => void;
  /** Deletes a message of another user. */
  readonly removeOther?: (message: Message) => void;
  readonly react?: (message: Message, reaction: string, on: boolean) => void;
  readonly pin?: (message: Message, on: boolean) => void;
  readonly thread?: (root: number) => void;
  /** Opens the direct room of this user and another one. */
  readonly writeTo?: (user: User) => void;
}

interface Props {
  readonly row: Row;
  readonly me: string;
  readonly t: Texts;
  readonly actions: Actions;
  readonly isOnline: boolean;
  readonly isTarget: boolean;
  /** The names of the users who have read the message, as far as they are shown. */
  readonly seenBy?: string;
  readonly find: (seq: number) => Message | undefined;
  /** The name of a user, or the identifier of one who is not known. */
  readonly nameOf: (id: string) => string;
}

/** Renders again only for a change that it shows. */
export const MessageRow = memo(MessageRowView);

function MessageRowView({ row, me, t, actions, isOnline, isTarget, seenBy = "", find, nameOf }: Props): JSX.Element {
  const { message, pending, act, user, at, isHead } = row;
  const isMine = user.id === me;
  const isForMe = message !== undefined && isMentioned(message, me);
  const states = [isHead ? "head" : "", isTarget ? "target" : "", isForMe ? "for-me" : "", pending?.state ?? ""];
  const { reply_to: replyTo, thread, mentions } = message ?? pending ?? {};
  const newDay = row.startsDay && (
    <div class="day">
      <span>{day(at)}</span>
    </div>
  );
  if (act !== undefined) {
    return (
      <>
        {newDay}
        <p class="act">
          <span dir="auto">{act.say(t)}</span> <Time at={at} />
        </p>
      </>
    );
  }
  return (
    <>
      {newDay}
      {row.isFresh && (
        <div class="fresh">
          <span>{t.newMessages}</span>
        </div>
      )}
      <div class={`message ${states.join(" ")}`}>
        <div class="gutter">{isHead ? <Avatar user={user} /> : <Time at={at} />}</div>
        <div class="content">
          {isHead ? (
            <div class="meta">
              {isMine || actions.writeTo === undefined ? (
                <bdi class="author">{user.name}</bdi>
              ) : (
                <button type="button" class="author" title={t.write(user.name)} onClick={() => actions.writeTo?.(user)}>
                  <bdi>{user.name}</bdi>
                </button>
              )}
              {isMine && <span class="muted">({t.you})</span>}
              <Time at={at} />
            </div>
          ) : (
            <bdi class="hidden">{user.name}</bdi>
          )}
          {isHead && thread !== undefined && actions.thread !== undefined && (
            <Quote icon="thread" message={find(thread)} seq={thread} title={t.openThread} onClick={actions.thread} t={t} />
          )}
          {replyTo !== undefined && (
            <Quote icon="reply" message={find(replyTo)} seq={replyTo} title={t.jump} onClick={actions.goTo} t={t} />
          )}
          <Content
            message={message}
            pending={pending}
            mentions={mentions === undefined ? [] : mentionedNames(mentions, me, nameOf)}
            t={t}
          />
          {pending !== undefined && <Delivery pending={pending} isOnline={isOnline} t={t} actions={actions} />}
          {seenBy !== "" && <Note icon="check" text={t.seenBy(seenBy)} />}
          {message !== undefined && <Reactions message={message} me={me} actions={actions} />}
          {message?.replies !== undefined && actions.thread !== undefined && (
            <button type="button" class="chip" aria-haspopup="true" onClick={() => actions.thread?.(message.seq)}>
              <Icon name="thread" />
              {t.replies(message.replies.count)}
            </button>
          )}
        </div>
        {message !== undefined && message.deleted === undefined && (
          <Toolbar message={message} me={me} actions={actions} t={t} />
        )}
      </div>
    </>
  );
}

function Time({ at }: { readonly at: number }): JSX.Element {
  return (
    <time dateTime={new Date(at).toISOString()} title={fullTime(at)}>
      {time(at)}
    </time>
  );
}

interface ContentProps {
  readonly message: Message | undefined;
  readonly pending: PendingSend | undefined;
  readonly mentions: readonly Mention[];
  readonly t: Texts;
}

function Content({ message, pending, mentions, t }: ContentProps): JSX.Element {
  const deletion = message?.deleted;
  if (deletion !== undefined) {
    const isByAuthor = deletion.by === undefined || deletion.by.id === message?.user.id;
    return <p class="muted placeholder">{isByAuthor ? t.deleted : t.deletedBy(deletion.by.name)}</p>;
  }
  const text = (message?.body ?? pending?.body)?.text;
  if (typeof text !== "string") return <p class="muted placeholder">{t.unknownBody}</p>;
  return (
    <>
      <Text text={text} mentions={mentions} />
      {message?.edited !== undefined && (
        <span class="mark-note" title={fullTime(message.edited.at)}>
          {t.edited}
        </span>
      )}
      {message?.pinned === true && (
        <span class="mark-note">
          <Icon name="pin" />
          {t.pinned}
        </span>
      )}
    </>
  );
}

interface DeliveryProps {
  readonly pending: PendingSend;
  readonly isOnline: boolean;
  readonly t: Texts;
  readonly actions: Actions;
}

function Delivery({ pending, isOnline, t, actions }: DeliveryProps): JSX.Element {
  if (pending.state === "failed") {
    return (
      <p class="delivery bad" role="alert">
        <Icon name="alert" />
        {t.failed} {pending.error !== undefined && t.refusal(pending.error.code)}
        <button type="button" class="text-button" onClick={() => actions.retry(pending.key)}>
          {t.retry}
        </button>
        <button type="button" class="text-button" onClick={() => actions.discard(pending.key)}>
          {t.discard}
        </button>
      </p>
    );
  }
  if (pending.state === "sent") return <Note icon="check" text={t.sent} />;
  return <Note icon="clock" text={isOnline ? t.sending : t.queued} />;
}

function Note({ icon, text }: { readonly icon: "check" | "clock"; readonly text: string }): JSX.Element {
  return (
    <p class="delivery">
      <Icon name={icon} />
      {text}
    </p>
  );
}

interface QuoteProps {
  readonly icon: "reply" | "thread";
  readonly message: Message | undefined;
  readonly seq: number;
  readonly title: string;
  readonly onClick: (seq: number) => void;
  readonly t: Texts;
}

/** One line of another message. */
function Quote({ icon, message, seq, title, onClick, t }: QuoteProps): JSX.Element {
  const text = message?.body?.text;
  return (
    <button type="button" class="quote" onClick={() => onClick(seq)} title={title}>
      <Icon name={icon} />
      <span class="hidden">{title}: </span>
      {message !== undefined && <bdi class="author">{message.user.name}</bdi>}
      <span dir="auto">{typeof text === "string" ? text : message?.deleted !== undefined ? t.deleted : `#${seq}`}</span>
    </button>
  );
}

interface ReactionsProps {
  readonly message: Message;
  readonly me: string;
  readonly actions: Actions;
}

function Reactions({ message, me, actions }: ReactionsProps): ComponentChildren {
  const { reactions } = message;
  const own = useSource(actions.own);
  if (reactions === undefined || reactions.length === 0) return null;
  return (
    <div class="reactions">
      {reactions.map(({ reaction, count, users }) => {
        const isMine = hasReacted(message, reaction, me, own);
        const names = users.map(({ name }) => name).join(", ");
        return (
          <button
            type="button"
            key={reaction}
            class="chip"
            aria-pressed={isMine}
            title={names}
            aria-label={`${reaction} ${count}: ${names}`}
            disabled={actions.react === undefined}
            onClick={() => actions.react?.(message, reaction, !isMine)}
          >
            <span>{reaction}</span> {count}
          </button>
        );
      })}
    </div>
  );
}

/** The reactions at hand. */
const QUICK = ["👍", "❤️", "😂", "🎉"];

interface ToolbarProps {
  readonly message: Message;
  readonly me: string;
  readonly actions: Actions;
  readonly t: Texts;
}

function Toolbar({ message, me, actions, t }: ToolbarProps): JSX.Element {
  const isMine = message.user.id === me;
  const own = useSource(actions.own);
  const { reply, edit, react, pin, thread, copyLink } = actions;
  const remove = isMine ? actions.remove : actions.removeOther;
  const text = message.body?.text;
  return (
    <div class="toolbar" role="group" aria-label={t.actions}>
      {react !== undefined &&
        QUICK.map((emoji) => (
          <button
            type="button"
            key={emoji}
            class="icon-button"
            aria-label={`${t.react}: ${emoji}`}
            aria-pressed={hasReacted(message, emoji, me, own)}
            onClick={() => react(message, emoji, !hasReacted(message, emoji, me, own))}
          >
            {emoji}
          </button>
        ))}
      {reply !== undefined && <IconButton icon="reply" label={t.reply} onClick={() => reply(message)} />}
      {thread !== undefined && <IconButton icon="thread" label={t.thread} onClick={() => thread(message.thread ?? message.seq)} />}
      {typeof text === "string" && (
        <IconButton icon="copy" label={t.copyText} onClick={() => void navigator.clipboard?.writeText(text)} />
      )}
      <IconButton icon="link" label={t.copyLink} onClick={() => copyLink(message)} />
      {pin !== undefined && (
        <IconButton
          icon="pin"
          label={message.pinned === true ? t.unpin : t.pin}
          onClick={() => pin(message, message.pinned !== true)}
        />
      )}
      {edit !== undefined && isMine && <IconButton icon="edit" label={t.edit} onClick={() => edit(message)} />}
      {remove !== undefined && <DeleteButton onSure={() => remove(message)} t={t} />}
    </div>
  );
}
