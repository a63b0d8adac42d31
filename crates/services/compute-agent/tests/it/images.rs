//! Images and config drives on their way to a hypervisor that needs files.

use crate::{
    cloud::{Cloud, HOST, eventually, spec, uuid},
    orders::{done, running},
    store::Store,
};
use async_trait::async_trait;
use ferrostack_hypervisor::{
    Guest, HostInfo, Hypervisor, Interfaces, Moves, PowerEvent, Rebuilds, SnapshotWish, States,
    fake::{FakeHypervisor, FakeOptions},
};
use ferrostack_model::{
    Result,
    guest::GuestSpec,
    host::GuestState,
    image::ImageSource,
    message::{Order, Outcome},
    server::PowerState,
};
use parking_lot::Mutex;
use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

/// A fake that wants files and remembers what it was given.
pub struct Filed {
    fake: Arc<FakeHypervisor>,
    pub given: Mutex<Vec<Guest>>,
}

#[async_trait]
impl Hypervisor for Filed {
    fn needs_files(&self) -> bool {
        true
    }
    async fn host_info(&self) -> Result<HostInfo> {
        self.fake.host_info().await
    }
    async fn ensure(&self, guest: &Guest) -> Result<PowerState> {
        self.given.lock().push(guest.clone());
        self.fake.ensure(guest).await
    }
    async fn start(&self, server_id: &str) -> Result<PowerState> {
        self.fake.start(server_id).await
    }
    async fn stop(&self, server_id: &str, timeout_seconds: u32) -> Result<PowerState> {
        self.fake.stop(server_id, timeout_seconds).await
    }
    async fn reboot_soft(&self, server_id: &str, timeout_seconds: u32) -> Result<PowerState> {
        self.fake.reboot_soft(server_id, timeout_seconds).await
    }
    async fn reboot_hard(&self, guest: &Guest) -> Result<PowerState> {
        self.given.lock().push(guest.clone());
        self.fake.reboot_hard(guest).await
    }
    async fn destroy(&self, server_id: &str) -> Result<()> {
        self.fake.destroy(server_id).await
    }
    async fn snapshot(&self, server_id: &str, wish: &SnapshotWish) -> Result<PowerState> {
        self.fake.snapshot(server_id, wish).await
    }
    async fn list(&self) -> Result<Vec<GuestState>> {
        self.fake.list().await
    }
    async fn console_output(&self, server_id: &str, max_bytes: usize) -> Result<Vec<u8>> {
        self.fake.console_output(server_id, max_bytes).await
    }
    fn events(&self) -> tokio::sync::broadcast::Receiver<PowerEvent> {
        self.fake.events()
    }
}

#[async_trait]
impl Rebuilds for Filed {
    async fn rebuild(&self, guest: &Guest, preserve_ephemeral: bool) -> Result<PowerState> {
        self.given.lock().push(guest.clone());
        self.fake.rebuild(guest, preserve_ephemeral).await
    }
}

impl States for Filed {}

impl Interfaces for Filed {}

impl Moves for Filed {}

pub struct Site {
    pub cloud: Cloud,
    pub filed: Arc<Filed>,
    pub store: Arc<Store>,
}

impl Site {
    pub async fn new() -> Self {
        Self::with(1 << 30).await
    }

    pub async fn with(cache_bytes: u64) -> Self {
        let mut cloud = Cloud::without_agent(1);
        let store = Store::start(&mut cloud).await;
        cloud.settings.agent.image_cache_bytes = cache_bytes;
        cloud.listen().await;
        let fake = FakeHypervisor::new(FakeOptions::default());
        let filed = Arc::new(Filed { fake, given: Mutex::default() });
        let mut site = Self { cloud, filed, store };
        site.start().await;
        site
    }

    pub async fn start(&mut self) {
        self.cloud.start_with(vec![(HOST.into(), self.filed.clone() as Arc<dyn Hypervisor>)]).await;
    }

    pub fn image(&self, disk_format: &str, bytes: Vec<u8>) -> ImageSource {
        self.store.image(disk_format, bytes)
    }

