//! Making keypairs and judging imported ones.

use aws_lc_rs::{
    digest,
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ferrostack_model::{Error, Result};
use md5::{Digest, Md5};

/// A keypair that was made here. The private half is answered once and never stored.
pub struct Generated {
    /// `ssh-rsa AAAA… Generated-by-Nova`
    pub public_key: String,
    /// PKCS#1 PEM, as Nova answers it.
    pub private_key: String,
    /// MD5 with colons.
    pub fingerprint: String,
}

/// Makes an RSA key of 2048 bits. Takes some tenths of a second of CPU: call it off the async threads.
pub fn generate() -> Result<Generated> {
    let broken = |what: &str| Error::internal(format!("generating an RSA key: {what}"));
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| broken("generate"))?;
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| broken("encode"))?;
    let pkcs1 = pkcs1_of(pkcs8.as_ref()).ok_or_else(|| broken("PKCS#8"))?;
    let public = pair.public_key();
    let mut blob = Vec::new();
    put(&mut blob, b"ssh-rsa");
    put_integer(&mut blob, public.exponent().big_endian_without_leading_zero());
    put_integer(&mut blob, public.modulus().big_endian_without_leading_zero());
    Ok(Generated {
        public_key: format!("ssh-rsa {} Generated-by-Nova", STANDARD.encode(&blob)),
        private_key: pem("RSA PRIVATE KEY", pkcs1),
        fingerprint: colons(&Md5::digest(&blob)),
    })
}

/// The fingerprint of an OpenSSH public key line; 400 in Nova's words if it is none.
pub fn ssh_fingerprint(public_key: &str) -> Result<String> {
    let bad = || Error::bad_request("Keypair data is invalid: failed to generate fingerprint");
    let mut words = public_key.trim().splitn(3, [' ', '\t']);
    let (kind, data) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let blob = STANDARD.decode(data.trim()).map_err(|_| bad())?;
    if is_key_blob(kind, &blob).unwrap_or(false) { Ok(colons(&Md5::digest(&blob))) } else { Err(bad()) }
}

