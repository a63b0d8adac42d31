//! The one form of an ECDSA signature.
//!
//! With every signature (r, s) of the curve P-256 the pair (r, n - s) is one of the same text, which anybody can
//! compute. Only the lower of the two counts with us, so that a token has one form.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// n, the order of P-256 (FIPS 186-4, D.1.2.3).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// n / 2, rounded down.
const HALF: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d,
    0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

fn raw(token: &str) -> Option<(&str, [u8; 64])> {
    let (text, signature) = token.rsplit_once('.')?;
    Some((text, URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?))
}

/// Whether a token's signature is the lower of the two that its text has.
pub fn is_lower(token: &str) -> bool {
    raw(token).is_some_and(|(_, signature)| signature[32..] <= HALF[..])
}

/// The token with the lower of its two signatures; unchanged if it is no ES256 token.
pub fn lower(token: String) -> String {
    let Some((text, mut signature)) = raw(&token) else { return token };
    if signature[32..] <= HALF[..] {
        return token;
    }
    let mut borrow = false;
    for (s, n) in signature[32..].iter_mut().zip(ORDER).rev() {
        let (difference, under) = n.overflowing_sub(*s);
        let (difference, under_too) = difference.overflowing_sub(u8::from(borrow));
        *s = difference;
        borrow = under || under_too;
    }
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn token(s: [u8; 32]) -> String {
        let mut signature = [7u8; 64];
        signature[32..].copy_from_slice(&s);
        format!("a.b.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn one_of_two() {
        let mut one = [0u8; 32];
        one[31] = 1;
        let mut most = ORDER;
        most[31] -= 1; // n - 1, which mirrors 1
        let mut above = HALF;
        above[31] += 1; // n - half
        for (high, low) in [(most, one), (above, HALF)] {
            assert!(!is_lower(&token(high)) && is_lower(&token(low)));
            assert_eq!(lower(token(high)), token(low));
            assert_eq!(lower(token(low)), token(low));
        }
        for other in ["", "a", "a.b", "a.b.c", "a.b.!!"] {
            assert!(!is_lower(other));
            assert_eq!(lower(other.to_owned()), other);
        }
    }
}
