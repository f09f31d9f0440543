use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chat_auth::{KeySet, Rejection, TokenVerifier, VerifyingKey};
use chat_core::{Identity, User};
use chat_tests::fuzz::{check_inputs, corpus, mutate_bytes};
use ring::hmac;
use serde_json::Value;

/// The secret that has signed the tokens of HS256 in the corpus.
const SECRET: &[u8] = b"the secret of the corpus of tokens";

/// A time at which the tokens of the corpus are valid: January 2026.
const NOW: u64 = 1_767_225_600;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn verifier() -> TokenVerifier {
    TokenVerifier::new().issuer("https://login.example/").audience("chat")
}

/// Returns the key set of the corpus, whose private keys have signed its tokens.
fn public_keys() -> Result<Vec<u8>> {
    let files = corpus("key_sets")?.into_iter();
    let mut named = files.filter(|(path, _)| path.ends_with("tokens.json"));
    Ok(named.next().context("no keys")?.1)
}

fn keys() -> Result<KeySet> {
    let secret = KeySet::new([VerifyingKey::from_secret(SECRET)?])?;
    Ok(KeySet::concat([secret, KeySet::from_jwks(&public_keys()?)?])?)
}

#[test]
fn a_token_that_differs_from_each_signed_one_is_refused() -> Result<()> {
    let (keys, verifier) = (keys()?, verifier());
    let files = corpus("tokens")?.into_iter();
    let signed = files.filter(|(path, _)| path.extension().is_none_or(|extension| extension != "refused"));
    let signed: Vec<_> = signed.map(|(_, token)| token).collect();
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA"] {
        let is_named = |token: &&Vec<u8>| {
            let header =
                token.split(|byte| *byte == b'.').next().and_then(|header| BASE64.decode(header).ok());
            header.is_some_and(|header| String::from_utf8_lossy(&header).contains(algorithm))
        };
        let token = std::str::from_utf8(signed.iter().find(is_named).context(algorithm)?)?;
        verifier.verify(token, &keys, now()).with_context(|| algorithm.to_owned())?;
        let other = verifier.clone().audience("other").issuer("other").verify(token, &keys, now());
        ensure!(other.is_ok(), "more audiences refuse it");
        for (other, expected) in [
            (TokenVerifier::new().issuer("https://login.example/").audience("other"), Rejection::Audience),
            (TokenVerifier::new().issuer("https://login.example/"), Rejection::Audience),
            (TokenVerifier::new().issuer("https://other.example/").audience("chat"), Rejection::Issuer),
        ] {
            ensure!(other.verify(token, &keys, now()) == Err(expected), "{algorithm}: {expected}");
        }
        let late = now() + Duration::from_secs(40_000_000_000);
        ensure!(verifier.verify(token, &keys, late) == Err(Rejection::Expired), "{algorithm}: never expires");
    }
    check_inputs("tokens", 20_000, |input| {
        let Ok(token) = std::str::from_utf8(input) else { return Ok(()) };
        let is_signed = signed.iter().any(|signed| signed == input);
        let verified = verifier.verify(token, &keys, now());
        ensure!(verified.is_ok() == is_signed, "{verified:?}");
        Ok(())
    })
}

