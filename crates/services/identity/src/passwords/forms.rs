//! The forms in which password hashes are stored: ours, and all that a Keystone database may hold.
//!
//! | begins with | what | made by |
//! |---|---|---|
//! | `$bcrypt-sha256$v=2,` | bcrypt of the base64 of HMAC-SHA256, keyed by the salt's text | us, Keystone, passlib |
//! | `$bcrypt-sha256$2b,12$` | bcrypt of the base64 of SHA-256 | passlib before 1.7.3 |
//! | `$2b$`, `$2a$`, `$2y$` | bcrypt of the first 72 bytes | Keystone's default |
//! | `$scrypt$ln=…` | scrypt | Keystone, passlib |
//! | `$pbkdf2-sha512$` | PBKDF2 with HMAC-SHA512 | Keystone, passlib |
//! | `sha384$` | bcrypt of the base64 of SHA-384 | us, before 0.2 |
//!
//! Plain bcrypt stops at 72 bytes, so such a hash takes every password with the same beginning for the same, as
//! Keystone does; the first login replaces the hash by one of the whole password.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest, hmac, pbkdf2,
    rand::{SecureRandom, SystemRandom},
};
use base64::{
    Engine,
    alphabet::{BCRYPT, STANDARD as ALPHABET},
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig,
        general_purpose::{NO_PAD, STANDARD},
    },
};
use ferrostack_model::{Error, Result};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

const OURS: &str = "$bcrypt-sha256$v=2,t=2b,r=";
const BCRYPT_SHA256: &str = "$bcrypt-sha256$";
const SHA384: &str = "sha384$";
/// bcrypt looks at no more, bytes.
const BCRYPT_BYTES: usize = 72;
/// Most work that a stored hash may ask for; above it is an attack or an accident.
const MAX_SCRYPT_MEMORY: u64 = 256 << 20;
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

const SALT: GeneralPurpose = GeneralPurpose::new(&BCRYPT, NO_PAD);
/// base64 with or without padding and stray bits, as Python's decoder takes it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The hash to store: passlib's `bcrypt_sha256`, version 2, which Keystone verifies too.
pub fn hash(password: &[u8], cost: u32) -> Result<String> {
    let mut salt = [0u8; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| Error::internal("no randomness"))?;
    let parts = bcrypt::hash_with_salt(keyed(&SALT.encode(salt), password).as_bytes(), cost, salt)
        .map_err(|e| Error::internal(format!("bcrypt: {e}")))?;
    let text = parts.format_for_version(bcrypt::Version::TwoB);
    let (salt, digest) = text
        .rsplit_once('$')
        .and_then(|(_, tail)| tail.split_at_checked(22))
        .ok_or_else(|| Error::internal("bcrypt made no hash"))?;
    Ok(format!("{OURS}{cost}${salt}${digest}"))
}

/// A hash of `cost` that no password has.
pub fn nobodys(cost: u32) -> String {
    format!("{OURS}{cost}$CCCCCCCCCCCCCCCCCCCCC.$E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")
}

/// Whether `stored` is what [`hash`] makes at `cost`; if not it is to be replaced when the password is at hand.
pub fn is_current(stored: &str, cost: u32) -> bool {
    stored.strip_prefix(OURS).and_then(|s| s.split_once('$')).is_some_and(|(r, _)| r == cost.to_string())
}

/// Whether `password` is the one of `stored`; says why if `stored` cannot be read.
pub fn verify(password: &[u8], stored: &str) -> Result<bool, &'static str> {
    if let Some(rest) = stored.strip_prefix(BCRYPT_SHA256) {
        bcrypt_sha256(password, rest)
    } else if let Some(rest) = stored.strip_prefix(SHA384) {
        let digest = Zeroizing::new(STANDARD.encode(digest::digest(&digest::SHA384, password)));
        bcrypt_verify(digest.as_bytes(), rest)
    } else if ["$2b$", "$2a$", "$2y$"].iter().any(|mark| stored.starts_with(mark)) {
        bcrypt_verify(&password[..password.len().min(BCRYPT_BYTES)], stored)
    } else if let Some(rest) = stored.strip_prefix("$scrypt$") {
        scrypt_verify(password, rest)
    } else if let Some(rest) = stored.strip_prefix("$pbkdf2-sha512$") {
        pbkdf2_verify(password, rest)
    } else {
        Err("of an unknown form")
    }
}

/// 44 characters: below bcrypt's 72 bytes and without NUL.
fn keyed(salt: &str, password: &[u8]) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
    Zeroizing::new(STANDARD.encode(hmac::sign(&key, password)))
}

