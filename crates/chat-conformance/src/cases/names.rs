use super::*;

chat_suite::cases!(
    /// A guest's name and id are the percent-decoded `name` of the query, if authentication is off.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_guest_gets_the_name_of_the_query(stage: Stage) -> Verdict {
        let name = stage.named("조에");
        let request = stage.handshake("ann").to(&format!("{}?x=1&name={}", stage.path(), encoded(&name)));
        let (ann, welcome) = stage.welcomed("ann", &request).await?;
        let user = &welcome["user"];
        ann.check(user["name"] == name && user["id"] == name, format!("the user {name}"), &welcome)
    }

    /// A guest without a name is called `guest-<n>`, and each guest has another number.
    #[source = "PROTOCOL.md, section 1"]
    async fn a_guest_without_a_name_gets_a_number(stage: Stage) -> Verdict {
        let mut names = Vec::new();
        for _ in 0..3 {
            let request = stage.handshake("guest").to(stage.path());
            let (guest, welcome) = stage.welcomed("guest", &request).await?;
            let name = welcome["user"]["name"].as_str().unwrap_or_default().to_owned();
            let number = name.strip_prefix("guest-").and_then(|number| number.parse::<u64>().ok());
            guest.check(number.is_some(), "a user `guest-<n>`", &welcome)?;
            check(!names.contains(&name), "another number for each guest", &name)?;
            names.push(name);
        }
        Ok(())
    }

    /// A name is normalized to NFKC: full-width letters become letters.
    async fn a_name_is_normalized_to_nfkc(stage: Stage) -> Verdict {
        let request = named(&stage, "Ａｎｎ");
        let (ann, welcome) = stage.welcomed("ann", &request).await?;
        ann.check(welcome["user"]["name"] == "Ann", "the user Ann", &welcome)
    }

    /// A name has 1 to 32 characters: 32 are accepted, 33 and none are refused.
    async fn a_name_of_32_characters_is_the_longest(stage: Stage) -> Verdict {
        let request = named(&stage, "é".repeat(32));
        stage.accepted("ann", &request).await?;
        refused(&stage, "é".repeat(33).as_bytes()).await?;
        refused(&stage, b"").await
    }

    /// A name has at most 128 bytes: 32 characters of four bytes each are accepted.
    async fn a_name_of_128_bytes_is_the_longest(stage: Stage) -> Verdict {
        let request = named(&stage, "𐍈".repeat(32));
        stage.accepted("ann", &request).await?;
        refused(&stage, "𐍈".repeat(33).as_bytes()).await
    }

    /// A name has no control characters: NUL, line feed, escape, delete and C1 controls are refused.
    async fn a_name_with_control_characters_is_refused(stage: Stage) -> Verdict {
        for bad in ["a\0b", "a\nb", "a\u{1b}[31mb", "a\u{7f}b", "a\u{85}b", "a\u{2028}b"] {
            refused(&stage, bad.as_bytes()).await?;
        }
        Ok(())
    }

    /// A name has no bidirectional overrides, embeddings, isolates or marks.
    async fn a_name_with_bidirectional_controls_is_refused(stage: Stage) -> Verdict {
        for bad in ["a\u{202e}b", "a\u{202a}b", "a\u{2066}b", "a\u{200f}b"] {
            refused(&stage, bad.as_bytes()).await?;
        }
        Ok(())
    }

    /// A name has no zero-width characters and no tag characters, and does not consist of fillers.
    async fn a_name_with_invisible_characters_is_refused(stage: Stage) -> Verdict {
        for bad in ["a\u{200b}b", "a\u{feff}b", "a\u{e0041}b", "\u{3164}", "\u{2060}a"] {
            refused(&stage, bad.as_bytes()).await?;
        }
        Ok(())
    }

    /// Spaces inside a name are accepted. Spaces at its ends are refused, since they make two names look alike.
    async fn a_name_that_starts_or_ends_with_a_space_is_refused(stage: Stage) -> Verdict {
        let request = named(&stage, "Ann Lee");
        stage.accepted("ann", &request).await?;
        for bad in [" ann", "ann ", " ", "\u{a0}ann"] {
            refused(&stage, bad.as_bytes()).await?;
        }
        Ok(())
    }

    /// A name whose percent-decoded bytes are not UTF-8 is refused.
    #[source = "PROTOCOL.md, sections 1 and 6"]
    async fn a_name_that_is_not_utf_8_is_refused(stage: Stage) -> Verdict {
        for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80"] {
            refused(&stage, bad).await?;
        }
        Ok(())
    }
);

async fn refused(stage: &Stage, name: &[u8]) -> Verdict {
    let request = named(stage, name);
    stage.refused(&request, 400, "bad_name").await.map(drop)
}

/// A handshake for a guest of exactly this name.
fn named(stage: &Stage, name: impl AsRef<[u8]>) -> Request {
    stage.handshake("ann").to(&format!("{}?name={}", stage.path(), encoded(name)))
}

fn encoded(name: impl AsRef<[u8]>) -> String {
    name.as_ref().iter().map(|byte| format!("%{byte:02x}")).collect()
}