#[test]
fn a_signed_token_is_accepted_only_with_its_algorithm_its_type_and_its_claims() -> Result<()> {
    let (keys, verifier) = (keys()?, verifier());
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    check_inputs("claims", 20_000, |input| {
        // The first line is the header, and the rest the payload.
        let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let (header, payload) = (&input[..end], input.get(end + 1..).unwrap_or_default());
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
        let token = format!("{signed}.{}", BASE64.encode(hmac::sign(&key, signed.as_bytes())));
        let Ok(claims) = verifier.verify(&token, &keys, now()) else { return Ok(()) };
        let header: Value = serde_json::from_slice(header)?;
        ensure!(header["alg"] == "HS256" && header["crit"].is_null(), "{header}");
        let types = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
        let typ = header["typ"].as_str().map(str::to_ascii_lowercase);
        ensure!(header["typ"].is_null() || typ.is_some_and(|typ| types.contains(&&*typ)), "{header}");
        let payload: Value = serde_json::from_slice(payload)?;
        let user = &claims.user;
        ensure!(payload["sub"] == user.id() && User::new(user.id(), user.name()).is_ok(), "{claims:?}");
        ensure!(payload["iss"] == "https://login.example/", "{payload}");
        let is_for_chat = |audience: &Value| audience == "chat";
        let audience = &payload["aud"];
        ensure!(
            is_for_chat(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_for_chat)),
            "{payload}"
        );
        let (now, leeway) = (NOW as f64, 10.0);
        ensure!(payload["exp"].as_f64().is_some_and(|end| end + leeway > now), "{payload}");
        ensure!(payload["nbf"].as_f64().is_none_or(|start| start <= now + leeway), "{payload}");
        ensure!(claims.rights.is_admin() == (payload["admin"] == true), "{payload}");
        let rooms = payload["rooms"].as_object();
        ensure!(
            claims.rights.rooms().map(std::collections::BTreeMap::len) == rooms.map(serde_json::Map::len),
            "{payload}"
        );
        let _identity = Identity::from(claims);
        Ok(())
    })
}

#[test]
fn a_key_set_verifies_only_tokens_of_the_keys_in_it() -> Result<()> {
    let verifier = verifier();
    let tokens = corpus("tokens")?;
    check_inputs("key_sets", 5_000, |input| {
        let set = KeySet::from_jwks(input);
        let spaced = KeySet::from_jwks(&[b" \n", input, b"\t"].concat());
        let length = |set: &Result<KeySet, _>| set.as_ref().map(KeySet::len).ok();
        ensure!(length(&set) == length(&spaced), "white space changes the keys");
        let Ok(set) = set else { return Ok(()) };
        let value: Value = serde_json::from_slice(input)?;
        let listed = value["keys"].as_array().context("no list")?;
        ensure!((1..=listed.len().min(32)).contains(&set.len()), "{} keys", set.len());
        // A set is public, so no secret in it counts.
        ensure!(!format!("{set:?}").contains("Hs256"), "{set:?}");
        for (path, token) in &tokens {
            if verifier.verify(std::str::from_utf8(token)?, &set, now()).is_ok() {
                let own: Value = serde_json::from_slice(&public_keys()?)?;
                let material = |key: &Value| (key["x"].clone(), key["y"].clone(), key["n"].clone());
                let own: Vec<_> = own["keys"].as_array().into_iter().flatten().map(material).collect();
                let has_own = listed.iter().any(|key| own.contains(&material(key)));
                ensure!(has_own, "{} is accepted without its key", path.display());
            }
        }
        Ok(())
    })
}

#[test]
fn a_ticket_is_redeemed_once_and_only_by_its_exact_text() -> Result<()> {
    let tickets = chat_auth::Tickets::default();
    check_inputs("tickets", 10_000, |input| {
        let ticket = tickets.issue(User::new("7", "Ann")?.into())?;
        // A text around the ticket, and a change of the ticket itself.
        let mut changed = ticket.clone().into_bytes();
        let seed =
            input.iter().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        mutate_bytes(&mut fastrand::Rng::with_seed(seed), &mut changed, input);
        let around = String::from_utf8_lossy(input).replace("{ticket}", &ticket);
        for text in [around, String::from_utf8_lossy(&changed).into_owned()] {
            ensure!(text == ticket || tickets.redeem(&text).is_none(), "{text:?} is redeemed as {ticket}");
        }
        let redeemed = tickets.redeem(&ticket).context("the ticket is lost")?;
        ensure!(redeemed.user.id() == "7" && tickets.redeem(&ticket).is_none(), "redeemed twice");
        Ok(())
    })
}
