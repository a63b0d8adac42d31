//! Whether what was worked out from the database still holds, here and with the other replicas' writes.
//!
//! Every write that an answer about a token may depend on counts: in this process at its commit, and in the database
//! within its transaction (`revocation_clock.changes`), where the other replicas see it when they look.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How old our view of the database may be. Together with the time of an answer it keeps the promise that a change is
/// in force everywhere within a second.
pub const MAX_AGE: Duration = Duration::from_millis(900);

/// The count of changes that this process knows of.
#[derive(Debug)]
pub struct Step {
    begun: Instant,
    /// Microseconds from `begun` to the start of the last look at the database, plus one; 0: none.
    looked: AtomicU64,
    /// Grows with every change seen.
    epoch: AtomicU64,
    /// The database's count.
    changes: AtomicI64,
}

impl Default for Step {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            looked: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            changes: AtomicI64::new(0),
        }
    }
}

impl Step {
    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX)
    }

    /// The database was looked at from `started` on and its count was `changes`.
    pub fn looked(&self, started: Instant, changes: i64) {
        if self.changes.swap(changes, Ordering::SeqCst) != changes {
            self.epoch.fetch_add(1, Ordering::SeqCst);
        }
        self.looked.fetch_max(self.micros(started).saturating_add(1), Ordering::SeqCst);
    }

    /// The epoch if the last look at the database is young enough.
    pub fn epoch(&self) -> Option<u64> {
        // In this order: the epoch is at least the one of that look.
        let looked = self.looked.load(Ordering::SeqCst).checked_sub(1)?;
        let epoch = self.epoch.load(Ordering::SeqCst);
        let age = self.micros(Instant::now()).saturating_sub(looked);
        (Duration::from_micros(age) <= MAX_AGE).then_some(epoch)
    }

    /// The epoch, however old the last look.
    pub fn latest(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Something changed: nothing that was worked out before holds.
    pub fn advance(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

/// Advances when it goes, if it was armed: also when a commit is given up halfway, whose outcome nobody knows.
#[derive(Debug)]
pub struct Advance {
    step: Arc<Step>,
    armed: bool,
}

impl Advance {
    /// Not armed.
    pub fn of(step: &Arc<Step>) -> Self {
        Self { step: step.clone(), armed: false }
    }
    /// From here on the change may happen.
    pub fn arm(&mut self) {
        self.armed = true;
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        if self.armed {
            self.step.advance();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What writes past the unit of work does not count, so it must not change what an answer about a token shows:
    /// counters of logins, addresses, new hashes of the same passwords, rules that have expired.
    #[test]
    fn writes_that_do_not_count_are_few_and_known() {
        let known =
            ["app.rs", "auth/login.rs", "auth/methods/totp.rs", "lib.rs", "step.rs", "store/plans.rs"];
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut open, mut seen) = (vec![root.clone()], 0);
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            seen += 1;
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let aside = text.contains(".writer()") || text.contains("begin_write()");
            assert!(!aside || known.contains(&name), "{name} writes without App::write or App::begin");
        }
        assert!(seen > 50);
    }

    #[test]
    fn an_epoch_lasts_until_something_changes_or_nobody_looks() {
        let step = Arc::new(Step::default());
        assert_eq!(step.epoch(), None);
        step.looked(Instant::now(), 7);
        let first = step.epoch().unwrap();
        step.looked(Instant::now(), 7);
        assert_eq!(step.epoch(), Some(first));
        step.looked(Instant::now(), 8);
        let second = step.epoch().unwrap();
        assert_ne!(first, second);
        drop(Advance::of(&step));
        assert_eq!(step.epoch(), Some(second));
        let mut advance = Advance::of(&step);
        advance.arm();
        drop(advance);
        assert_ne!(step.epoch(), Some(second));
        // A look that began long ago, and one after it that began earlier still.
        let old = Step { begun: Instant::now() - Duration::from_secs(10), ..Step::default() };
        old.looked(old.begun + Duration::from_secs(8), 1);
        old.looked(old.begun + Duration::from_secs(2), 1);
        assert_eq!(old.epoch(), None);
    }
}
