//! Snapshots on their way from a hypervisor to the image service.

use crate::{
    cloud::{Cloud, HOST, ensure, eventually, uuid},
    orders::{done, running},
    store::Store,
};
use ferrostack_hypervisor::fake::{Fault, Operation};
use ferrostack_model::{
    ErrorKind,
    message::{Order, Outcome},
    server::PowerState,
    snapshot::{SnapshotFormat, SnapshotOrder, stage},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

struct Site {
    cloud: Cloud,
    store: Arc<Store>,
    server: String,
    image: String,
}

impl Site {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Cloud)) -> Self {
        let mut cloud = Cloud::without_agent(1);
        change(&mut cloud);
        let store = Store::start(&mut cloud).await;
        cloud.listen().await;
        cloud.start().await;
        let (server, image) = (uuid(), uuid());
        cloud.order("build", &server, 1, ensure(&server, 1)).await;
        assert_eq!(cloud.answer("build").await, running());
        store.queued.lock().insert(image.clone(), "queued");
        Self { cloud, store, server, image }
    }

    fn order(&self, format: SnapshotFormat) -> Order {
        Order::Snapshot { snapshot: SnapshotOrder { image_id: self.image.clone(), format, quiesce: false } }
    }

    async fn snapshot(&self) -> Outcome {
        self.cloud.order("snap", &self.server, 2, self.order(SnapshotFormat::Qcow2)).await;
        self.cloud.end("snap").await
    }

    fn data(&self) -> Option<Vec<u8>> {
        self.store.images.lock().get(&self.image).cloned()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.cloud.settings.agent.state_directory.join("snapshots")).unwrap().count()
    }

    async fn no_files(&self) {
        eventually("the end of the file", || (self.files() == 0).then_some(())).await;
    }

    fn status(&self) -> &'static str {
        self.store.queued.lock().get(&self.image).copied().unwrap_or("gone")
    }
}

