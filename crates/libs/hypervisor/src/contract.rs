//! What every driver does, as a test that each runs against itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

use crate::{Guest, Hypervisor, Rescue};
use ferrostack_model::{Error, ErrorKind, guest::WantedPower, host::GuestState, server::PowerState};
use std::sync::Arc;

fn ok<T>(what: &str, result: Result<T, Error>) -> T {
    result.unwrap_or_else(|e| panic!("{what}: {}", e.for_log()))
}

async fn state(h: &dyn Hypervisor, server_id: &str) -> Option<GuestState> {
    let found: Vec<_> = ok("list", h.list().await).into_iter().filter(|g| g.server_id == server_id).collect();
    assert!(found.len() <= 1, "{server_id} is listed {} times", found.len());
    found.into_iter().next()
}

async fn expect_state(h: &dyn Hypervisor, server_id: &str, generation: i64, power: PowerState) {
    let want = GuestState { server_id: server_id.to_owned(), generation, power };
    assert_eq!(state(h, server_id).await, Some(want));
}

/// Runs the whole contract on guests that `make_guest(server_id, generation)` makes; leaves none behind.
/// Panics at the first breach. Guests need not answer ACPI: no wait is longer than the hypervisor's own.
pub async fn hypervisor_contract(h: &dyn Hypervisor, make_guest: impl Fn(&str, i64) -> Guest) {
    host(h).await;
    unknown(h).await;
    life(h, &make_guest).await;
    rebuild(h, &make_guest).await;
    states(h, &make_guest).await;
    rescue(h, &make_guest).await;
    at_once(h, &make_guest).await;
}

async fn host(h: &dyn Hypervisor) {
    let info = ok("host_info", h.host_info().await);
    assert!(info.vcpus > 0 && info.memory_mb > 0 && info.local_gb > 0, "{info:?}");
    assert!(!info.hypervisor_hostname.is_empty() && !info.arch.is_empty(), "{info:?}");
}

/// Ids that no guest has: destroy succeeds, everything else is `NotFound`.
async fn unknown(h: &dyn Hypervisor) {
    let id = uuid::Uuid::new_v4().to_string();
    let kind = |r: Result<PowerState, Error>| r.expect_err("an unknown guest has no power").kind;
    assert_eq!(kind(h.start(&id).await), ErrorKind::NotFound, "start");
    assert_eq!(kind(h.stop(&id, 0).await), ErrorKind::NotFound, "stop");
    assert_eq!(kind(h.reboot_soft(&id, 0).await), ErrorKind::NotFound, "reboot_soft");
    let console = h.console_output(&id, 100).await.expect_err("an unknown guest has no console");
    assert_eq!(console.kind, ErrorKind::NotFound, "console_output");
    ok("destroy of an unknown guest", h.destroy(&id).await);
    assert_eq!(state(h, &id).await, None);
}

async fn life(h: &dyn Hypervisor, make_guest: &impl Fn(&str, i64) -> Guest) {
    let id = uuid::Uuid::new_v4().to_string();
    let guest = make_guest(&id, 1);
    for round in ["ensure", "ensure again"] {
        assert_eq!(ok(round, h.ensure(&guest).await), PowerState::Running);
        expect_state(h, &id, 1, PowerState::Running).await;
    }
    let newer = make_guest(&id, 2);
    assert_eq!(ok("ensure of a newer generation", h.ensure(&newer).await), PowerState::Running);
    expect_state(h, &id, 2, PowerState::Running).await;

    assert_eq!(ok("soft reboot", h.reboot_soft(&id, 0).await), PowerState::Running);
    for round in ["stop", "stop again"] {
        assert_eq!(ok(round, h.stop(&id, 0).await), PowerState::Shutdown);
        expect_state(h, &id, 2, PowerState::Shutdown).await;
    }
    for round in ["start", "start again"] {
        assert_eq!(ok(round, h.start(&id).await), PowerState::Running);
        expect_state(h, &id, 2, PowerState::Running).await;
    }
    assert_eq!(ok("hard reboot", h.reboot_hard(&newer).await), PowerState::Running);
    let mut off = make_guest(&id, 3);
    off.spec.power = WantedPower::Stopped;
    assert_eq!(ok("ensure of a stopped guest", h.ensure(&off).await), PowerState::Shutdown);
    expect_state(h, &id, 3, PowerState::Shutdown).await;
    assert_eq!(
        ok("hard reboot of a stopped guest", h.reboot_hard(&make_guest(&id, 3)).await),
        PowerState::Running
    );

    let console = ok("console", h.console_output(&id, 16).await);
    assert!(console.len() <= 16, "{} bytes of console", console.len());
    for round in ["destroy", "destroy again"] {
        ok(round, h.destroy(&id).await);
        assert_eq!(state(h, &id).await, None);
    }
    // The id may be used anew.
    assert_eq!(ok("ensure after destroy", h.ensure(&newer).await), PowerState::Running);
    ok("destroy at the end", h.destroy(&id).await);
    assert_eq!(state(h, &id).await, None);
}

