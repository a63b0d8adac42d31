//! Passwords: hashed and verified on threads of their own, in the forms of [`forms`].

mod forms;
mod pool;

use ferrostack_model::{Error, Result};
use pool::Pool;
use prometheus::{IntCounterVec, Opts};
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// Longest password that is hashed, bytes: Keystone's `max_password_length`.
pub const MAX_PASSWORD: usize = 4096;

static HASHES: LazyLock<IntCounterVec> = LazyLock::new(hashes);

#[allow(clippy::expect_used)] // start-up: a fixed name
fn hashes() -> IntCounterVec {
    let opts = Opts::new("ferrostack_identity_password_hashes_total", "Slow password hashes computed");
    let metric = IntCounterVec::new(opts, &["for"]).expect("metric definition");
    prometheus::default_registry().register(Box::new(metric.clone())).expect("metric name is unique");
    metric
}

/// Hashes and verifies, a few at a time.
pub struct Passwords {
    cost: u32,
    pool: Pool,
}

impl Passwords {
    /// bcrypt's `cost`; `parallelism` 0: as many as CPUs; `room`: how many may wait.
    pub fn new(cost: u32, parallelism: usize, room: usize) -> Result<Self> {
        if !(4..=20).contains(&cost) {
            return Err(Error::internal(format!("identity.bcrypt_cost: {cost} is not within 4 and 20")));
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if parallelism == 0 { cpus } else { parallelism };
        for what in ["set", "check"] {
            HASHES.with_label_values(&[what]);
        }
        Ok(Self { cost, pool: Pool::new(threads, room)? })
    }

    /// The hash to store. 400 if the password is too long, 503 if too many wait.
    pub async fn hash(&self, password: &str) -> Result<String> {
        if password.len() > MAX_PASSWORD {
            return Err(too_long());
        }
        let (cost, password) = (self.cost, Zeroizing::new(password.to_owned()));
        self.pool
            .run(move || {
                HASHES.with_label_values(&["set"]).inc();
                forms::hash(password.as_bytes(), cost)
            })
            .await
    }

    /// Whether `password` is the one of `stored`. Without a stored hash it takes as long and says no. One too long
    /// to have been set is not hashed. 503 if too many wait.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let known = stored.is_some_and(|s| !s.is_empty());
        let stored = match stored {
            Some(stored) if known => stored.to_owned(),
            _ => forms::nobodys(self.cost),
        };
        Ok(self.is_any(password, vec![stored]).await? && known)
    }

    /// Whether `password` is the one of any of `stored`.
    pub async fn is_any(&self, password: &str, stored: Vec<String>) -> Result<bool> {
        let password = Zeroizing::new(password.to_owned());
        self.pool
            .run(move || {
                Ok(stored.iter().any(|stored| {
                    HASHES.with_label_values(&["check"]).inc();
                    forms::verify(password.as_bytes(), stored).unwrap_or_else(|what| {
                        tracing::error!(what, "a stored password hash cannot be read");
                        false
                    })
                }))
            })
            .await
    }

    /// Whether `stored` has the form and cost that [`Self::hash`] gives now.
    pub fn is_current(&self, stored: &str) -> bool {
        forms::is_current(stored, self.cost)
    }

    /// Checks that wait or run, and how many may wait.
    pub fn load(&self) -> (usize, usize) {
        (self.pool.pending(), self.pool.room())
    }
}

fn too_long() -> Error {
    Error::bad_request(format!(
        "The password length must be less than or equal to {MAX_PASSWORD}. The server could not comply with the request because the password is invalid."
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_byte_is_cut_off_and_keystones_hashes_verify() {
        let passwords = Passwords::new(4, 2, 8).unwrap();
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

    /// Asserted by the work and not by the clock: what nobody has is hashed at the same cost.
    #[tokio::test]
    async fn cve_2018_20170_an_unknown_user_costs_a_whole_check() {
        let passwords = Passwords::new(5, 1, 8).unwrap();
        let hash = passwords.hash("a").await.unwrap();
        let count = || HASHES.with_label_values(&["check"]).get();
        for stored in [Some(hash.as_str()), None, Some("")] {
            let before = count();
            assert!(!passwords.verify("b", stored).await.unwrap());
            assert!(count() > before, "{stored:?}");
        }
        assert!(passwords.is_current(&forms::nobodys(5)) && passwords.is_current(&hash));
    }
}
