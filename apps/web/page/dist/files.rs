//! The files of the chat page. The script `apps/web/page/build.mjs` writes this file.

use chat_core::StaticFile;

const POLICY: &str = "default-src 'none'; \
    script-src 'self'; \
    style-src 'self'; \
    img-src 'self'; \
    connect-src 'self'; \
    manifest-src 'self'; \
    base-uri 'none'; \
    form-action 'none'; \
    frame-ancestors 'none'; \
    require-trusted-types-for 'script'; \
    trusted-types 'none'";

/// The files of the page.
pub(crate) const FILES: &[StaticFile] = &[
    StaticFile {
        path: "/",
        content_type: "text/html; charset=utf-8",
        content: include_bytes!("index.html"),
        gzip: Some(include_bytes!("index.html.gz")),
        version: "9bdccc5c1b",
        is_immutable: false,
        headers: &[("content-security-policy", POLICY), ("referrer-policy", "no-referrer")],
    },
    StaticFile {
        path: "/app-b2195058ba.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("app.js"),
        gzip: Some(include_bytes!("app.js.gz")),
        version: "b2195058ba",
        is_immutable: true,
        headers: &[],
    },
    StaticFile {
        path: "/app-e1277d2cfa.css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("app.css"),
        gzip: Some(include_bytes!("app.css.gz")),
        version: "e1277d2cfa",
        is_immutable: true,
        headers: &[],
    },
    StaticFile {
        path: "/icon-545d4c4a04.svg",
        content_type: "image/svg+xml",
        content: include_bytes!("icon.svg"),
        gzip: Some(include_bytes!("icon.svg.gz")),
        version: "545d4c4a04",
        is_immutable: true,
        headers: &[],
    },
];