fn failed(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { message, retry_elsewhere: false, .. } => message,
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn a_snapshot_arrives_whole_and_leaves_no_file() {
    let site = Site::new().await;
    assert_eq!(site.snapshot().await, running());
    let data = site.data().unwrap();
    assert!(data.starts_with(b"QFI\xfb"));
    assert_eq!(data[24..32], (1u64 << 30).to_be_bytes(), "the flavor's disk");
    assert_eq!(site.status(), "active");
    site.no_files().await;
    let stages: Vec<String> = site
        .cloud
        .answers("snap")
        .into_iter()
        .filter_map(|o| match o {
            Outcome::Working { detail } => Some(detail),
            _ => None,
        })
        .collect();
    for wanted in [stage::PENDING_UPLOAD, stage::UPLOADING] {
        assert!(stages.iter().any(|s| s == wanted), "{stages:?}");
    }
    // The same order again: the same answer, and nothing is sent twice.
    site.cloud.order("snap", &site.server, 2, site.order(SnapshotFormat::Qcow2)).await;
    site.cloud.nth_answer("snap", stages.len() + 1).await;
    assert_eq!(site.store.uploads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn raw_and_stopped_too() {
    let site = Site::new().await;
    site.cloud.order("stop", &site.server, 2, Order::Stop { timeout_seconds: 0 }).await;
    assert_eq!(site.cloud.answer("stop").await, done(PowerState::Shutdown));
    site.cloud.order("snap", &site.server, 3, site.order(SnapshotFormat::Raw)).await;
    assert_eq!(site.cloud.end("snap").await, done(PowerState::Shutdown));
    assert!(site.data().unwrap().starts_with(b"fake guest"));
}

#[tokio::test]
async fn an_upload_is_tried_again_and_a_lost_answer_is_found_out() {
    let site = Site::new().await;
    site.store.refuse.store(1, Ordering::SeqCst);
    site.store.busy.store(1, Ordering::SeqCst);
    site.store.lose_answers.store(1, Ordering::SeqCst);
    assert_eq!(site.snapshot().await, running());
    assert_eq!(site.store.uploads.load(Ordering::SeqCst), 3);
    site.no_files().await;
}

#[tokio::test]
async fn what_cannot_be_leaves_no_file_and_the_guest() {
    let site = Site::new().await;
    site.store.corrupt.store(1, Ordering::SeqCst);
    failed(site.snapshot().await);
    site.no_files().await;
    for (n, (image, words)) in
        [(uuid(), "could not be found"), ("../../x".into(), "not a UUID")].into_iter().enumerate()
    {
        let job = format!("bad-{n}");
        let snapshot = SnapshotOrder { image_id: image, format: SnapshotFormat::Qcow2, quiesce: false };
        site.cloud.order(&job, &site.server, 3 + n as i64, Order::Snapshot { snapshot }).await;
        let why = failed(site.cloud.end(&job).await);
        assert!(why.contains(words), "{why}");
    }
    let stranger = uuid();
    site.store.queued.lock().insert(site.image.clone(), "queued");
    site.cloud.order("none", &stranger, 1, site.order(SnapshotFormat::Qcow2)).await;
    assert!(failed(site.cloud.end("none").await).contains("does not exist"));
    site.cloud.fake().inject(Operation::Snapshot, Fault::Fail(ErrorKind::Internal));
    site.cloud.order("fault", &site.server, 9, site.order(SnapshotFormat::Qcow2)).await;
    failed(site.cloud.end("fault").await);
    site.store.queued.lock().insert(site.image.clone(), "deactivated");
    site.cloud.order("off", &site.server, 10, site.order(SnapshotFormat::Qcow2)).await;
    assert!(failed(site.cloud.end("off").await).contains("deactivated"));
    site.no_files().await;
    assert_eq!(site.cloud.fake().guest_count(), 1);
}

#[tokio::test]
async fn a_snapshot_above_the_limit_is_refused() {
    let site = Site::with(|cloud| cloud.settings.agent.snapshot_max_bytes = 1000).await;
    assert!(failed(site.snapshot().await).contains("larger than this host allows"));
    assert_eq!(site.status(), "queued");
    site.no_files().await;
}

#[tokio::test]
async fn an_image_that_goes_during_the_upload_ends_it() {
    let site = Site::new().await;
    *site.store.slow_upload.lock() = Duration::from_millis(300);
    site.cloud.order("snap", &site.server, 2, site.order(SnapshotFormat::Qcow2)).await;
    eventually("an upload", || (site.store.uploads.load(Ordering::SeqCst) > 0).then_some(())).await;
    site.store.queued.lock().clear();
    assert!(failed(site.cloud.end("snap").await).contains("could not be found"));
    site.no_files().await;
    assert_eq!(site.data(), None);
}

#[tokio::test]
async fn a_destroy_does_not_wait_for_the_upload() {
    let site = Site::new().await;
    *site.store.slow_upload.lock() = Duration::from_secs(3600);
    site.cloud.order("snap", &site.server, 2, site.order(SnapshotFormat::Qcow2)).await;
    eventually("an upload", || (site.store.uploads.load(Ordering::SeqCst) > 0).then_some(())).await;
    site.cloud.order("delete", &site.server, 3, Order::Destroy).await;
    assert_eq!(site.cloud.end("delete").await, done(PowerState::NoState));
    assert_eq!(site.cloud.end("snap").await, Outcome::Superseded);
    site.no_files().await;
    assert_eq!((site.data(), site.cloud.fake().guest_count()), (None, 0));
}

/// R38: the agent dies while the hypervisor copies, before the upload, in it, and after it.
#[tokio::test]
async fn a_crash_at_any_moment_ends_in_a_whole_image_and_no_file() {
    for moment in ["copying", "copied", "uploading", "uploaded"] {
        let mut site = Site::new().await;
        match moment {
            "copying" => site.cloud.fake().inject(Operation::Snapshot, Fault::Hang),
            "copied" => site.cloud.fake().inject(Operation::Snapshot, Fault::HangAfter),
            "uploading" => *site.store.slow_upload.lock() = Duration::from_secs(3600),
            _ => {}
        }
        site.cloud.order("snap", &site.server, 2, site.order(SnapshotFormat::Qcow2)).await;
        site.cloud.known(&site.server, 2).await;
        match moment {
            "copied" => eventually("the file", || (site.files() > 0).then_some(())).await,
            "uploading" => {
                eventually("an upload", || (site.store.uploads.load(Ordering::SeqCst) > 0).then_some(()))
                    .await;
            }
            "uploaded" => eventually("the image", || (site.status() == "active").then_some(())).await,
            _ => {}
        }
        site.cloud.kill().await;
        // As after kill -9, where nothing is cleaned up.
        let left = site.cloud.settings.agent.state_directory.join("snapshots/left.copy");
        std::fs::write(&left, "x").unwrap();
        *site.store.slow_upload.lock() = Duration::ZERO;
        site.cloud.start().await;
        assert_eq!(site.cloud.end("snap").await, running(), "{moment}");
        assert_eq!(site.status(), "active", "{moment}");
        assert!(site.data().unwrap().starts_with(b"QFI\xfb"));
        site.no_files().await;
        assert!(!left.exists());
        assert_eq!(site.cloud.agent().fake(HOST).unwrap().guest_count(), 1);
    }
}
