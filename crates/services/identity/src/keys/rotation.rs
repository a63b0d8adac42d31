//! When a key signs, how long it is needed, and what the operator does about it. Needs nothing but the directory.

use super::{Keys, directory, failed};
use ferrostack_model::{Result, Timestamp};
use ferrostack_settings::Identity;

/// Seconds a key is kept beyond the life of the last token it can have signed, for clocks that differ.
const LEEWAY: i64 = 600;

/// What a key is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Verifies, and will sign from this time on if no newer key does by then.
    Waiting(Timestamp),
    /// Signs new tokens.
    Signing,
    /// Verifies until this time: no token it has signed is looked at any more after it.
    Retired(Timestamp),
    /// No live token can need it.
    Spent,
}

/// A key and what it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its id, the name of its file.
    pub id: String,
    /// When its file was made.
    pub made_at: Timestamp,
    /// What it is doing.
    pub state: KeyState,
}

/// Which of `made` (ids with times, in any order) signs at `now`: the newest that is `mature_after` seconds old, so
/// that every verifier has it by then; the oldest if there is no such key.
pub fn signer(
    made: impl Iterator<Item = (String, Timestamp)>,
    mature_after: i64,
    now: Timestamp,
) -> Option<String> {
    let mut made: Vec<_> = made.map(|(kid, at)| (at, kid)).collect();
    made.sort();
    let mature = now.plus_seconds(-mature_after);
    let newest = made.iter().rposition(|(at, _)| *at <= mature).unwrap_or(0);
    (!made.is_empty()).then(|| made.swap_remove(newest).1)
}

/// Every key's state, oldest first. A key signs until the next one is mature; the last token it signs lives
/// `token_ttl` seconds and may be asked for `window` more.
fn states(mut made: Vec<(String, Timestamp)>, settings: &Identity, now: Timestamp) -> Vec<KeyStatus> {
    made.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    let mature_after = settings.key_maturity_seconds;
    let signing = signer(made.iter().cloned(), mature_after, now);
    let life = settings.token_ttl_seconds + settings.allow_expired_window_seconds + LEEWAY;
    let ends: Vec<Option<Timestamp>> = (0..made.len())
        .map(|n| made.get(n + 1).map(|(_, at)| at.plus_seconds(mature_after + life)))
        .collect();
    made.into_iter()
        .zip(ends)
        .map(|((id, made_at), end)| {
            let state = match end {
                _ if signing.as_ref() == Some(&id) => KeyState::Signing,
                _ if made_at.plus_seconds(mature_after) > now => {
                    KeyState::Waiting(made_at.plus_seconds(mature_after))
                }
                Some(end) if end <= now => KeyState::Spent,
                Some(end) => KeyState::Retired(end),
                None => KeyState::Signing,
            };
            KeyStatus { id, made_at, state }
        })
        .collect()
}

/// Makes one more key and says its id. It verifies at once and signs when it is mature.
pub fn rotate(settings: &Identity) -> Result<String> {
    Keys::generate_in(&settings.key_directory)
}

/// Every key, oldest first.
pub fn list(settings: &Identity) -> Result<Vec<KeyStatus>> {
    directory::check(&settings.key_directory)?;
    let made = directory::list(&settings.key_directory)?;
    Ok(states(made, settings, Timestamp::now()))
}

/// Removes the keys that no live token can need, and says which.
pub fn prune(settings: &Identity) -> Result<Vec<String>> {
    let spent: Vec<String> =
        list(settings)?.into_iter().filter(|k| k.state == KeyState::Spent).map(|k| k.id).collect();
    for id in &spent {
        let path = directory::file(&settings.key_directory, id);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&path, &e.to_string())),
            _ => {}
        }
    }
    Ok(spent)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MATURE: i64 = 60;

    fn settings() -> Identity {
        Identity {
            key_maturity_seconds: MATURE,
            token_ttl_seconds: 100,
            allow_expired_window_seconds: 50,
            ..Identity::default()
        }
    }
    fn at(seconds: i64) -> Timestamp {
        Timestamp(0).plus_seconds(seconds)
    }

    proptest! {
        /// Whatever is rotated when: one key signs, and a key that signed is not spent while a token of it may live.
        #[test]
        fn a_key_outlives_its_tokens(times in prop::collection::btree_set(0..2000i64, 1..8), signed in 0..2000i64, later in 0..400i64) {
            let made: Vec<(String, Timestamp)> = times.iter().map(|t| (format!("k{t}"), at(*t))).collect();
            let known = |now: i64| made.iter().filter(|(_, t)| *t <= at(now)).cloned().collect::<Vec<_>>();
            let Some(kid) = signer(known(signed).into_iter(), MATURE, at(signed)) else {
                prop_assert!(known(signed).is_empty());
                return Ok(());
            };
            let now = states(known(signed), &settings(), at(signed));
            prop_assert_eq!(now.iter().filter(|k| k.state == KeyState::Signing).count(), 1);
            let then = states(known(signed + later), &settings(), at(signed + later));
            let state = then.iter().find(|k| k.id == kid).unwrap().state;
            prop_assert!(later > 150 || state != KeyState::Spent, "{:?}", then);
            // It was known to everybody before it signed, unless it was the first.
            let made_at = made.iter().find(|(k, _)| *k == kid).unwrap().1;
            prop_assert!(made_at.plus_seconds(MATURE) <= at(signed) || made[0].0 == kid);
        }
    }

    #[test]
    fn only_spent_keys_are_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Identity { key_directory: dir.path().join("keys"), ..settings() };
        let keys = Keys::open(&settings.key_directory, MATURE).unwrap();
        let first = keys.public().keys[0].kid.clone();
        let second = rotate(&settings).unwrap();
        let third = rotate(&settings).unwrap();
        let state = |id: &str| list(&settings).unwrap().into_iter().find(|k| k.id == id).unwrap().state;
        let age = |kid: &str, seconds: u64| {
            let file = std::fs::File::open(directory::file(&settings.key_directory, kid)).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(seconds))
                .unwrap();
        };
        age(&first, 10_000);
        assert!(matches!(state(&second), KeyState::Waiting(_)));
        assert_eq!(state(&first), KeyState::Signing);
        age(&second, 61);
        assert_eq!(state(&second), KeyState::Signing);
        assert!(matches!(state(&first), KeyState::Retired(_)));
        assert!(prune(&settings).unwrap().is_empty());
        age(&second, (MATURE + 100 + 50 + LEEWAY + 1) as u64);
        assert_eq!(state(&first), KeyState::Spent);
        assert_eq!(prune(&settings).unwrap(), [first]);
        assert_eq!(state(&second), KeyState::Signing);
        assert!(matches!(state(&third), KeyState::Waiting(_)));
        assert!(list(&Identity { key_directory: dir.path().join("none"), ..settings.clone() }).is_err());
    }
}