/// Paused and suspended guests, each call twice.
async fn states(h: &dyn Hypervisor, make_guest: &impl Fn(&str, i64) -> Guest) {
    let id = uuid::Uuid::new_v4().to_string();
    let kind = |r: Result<PowerState, Error>| r.expect_err("refused").kind;
    assert_eq!(kind(h.pause(&id).await), ErrorKind::NotFound, "pause");
    assert_eq!(kind(h.unpause(&id).await), ErrorKind::NotFound, "unpause");
    assert_eq!(kind(h.suspend(&id).await), ErrorKind::NotFound, "suspend");
    assert_eq!(kind(h.resume(&id).await), ErrorKind::NotFound, "resume");
    let secret = ferrostack_model::auth::Secret("x".into());
    assert_eq!(kind(h.set_password(&id, "root", &secret).await), ErrorKind::NotFound, "set_password");
    assert_eq!(h.crash_dump(&id).await.expect_err("no guest").kind, ErrorKind::NotFound);
    assert_eq!(h.diagnostics(&id).await.expect_err("no guest").kind, ErrorKind::NotFound);
    let guest = make_guest(&id, 1);
    ok("ensure", h.ensure(&guest).await);
    for round in ["pause", "pause again"] {
        assert_eq!(ok(round, h.pause(&id).await), PowerState::Paused);
        expect_state(h, &id, 1, PowerState::Paused).await;
    }
    for round in ["unpause", "unpause again"] {
        assert_eq!(ok(round, h.unpause(&id).await), PowerState::Running);
        expect_state(h, &id, 1, PowerState::Running).await;
    }
    for round in ["suspend", "suspend again"] {
        assert_eq!(ok(round, h.suspend(&id).await), PowerState::Shutdown);
        expect_state(h, &id, 1, PowerState::Shutdown).await;
    }
    for round in ["resume", "resume again"] {
        assert_eq!(ok(round, h.resume(&id).await), PowerState::Running);
        expect_state(h, &id, 1, PowerState::Running).await;
    }
    let told = ok("diagnostics", h.diagnostics(&id).await);
    assert_eq!(told.state, PowerState::Running);
    assert!(!told.cpus.is_empty() && told.memory_kib > 0 && !told.disks.is_empty(), "{told:?}");
    // Out of either a hard reboot leads, and out of a saved memory nothing comes after it.
    ok("pause", h.pause(&id).await);
    assert_eq!(ok("hard reboot of a paused guest", h.reboot_hard(&guest).await), PowerState::Running);
    ok("suspend", h.suspend(&id).await);
    assert_eq!(ok("hard reboot of a suspended guest", h.reboot_hard(&guest).await), PowerState::Running);
    ok("suspend", h.suspend(&id).await);
    assert_eq!(ok("stop of a suspended guest", h.stop(&id, 0).await), PowerState::Shutdown);
    assert_eq!(kind(h.suspend(&id).await), ErrorKind::Conflict, "suspend of a guest that is off");
    assert_eq!(kind(h.pause(&id).await), ErrorKind::Conflict, "pause of a guest that is off");
    assert_eq!(kind(h.unpause(&id).await), ErrorKind::Conflict, "unpause of a guest that is off");
    let nmi = h.crash_dump(&id).await.expect_err("no interrupt for a guest that is off");
    assert_eq!(nmi.kind, ErrorKind::Conflict);
    assert_eq!(ok("diagnostics", h.diagnostics(&id).await).state, PowerState::Shutdown);
    assert_eq!(ok("resume of a guest that is off", h.resume(&id).await), PowerState::Running);
    ok("pause", h.pause(&id).await);
    ok("destroy of a paused guest", h.destroy(&id).await);
    ok("ensure", h.ensure(&guest).await);
    ok("suspend", h.suspend(&id).await);
    ok("destroy of a suspended guest", h.destroy(&id).await);
    assert_eq!(state(h, &id).await, None);
}

