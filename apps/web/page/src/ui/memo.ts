import { Component, type ComponentChildren, type ComponentType, createElement } from "preact";

/** A component that renders again only if one of its properties changed. */
export function memo<P extends object>(view: (props: P) => ComponentChildren): ComponentType<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const names = Object.keys(next) as (keyof P)[];
      return names.some((name) => next[name] !== this.props[name]);
    }

    override render(): ComponentChildren {
      return createElement(view, this.props);
    }
  };
}
