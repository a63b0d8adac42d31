//! Guests that move between fake hosts of one process.

use super::{FakeGuest, FakeHypervisor, Fault, Operation, absent, broken};
use crate::{Guest, LiveMigration};
use async_trait::async_trait;
use ferrostack_model::{
    Error, ErrorKind, Result,
    live_migration::{Offer, Progress},
    server::PowerState,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, LazyLock, Weak, atomic::Ordering},
};
use tokio::sync::Notify;

/// Prefix of a fake host's address.
const SCHEME: &str = "fake:";

/// The fake hosts of this process by address.
static HOSTS: LazyLock<Mutex<HashMap<String, Weak<FakeHypervisor>>>> = LazyLock::new(Mutex::default);
/// Markers that were left on shared storage, with its name.
static MARKERS: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

/// What a fake host knows of guests on their way.
#[derive(Default)]
pub(super) struct Moves {
    address: String,
    /// Name of the storage that its guests are on; none: its own.
    shared: Mutex<Option<String>>,
    /// Guests that are expected here.
    expected: Mutex<BTreeSet<String>>,
    /// Guests that are leaving.
    leaving: Mutex<BTreeMap<String, Leaving>>,
    /// Why the latest sending of a guest failed, until it is told.
    failed: Mutex<BTreeMap<String, Error>>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Leaving {
    aborted: bool,
    forced: bool,
}

impl Moves {
    /// Of a host with an address of its own.
    pub(super) fn new() -> Self {
        Self { address: format!("{SCHEME}{}", uuid::Uuid::new_v4()), ..Self::default() }
    }

    /// Nothing is expected of this guest any more.
    pub(super) fn forget(&self, server_id: &str) {
        self.expected.lock().remove(server_id);
    }
}

/// Lets other hosts find this one.
pub(super) fn register(host: &Arc<FakeHypervisor>) {
    let mut hosts = HOSTS.lock();
    hosts.retain(|_, host| host.strong_count() > 0);
    hosts.insert(host.moves.address.clone(), Arc::downgrade(host));
}

impl FakeHypervisor {
    /// Puts the host's guests on storage that others of this name see too; none: on its own.
    pub fn share_storage(&self, name: Option<&str>) {
        *self.moves.shared.lock() = name.map(str::to_owned);
    }

    /// How often the guest has booted: a guest that moves while it runs does not boot.
    pub fn boots(&self, server_id: &str) -> Option<u64> {
        self.guests.lock().get(server_id).map(|guest| guest.boots)
    }

    /// Whether a guest is expected from another host.
    pub fn expects(&self, server_id: &str) -> bool {
        self.moves.expected.lock().contains(server_id)
    }

    /// Holds a guest that is on its way while told to, unless it is forced or stopped.
    async fn under_way(&self, server_id: &str, hang: bool) -> Result<()> {
        let released = self.released.notified();
        tokio::pin!(released);
        released.as_mut().enable();
        loop {
            let changed = self.moves.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let leaving = self.moves.leaving.lock().get(server_id).copied().unwrap_or_default();
            if leaving.aborted {
                return Err(Error::conflict("The migration was aborted."));
            }
            if !hang || leaving.forced {
                return Ok(());
            }
            tokio::select! {
                () = &mut released => return Ok(()),
                () = changed => {}
            }
        }
    }

    /// The way of one guest to its end, which [`Self::arrived`] waits for.
    async fn travel(&self, server_id: &str, offer: &Offer) {
        if !self.options.delay.is_zero() {
            tokio::time::sleep(self.options.delay).await;
        }
        let fault = self.faults.lock().get_mut(&Operation::MigrateSend).and_then(VecDeque::pop_front);
        let hang = fault == Some(Fault::Hang);
        let mut result = match fault {
            Some(Fault::Fail(kind)) => Err(broken(kind)),
            _ => self.under_way(server_id, hang).await.and_then(|()| self.hand_over(server_id, offer)),
        };
        match fault {
            Some(Fault::FailAfter(kind)) => result = Err(broken(kind)),
            Some(Fault::HangAfter) => self.released.notified().await,
            _ => {}
        }
        if let Err(error) = result {
            self.moves.failed.lock().insert(server_id.to_owned(), error);
        }
        self.moves.leaving.lock().remove(server_id);
        self.moves.changed.notify_waiters();
    }