/// A rebuilt guest has its id and the new generation, whatever state it was in, and only the wanted power.
async fn rebuild(h: &dyn Hypervisor, make_guest: &impl Fn(&str, i64) -> Guest) {
    let id = uuid::Uuid::new_v4().to_string();
    ok("ensure", h.ensure(&make_guest(&id, 1)).await);
    for round in ["rebuild", "rebuild again"] {
        assert_eq!(ok(round, h.rebuild(&make_guest(&id, 2), false).await), PowerState::Running);
        expect_state(h, &id, 2, PowerState::Running).await;
    }
    assert_eq!(ok("an older rebuild", h.rebuild(&make_guest(&id, 1), false).await), PowerState::Running);
    expect_state(h, &id, 2, PowerState::Running).await;
    ok("stop", h.stop(&id, 0).await);
    let mut off = make_guest(&id, 3);
    off.spec.power = WantedPower::Stopped;
    assert_eq!(ok("rebuild of a stopped guest", h.rebuild(&off, true).await), PowerState::Shutdown);
    expect_state(h, &id, 3, PowerState::Shutdown).await;
    ok("destroy", h.destroy(&id).await);
    assert_eq!(
        ok("rebuild of what is gone", h.rebuild(&make_guest(&id, 4), true).await),
        PowerState::Running
    );
    ok("destroy at the end", h.destroy(&id).await);
    assert_eq!(state(h, &id).await, None);
}

/// A guest in and out of rescue, each call twice; and gone in the middle of it.
async fn rescue(h: &dyn Hypervisor, make_guest: &impl Fn(&str, i64) -> Guest) {
    let id = uuid::Uuid::new_v4().to_string();
    let guest = make_guest(&id, 1);
    let rescue = |tag, properties: &[(&str, &str)]| {
        let mut image = guest.spec.image.clone();
        image.properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (base, kernel, ramdisk) = (guest.base.clone(), guest.kernel.clone(), guest.ramdisk.clone());
        Rescue { tag, image, base, kernel, ramdisk, timeout_seconds: 0 }
    };
    ok("ensure", h.ensure(&guest).await);
    let ways: [&[(&str, &str)]; 3] =
        [&[], &[("hw_rescue_device", "disk")], &[("hw_rescue_device", "cdrom"), ("hw_rescue_bus", "usb")]];
    for (n, way) in ways.into_iter().enumerate() {
        let rescue = rescue(n as i64 + 2, way);
        for round in ["rescue", "rescue again"] {
            assert_eq!(ok(round, h.rescue(&guest, &rescue).await), PowerState::Running, "{way:?}");
            expect_state(h, &id, 1, PowerState::Running).await;
        }
        for round in ["unrescue", "unrescue again"] {
            assert_eq!(ok(round, h.unrescue(&guest).await), PowerState::Running, "{way:?}");
            expect_state(h, &id, 1, PowerState::Running).await;
        }
        assert_eq!(ok("hard reboot", h.reboot_hard(&guest).await), PowerState::Running);
    }
    ok("stop", h.stop(&id, 0).await);
    let last = rescue(9, &[]);
    assert_eq!(ok("rescue of a stopped guest", h.rescue(&guest, &last).await), PowerState::Running);
    // While it is rescued it may go down by itself, or its host.
    ok("stop in rescue", h.stop(&id, 0).await);
    assert_eq!(ok("start in rescue", h.start(&id).await), PowerState::Running);
    ok("destroy in rescue", h.destroy(&id).await);
    assert_eq!(state(h, &id).await, None);
}

/// Calls for one id at the same time: one guest comes of it, and no guest after concurrent destroys.
async fn at_once(h: &dyn Hypervisor, make_guest: &impl Fn(&str, i64) -> Guest) {
    let id = uuid::Uuid::new_v4().to_string();
    let guest = make_guest(&id, 1);
    let made = futures_util::future::join_all((0..4).map(|_| h.ensure(&guest))).await;
    for power in made {
        assert_eq!(ok("one of several ensures", power), PowerState::Running);
    }
    expect_state(h, &id, 1, PowerState::Running).await;
    for gone in futures_util::future::join_all((0..3).map(|_| h.destroy(&id))).await {
        ok("one of several destroys", gone);
    }
    assert_eq!(state(h, &id).await, None);
}

