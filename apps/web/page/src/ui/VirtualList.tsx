import { Component, type ComponentChildren, createRef } from "preact";
import { Heights } from "./heights.ts";

/** What stays in place while rows come, go and change their height. */
export type Anchor = { readonly at: "end" } | ({ readonly at: "row"; readonly key: string } & Edge);

/** Pixels from the top of the view to the top of a row, or to its end. */
export type Edge = { readonly top: number } | { readonly end: number };

interface Props<R> {
  /** Gets the list, for the methods `go`, `reveal` and `show`. */
  readonly handle: { current: VirtualList<R> | null };
  readonly rows: readonly R[];
  readonly keyOf: (row: R) => string;
  readonly render: (row: R, index: number) => ComponentChildren;
  /** A height for rows that were never on the screen. */
  readonly estimate: (row: R, width: number) => number;
  /** Stands above the first row. */
  readonly header: ComponentChildren;
  readonly initial: Anchor;
  readonly label: string;
  readonly onAnchor: (anchor: Anchor) => void;
  readonly onNear: (end: "start" | "end") => void;
}

/** Pixels beyond the view in which rows are rendered, and in which they have to be before others are rendered. */
const OVERSCAN = 900;
const MIN_OVERSCAN = 300;
/** Pixels from an end at which more rows are asked for. */
const NEAR = 1200;
/** Pixels from the end that still count as the end. */
const AT_END = 32;

const MAX_ROUNDS = 8;

/**
 * A list of rows of any height that keeps only the visible ones in the document.
 *
 * The browser's own scroll anchoring is off. After each change, the list puts the anchor back where it was: the end,
 * or the end of the first visible row, because what a row gets or loses most often stands at its top.
 */
export class VirtualList<R> extends Component<Props<R>> {
  readonly #view = createRef<HTMLDivElement>();
  readonly #space = createRef<HTMLDivElement>();
  readonly #window = createRef<HTMLDivElement>();
  readonly #header = createRef<HTMLDivElement>();
  readonly #heights = new Heights((index) => this.#estimate(index));
  #anchor: Anchor = this.props.initial;
  #keyed: readonly R[] | undefined;
  #chosen: readonly R[] | undefined;
  #width = 0;
  #height = 0;
  #start = 0;
  #end = 0;
  #ownScroll = -1;
  #rounds = 0;
  #observer: ResizeObserver | undefined;

