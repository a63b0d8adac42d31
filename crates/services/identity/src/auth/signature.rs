//! Signatures of EC2 and S3 requests: AWS signature versions 1, 2 and 4.
//!
//! Whoever took the request (heat's EC2 API, swift's S3 API) hands on what was signed; we hold the secret. The
//! canonical forms are AWS's, as `keystoneclient.contrib.ec2` and Keystone's s3tokens read them.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
    hmac::{self, Algorithm, HMAC_SHA1_FOR_LEGACY_USE_ONLY as HMAC_SHA1, HMAC_SHA256},
};
use base64::{
    Engine,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use chrono::{DateTime, NaiveDateTime};
use ferrostack_model::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const V4: &str = "AWS4-HMAC-SHA256";
const V4_END: &str = "aws4_request";
/// Services whose version 4 signatures s3tokens takes.
const S3_SERVICES: [&str; 3] = ["s3", "iam", "sts"];
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn mac(algorithm: Algorithm, key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(algorithm, key), text)
}

/// In constant time, but for the length.
fn same(given: &str, ours: &str) -> bool {
    verify_slices_are_equal(given.as_bytes(), ours.as_bytes()).is_ok()
}

/// An EC2 request as ec2tokens is told of it. `None` from anything here: malformed.
struct Request<'r> {
    access: &'r str,
    params: BTreeMap<&'r str, String>,
    /// Names in lower case.
    headers: BTreeMap<String, &'r str>,
    verb: &'r str,
    host: &'r str,
    path: &'r str,
    body_hash: &'r str,
}

impl<'r> Request<'r> {
    fn of(given: &'r Map<String, Value>) -> Option<Self> {
        let empty = || Some("");
        let text = |name: &str| given.get(name).map_or_else(empty, Value::as_str);
        let mut params = BTreeMap::new();
        for (name, value) in object(given.get("params"))?.into_iter().flatten() {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            params.insert(name.as_str(), value);
        }
        let mut headers = BTreeMap::new();
        for (name, value) in object(given.get("headers"))?.into_iter().flatten() {
            // Two spellings of one name would leave open which was signed.
            if headers.insert(name.trim().to_ascii_lowercase(), value.as_str()?).is_some() {
                return None;
            }
        }
        Some(Self {
            access: text("access")?,
            params,
            headers,
            verb: text("verb")?,
            host: text("host")?,
            path: text("path")?,
            body_hash: text("body_hash")?,
        })
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    fn is_v4(&self) -> bool {
        match self.headers.get("authorization") {
            Some(header) => header.starts_with(V4),
            None => self.param("X-Amz-Algorithm") == Some(V4),
        }
    }

    /// `a=b&c=d`, sorted and percent-encoded, without the signature itself.
    fn query(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let pairs = self.params.iter().filter(|(name, _)| **name != "X-Amz-Signature");
        pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
    }

    fn v1(&self, secret: &str) -> String {
        let mut sorted: Vec<_> = self.params.iter().collect();
        sorted.sort_by_key(|(name, _)| name.to_lowercase());
        let text: String = sorted.into_iter().flat_map(|(name, value)| [*name, value.as_str()]).collect();
        STANDARD.encode(mac(HMAC_SHA1, secret.as_bytes(), text.as_bytes()))
    }

    fn v2(&mut self, secret: &str, host: &str) -> String {
        // As Keystone: the stronger of the two methods whatever the request says.
        self.params.insert("SignatureMethod", "HmacSHA256".into());
        let text = format!("{}\n{host}\n{}\n{}", self.verb, self.path, self.query());
        STANDARD.encode(mac(HMAC_SHA256, secret.as_bytes(), text.as_bytes()))
    }

    /// A part of the Authorization header, or of the query of a presigned request.
    fn v4_part(&self, name: &str) -> Option<&str> {
        match self.headers.get("authorization") {
            Some(header) => {
                let parts = header.strip_prefix(V4)?.split(',');
                parts.filter_map(|part| part.trim().split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
            }
            None => self.param(&format!("X-Amz-{name}")),
        }
    }

    fn v4_date(&self) -> Option<&str> {
        self.headers.get("x-amz-date").copied().or_else(|| self.param("X-Amz-Date"))
    }

    fn v4(&self, secret: &str) -> Option<String> {
        let signed = self.v4_part("SignedHeaders")?;
        let mut headers = String::new();
        for name in signed.split(';') {
            if let Some(value) = self.headers.get(name) {
                let value: Vec<&str> = value.split_ascii_whitespace().collect();
                headers += &format!("{name}:{}\n", value.join(" "));
            }
        }
        // The parameters of a POST are in its body.
        let verb = self.verb.to_uppercase();
        let query = if verb == "POST" { String::new() } else { self.query() };
        let canonical = format!("{verb}\n{}\n{query}\n{headers}\n{signed}\n{}", self.path, self.body_hash);
        let (access, scope) = self.v4_part("Credential")?.split_once('/')?;
        let date = self.v4_date()?;
        if access != self.access || !date.starts_with(scope.split('/').next()?) {
            return None;
        }
        let text = format!("{V4}\n{date}\n{scope}\n{}", hex::encode(digest(&SHA256, canonical.as_bytes())));
        v4_signature(secret, scope, &text)
    }
}

/// The members; `Some(None)` if the value is missing or null, `None` if it is no object.
fn object(value: Option<&Value>) -> Option<Option<&Map<String, Value>>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_object().map(Some),
    }
}

