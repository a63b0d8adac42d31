//! One-time passwords: RFC 6238 with SHA-1, six digits and steps of 30 seconds, as Keystone's and every phone's.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY as HMAC_SHA1, Key, sign},
};
use ferrostack_model::Timestamp;
use zeroize::Zeroizing;

/// Seconds of a step.
const STEP: i64 = 30;
/// Fewest bytes of a secret: RFC 4226 asks for 128 bits, and Keystone takes no less.
const MIN_SECRET: usize = 16;

/// The step of a time.
pub fn step_of(now: Timestamp) -> i64 {
    now.seconds().div_euclid(STEP)
}

/// The bytes of a secret in base32 (RFC 4648): either case, with or without padding and blanks. `None` if it is not
/// that, or too short.
pub fn secret(base32: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(base32.len() * 5 / 8));
    let (mut bits, mut count) = (0u32, 0);
    for c in base32.trim_end_matches(['=', ' ', '\n', '\r']).bytes().filter(|c| *c != b' ') {
        let value = match c.to_ascii_uppercase() {
            c @ b'A'..=b'Z' => c - b'A',
            c @ b'2'..=b'7' => c - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    (bytes.len() >= MIN_SECRET).then_some(bytes)
}

/// The passcode of a step.
fn passcode(secret: &[u8], step: i64) -> String {
    let tag = sign(&Key::new(HMAC_SHA1, secret), &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 0xf);
    let number = tag[offset..offset + 4].iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

/// The latest step up to `now`, at most `earlier` steps back, whose passcode is `given`. Takes as long whichever it
/// is, or if it is none.
pub fn matching_step(secret: &[u8], given: &str, now: i64, earlier: u8) -> Option<i64> {
    let mut found = None;
    for step in now - i64::from(earlier)..=now {
        if verify_slices_are_equal(passcode(secret, step).as_bytes(), given.as_bytes()).is_ok() {
            found = Some(step);
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// "12345678901234567890", the secret of the RFCs' test vectors.
    const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn passcodes_of_the_rfc() {
        let secret = secret(RFC).unwrap();
        assert_eq!(&**secret, b"12345678901234567890");
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let now = step_of(Timestamp(time * 1_000_000));
            assert_eq!(matching_step(&secret, code, now, 0), Some(now), "{time}");
            assert_eq!(matching_step(&secret, code, now + 1, 1), Some(now), "{time}");
            assert_eq!(matching_step(&secret, code, now + 1, 0), None, "{time}");
            assert_eq!(matching_step(&secret, code, now + 2, 1), None, "{time}");
            assert_eq!(matching_step(&secret, code, now - 1, 1), None, "not before its time");
            for bad in ["", &code[1..], &format!("{code}0"), &format!(" {code}"), "12345６"] {
                assert_eq!(matching_step(&secret, bad, now, 1), None, "{bad}");
            }
        }
    }

    #[test]
    fn base32_in_every_form() {
        let whole = secret(RFC).unwrap();
        for same in
            [RFC.to_lowercase(), format!("{RFC}===="), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ\n".into()]
        {
            assert_eq!(secret(&same).unwrap(), whole, "{same}");
        }
        for bad in [
            "",
            "A",
            "GEZDGNBVGY3TQOJQ",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1",
            "ÄEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "{}",
        ] {
            assert!(secret(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_secret_comes_back(bytes in prop::collection::vec(any::<u8>(), 16..70)) {
            // Encoded the slow way, bit by bit.
            let bits: Vec<u8> = bytes.iter().flat_map(|b| (0..8).rev().map(move |n| b >> n & 1)).collect();
            let text: String = bits
                .chunks(5)
                .map(|c| c.iter().chain([0; 5].iter()).take(5).fold(0u8, |n, b| n << 1 | b))
                .map(|n| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(n)]))
                .collect();
            prop_assert_eq!(&**secret(&text).unwrap(), &bytes[..]);
        }
        #[test]
        fn no_text_is_a_fault(text in ".{0,60}", now in any::<i32>()) {
            if let Some(secret) = secret(&text) {
                prop_assert!(secret.len() >= MIN_SECRET);
            }
            matching_step(b"0123456789abcdef", &text, i64::from(now), 9);
        }
    }
}
