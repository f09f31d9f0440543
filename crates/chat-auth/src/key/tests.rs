//! The examples of the standards: RFC 7515 appendix A, and RFC 8037 appendix A.

use super::*;

const MODULUS: &str = "\
    ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR\
    T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB\
    dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia\
    GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

const RS256: &str = "\
    cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9\
    uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
    _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq\
    Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

const PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

fn decode(base64: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(base64).expect("base64")
}

fn jwk(members: &str) -> VerifyingKey {
    let set = KeySet::from_jwks(format!(r#"{{"keys":[{{{members}}}]}}"#).as_bytes()).expect("a key");
    set.into_keys().remove(0)
}

#[test]
fn the_examples_of_the_standards_verify_and_changed_ones_do_not() {
    let hs256 = VerifyingKey::from_secret(&decode(SECRET)).expect("a secret");
    let rs256 = jwk(&format!(r#""kty":"RSA","n":"{MODULUS}","e":"AQAB""#));
    let es256 = jwk(concat!(
        r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
        r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#
    ));
    let eddsa = jwk(r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#);
    for (key, header, payload, signature) in [
        (
            hs256,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            PAYLOAD,
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (rs256, "eyJhbGciOiJSUzI1NiJ9", PAYLOAD, RS256),
        (
            es256,
            "eyJhbGciOiJFUzI1NiJ9",
            PAYLOAD,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            eddsa,
            "eyJhbGciOiJFZERTQSJ9",
            "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let (algorithm, message, signature) =
            (key.algorithm(), format!("{header}.{payload}"), decode(signature));
        assert!(key.verifies(message.as_bytes(), &signature), "{algorithm}");
        assert!(!key.verifies(format!("{message}A").as_bytes(), &signature), "{algorithm}");
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!key.verifies(message.as_bytes(), &changed), "{algorithm} {at}");
        }
        assert!(!key.verifies(message.as_bytes(), &signature[1..]), "{algorithm}");
        assert!(!key.verifies(message.as_bytes(), &[]), "{algorithm}");
    }
}

#[test]
fn keys_of_a_set_that_cannot_be_used_are_ignored() {
    let ed = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    let good = format!(r#"{{{ed},"kid":"good","use":"sig","key_ops":["verify"],"alg":"EdDSA","x5t":"any"}}"#);
    for ignored in [
        format!(r#"{{{ed},"use":"enc"}}"#),
        format!(r#"{{{ed},"key_ops":["sign"]}}"#),
        format!(r#"{{{ed},"alg":"RS256"}}"#),
        format!(r#"{{{ed},"kid":1}}"#),
        format!(r#"{{"kty":"oct","k":"{SECRET}"}}"#),
        format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, &MODULUS[..200]),
        format!(r#"{{"kty":"RSA","n":"{MODULUS}","e":"Ag"}}"#),
        format!(r#"{{"kty":"RSA","n":"{MODULUS}","e":"AQ"}}"#),
        r#"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-384"}"#.to_owned(),
        "1".to_owned(),
        "{}".to_owned(),
    ] {
        let set = KeySet::from_jwks(format!(r#"{{"keys":[{ignored},{good}]}}"#).as_bytes());
        let ids: Vec<_> = set.iter().flat_map(|set| set.0.iter()).map(VerifyingKey::id).collect();
        assert_eq!(ids, [Some("good")], "{ignored}");
        let set = KeySet::from_jwks(format!(r#"{{"keys":[{ignored}]}}"#).as_bytes());
        assert_eq!(set.err(), Some(InvalidKey::NoKey), "{ignored}");
    }
    let many = format!(r#"{{"keys":[{}]}}"#, vec![&*good; 33].join(","));
    assert_eq!(KeySet::from_jwks(many.as_bytes()).err(), Some(InvalidKey::TooManyKeys));
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(KeySet::from_jwks(text.as_bytes()).err(), Some(InvalidKey::Jwks), "{text}");
    }
}