/// Of `text`, with the key of the scope `DATE/REGION/SERVICE/aws4_request`.
fn v4_signature(secret: &str, scope: &str, text: &str) -> Option<String> {
    let parts: Vec<&str> = scope.split('/').collect();
    let [date, region, service, V4_END] = parts.as_slice() else { return None };
    if date.len() != 8 {
        return None;
    }
    let mut key = mac(HMAC_SHA256, format!("AWS4{secret}").as_bytes(), date.as_bytes());
    for part in [region, service, &V4_END] {
        key = mac(HMAC_SHA256, key.as_ref(), part.as_bytes());
    }
    Some(hex::encode(mac(HMAC_SHA256, key.as_ref(), text.as_bytes())))
}

/// When the request was signed, if it was signed with `secret`. The time is part of what is signed; a request
/// without one is refused, for its signature would hold for ever.
pub fn ec2(secret: &str, given: &Map<String, Value>) -> Option<Timestamp> {
    let signature = given.get("signature")?.as_str()?;
    let mut request = Request::of(given)?;
    if secret.is_empty() {
        return None;
    }
    let version = request.param("SignatureVersion").map(str::to_owned);
    let (good, at) = match version.as_deref() {
        Some("1") => (same(signature, &request.v1(secret)), request.param("Timestamp")),
        Some("2") => {
            let host = request.host;
            let mut good = same(signature, &request.v2(secret, host));
            // Some clients leave the port out when they sign.
            if let Some((bare, _)) = host.rsplit_once(':') {
                good |= same(signature, &request.v2(secret, bare));
            }
            (good, request.param("Timestamp"))
        }
        _ if request.is_v4() => (same(signature, &request.v4(secret)?), request.v4_date()),
        _ => return None,
    };
    if good { time(at?) } else { None }
}

/// Whether `token`, the base64 of what an S3 client signed, was signed with `secret`. The time in it is for the S3
/// service to judge: presigned URLs live longer than any request.
pub fn s3(secret: &str, given: &Map<String, Value>) -> bool {
    let member = |name: &str| given.get(name).and_then(Value::as_str);
    let (Some(token), Some(signature)) = (member("token"), member("signature")) else { return false };
    let Ok(signed) = LENIENT.decode(token.replace('-', "+").replace('_', "/")) else { return false };
    if secret.is_empty() {
        return false;
    }
    if !signed.starts_with(b"AWS4") {
        return same(signature, &STANDARD.encode(mac(HMAC_SHA1, secret.as_bytes(), &signed)));
    }
    let Ok(text) = String::from_utf8(signed) else { return false };
    let lines: Vec<&str> = text.split('\n').collect();
    let [V4, _, scope, _] = lines.as_slice() else { return false };
    let known = scope.split('/').nth(2).is_some_and(|service| S3_SERVICES.contains(&service));
    known && v4_signature(secret, scope, &text).is_some_and(|ours| same(signature, &ours))
}

