//! Names: of hosts inside guests, of the servers of a multi-create, of reservations; passwords.

use ferrostack_model::{Error, Microversion, Result, microversion::feature};
use rand::{Rng, distr::slice::Choose};

/// Longest host name.
const MAX: usize = 63;

/// A host name made of a display name, as Nova makes it; `fallback` if nothing is left of it.
pub fn hostname(display_name: &str, fallback: &str) -> String {
    let mut made = String::with_capacity(display_name.len());
    for c in display_name.chars() {
        match c {
            ' ' | '_' | '.' => made.push('-'),
            'a'..='z' | '0'..='9' | '-' => made.push(c),
            'A'..='Z' => made.push(c.to_ascii_lowercase()),
            _ => {}
        }
    }
    let trimmed = made.trim_matches('-');
    let cut: String = trimmed.chars().take(MAX).collect();
    let cut = cut.trim_end_matches('-');
    if cut.is_empty() { fallback.to_owned() } else { cut.to_owned() }
}

/// A host name the client gave: one label, or from 2.94 a whole domain name.
pub fn given_hostname(text: &str, v: Microversion) -> Result<String> {
    let fqdn = v.has(feature::SERVER_FQDN);
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= MAX
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let good = if fqdn { text.split('.').all(label) } else { label(text) };
    if good && text.len() <= 255 {
        return Ok(text.to_owned());
    }
    Err(Error::bad_request(format!(
        "Invalid input for field/attribute hostname. Value: {text}. '{text}' is not a valid host name"
    )))
}

/// `r-` and eight letters and digits.
pub fn reservation() -> String {
    format!("r-{}", random("abcdefghijklmnopqrstuvwxyz0123456789", 8))
}

/// An admin password as Nova makes them: without letters that are easily mistaken.
pub fn password() -> String {
    random("23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", 12)
}

fn random(alphabet: &str, length: usize) -> String {
    let letters = alphabet.as_bytes();
    match Choose::new(letters) {
        Ok(choose) => rand::rng().sample_iter(choose).take(length).map(|b| char::from(*b)).collect(),
        // Only an empty alphabet.
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn host_names_are_labels() {
        for (name, made) in [
            ("web 1", "web-1"),
            ("Web_Server.example.ORG", "web-server-example-org"),
            ("-x-", "x"),
            ("ünïcode", "ncode"),
            ("日本", "server-7"),
            ("...", "server-7"),
        ] {
            assert_eq!(hostname(name, "server-7"), made, "{name}");
        }
        assert_eq!(hostname(&"a".repeat(255), "x").len(), 63);
    }

    #[test]
    fn given_host_names_are_checked() {
        let old = Microversion(90);
        assert!(given_hostname("web-1", old).is_ok());
        for bad in ["a.b", "-a", "a-", "a_b", ""] {
            assert!(given_hostname(bad, old).is_err(), "{bad}");
        }
        assert!(given_hostname("web.example.org", Microversion(94)).is_ok());
        assert!(given_hostname("web..org", Microversion(94)).is_err());
        assert!(given_hostname(&"a".repeat(64), Microversion(94)).is_err());
    }

    #[test]
    fn random_texts_have_their_form() {
        assert!(reservation().starts_with("r-") && reservation().len() == 10);
        assert_eq!(password().len(), 12);
        assert_ne!(password(), password());
    }
}