    /// Waits until the guest is not on its way any more.
    async fn arrived(&self, server_id: &str) {
        loop {
            let changed = self.moves.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.moves.leaving.lock().contains_key(server_id) {
                return;
            }
            changed.await;
        }
    }

    /// Hands the guest over: at no moment do both hosts have it.
    fn hand_over(&self, server_id: &str, offer: &Offer) -> Result<PowerState> {
        let host = HOSTS.lock().get(&offer.uri).and_then(Weak::upgrade);
        let away = || Error::new(ErrorKind::Internal, "The destination cannot be reached.");
        let host = host.filter(|host| host.reachable.load(Ordering::SeqCst)).ok_or_else(away)?;
        if !host.moves.expected.lock().contains(server_id) {
            return Err(Error::conflict("The destination does not expect the guest."));
        }
        let Some(guest) = self.guests.lock().get(server_id).cloned() else { return Ok(PowerState::NoState) };
        self.forget(server_id);
        host.guests.lock().insert(server_id.to_owned(), guest.clone());
        host.save(server_id, &guest)?;
        Ok(PowerState::NoState)
    }

    fn answers(&self) -> Result<()> {
        match self.reachable.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err(Error::unavailable("the fake hypervisor does not answer")),
        }
    }

    fn power_of(&self, server_id: &str) -> Option<PowerState> {
        self.guests.lock().get(server_id).map(|guest: &FakeGuest| guest.power)
    }
}

#[async_trait]
impl LiveMigration for FakeHypervisor {
    async fn check(&self, server_id: &str, marker: &str) -> Result<()> {
        let after = self.before(Operation::MigrateCheck).await?;
        let power = self.power_of(server_id).ok_or_else(|| absent(server_id))?;
        if !matches!(power, PowerState::Running | PowerState::Paused) {
            return Err(Error::conflict("The guest does not run."));
        }
        if let Some(storage) = self.moves.shared.lock().clone() {
            MARKERS.lock().insert(marker.to_owned(), storage);
        }
        self.after(after, ()).await
    }

    async fn receive(&self, guest: &Guest, marker: &str, block: Option<bool>) -> Result<Offer> {
        let after = self.before(Operation::MigrateReceive).await?;
        let id = guest.spec.server_id.as_str();
        if self.power_of(id).is_some() {
            return Err(Error::conflict("The guest is on this host already."));
        }
        let mine = self.moves.shared.lock().clone();
        let shared = mine.is_some() && MARKERS.lock().get(marker).cloned() == mine;
        crate::block_fits(block, shared)?;
        self.moves.expected.lock().insert(id.to_owned());
        let offer = Offer { uri: self.moves.address.clone(), shared, ..Offer::default() };
        self.after(after, offer).await
    }

    async fn send(&self, server_id: &str, offer: &Offer, force: bool) -> Result<PowerState> {
        self.answers()?;
        if self.power_of(server_id).is_none() {
            return Ok(PowerState::NoState);
        }
        let begin = {
            let mut leaving = self.moves.leaving.lock();
            let begin = !leaving.contains_key(server_id);
            leaving.entry(server_id.to_owned()).or_default().forced |= force;
            begin
        };
        if begin {
            self.moves.failed.lock().remove(server_id);
            let me = HOSTS.lock().get(&self.moves.address).and_then(Weak::upgrade);
            let me = me.ok_or_else(|| Error::internal("the fake host is gone"))?;
            let (id, offer) = (server_id.to_owned(), offer.clone());
            // Goes on whoever waits for it.
            tokio::spawn(async move { me.travel(&id, &offer).await });
        }
        self.moves.changed.notify_waiters();
        self.arrived(server_id).await;
        if let Some(error) = self.moves.failed.lock().remove(server_id) {
            return Err(error);
        }
        match self.power_of(server_id) {
            None => Ok(PowerState::NoState),
            Some(_) => Err(Error::internal("the fake guest stayed")),
        }
    }

    async fn progress(&self, server_id: &str) -> Result<Option<Progress>> {
        if !self.moves.leaving.lock().contains_key(server_id) {
            return Ok(None);
        }
        let disk = self.guests.lock().get(server_id).map_or(0, |guest| guest.disk);
        Ok(Some(Progress {
            memory_total: 1 << 20,
            memory_processed: 1 << 19,
            memory_remaining: 1 << 19,
            disk_total: disk,
            disk_processed: disk / 2,
            disk_remaining: disk - disk / 2,
        }))
    }

