use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;
use crate::{KeySet, Rejection, SigningKey, VerifyingKey};

const SECRET: &[u8] = b"the current secret, of 32 bytes.";
const OTHER: &[u8] = b"the previous one, also 32 bytes.";

fn keys() -> KeySet {
    KeySet::new([VerifyingKey::from_secret(SECRET).expect("a secret")]).expect("a set")
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs()
}

/// Signs any header and payload.
fn sign(header: &str, payload: &str) -> String {
    let encode = |text: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let key = SigningKey::from_secret(SECRET).expect("a secret");
    let signature = key.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", encode(&signature))
}

fn verifier() -> TokenVerifier {
    TokenVerifier::new().issuer("login").audience("chat")
}

fn verify(token: &str) -> Result<Claims, Rejection> {
    verifier().verify(token, &keys(), SystemTime::now())
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Returns a payload that is valid, with these members added.
fn payload(members: &str) -> String {
    format!(r#"{{"sub":"7","exp":{},"iss":"login","aud":"chat"{members}}}"#, now() + 60)
}

#[test]
fn claims_become_the_user_the_rights_and_the_limits() {
    let members = r#","name":"Ann","admin":false,"rooms":{"lobby":"member","team-*":"moderator","*":"none"},
        "limits":{"connections":3,"rate":5,"burst":20},"other":{"a":[1]},"nbf":1.5,"iat":1"#;
    let claims = verify(&sign(HEADER, &payload(members))).expect("a valid token");
    assert_eq!((claims.user.id(), claims.user.name()), ("7", "Ann"));
    let role = |room: &str| claims.rights.role(&room.parse().expect("a room"));
    assert_eq!(role("lobby"), Some(Role::Member));
    assert_eq!(role("team-a"), Some(Role::Moderator));
    assert_eq!(role("other"), Some(Role::None));
    assert_eq!(claims.limits.max_connections, Some(3));
    assert_eq!(claims.limits.rate, Some(chat_core::Rate::new(5, 20)));
    let identity = chat_core::Identity::from(claims.clone());
    assert!(identity.rights.is_some() && identity.expires_at == Some(claims.expires_at));

    let plain = verify(&sign(HEADER, &payload(r#","aud2":1"#))).expect("a valid token");
    assert_eq!((plain.user.name(), plain.rights), ("7", Rights::default()));
    let nowhere = verify(&sign(HEADER, &payload(r#","rooms":{}"#))).expect("a valid token");
    assert_eq!(nowhere.rights.role(&"lobby".parse().expect("a room")), None);
}

#[tokio::test]
async fn an_administrator_is_an_owner_of_all_rooms_and_a_plain_token_gives_no_role() {
    let user = chat_core::User::new("7", "Ann").expect("a user");
    let lobby = "lobby".parse().expect("a room");
    let rights = |members: &str| {
        let claims = verify(&sign(HEADER, &payload(members))).expect("a valid token");
        chat_core::Identity::from(claims).rights
    };
    for members in [r#","admin":true"#, r#","admin":true,"rooms":{}"#] {
        let admin = rights(members).expect("rights");
        assert_eq!(admin.role(&user, &lobby).await.ok(), Some(Role::Owner), "{members}");
        assert!(admin.authorize(&user, &lobby, &chat_core::Action::Join).await.is_ok());
    }
    for members in ["", r#","admin":false"#] {
        assert!(rights(members).is_none(), "only the host decides");
        let claims = verify(&sign(HEADER, &payload(members))).expect("a valid token");
        assert_eq!(claims.rights.role(&lobby), Some(Role::None));
    }
}

#[test]
fn a_token_with_a_bad_claim_is_refused() {
    let replaced = |claim: &str, value: &str| {
        let claims = [
            ("sub", "\"7\""),
            ("exp", &*(now() + 60).to_string()),
            ("iss", "\"login\""),
            ("aud", "\"chat\""),
        ]
        .map(|(name, valid)| format!("\"{name}\":{}", if name == claim { value } else { valid }));
        format!("{{{}}}", claims.join(","))
    };
    let early = format!(r#","nbf":{}"#, now() + 60);
    for (payload, rejection) in [
        (replaced("sub", "7"), Rejection::Claims),
        (replaced("sub", "null"), Rejection::Claims),
        (replaced("sub", "\"\""), Rejection::User),
        (replaced("sub", "\"a\\nb\""), Rejection::User),
        (replaced("exp", "\"1\""), Rejection::Claims),
        (replaced("exp", "-1"), Rejection::Claims),
        (replaced("exp", "1e300"), Rejection::Claims),
        (replaced("exp", "null"), Rejection::Claims),
        (replaced("exp", "0"), Rejection::Expired),
        (replaced("exp", &(now() - 11).to_string()), Rejection::Expired),
        (replaced("iss", "\"other\""), Rejection::Issuer),
        (replaced("iss", "null"), Rejection::Issuer),
        (replaced("aud", "\"other\""), Rejection::Audience),
        (replaced("aud", "[\"other\",\"cha\"]"), Rejection::Audience),
        (replaced("aud", "[]"), Rejection::Audience),
        (replaced("aud", "null"), Rejection::Audience),
        (replaced("aud", "{}"), Rejection::Claims),
        (payload(&early), Rejection::Early),
        (payload(r#","nbf":"1""#), Rejection::Claims),
        (payload(r#","iat":"1""#), Rejection::Claims),
        (payload(r#","name":1"#), Rejection::Claims),
        (payload(r#","admin":"true""#), Rejection::Claims),
        (payload(r#","rooms":[]"#), Rejection::Claims),
        (payload(r#","rooms":{"lobby":"king"}"#), Rejection::Claims),
        (payload(r#","rooms":{"Lobby":"member"}"#), Rejection::Claims),
        (payload(r#","rooms":{"a*b":"member"}"#), Rejection::Claims),
        (payload(r#","limits":{"rate":-1}"#), Rejection::Claims),
        (payload(r#","limits":5"#), Rejection::Claims),
        (payload(r#","sub":"8""#), Rejection::Claims),
        (payload(r#","rooms":{"lobby":"none","lobby":"owner"}"#), Rejection::Claims),
        (payload(&format!(r#","deep":{}{}"#, "[".repeat(500), "]".repeat(500))), Rejection::Claims),
        ("[]".to_owned(), Rejection::Claims),
        ("{}".to_owned(), Rejection::Claims),
        ("not JSON".to_owned(), Rejection::Claims),
        (String::new(), Rejection::Claims),
    ] {
        assert_eq!(verify(&sign(HEADER, &payload)), Err(rejection), "{payload}");
    }
    let lists = replaced("aud", r#"["other","chat"]"#);
    assert!(verify(&sign(HEADER, &lists)).is_ok());
    assert!(verify(&sign(HEADER, &replaced("exp", &(now() - 5).to_string()))).is_ok());
}

#[test]
fn a_token_with_a_bad_header_is_refused() {
    for (header, rejection) in [
        (r#"{"alg":"none"}"#, Rejection::Algorithm),
        (r#"{"alg":"NONE"}"#, Rejection::Algorithm),
        (r#"{"alg":""}"#, Rejection::Algorithm),
        (r#"{"alg":"HS512"}"#, Rejection::Algorithm),
        (r#"{"alg":"hs256"}"#, Rejection::Algorithm),
        (r#"{"alg":"RS256"}"#, Rejection::UnknownKey),
        (r#"{"alg":"HS256","crit":["exp"]}"#, Rejection::Header),
        (r#"{"alg":"HS256","typ":"logout+jwt"}"#, Rejection::Header),
        (r#"{"alg":"HS256","kid":1}"#, Rejection::Header),
        (r#"{"alg":"none","alg":"HS256"}"#, Rejection::Header),
        (r#"{"typ":"JWT"}"#, Rejection::Header),
        (r#"["HS256"]"#, Rejection::Header),
        ("", Rejection::Header),
    ] {
        assert_eq!(verify(&sign(header, &payload(""))), Err(rejection), "{header}");
    }
    for header in
        [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","typ":"at+JWT","kid":"any","jku":"https://evil.example"}"#]
    {
        assert!(verify(&sign(header, &payload(""))).is_ok(), "{header}");
    }
}

/// The example of RFC 7519 section 6.1, and other forms.
#[test]
fn a_token_without_a_signature_or_of_another_form_is_refused() {
    let good = sign(HEADER, &payload(""));
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let unsecured = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19\
        yb290Ijp0cnVlfQ.";
    for (token, rejection) in [
        (unsecured.to_owned(), Rejection::Algorithm),
        (format!("{signed}."), Rejection::Signature),
        (format!("{signed}.{}", &signature[..41]), Rejection::Malformed),
        (format!("{signed}.{}", &signature[..40]), Rejection::Signature),
        (format!("{good}="), Rejection::Malformed),
        (format!("{good}."), Rejection::Malformed),
        (format!("{good}.{signature}"), Rejection::Malformed),
        (format!(" {good}"), Rejection::Malformed),
        (signed.to_owned(), Rejection::Malformed),
        (String::new(), Rejection::Malformed),
        ("..".to_owned(), Rejection::Header),
        ("a".repeat(8 * 1024 + 1), Rejection::TooLong),
    ] {
        assert_eq!(verify(&token), Err(rejection), "{token}");
    }
    assert!(verify(&good).is_ok());
}

#[test]
fn a_kid_selects_the_keys_with_that_id_and_those_without_one() {
    let key = |secret: &[u8]| VerifyingKey::from_secret(secret).expect("a secret");
    let verify = |keys: Vec<VerifyingKey>, header: &str| {
        let token = sign(header, &payload(""));
        verifier().verify(&token, &KeySet::new(keys).expect("a set"), SystemTime::now()).map(drop)
    };
    let named = r#"{"alg":"HS256","kid":"a"}"#;
    assert_eq!(verify(vec![key(OTHER), key(SECRET)], HEADER), Ok(()));
    assert_eq!(verify(vec![key(OTHER), key(SECRET)], named), Ok(()));
    assert_eq!(verify(vec![key(OTHER).with_id("b"), key(SECRET).with_id("a")], named), Ok(()));
    assert_eq!(verify(vec![key(OTHER).with_id("b"), key(SECRET).with_id("a")], HEADER), Ok(()));
    assert_eq!(verify(vec![key(SECRET).with_id("b")], named), Err(Rejection::UnknownKey));
    assert_eq!(
        verify(vec![key(OTHER).with_id("a"), key(SECRET).with_id("b")], named),
        Err(Rejection::Signature)
    );
    assert_eq!(verify(vec![key(OTHER)], HEADER), Err(Rejection::Signature));
}

/// An attacker knows a public key, and signs with it as the secret of HS256.
#[test]
fn a_public_key_is_never_a_secret() {
    let point = b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let set = format!(
        r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{}"}}]}}"#,
        str::from_utf8(point).expect("text")
    );
    let keys = KeySet::from_jwks(set.as_bytes()).expect("a set");
    for secret in [&point[..], &BASE64_URL_SAFE_NO_PAD.decode(point).expect("base64"), set.as_bytes()] {
        let token = NewToken::new("7", Duration::from_secs(60))
            .sign(&SigningKey::from_secret(secret).expect("a secret"))
            .expect("a token");
        let verified = TokenVerifier::new().verify(&token, &keys, SystemTime::now());
        assert_eq!(verified, Err(Rejection::UnknownKey));
    }
}

#[test]
fn a_token_for_an_audience_is_refused_if_none_is_expected() {
    let token = sign(HEADER, &payload(""));
    let verified = TokenVerifier::new().verify(&token, &keys(), SystemTime::now());
    assert_eq!(verified, Err(Rejection::Audience));
}

proptest! {
    /// The base64 is canonical and each part is signed or a signature, so a token has one spelling.
    #[test]
    fn a_token_that_was_changed_does_not_verify(
        changes in prop::collection::vec((0_usize..1_000, 0_u8..5, any::<u8>()), 1..4)
    ) {
        let valid = sign(HEADER, &payload(r#","rooms":{"lobby":"member"}"#));
        let mut bytes = valid.clone().into_bytes();
        for (at, kind, byte) in changes {
            let at = at % bytes.len();
            let letter = b"ABCXYZabcxyz0189-_.="[usize::from(byte) % 20];
            match kind {
                0 => bytes[at] = letter,
                1 => bytes[at] ^= 1 << (byte % 7),
                2 => bytes.insert(at, letter),
                3 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        prop_assume!(changed != valid);
        prop_assert!(verify(&changed).is_err(), "{valid} {changed}");
    }

    #[test]
    fn any_text_is_refused_without_a_panic(header in ".{0,60}", payload in ".{0,60}", text in "[a-zA-Z0-9_.-]{0,200}") {
        prop_assert!(verify(&text).is_err());
        prop_assert!(verify(&sign(&header, &payload)).is_err());
        prop_assert!(verify(&sign(HEADER, &payload)).is_err());
    }
}