/// The fingerprint (SHA-1 of the DER form) of an X.509 certificate in PEM; 400 in Nova's words if it is none.
pub fn x509_fingerprint(certificate: &str) -> Result<String> {
    let bad = || Error::bad_request("Keypair data is invalid: failed to generate X509 fingerprint");
    let body = certificate
        .trim()
        .strip_prefix("-----BEGIN CERTIFICATE-----")
        .and_then(|rest| rest.split_once("-----END CERTIFICATE-----"))
        .map(|(body, _)| body.split_ascii_whitespace().collect::<String>())
        .ok_or_else(bad)?;
    let der = STANDARD.decode(body).map_err(|_| bad())?;
    // A certificate is one sequence of three: what is signed, how, and the signature.
    let sound = || {
        let (tag, outer, rest) = tlv(&der)?;
        let (first, _, after) = tlv(outer)?;
        let (second, _, after) = tlv(after)?;
        let (third, _, end) = tlv(after)?;
        Some([tag, first, second] == [0x30; 3] && third == 0x03 && rest.is_empty() && end.is_empty())
    };
    if !sound().unwrap_or(false) {
        return Err(bad());
    }
    Ok(colons(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref()))
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

/// Whether `blob` is a public key of `kind` in SSH's wire form (RFC 4253, 5656, 8709), with nothing after it.
fn is_key_blob(kind: &str, blob: &[u8]) -> Option<bool> {
    let (name, rest) = take(blob)?;
    if name != kind.as_bytes() {
        return Some(false);
    }
    let positive = |n: &[u8]| n.first().is_some_and(|b| b & 0x80 == 0) && n.iter().any(|b| *b != 0);
    let (sound, rest) = match kind {
        "ssh-rsa" => {
            let (exponent, rest) = take(rest)?;
            let (modulus, rest) = take(rest)?;
            let bits = modulus.iter().skip_while(|b| **b == 0).count() * 8;
            (positive(exponent) && positive(modulus) && (1024..=16384).contains(&bits), rest)
        }
        "ssh-dss" => {
            let mut rest = rest;
            let mut sound = true;
            for _ in 0..4 {
                let (number, after) = take(rest)?;
                sound &= positive(number);
                rest = after;
            }
            (sound, rest)
        }
        "ssh-ed25519" => {
            let (point, rest) = take(rest)?;
            (point.len() == 32, rest)
        }
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => {
            let (curve, rest) = take(rest)?;
            let (point, rest) = take(rest)?;
            let size = match curve {
                b"nistp256" => 32,
                b"nistp384" => 48,
                _ => 66,
            };
            let uncompressed = point.first() == Some(&4) && point.len() == 1 + 2 * size;
            (kind.as_bytes().ends_with(curve) && !curve.is_empty() && uncompressed, rest)
        }
        _ => return Some(false),
    };
    Some(sound && rest.is_empty())
}

/// A length-prefixed text and what follows it.
fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn put(blob: &mut Vec<u8>, bytes: &[u8]) {
    blob.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    blob.extend_from_slice(bytes);
}

fn put_integer(blob: &mut Vec<u8>, bytes: &[u8]) {
    let mut number = Vec::with_capacity(bytes.len() + 1);
    if bytes.first().is_some_and(|b| b & 0x80 != 0) {
        number.push(0);
    }
    number.extend_from_slice(bytes);
    put(blob, &number);
}

/// The first DER element: tag, content, what follows.
fn tlv(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |sum, b| (sum << 8) | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The RSAPrivateKey inside a PrivateKeyInfo: version, algorithm, octet string.
fn pkcs1_of(pkcs8: &[u8]) -> Option<&[u8]> {
    let (0x30, info, _) = tlv(pkcs8)? else { return None };
    let (0x02, _, rest) = tlv(info)? else { return None };
    let (0x30, _, rest) = tlv(rest)? else { return None };
    let (0x04, key, _) = tlv(rest)? else { return None };
    Some(key)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|b| char::from(*b)));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEFs/1LJV2aJj5gTWtIUJT2eV6R2eDDBkjxFxrMSPoq a@b";

    #[test]
    fn generated_keys_fit_together() {
        let made = generate().unwrap();
        assert_eq!(ssh_fingerprint(&made.public_key).unwrap(), made.fingerprint);
        assert!(made.public_key.ends_with(" Generated-by-Nova"));
        assert!(made.private_key.starts_with("-----BEGIN RSA PRIVATE KEY-----\nMII"));
        // The private half holds the modulus of the public one.
        let key = ssh_key::PublicKey::from_openssh(&made.public_key).unwrap();
        let modulus = key.key_data().rsa().unwrap().n.as_positive_bytes().unwrap().to_vec();
        let body: String = made.private_key.lines().filter(|l| !l.starts_with('-')).collect();
        let der = STANDARD.decode(body).unwrap();
        let (_, outer, _) = tlv(&der).unwrap();
        let (_, _, rest) = tlv(outer).unwrap();
        let (_, n, _) = tlv(rest).unwrap();
        assert_eq!(n.strip_prefix(&[0]).unwrap_or(n), modulus);
    }

    #[test]
    fn takes_keys_and_refuses_the_rest() {
        let fingerprint = ssh_fingerprint(ED25519).unwrap();
        let known = ssh_key::PublicKey::from_openssh(ED25519).unwrap();
        assert_eq!(fingerprint, colons(&Md5::digest(known.to_bytes().unwrap())));
        let body = ED25519.split(' ').nth(1).unwrap();
        for bad in [
            "",
            "ssh-ed25519",
            "hello world",
            &format!("ssh-rsa {body}"),
            &format!("ssh-ed25519 {}", &body[..body.len() - 4]),
            &format!("ssh-ed25519 {body}AAAA"),
            "ssh-ed25519 ////////",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "ssh-rsa AAAAB3NzaC1yc2E\u{0}",
        ] {
            let error = ssh_fingerprint(bad).unwrap_err();
            assert_eq!(error.kind.http(), 400, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(text in "\\PC*", bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = ssh_fingerprint(&text);
            let _ = ssh_fingerprint(&format!("ssh-rsa {}", STANDARD.encode(&bytes)));
            let _ = x509_fingerprint(&format!("-----BEGIN CERTIFICATE-----{}-----END CERTIFICATE-----",
                STANDARD.encode(&bytes)));
            let _ = tlv(&bytes);
        }
    }
}