  override componentDidMount(): void {
    this.props.handle.current = this;
    this.#observer = new ResizeObserver(() => this.#settle());
    for (const element of [this.#view.current, this.#window.current, this.#header.current]) {
      if (element !== null) this.#observer.observe(element);
    }
    this.#settle();
  }

  override componentDidUpdate(): void {
    this.#settle();
  }

  override componentWillUnmount(): void {
    this.#observer?.disconnect();
    this.props.handle.current = null;
  }

  /** Scrolls to a row, or to the end. */
  go(anchor: Anchor): void {
    this.#anchor = anchor;
    this.#rounds = 0;
    this.#settle();
    this.props.onAnchor(anchor);
  }

  /** Scrolls so that a row is a third below the top. */
  reveal(key: string): void {
    this.go({ at: "row", key, top: (this.#view.current?.clientHeight ?? 0) / 3 });
  }

  /** Scrolls as little as possible so that a row is visible. Returns its element. */
  show(key: string): HTMLElement | null {
    const view = this.#view.current;
    const index = this.#heights.indexOf(key);
    if (view === null || index < 0) return null;
    const [top, end] = [this.#heights.top(index) + this.#headerHeight(), this.#heights.top(index + 1) + this.#headerHeight()];
    if (top < view.scrollTop + 8) this.go({ at: "row", key, top: 8 });
    else if (end > view.scrollTop + view.clientHeight - 8) {
      this.go({ at: "row", key, top: Math.max(8, view.clientHeight - (end - top) - 8) });
    }
    return this.element(key);
  }

  element(key: string): HTMLElement | null {
    return this.#window.current?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`) ?? null;
  }

  #estimate(index: number): number {
    const row = this.props.rows[index];
    return row === undefined ? 0 : this.props.estimate(row, this.#width);
  }

  #headerHeight(): number {
    return this.#header.current?.offsetHeight ?? 0;
  }

  #keys(): void {
    const { rows, keyOf } = this.props;
    if (rows === this.#keyed) return;
    this.#keyed = rows;
    this.#heights.set(rows.map(keyOf));
  }

  /** Measures, places and scrolls until nothing changes. All of this happens before the browser paints. */
  #settle(): void {
    const [view, space, inner] = [this.#view.current, this.#space.current, this.#window.current];
    if (view === null || space === null || inner === null || view.clientHeight === 0) return;
    this.#height = view.clientHeight;
    if (view.clientWidth !== this.#width) {
      this.#width = view.clientWidth;
      this.#heights.forget();
    }
    for (const child of inner.children) {
      const key = child instanceof HTMLElement ? child.dataset["key"] : undefined;
      if (key !== undefined) this.#heights.measure(key, child.getBoundingClientRect().height);
    }
    const header = this.#headerHeight();
    const total = header + this.#heights.total;
    space.style.height = `${total}px`;
    inner.style.transform = `translateY(${header + this.#heights.top(this.#start)}px)`;
    const wanted = this.#scrollTop(header, total);
    if (wanted !== undefined && Math.abs(view.scrollTop - wanted) >= 1) {
      view.scrollTop = wanted;
      this.#ownScroll = view.scrollTop;
    }
    const [start, end] = this.#range(view.scrollTop - header, MIN_OVERSCAN);
    // Each round measures the rows that the previous one rendered. A bound keeps an unstable height from looping.
    if ((start >= this.#start && end <= this.#end) || this.#rounds >= MAX_ROUNDS) this.#rounds = 0;
    else {
      this.#rounds++;
      this.forceUpdate();
    }
    this.#askForMore(view, view.scrollTop, total);
  }

  /** The rows around the view, whose top is at `offset`. */
  #range(offset: number, overscan: number): [number, number] {
    const start = this.#heights.at(offset - overscan);
    const end = Math.min(this.props.rows.length, this.#heights.at(offset + this.#height + overscan) + 1);
    return [start, end];
  }

  /** The position that keeps the anchor in place, or `undefined` if its row is gone. */
  #scrollTop(header: number, total: number): number | undefined {
    const max = Math.max(0, total - this.#height);
    if (this.#anchor.at === "end") return max;
    const index = this.#heights.indexOf(this.#anchor.key);
    if (index < 0) return undefined;
    const offset =
      "end" in this.#anchor
        ? this.#heights.top(index + 1) - this.#anchor.end
        : this.#heights.top(index) - this.#anchor.top;
    return Math.min(max, Math.max(0, header + offset));
  }

  /**
   * Chooses the rows to render from the anchor, so that the rows on the screen keep their elements when others come
   * before them.
   */
  #choose(): void {
    this.#keys();
    const header = this.#headerHeight();
    const top = this.#scrollTop(header, header + this.#heights.total) ?? this.#view.current?.scrollTop ?? 0;
    const [start, end] = this.#range(top - header, MIN_OVERSCAN);
    const isCovered = this.#chosen === this.props.rows && start >= this.#start && end <= this.#end;
    if (!isCovered) [this.#start, this.#end] = this.#range(top - header, OVERSCAN);
    this.#chosen = this.props.rows;
  }

  #askForMore(view: HTMLElement, scrollTop: number, total: number): void {
    if (scrollTop < NEAR) this.props.onNear("start");
    if (total - scrollTop - view.clientHeight < NEAR) this.props.onNear("end");
  }

  readonly #onScroll = (): void => {
    const view = this.#view.current;
    if (view === null) return;
    const { scrollTop, clientHeight, scrollHeight } = view;
    if (Math.abs(scrollTop - this.#ownScroll) < 1) return;
    this.#ownScroll = -1;
    const offset = scrollTop - this.#headerHeight();
    const index = this.#heights.at(offset);
    const key = this.#heights.keyAt(index);
    this.#anchor =
      scrollHeight - scrollTop - clientHeight < AT_END || key === undefined
        ? { at: "end" }
        : { at: "row", key, end: this.#heights.top(index + 1) - offset };
    this.#rounds = 0;
    this.props.onAnchor(this.#anchor);
    this.#settle();
  };

  override render({ rows, render, header, label, keyOf }: Props<R>): ComponentChildren {
    this.#choose();
    const [start, end] = [this.#start, this.#end];
    return (
      <div class="list" ref={this.#view} onScroll={this.#onScroll} role="region" aria-label={label} tabIndex={0}>
        <div class="list-space" ref={this.#space}>
          <div class="list-header" ref={this.#header}>
            {header}
          </div>
          <div class="list-window" ref={this.#window} role={rows.length > 0 ? "feed" : undefined} aria-label={rows.length > 0 ? label : undefined}>
            {rows.slice(start, end).map((row, index) => (
              <article
                key={keyOf(row)}
                data-key={keyOf(row)}
                class="row"
                tabIndex={-1}
                aria-posinset={start + index + 1}
                aria-setsize={rows.length}
              >
                {render(row, start + index)}
              </article>
            ))}
          </div>
        </div>
      </div>
    );
  }
}
