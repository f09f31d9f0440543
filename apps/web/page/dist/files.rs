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
        version: "acaa1b38ef",
        is_immutable: false,
        headers: &[("content-security-policy", POLICY), ("referrer-policy", "no-referrer")],
    },
    StaticFile {
        path: "/app-02f4a9f4b9.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("app.js"),
        gzip: Some(include_bytes!("app.js.gz")),
        version: "02f4a9f4b9",
        is_immutable: true,
        headers: &[],
    },
    StaticFile {
        path: "/app-ab63ccaa4d.css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("app.css"),
        gzip: Some(include_bytes!("app.css.gz")),
        version: "ab63ccaa4d",
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