fn bcrypt_verify(password: &[u8], stored: &str) -> Result<bool, &'static str> {
    bcrypt::verify(password, stored).map_err(|_| "a malformed bcrypt hash")
}

fn bcrypt_sha256(password: &[u8], rest: &str) -> Result<bool, &'static str> {
    const MALFORMED: &str = "a malformed bcrypt-sha256 hash";
    let mut parts = rest.split('$');
    let (Some(params), Some(salt), Some(digest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    let named = |name: &str| params.split(',').find_map(|p| p.strip_prefix(name));
    let (ident, cost, text) = match (named("v="), params.split_once(',')) {
        (Some("2"), _) => {
            (named("t=").ok_or(MALFORMED)?, named("r=").ok_or(MALFORMED)?, keyed(salt, password))
        }
        (None, Some((ident, cost))) => {
            let digest = digest::digest(&digest::SHA256, password);
            (ident, cost, Zeroizing::new(STANDARD.encode(digest)))
        }
        _ => return Err(MALFORMED),
    };
    let cost: u32 = cost.parse().map_err(|_| MALFORMED)?;
    bcrypt_verify(text.as_bytes(), &format!("${ident}${cost:02}${salt}{digest}"))
}

fn scrypt_verify(password: &[u8], rest: &str) -> Result<bool, &'static str> {
    const MALFORMED: &str = "a malformed scrypt hash";
    let mut parts = rest.split('$');
    let (Some(params), Some(salt), Some(digest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    let named = |name: &str| -> Result<u32, &'static str> {
        params.split(',').find_map(|p| p.strip_prefix(name)).and_then(|v| v.parse().ok()).ok_or(MALFORMED)
    };
    let (log_n, r, p) = (named("ln=")?, named("r=")?, named("p=")?);
    let memory = 1u64.checked_shl(log_n).unwrap_or(u64::MAX).saturating_mul(128 * u64::from(r));
    if log_n >= 64 || memory > MAX_SCRYPT_MEMORY || p > 64 {
        return Err("a scrypt hash that is too dear");
    }
    let params = u8::try_from(log_n)
        .ok()
        .and_then(|n| scrypt::Params::new(n, r, p).ok())
        .ok_or("a scrypt hash with impossible parameters")?;
    let (salt, wanted) = (bytes(salt).ok_or(MALFORMED)?, bytes(digest).ok_or(MALFORMED)?);
    let mut got = Zeroizing::new([0u8; 32]);
    if wanted.len() != got.len() {
        return Err(MALFORMED);
    }
    scrypt::scrypt(password, &salt, &params, &mut *got).map_err(|_| MALFORMED)?;
    Ok(verify_slices_are_equal(&*got, &wanted).is_ok())
}

fn pbkdf2_verify(password: &[u8], rest: &str) -> Result<bool, &'static str> {
    const MALFORMED: &str = "a malformed pbkdf2-sha512 hash";
    let mut parts = rest.split('$');
    let (Some(rounds), Some(salt), Some(digest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    let rounds = rounds.parse().ok().and_then(NonZeroU32::new).ok_or(MALFORMED)?;
    if rounds.get() > MAX_PBKDF2_ROUNDS {
        return Err("a pbkdf2-sha512 hash that is too dear");
    }
    let (salt, wanted) = (bytes(salt).ok_or(MALFORMED)?, bytes(digest).ok_or(MALFORMED)?);
    if wanted.len() != digest::SHA512_OUTPUT_LEN {
        return Err(MALFORMED);
    }
    Ok(pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA512, rounds, &salt, password, &wanted).is_ok())
}

/// passlib's base64: no padding, and in some forms `.` for `+`.
fn bytes(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text.replace('.', "+")).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made with passlib 1.7.4 and bcrypt 4.0.1 for Python.
    const SECRET: &[&str] = &[
        "$2b$04$7ovIsAAe/9cJRiXrNrV5r.JGSKTzt0SEyiL9SX30B8X3so7lXWIZG",
        "$2a$04$UruiFpkk5Gr9xo5Ube3pX.LLVPsV6myeVr0avFfGDglJeY7qrgWdG",
        "$2y$04$oRz.kUDrTBwo/jMpgfO9DOGyYNpc2u9A0JSiDGaSrit1sM5AwE5qK",
        "$bcrypt-sha256$2b,5$61gp7A.1/YwxOMYtVdDk1.$axshZujs6REKvSUEDS01O2CilmqeCLi",
        "$bcrypt-sha256$v=2,t=2b,r=5$p/9l4iI3OvO7eWbViYcZM.$TEzfCtMdRXKIfdCXANbCCNVHMxfB3g2",
        "$scrypt$ln=4,r=8,p=1$AgDgfC9lzNm7996b0zpHyA$0BUhqR+3JsxpX5bKCgNxIrfJNW6+/h63U29a9n1ngYI",
        "$scrypt$ln=10,r=8,p=2$O0dIydkbw1jr/d+7FwJgbI3xfs/Zm9O615rz3ltr7f0$+XzN9fbf1KBqCYyfSJXaPC4r940Xqn0z+iE0PgKLqEU",
        "$pbkdf2-sha512$100$eY/xXmvNec/ZuzeGsDZmDA$FQnr2MCvvHo2qtAu6JLcI1b3lv/yqgSaNjp9c66XvDRajFdgS2cmmKzRO.EOeiWf58azm3kl3EEpMhXtFduL0w",
        "$pbkdf2-sha512$25000$VOr9HwNAKKW0ljJGSMnZG6P0HkOI8Z4z$LYU5qRMH2f1OCxuNo1IgBpurN6gdhJhqampJwIS/Vx94ecWz.FN6G03t0sBekJZIOwe66VfbT6OTHmiBLH6hXw",
    ];
    const FOREIGN: &str = "pässwörd ✓";
    const FOREIGN_HASHES: &[&str] = &[
        "$2b$04$vmyTNYCfjvCiEwY8c.q9MehKnPSFBhxxaXNHuqYkbes/GysqDdg9y",
        "$2y$04$mZ4cQcotR/A4Iyw6Ae7VWuUjoAF4WoSS7WKb6kM2zkTTDlMCBnJsS",
        "$bcrypt-sha256$2b,5$sLJFxU5dAyZAU6AhBrStzO$yZpRPlpETfL98KoAyqhJYXijZOkzGei",
        "$bcrypt-sha256$v=2,t=2b,r=5$NL3.A8QPxL2nEpH7ezkTxO$ZCj3pW/kxCnim44eMalFAWTm18eNOeG",
        "$scrypt$ln=4,r=8,p=1$WIvxPkeoFSLEOEeolTKmFA$mqT6K3jB6kPS6Be717QYAZlxhuotBbMv9Q1kqssGhQk",
        "$pbkdf2-sha512$100$dM65N2bsvdeas1bqvff.nw$xA4WJbiGbVXJU1dnzzi9C2kaRABPkbtq7Kuq/vBUNfHk7uQjuMuj3g534jYfFj3FRj0/4wBSM2D2QfajrPNNMg",
    ];
    /// Of 100 times `x`; the first one only knows 72 of them.
    const LONG_PLAIN: &str = "$2b$04$p/Gxd1OS0eFWHEpdI57a3.WEY27/xbQXt63PjBY/lfpNmC662alHy";
    const LONG: &[&str] = &[
        "$bcrypt-sha256$2b,5$bVJzrsHYUgF0rUHpDUnyde$12oEEcTAELjo0VkGcLVxjZ/vXUqpjE6",
        "$bcrypt-sha256$v=2,t=2b,r=5$T.4smsnQrNJi.irCAnln8.$g5tU9zDbe/CqBj9BBhCB4YMAUfVLKE6",
        "$scrypt$ln=4,r=8,p=1$7f1/jxHCuHcOoRQiZOydkw$4RuWFHGBmijz3P3MxCgODCoXw4tJtX+vrknUAGvBcZM",
        "$pbkdf2-sha512$100$iRHC2BtjzLnXeq8VYqz1Hg$I23ghPji0rXLbyW1SiKjNwihUwS.fEHd2AQabgvTDsLFFQOxw60q14gjj9npPZojo3yI/eajraB7kgTlHUgZcQ",
    ];

    #[test]
    fn keystones_and_passlibs_hashes_verify() {
        for stored in SECRET {
            assert_eq!(verify(b"secret", stored), Ok(true), "{stored}");
            for wrong in ["Secret", "secret ", "", "secre", "secretsecret"] {
                assert_eq!(verify(wrong.as_bytes(), stored), Ok(false), "{stored} {wrong:?}");
            }
            assert!(!is_current(stored, 4));
        }
        for stored in FOREIGN_HASHES {
            assert_eq!(verify(FOREIGN.as_bytes(), stored), Ok(true), "{stored}");
            assert_eq!(verify("password ✓".as_bytes(), stored), Ok(false), "{stored}");
        }
        let older = "sha384$".to_owned()
            + &bcrypt::hash(STANDARD.encode(digest::digest(&digest::SHA384, b"secret")), 4).unwrap();
        assert_eq!((verify(b"secret", &older), verify(b"other", &older)), (Ok(true), Ok(false)));
    }

    #[test]
    fn cve_2021_3563_only_keystones_own_plain_bcrypt_stops_at_72_bytes() {
        let (long, cut, other) = ("x".repeat(100), "x".repeat(72), "x".repeat(99) + "y");
        assert_eq!(verify(long.as_bytes(), LONG_PLAIN), Ok(true));
        assert_eq!(verify(cut.as_bytes(), LONG_PLAIN), Ok(true));
        assert_eq!(verify(&cut.as_bytes()[1..], LONG_PLAIN), Ok(false));
        let ours = hash(long.as_bytes(), 4).unwrap();
        for stored in LONG.iter().copied().chain([ours.as_str()]) {
            assert_eq!(verify(long.as_bytes(), stored), Ok(true), "{stored}");
            assert_eq!(verify(cut.as_bytes(), stored), Ok(false), "{stored}");
            assert_eq!(verify(other.as_bytes(), stored), Ok(false), "{stored}");
        }
        // Nor does a NUL byte end a password.
        let stored = hash(b"a\0b", 4).unwrap();
        assert_eq!(
            (verify(b"a\0b", &stored), verify(b"a", &stored), verify(b"a\0c", &stored)),
            (Ok(true), Ok(false), Ok(false))
        );
    }

    #[test]
    fn ours_is_passlibs_form() {
        let stored = hash(b"secret", 5).unwrap();
        assert!(is_current(&stored, 5) && !is_current(&stored, 6) && !is_current(&stored, 50));
        let parts: Vec<&str> = stored.split('$').collect();
        assert_eq!(parts[..3], ["", "bcrypt-sha256", "v=2,t=2b,r=5"]);
        assert_eq!((parts[3].len(), parts[4].len(), parts.len()), (22, 31, 5));
        assert_ne!(stored, hash(b"secret", 5).unwrap());
        assert_eq!(verify(b"", &nobodys(4)), Ok(false));
        assert!(is_current(&nobodys(4), 4));
    }

    #[test]
    fn what_is_dear_or_broken_is_not_computed() {
        for stored in [
            "",
            "$",
            "rubbish",
            "$2b$",
            "$2b$04$short",
            "$2x$04$7ovIsAAe/9cJRiXrNrV5r.JGSKTzt0SEyiL9SX30B8X3so7lXWIZG",
            "$bcrypt-sha256$",
            "$bcrypt-sha256$v=3,t=2b,r=5$p/9l4iI3OvO7eWbViYcZM.$TEzfCtMdRXKIfdCXANbCCNVHMxfB3g2",
            "$bcrypt-sha256$v=2,t=2b,r=99$p/9l4iI3OvO7eWbViYcZM.$TEzfCtMdRXKIfdCXANbCCNVHMxfB3g2",
            "$scrypt$ln=40,r=8,p=1$AgDgfC9lzNm7996b0zpHyA$0BUhqR+3JsxpX5bKCgNxIrfJNW6+/h63U29a9n1ngYI",
            "$scrypt$ln=4,r=0,p=1$AgDgfC9lzNm7996b0zpHyA$0BUhqR+3JsxpX5bKCgNxIrfJNW6+/h63U29a9n1ngYI",
            "$scrypt$ln=4,r=8,p=1$AgDgfC9lzNm7996b0zpHyA$",
            "$pbkdf2-sha512$100$AAAA$",
            "$pbkdf2-sha512$0$AAAA$AAAA",
            "$pbkdf2-sha512$4000000000$AAAA$AAAA",
            "$6$salt$digest",
            "ümläut",
        ] {
            assert!(verify(b"x", stored).is_err(), "{stored}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_password_verifies_and_no_other(one in prop::collection::vec(any::<u8>(), 0..200), other in prop::collection::vec(any::<u8>(), 0..200)) {
            let stored = hash(&one, 4).unwrap();
            prop_assert_eq!(verify(&one, &stored), Ok(true));
            prop_assert_eq!(verify(&other, &stored), Ok(one == other));
        }
        #[test]
        fn no_stored_text_is_a_fault_of_ours(stored in "(\\$(2b|bcrypt-sha256|scrypt|pbkdf2-sha512))?\\$[a-z0-9,=$./]{0,40}") {
            let _ = verify(b"x", &stored);
        }
    }
}
