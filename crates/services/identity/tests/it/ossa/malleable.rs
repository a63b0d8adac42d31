//! One token has one form (M13), and only our keys make tokens.

use super::*;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use ferrostack_model::{Timestamp, id};

/// Every change of one bit of `token`.
fn flips(token: &str) -> impl Iterator<Item = String> + '_ {
    (0..token.len() * 8).filter_map(|at| {
        let mut bytes = token.as_bytes().to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        String::from_utf8(bytes).ok()
    })
}

/// The other signature that the same curve accepts for the same text.
fn mirrored(token: &str) -> String {
    // The order of the P-256 group.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (text, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i32::from(ORDER[at]) - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(difference < 0);
        signature[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Other ways to write the same token.
fn spellings(token: &str) -> Vec<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let raw: Vec<Vec<u8>> = parts.iter().map(|p| URL_SAFE_NO_PAD.decode(p).unwrap()).collect();
    let mut all = vec![
        token.to_uppercase(),
        token.to_lowercase(),
        token
            .chars()
            .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect(),
        token.replace('.', "%2e"),
        token.replace('.', ".."),
        format!("{token}."),
        format!(".{token}"),
        format!("Bearer {token}"),
        format!("{token},{token}"),
        format!("{token} {token}"),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{token}\u{a0}"),
        mirrored(token),
    ];
    for at in 0..3 {
        for encoded in [
            URL_SAFE.encode(&raw[at]) + if raw[at].len().is_multiple_of(3) { "=" } else { "" },
            STANDARD.encode(&raw[at]),
            hex::encode(&raw[at]),
            format!("{}=", parts[at]),
            format!("{}==", parts[at]),
            format!("{}A", parts[at]),
            format!("{}AAAA", parts[at]),
            format!("{} ", parts[at]),
            format!("{}\t", parts[at]),
        ] {
            let mut changed: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
            changed[at] = encoded;
            all.push(changed.join("."));
        }
        // The header and the claims written otherwise: other order, blanks.
        if at < 2
            && let Ok(value) = serde_json::from_slice::<Value>(&raw[at])
        {
            let mut changed: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
            changed[at] = URL_SAFE_NO_PAD.encode(serde_json::to_string_pretty(&value).unwrap());
            all.push(changed.join("."));
        }
    }
    all.retain(|other| other != token);
    all
}

#[tokio::test]
async fn m13_no_changed_token_is_accepted() {
    once(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        // In process every one: the verifier of the other services, which has the good one in its cache.
        for token in [admin.clone(), c.login("admin", "secret", json!("unscoped")).await.token.unwrap()] {
            assert!(other.accepts(&token).await);
            // Together: for a key that nobody knows identity is asked once a second, for all who wait.
            let flipped: Vec<String> = flips(&token).collect();
            let accepted = futures_util::future::join_all(flipped.iter().map(|t| other.accepts(t))).await;
            assert!(flipped.len() > token.len() * 6);
            assert!(accepted.iter().all(|a| !a), "a changed bit is accepted");
            for end in 0..token.len() {
                assert!(!other.accepts(&token[..end]).await && !other.accepts(&token[end + 1..]).await);
            }
            for extension in ["A", "=", ".", "AA", "AAAA", "/", "\0", "é", " "] {
                assert!(!other.accepts(&format!("{token}{extension}")).await, "{extension:?}");
                assert!(!other.accepts(&format!("{extension}{token}")).await, "{extension:?}");
            }
            for changed in spellings(&token) {
                assert!(!other.accepts(&changed).await, "{changed}");
            }
            assert!(other.accepts(&token).await);
        }
    })
    .await;
}

#[tokio::test]
async fn ossa_2016_005_an_altered_token_does_not_live_on() {
    once(async |c| {
        let (admin, token) = (c.admin().await, c.admin().await);
        // By HTTP, on every path: the spellings, and a bit of every fifth byte.
        let mut changed = spellings(&token);
        changed.extend(flips(&token).step_by(43));
        // White space around a header's value is none of the value.
        changed.retain(|t| t.trim() != token && t.bytes().all(|b| (b' '..0x7f).contains(&b)));
        assert!(changed.len() > 100);
        for changed in &changed {
            assert_eq!(c.get(changed, "/v3/auth/projects").await.status, 401, "{changed}");
            let subject = c.validate(&admin, changed).await.status;
            assert!(matches!(subject, 400 | 404), "{subject} {changed}");
        }
        for changed in spellings(&token) {
            let status = c.authenticate(by_token(&changed), json!("unscoped")).await.status;
            assert!(matches!(status, 400 | 401 | 404), "{status} {changed}");
        }
        // What is revoked is revoked in every form.
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        for form in spellings(&token).iter().chain([&token]) {
            if form.bytes().all(|b| (b' '..0x7f).contains(&b)) {
                c.get(form, "/v3/auth/projects").await.is(401);
            }
        }
    })
    .await;
}

