//! Secrets that we generate ourselves: 512 random bits, kept as a keyed digest instead of a slow hash.
//!
//! A slow hash protects secrets that can be guessed. These cannot be, so machines may log in with them thousands
//! of times a second. Stored as `$hmac-sha256$KEY-ID$HEX`; the key is `secrets.key` beside the token keys, and a
//! copied database without it lets nobody even test a guess.

use crate::{keys::Keys, passwords::Passwords};
use aws_lc_rs::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ferrostack_model::{Error, Result};

const MARK: &str = "$hmac-sha256$";

/// A new secret: 64 random bytes as URL-safe text, 86 characters, as Keystone makes for application credentials.
pub fn generate_secret() -> Result<String> {
    let mut raw = zeroize::Zeroizing::new([0u8; 64]);
    SystemRandom::new().fill(&mut *raw).map_err(|_| Error::internal("no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(*raw))
}

impl Keys {
    /// What to store of a secret that [`generate_secret`] made. Never of one that somebody chose: those are
    /// for [`Passwords::hash`].
    pub fn keyed_digest(&self, secret: &str) -> String {
        let (key, id) = self.secrets_key();
        format!("{MARK}{id}${}", hex::encode(hmac::sign(key, secret.as_bytes()).as_ref()))
    }

    /// Whether `secret` is the one of a stored [`Self::keyed_digest`], in constant time.
    fn digest_matches(&self, secret: &str, stored: &str) -> bool {
        let (key, id) = self.secrets_key();
        let Some((stored_id, tag)) = stored.strip_prefix(MARK).and_then(|s| s.split_once('$')) else {
            return false;
        };
        if stored_id != id {
            tracing::error!(stored_id, id, "a stored secret was made with another secrets.key than ours");
            return false;
        }
        hex::decode(tag).is_ok_and(|tag| hmac::verify(key, secret.as_bytes(), &tag).is_ok())
    }
}

impl Passwords {
    /// Whether `secret` is the one of `stored`, which is a keyed digest or any hash that [`Self::verify`] knows.
    ///
    /// The right generated secret costs microseconds. Whatever fails (a wrong secret of either kind, nothing
    /// stored) costs one slow hash, so that its time does not tell which it was.
    pub async fn verify_secret(&self, keys: &Keys, secret: &str, stored: Option<&str>) -> Result<bool> {
        match stored {
            Some(digest) if digest.starts_with(MARK) => {
                Ok(keys.digest_matches(secret, digest) || self.verify(secret, None).await?)
            }
            other => self.verify(secret, other).await,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_generated_secret_matches_only_itself_under_its_key() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (keys, others) = (Keys::open(one.path(), 60).unwrap(), Keys::open(two.path(), 60).unwrap());
        let passwords = Passwords::new(4, 1, 8).unwrap();
        let secret = generate_secret().unwrap();
        assert_eq!(secret.len(), 86);
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_ne!(secret, generate_secret().unwrap());
        let stored = keys.keyed_digest(&secret);
        assert!(stored.starts_with(MARK) && !stored.contains(&secret));
        let is = async |keys: &Keys, secret: &str, stored: Option<&str>| {
            passwords.verify_secret(keys, secret, stored).await.unwrap()
        };
        assert!(is(&keys, &secret, Some(&stored)).await);
        assert!(!is(&keys, &secret[1..], Some(&stored)).await);
        assert!(!is(&keys, "", Some(&stored)).await);
        assert!(!is(&keys, &secret, None).await && !is(&keys, &secret, Some("")).await);
        assert!(!is(&keys, &secret, Some(MARK)).await && !is(&keys, &secret, Some(&stored[..40])).await);
        assert!(!is(&others, &secret, Some(&stored)).await);
        // A replica with the same directory, and the same after a restart.
        assert!(is(&Keys::open(one.path(), 60).unwrap(), &secret, Some(&stored)).await);
        let given = passwords.hash("given by a user").await.unwrap();
        assert!(is(&keys, "given by a user", Some(&given)).await);
        assert!(!is(&keys, "given by another", Some(&given)).await);
        // The stored text is no password of its own.
        assert!(!is(&keys, &stored, Some(&stored)).await);
    }
}