    async fn abort(&self, server_id: &str, _resume: bool) -> Result<PowerState> {
        let after = self.before(Operation::MigrateAbort).await?;
        if let Some(leaving) = self.moves.leaving.lock().get_mut(server_id) {
            leaving.aborted = true;
        }
        self.moves.changed.notify_waiters();
        self.arrived(server_id).await;
        self.after(after, self.power_of(server_id).unwrap_or(PowerState::NoState)).await
    }

    async fn settle(&self, guest: &Guest) -> Result<PowerState> {
        let after = self.before(Operation::MigrateSettle).await?;
        let id = guest.spec.server_id.as_str();
        let power = match self.power_of(id) {
            Some(_) => {
                self.change(id, |known| known.generation = known.generation.max(guest.spec.generation))?
            }
            None => PowerState::NoState,
        };
        self.moves.forget(id);
        self.after(after, power).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{FakeOptions, sample_guest};
    use super::*;
    use crate::Hypervisor;

    fn hosts() -> (Arc<FakeHypervisor>, Arc<FakeHypervisor>, Guest) {
        let host = || FakeHypervisor::new(FakeOptions::default());
        (host(), host(), sample_guest(&uuid::Uuid::new_v4().to_string(), 1))
    }

    async fn running(host: &FakeHypervisor) -> usize {
        host.list().await.unwrap().iter().filter(|g| g.power == PowerState::Running).count()
    }

    #[tokio::test]
    async fn a_guest_moves_without_a_boot() {
        let (a, b, guest) = hosts();
        let id = guest.spec.server_id.as_str();
        a.ensure(&guest).await.unwrap();
        a.check(id, "m1").await.unwrap();
        let offer = b.receive(&guest, "m1", None).await.unwrap();
        assert!(!offer.shared && b.expects(id));
        for _ in 0..2 {
            assert_eq!(a.send(id, &offer, false).await.unwrap(), PowerState::NoState);
        }
        assert_eq!((running(&a).await, running(&b).await), (0, 1));
        for _ in 0..2 {
            assert_eq!(b.settle(&guest).await.unwrap(), PowerState::Running);
        }
        assert_eq!(b.boots(id), Some(1));
        assert_eq!(b.receive(&guest, "m1", None).await.unwrap_err().kind, ErrorKind::Conflict);
    }

    #[tokio::test]
    async fn one_that_is_held_can_be_stopped_or_forced() {
        for force in [false, true] {
            let (a, b, guest) = hosts();
            let id = guest.spec.server_id.as_str();
            a.ensure(&guest).await.unwrap();
            let offer = b.receive(&guest, "m2", Some(true)).await.unwrap();
            a.inject(Operation::MigrateSend, Fault::Hang);
            let (sent, ()) = tokio::join!(a.send(id, &offer, false), async {
                while a.progress(id).await.unwrap().is_none() {
                    tokio::task::yield_now().await;
                }
                match force {
                    true => assert_eq!(a.send(id, &offer, true).await.unwrap(), PowerState::NoState),
                    false => assert_eq!(a.abort(id, true).await.unwrap(), PowerState::Running),
                }
            });
            assert_eq!(sent.is_ok(), force);
            assert_eq!((running(&a).await, running(&b).await), if force { (0, 1) } else { (1, 0) });
            let settled = b.settle(&guest).await.unwrap();
            assert_eq!(settled, if force { PowerState::Running } else { PowerState::NoState });
            assert!(!b.expects(id));
        }
    }

    #[tokio::test]
    async fn storage_is_shared_or_not() {
        let (a, b, guest) = hosts();
        a.ensure(&guest).await.unwrap();
        for (left, right, block, fits) in [
            (None, None, Some(false), None),
            (None, None, None, Some(false)),
            (Some("nfs"), Some("nfs"), Some(true), None),
            (Some("nfs"), Some("nfs"), None, Some(true)),
            (Some("nfs"), Some("other"), Some(true), Some(false)),
        ] {
            a.share_storage(left);
            b.share_storage(right);
            let marker = uuid::Uuid::new_v4().to_string();
            a.check(&guest.spec.server_id, &marker).await.unwrap();
            let offer = b.receive(&guest, &marker, block).await;
            assert_eq!(offer.ok().map(|o| o.shared), fits, "{left:?} {right:?} {block:?}");
        }
    }
}