/// `2026-11-20T17:00:00Z` in any of its ISO 8601 forms, UTC unless it says otherwise, or `20261120T170000Z`.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let micros = match DateTime::parse_from_rfc3339(text) {
        Ok(at) => at.timestamp_micros(),
        Err(_) => ["%Y-%m-%dT%H:%M:%S%.f", "%Y%m%dT%H%M%SZ"]
            .into_iter()
            .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?
            .and_utc()
            .timestamp_micros(),
    };
    Some(Timestamp(micros))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn check(given: &Value) -> Option<i64> {
        ec2(SECRET, given.as_object().unwrap()).map(|at| at.0 / 1_000_000)
    }

    /// Requests signed by botocore and keystoneclient on 2026-11-20 at 16:00 UTC.
    fn vectors() -> Vec<Value> {
        serde_json::from_str(include_str!("../../tests/vectors/signatures.json")).unwrap()
    }

    #[test]
    fn signatures_of_botocore_and_keystoneclient_hold() {
        for vector in vectors() {
            let (name, request) = (&vector["name"], &vector["request"]);
            if vector["kind"] == "s3" {
                let holds = |r: &Value, secret: &str| s3(secret, r.as_object().unwrap());
                assert!(holds(request, SECRET), "{name}");
                assert!(!holds(request, "other") && !holds(request, ""), "{name}");
                for member in ["token", "signature"] {
                    let mut changed = request.clone();
                    let text = changed[member].as_str().unwrap().to_owned();
                    changed[member] = json!(format!("A{}", &text[1..]));
                    assert!(text.starts_with('A') || !holds(&changed, SECRET), "{name} {member}");
                    changed[member] = Value::Null;
                    assert!(!holds(&changed, SECRET), "{name} {member}");
                }
                continue;
            }
            assert_eq!(check(request), vector["at"].as_i64(), "{name}");
            assert!(ec2("other", request.as_object().unwrap()).is_none(), "{name}");
            // Whatever is signed cannot be changed.
            for member in vector["signed"].as_array().unwrap() {
                let pointer = member.as_str().unwrap();
                let mut changed = request.clone();
                let value = changed.pointer_mut(pointer).unwrap();
                let text = value.as_str().unwrap().to_owned();
                *value = json!(format!("{text}x"));
                assert_eq!(check(&changed), None, "{name} {pointer}");
            }
        }
    }

    #[test]
    fn a_signature_without_a_signed_time_is_none() {
        for vector in vectors().into_iter().filter(|v| v["kind"] == "ec2") {
            let mut request = vector["request"].clone();
            for place in ["params", "headers"] {
                for name in ["Timestamp", "X-Amz-Date", "x-amz-date"] {
                    if let Some(members) = request[place].as_object_mut() {
                        members.remove(name);
                    }
                }
            }
            assert_eq!(check(&request), None, "{}", vector["name"]);
        }
        // A time beside the signed one does not count: the parameters of a POST are not signed in version 4.
        let vector = vectors().into_iter().find(|v| v["name"] == "botocore v4 POST").unwrap();
        let mut request = vector["request"].clone();
        request["params"]["Timestamp"] = json!("2036-01-01T00:00:00Z");
        request["params"]["X-Amz-Date"] = json!("20360101T000000Z");
        assert_eq!(check(&request), vector["at"].as_i64());
        // Version 2 without any: signed well, refused still.
        let mut given = json!({"access": "AK", "verb": "GET", "host": "h", "path": "/",
            "params": {"SignatureVersion": "2", "AWSAccessKeyId": "AK"}});
        let object = given.as_object().unwrap().clone();
        let signature = Request::of(&object).unwrap().v2(SECRET, "h");
        given["signature"] = json!(signature);
        assert_eq!(check(&given), None);
    }

    #[test]
    fn times_are_read_in_every_form() {
        let at = Some(Timestamp(1_795_190_400_000_000));
        for text in [
            "2026-11-20T16:00:00Z",
            "2026-11-20T16:00:00",
            "2026-11-20T16:00:00.000",
            "2026-11-20T17:00:00+01:00",
            "20261120T160000Z",
        ] {
            assert_eq!(time(text), at, "{text}");
        }
        for text in ["", "now", "2026-11-20", "1795190400", "2026-13-20T16:00:00Z", "٢٠٢٦1120T160000Z"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let words = [
            "access",
            "signature",
            "params",
            "headers",
            "verb",
            "host",
            "path",
            "body_hash",
            "Authorization",
            "X-Amz-Date",
            "Timestamp",
            "SignatureVersion",
            "token",
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-SignedHeaders",
        ];
        let texts = [
            "1",
            "2",
            "4",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=a/20260101/r/s/aws4_request,SignedHeaders=host",
            "a/20260101/r/s/aws4_request",
            "a/b",
            "/",
            "20260101T000000Z",
            "QVdTNA==",
            "host;é",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(|n| json!(n)),
            prop::sample::select(texts.to_vec()).prop_map(|t| json!(t)),
            ".{0,12}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 30, 8, move |inner| {
            prop::collection::hash_map(prop::sample::select(words.to_vec()), inner, 0..8)
                .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
        })
    }

    proptest! {
        #[test]
        fn rubbish_is_refused(given in any_json()) {
            if let Value::Object(given) = given {
                prop_assert!(ec2(SECRET, &given).is_none());
                prop_assert!(!s3(SECRET, &given));
            }
        }
    }
}
