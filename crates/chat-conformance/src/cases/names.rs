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

    /// A guest without a name gets a random id, and a short name that is the beginning of it.
    #[source = "PROTOCOL.md, section 1"]
    #[with(race("the id of a guest without a name is random"))]
    async fn a_guest_without_a_name_gets_a_random_id(stage: Stage) -> Verdict {
        let mut ids = Vec::new();
        for _ in 0..3 {
            let (id, name) = unnamed(&stage).await?;
            let is_short = name.starts_with("guest-") && name.len() <= 16;
            check(is_short && id.starts_with(&name), "a short name `guest-...`, which begins the id", &name)?;
            check(id.len() >= name.len() + 6, "an id that is not to be guessed", &id)?;
            check(!ids.contains(&id), "another id for each guest", &id)?;
            ids.push(id);
        }
        Ok(())
    }

    /// No client can take the id or the name of a guest without a name, nor any other name that begins so.
    #[source = "PROTOCOL.md, section 6"]
    #[with(race("the id of a guest without a name is random"))]
    async fn the_name_of_an_unnamed_guest_cannot_be_taken(stage: Stage) -> Verdict {
        let (id, name) = unnamed(&stage).await?;
        for taken in [&id, &name, "guest-2", "Guest 2", "guest_2", "ＧＵＥＳＴ－2"] {
            refused(&stage, taken.as_bytes()).await?;
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
        for blank in ["\u{13441}", "\u{1d159}", "\u{fffc}", "\u{2800}"] {
            refused(&stage, format!("a{blank}").as_bytes()).await?;
        }
        Ok(())
    }

    /// Joiners and variation selectors are accepted inside emoji, Indic and Persian sequences. The name keeps them, and
    /// the id does not: two names that differ only in them are one user.
    #[source = "PROTOCOL.md, section 6"]
    async fn joiners_inside_a_sequence_are_accepted(stage: Stage) -> Verdict {
        for (name, id) in [
            ("\u{2764}\u{fe0f} ann", "\u{2764} ann"),
            ("\u{1f469}\u{200d}\u{1f4bb}", "\u{1f469}\u{1f4bb}"),
            ("می\u{200c}خواهم", "میخواهم"),
            ("क्\u{200d}ष", "क्ष"),
        ] {
            let (ann, welcome) = stage.welcomed("ann", &named(&stage, stage.named(name))).await?;
            let user = &welcome["user"];
            let fits = user["name"] == stage.named(name) && user["id"] == stage.named(id);
            ann.check(fits, format!("the id {id}"), &welcome)?;
        }
        Ok(())
    }

    /// Joiners and variation selectors elsewhere are invisible, and are refused.
    #[source = "PROTOCOL.md, section 6"]
    async fn joiners_outside_a_sequence_are_refused(stage: Stage) -> Verdict {
        for bad in ["a\u{200d}b", "a\u{200c}b", "a\u{fe0f}", "\u{2764}\u{fe0f}\u{fe0f}", "\u{1f469}\u{200d}"]
        {
            refused(&stage, bad.as_bytes()).await?;
        }
        Ok(())
    }

    /// A name does not mix letters of scripts that look alike. A name in one such script is accepted.
    #[source = "PROTOCOL.md, section 6"]
    async fn a_name_that_mixes_letters_that_look_alike_is_refused(stage: Stage) -> Verdict {
        for bad in ["\u{410}nn", "ann\u{430}", "\u{39f}ne", "\u{41e} Brien"] {
            refused(&stage, bad.as_bytes()).await?;
        }
        stage.accepted("ann", &named(&stage, "\u{412}\u{435}\u{440}\u{430}")).await.map(drop)
    }

    /// Guests cannot have names of a service, in any spelling.
    #[source = "PROTOCOL.md, section 6"]
    async fn a_reserved_name_is_refused(stage: Stage) -> Verdict {
        for bad in ["Admin", "SYSTEM", "moderator", "Adm1n", "[admin]", "Ａｄｍｉｎ", "Ádmin"] {
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

/// Connects a guest without a name, and returns its id and its name.
async fn unnamed(stage: &Stage) -> Result<(String, String), Failure> {
    let request = stage.handshake("ann").to(stage.path());
    let (_guest, welcome) = stage.welcomed("unnamed", &request).await?;
    let text = |field: &str| welcome["user"][field].as_str().unwrap_or_default().to_owned();
    Ok((text("id"), text("name")))
}

/// A handshake for a guest of exactly this name.
fn named(stage: &Stage, name: impl AsRef<[u8]>) -> Request {
    stage.handshake("ann").to(&format!("{}?name={}", stage.path(), encoded(name)))
}

fn encoded(name: impl AsRef<[u8]>) -> String {
    name.as_ref().iter().map(|byte| format!("%{byte:02x}")).collect()
}