/// Tokens that somebody without our private keys can make.
#[tokio::test]
async fn m13_nobody_else_makes_tokens() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    once(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        let (kid, _) = signing_key(c);
        let mut claims = claims_of(&admin);
        claims.aud_ids = vec![id::hex()];
        claims.exp_us = Timestamp::now().plus_seconds(86_400);
        let keys = c.get(&admin, "/v3/ferrostack/token-keys").await.is(200).json();
        let public = keys["keys"][0]["pem"].as_str().unwrap().to_owned();
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let body = encode(&serde_json::to_value(&claims).unwrap());
        let (_, signature) = admin.rsplit_once('.').unwrap();
        let mut forged = Vec::new();
        // No algorithm, in every case; an empty and a foreign signature.
        for alg in ["none", "None", "NONE", "nOnE", "", "ES256", "ES384", "HS256", "RS256", "EdDSA"] {
            let header = encode(&json!({"alg": alg, "typ": "JWT", "kid": kid}));
            for signature in ["", signature, "AAAA"] {
                forged.push(format!("{header}.{body}.{signature}"));
            }
            forged.push(format!("{header}.{body}"));
        }
        // The public key, which everybody has, as the secret of a MAC.
        let der: String = public.lines().filter(|l| !l.starts_with("---")).collect();
        let der = STANDARD.decode(der).unwrap();
        for secret in [public.as_bytes(), public.trim().as_bytes(), &der, kid.as_bytes(), b""] {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let mut header = Header::new(algorithm);
                header.kid = Some(kid.clone());
                let key = EncodingKey::from_secret(secret);
                forged.push(jsonwebtoken::encode(&header, &claims, &key).unwrap());
            }
        }
        // A key of one's own, offered in every way a header can offer one.
        let pair = aws_lc_rs::signature::EcdsaKeyPair::generate(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        )
        .unwrap();
        let point = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref().to_vec();
        let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])});
        let mut headers: Vec<Value> = [
            json!({}),
            json!({"jwk": jwk}),
            json!({"jku": "http://127.0.0.1:1/keys"}),
            json!({"x5u": "http://127.0.0.1:1/cert"}),
            json!({"x5c": [STANDARD.encode(&der)]}),
            json!({"crit": ["exp"]}),
            json!({"crit": ["b64"], "b64": false}),
            json!({"zip": "DEF"}),
            json!({"cty": "JWT"}),
        ]
        .into_iter()
        .map(|mut header| {
            header["alg"] = json!("ES256");
            header["kid"] = json!(kid);
            header
        })
        .collect();
        for strange in [
            json!(null),
            json!(""),
            json!(5),
            json!([kid]),
            json!({"kid": kid}),
            json!("../token-keys/x"),
            json!("/etc/hostname"),
            json!("/dev/null"),
            json!(format!("./{kid}")),
            json!(format!("{kid}.pem")),
            json!(format!("{kid}\0")),
            json!("x' OR '1'='1"),
            json!("%2e%2e%2f"),
            json!("k".repeat(4000)),
            json!("nosuch"),
        ] {
            headers.push(json!({"alg": "ES256", "kid": strange, "jwk": jwk}));
        }
        for header in &headers {
            let text = format!("{}.{body}", encode(header));
            let mine = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), text.as_bytes()).unwrap();
            forged
                .push(ferrostack_client::lower(format!("{text}.{}", URL_SAFE_NO_PAD.encode(mine.as_ref()))));
        }
        // A signature of nothing.
        for signature in [[0u8; 64].to_vec(), [0xffu8; 64].to_vec(), vec![1; 63], vec![1; 65], vec![0; 32]] {
            forged.push(format!("{}.{body}.{}", encode(&headers[0]), URL_SAFE_NO_PAD.encode(signature)));
        }
        forged.push("a".repeat(9000));
        forged.push(format!("{}.{}.{}", "a".repeat(20_000), "b".repeat(20_000), "c".repeat(20_000)));
        for token in &forged {
            assert!(!other.accepts(token).await, "{token}");
            assert_eq!(c.get(token, "/v3/auth/projects").await.status, 401, "{token}");
            assert_eq!(c.validate(&admin, token).await.status, 404, "{token}");
            let status = c.authenticate(by_token(token), json!("unscoped")).await.status;
            assert!(matches!(status, 401 | 404), "{status} {token}");
        }
    })
    .await;
}