    pub async fn build(&self, job: &str, spec: GuestSpec) -> Outcome {
        let id = spec.server_id.clone();
        self.cloud.order(job, &id, spec.generation, Order::Ensure { spec: Box::new(spec) }).await;
        self.cloud.answer(job).await
    }

    pub fn cached(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.cloud.settings.agent.state_directory.join("images")).unwrap();
        entries.map(|e| e.unwrap().path()).collect()
    }

    pub fn downloads(&self) -> usize {
        self.store.downloads.load(Ordering::SeqCst)
    }
}

pub fn raw(fill: u8, bytes: usize) -> Vec<u8> {
    vec![fill; bytes]
}

pub fn guest_of(image: &ImageSource) -> GuestSpec {
    GuestSpec { image: image.clone(), ..spec(&uuid(), 1) }
}

pub fn reason(outcome: &Outcome) -> (&str, bool) {
    match outcome {
        Outcome::Failed { message, retry_elsewhere, .. } => (message, *retry_elsewhere),
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn many_guests_of_one_image_download_it_once() {
    let site = Site::new().await;
    let image = site.image("raw", raw(7, 300_000));
    *site.store.slow.lock() = Duration::from_millis(100);
    let jobs: Vec<String> = (0..12).map(|n| format!("build-{n}")).collect();
    let builds = jobs.iter().map(|job| site.build(job, guest_of(&image)));
    for outcome in futures_util::future::join_all(builds).await {
        assert_eq!(outcome, running());
    }
    assert_eq!(site.downloads(), 1);
    let [file] = &site.cached()[..] else { panic!("{:?}", site.cached()) };
    assert_eq!(std::fs::read(file).unwrap(), raw(7, 300_000));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o444);
    let given = site.filed.given.lock()[0].clone();
    let base = given.base.unwrap();
    assert_eq!((&base.path, base.format.as_str(), base.virtual_size), (file, "raw", 300_000));
    assert_eq!(given.config_drive, None);
}

#[tokio::test]
async fn kernel_ramdisk_and_config_drive_come_along_and_the_drive_goes_with_the_guest() {
    let site = Site::new().await;
    let mut spec = guest_of(&site.image("raw", raw(1, 5000)));
    spec.kernel = Some(site.image("aki", raw(2, 6000)));
    spec.ramdisk = Some(site.image("ari", raw(3, 7000)));
    spec.config_drive = true;
    let id = spec.server_id.clone();
    assert_eq!(site.build("build", spec).await, running());
    let given = site.filed.given.lock()[0].clone();
    assert_eq!(std::fs::read(given.kernel.unwrap()).unwrap(), raw(2, 6000));
    assert_eq!(std::fs::read(given.ramdisk.unwrap()).unwrap(), raw(3, 7000));
    let drive = given.config_drive.unwrap();
    assert_eq!(drive.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    site.cloud.order("hard", &id, 2, Order::RebootHard).await;
    assert_eq!(site.cloud.answer("hard").await, running());
    assert_eq!(site.filed.given.lock().len(), 2, "a hard reboot gets the files again");
    site.cloud.order("delete", &id, 3, Order::Destroy).await;
    assert_eq!(site.cloud.answer("delete").await, done(PowerState::NoState));
    assert!(!drive.exists());
}

#[tokio::test]
async fn content_that_differs_from_the_record_is_refused() {
    let site = Site::new().await;
    let mut image = site.image("raw", raw(7, 10_000));
    image.sha512 = "0".repeat(128);
    let outcome = site.build("sum", guest_of(&image)).await;
    assert!(reason(&outcome).0.contains("sha512 checksum differs"), "{outcome:?}");
    let mut image = site.image("raw", raw(7, 10_000));
    image.size = 9_999;
    let outcome = site.build("size", guest_of(&image)).await;
    assert!(reason(&outcome).0.contains("more than 9999 bytes"), "{outcome:?}");
    let mut image = site.image("raw", raw(7, 10));
    image.sha512 = "../../x".into();
    let outcome = site.build("path", guest_of(&image)).await;
    assert!(reason(&outcome).0.contains("no valid id and sha512"), "{outcome:?}");
    let image = site.image("qcow2", raw(7, 10_000));
    let outcome = site.build("format", guest_of(&image)).await;
    assert_eq!(reason(&outcome), ("The image's content is not qcow2 as declared.", false));
    let missing = ImageSource { id: uuid(), ..site.image("raw", raw(9, 10)) };
    let outcome = site.build("missing", guest_of(&missing)).await;
    assert_eq!(reason(&outcome), (format!("Image {} has no data.", missing.id).as_str(), false));
    assert_eq!(site.cached(), Vec::<PathBuf>::new());
    assert!(site.filed.given.lock().is_empty());
}

#[tokio::test]
async fn a_download_that_breaks_off_is_begun_again() {
    let site = Site::new().await;
    site.store.break_off.store(1, Ordering::SeqCst);
    site.store.refuse.store(1, Ordering::SeqCst);
    let image = site.image("raw", raw(7, 400_000));
    assert_eq!(site.build("build", guest_of(&image)).await, running());
    assert_eq!(site.downloads(), 2);
    assert_eq!(site.cached().len(), 1);
}

#[tokio::test]
async fn a_crash_during_a_download_leaves_no_part_and_the_build_goes_on() {
    let mut site = Site::new().await;
    *site.store.slow.lock() = Duration::from_secs(3600);
    let spec = guest_of(&site.image("raw", raw(7, 400_000)));
    let id = spec.server_id.clone();
    site.cloud.order("build", &id, 1, Order::Ensure { spec: Box::new(spec) }).await;
    eventually("a part", || site.cached().pop()).await;
    site.cloud.kill().await;
    // As after kill -9, where nothing is cleaned up.
    let left = site.cloud.settings.agent.state_directory.join("images/.part-left");
    std::fs::write(&left, "x").unwrap();
    *site.store.slow.lock() = Duration::ZERO;
    site.start().await;
    assert_eq!(site.cloud.answer("build").await, running());
    assert!(!left.exists());
    assert_eq!(site.cached().len(), 1);
}

#[tokio::test]
async fn a_destroy_does_not_wait_for_the_download() {
    let site = Site::new().await;
    *site.store.slow.lock() = Duration::from_secs(3600);
    let spec = guest_of(&site.image("raw", raw(7, 400_000)));
    let id = spec.server_id.clone();
    site.cloud.order("build", &id, 1, Order::Ensure { spec: Box::new(spec) }).await;
    eventually("a part", || site.cached().pop()).await;
    site.cloud.order("delete", &id, 2, Order::Destroy).await;
    assert_eq!(site.cloud.answer("delete").await, done(PowerState::NoState));
    assert_eq!(site.cloud.answer("build").await, Outcome::Superseded);
    eventually("the part's end", || site.cached().is_empty().then_some(())).await;
}

#[tokio::test]
async fn the_cache_drops_what_no_guest_uses_the_oldest_first() {
    let site = Site::with(2500).await;
    let images: Vec<_> = (0..4).map(|n| site.image("raw", raw(n, 1000))).collect();
    let mut servers = Vec::new();
    for (n, image) in images[..2].iter().enumerate() {
        let spec = guest_of(image);
        servers.push(spec.server_id.clone());
        assert_eq!(site.build(&format!("build-{n}"), spec).await, running());
    }
    // The first is used on, the second not.
    site.cloud.order("delete", &servers[1], 2, Order::Destroy).await;
    site.cloud.answer("delete").await;
    for file in site.cached() {
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        std::fs::File::open(file).unwrap().set_modified(long_ago).unwrap();
    }
    assert_eq!(site.build("build-2", guest_of(&images[2])).await, running());
    let has = |n: usize| site.cached().iter().any(|p| p.to_string_lossy().contains(&images[n].id));
    assert!(has(0) && !has(1) && has(2), "{:?}", site.cached());
    // Everything is in use: the cap gives way, the guest does not.
    assert_eq!(site.build("build-3", guest_of(&images[3])).await, running());
    assert_eq!(site.cached().len(), 3);
}