/// Disks of one driver for another: what [`crate::Moves::disks`] says, read from the start.
struct Other<'a>(&'a dyn Hypervisor, String);

impl Other<'_> {
    async fn whole(&self) -> Memory {
        let mut files = Vec::new();
        for disk in ok("disks", self.0.disks(&self.1).await) {
            let mut reader = ok("open_disk", self.0.open_disk(&self.1, &disk.name).await);
            let mut bytes = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut bytes).await.unwrap();
            assert_eq!(bytes.len() as u64, disk.bytes, "{}", disk.name);
            files.push((disk, bytes::Bytes::from(bytes)));
        }
        Memory(files)
    }
}

/// Disks that were read whole.
struct Memory(Vec<(crate::DiskFile, bytes::Bytes)>);

#[async_trait::async_trait]
impl crate::DiskSource for Memory {
    async fn disks(&self) -> ferrostack_model::Result<Vec<crate::DiskFile>> {
        Ok(self.0.iter().map(|(disk, _)| disk.clone()).collect())
    }
    fn read(
        &self,
        disk: &crate::DiskFile,
    ) -> futures_util::stream::BoxStream<'static, ferrostack_model::Result<bytes::Bytes>> {
        let found = self.0.iter().find(|(known, _)| known == disk);
        let bytes = found.map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        let parts: Vec<_> =
            bytes.chunks(70_000).map(|part| Ok(bytes::Bytes::copy_from_slice(part))).collect();
        Box::pin(futures_util::stream::iter(parts))
    }
}

/// The contract of [`crate::Moves`] between two hosts of one kind; leaves no guest behind.
pub async fn moves_contract(
    from: &dyn Hypervisor,
    to: &dyn Hypervisor,
    make_guest: impl Fn(&str, i64) -> Guest,
) {
    let id = uuid::Uuid::new_v4().to_string();
    let kind = |e: Error| e.kind;
    assert_eq!(from.disks(&id).await.map_err(kind).expect_err("no guest"), ErrorKind::NotFound);
    let old = make_guest(&id, 1);
    ok("ensure", from.ensure(&old).await);
    assert_eq!(from.disks(&id).await.map_err(kind).expect_err("a running guest"), ErrorKind::Conflict);
    ok("stop", from.stop(&id, 0).await);
    assert!(from.open_disk(&id, "../x").await.is_err());
    assert!(from.open_disk(&id, "record.json").await.is_err());
    let source = Arc::new(Other(from, id.clone()).whole().await);
    let mut new = make_guest(&id, 2);
    (new.spec.flavor.root_gb, new.spec.power) = (2, WantedPower::Stopped);
    for round in ["receive", "receive again"] {
        assert_eq!(ok(round, to.receive(&new, source.clone()).await), PowerState::Shutdown);
        expect_state(to, &id, 2, PowerState::Shutdown).await;
    }
    expect_state(from, &id, 1, PowerState::Shutdown).await;
    assert_eq!(ok("start there", to.start(&id).await), PowerState::Running);
    ok("destroy there", to.destroy(&id).await);
    // And in place: the kept disks are exactly what they were.
    let before = Other(from, id.clone()).whole().await;
    for round in ["resize", "resize again"] {
        assert_eq!(ok(round, from.resize(&new).await), PowerState::Shutdown);
    }
    expect_state(from, &id, 2, PowerState::Shutdown).await;
    ok("start in the new size", from.start(&id).await);
    let mut back = make_guest(&id, 3);
    back.spec.power = WantedPower::Stopped;
    for round in ["revert", "revert again"] {
        assert_eq!(ok(round, from.revert(&back).await), PowerState::Shutdown);
    }
    let after = Other(from, id.clone()).whole().await;
    let content = |m: &Memory| m.0.iter().map(|(d, b)| (d.name.clone(), b.clone())).collect::<Vec<_>>();
    assert!(content(&before) == content(&after), "the disks are not what they were");
    new.spec.generation = 4;
    ok("resize", from.resize(&new).await);
    for round in ["forget", "forget again"] {
        ok(round, from.forget(&id).await);
    }
    // Nothing is kept, so nothing comes back.
    let grown = Other(from, id.clone()).whole().await;
    back.spec.generation = 5;
    ok("revert of nothing", from.revert(&back).await);
    assert!(content(&grown) == content(&Other(from, id.clone()).whole().await));
    ok("destroy", from.destroy(&id).await);
    assert_eq!(state(from, &id).await, None);
}
