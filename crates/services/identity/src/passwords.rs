//! Password hashes: bcrypt over SHA-384, so that no byte of a long password is cut off.
//!
//! Ours are stored as `sha384$` before the bcrypt string; a plain bcrypt string is one of Keystone's.

use base64::{Engine, engine::general_purpose::STANDARD};
use ferrostack_model::{Error, Result};
use sha2::{Digest, Sha384};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Longest password that is hashed, bytes: Keystone's `max_password_length`.
pub const MAX_PASSWORD: usize = 4096;
/// Longest time a login waits for its turn to hash.
const MAX_WAIT: Duration = Duration::from_secs(30);
const MARK: &str = "sha384$";

/// Hashes and verifies on blocking threads, a few at a time.
pub struct Passwords {
    cost: u32,
    turns: Arc<Semaphore>,
}

impl Passwords {
    /// `parallelism` 0: as many as CPUs.
    pub fn new(cost: u32, parallelism: usize) -> Result<Self> {
        if !(4..=20).contains(&cost) {
            return Err(Error::internal(format!("identity.bcrypt_cost: {cost} is not within 4 and 20")));
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = if parallelism == 0 { cpus } else { parallelism };
        Ok(Self { cost, turns: Arc::new(Semaphore::new(turns)) })
    }

    /// The hash to store. 400 if the password is too long.
    pub async fn hash(&self, password: &str) -> Result<String> {
        if password.len() > MAX_PASSWORD {
            return Err(too_long());
        }
        let (cost, digest) = (self.cost, digest(password));
        self.run(move || {
            bcrypt::hash(digest.as_bytes(), cost)
                .map(|h| format!("{MARK}{h}"))
                .map_err(|e| Error::internal(format!("bcrypt: {e}")))
        })
        .await
    }

    /// Whether `password` is the one of `stored`. Without a stored hash it takes as long and says no.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let known = stored.is_some_and(|s| !s.is_empty());
        let stored = match stored {
            Some(stored) if known => stored.to_owned(),
            // Any well-formed hash costs the same; nobody knows a password for this one.
            _ => format!("{MARK}$2b${:02}$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", self.cost),
        };
        let plain = Zeroizing::new(password.as_bytes().to_vec());
        let digest = digest(password);
        let matches = self
            .run(move || {
                Ok(match stored.strip_prefix(MARK) {
                    Some(hash) => bcrypt::verify(digest.as_bytes(), hash),
                    None => bcrypt::verify(&*plain, &stored),
                }
                .unwrap_or_else(|error| {
                    tracing::error!(%error, "a stored password hash cannot be read");
                    false
                }))
            })
            .await?;
        Ok(matches && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let turn = tokio::time::timeout(MAX_WAIT, self.turns.clone().acquire_owned())
            .await
            .map_err(|_| Error::unavailable("too many password checks are waiting"))?
            .map_err(|_| Error::unavailable("shutting down"))?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        })
        .await
        .map_err(|e| Error::internal(format!("password thread: {e}")))?
    }
}

fn too_long() -> Error {
    Error::bad_request(format!(
        "Invalid input for field/attribute password. The password is longer than {MAX_PASSWORD} bytes."
    ))
}

/// 64 characters: below bcrypt's 72 bytes and without NUL.
fn digest(password: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(Sha384::digest(password.as_bytes())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_byte_is_cut_off_and_keystones_hashes_verify() {
        let passwords = Passwords::new(4, 2).unwrap();
        let long = "x".repeat(100);
        let hash = passwords.hash(&long).await.unwrap();
        assert!(passwords.verify(&long, Some(&hash)).await.unwrap());
        assert!(!passwords.verify(&"x".repeat(99), Some(&hash)).await.unwrap());
        assert!(!passwords.verify("", Some(&hash)).await.unwrap());
        let plain = bcrypt::hash("secret", 4).unwrap();
        assert!(passwords.verify("secret", Some(&plain)).await.unwrap());
        assert!(!passwords.verify("secreT", Some(&plain)).await.unwrap());
        assert!(!passwords.verify("x", Some("rubbish")).await.unwrap());
        assert_eq!(passwords.hash(&"x".repeat(4097)).await.unwrap_err().kind.http(), 400);
    }

    #[tokio::test]
    async fn an_unknown_user_costs_a_whole_check() {
        let passwords = Passwords::new(9, 1).unwrap();
        let hash = passwords.hash("a").await.unwrap();
        let time = async |stored: Option<&str>| {
            let start = std::time::Instant::now();
            for _ in 0..3 {
                assert!(!passwords.verify("b", stored).await.unwrap());
            }
            start.elapsed().as_secs_f64()
        };
        let (known, unknown, none) = (time(Some(&hash)).await, time(None).await, time(Some("")).await);
        assert!(unknown > known * 0.4 && none > known * 0.4, "{known} {unknown} {none}");
    }
}
