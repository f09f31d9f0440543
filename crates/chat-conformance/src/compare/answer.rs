use super::line::Line;
use super::random::lossy;

/// Headers that the HTTP library controls.
const FRAMING: [&str; 3] = ["date", "content-length", "transfer-encoding"];

impl Line {
    /// An HTTP answer without the details that depend on the HTTP library.
    pub(super) fn answer(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let (head, body) = bytes.split_at(end);
        let head = lossy(head);
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap_or_default();
        // The version and the status; what follows is the reason phrase.
        let status: String = status.chars().take("HTTP/1.1 101".len()).collect();
        let switches = status.ends_with("101");
        let mut headers: Vec<_> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                let (name, value) = (name.to_ascii_lowercase(), value.trim());
                // A list of tokens in any casing.
                let value = if name == "connection" { value.to_ascii_lowercase() } else { value.to_owned() };
                (name, value)
            })
            .filter(|(name, _)| !FRAMING.contains(&&**name) && (switches || name != "connection"))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        headers.sort();
        let head = format!("{status} | {} | ", headers.join(" | "));
        let text = format!("< {head}{}", lossy(body));
        Self { text, bytes: [head.as_bytes(), body].concat(), event: None }
    }
}
