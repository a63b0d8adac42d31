//! R35: disks that are full or broken, at each write of an upload.

use crate::support::{Cloud, each_with, eventually, in_memory, pattern, times};
use bytes::Bytes;
use ferrostack_image::{
    app::App,
    image::Status,
    store,
    stores::{Backend, FileStore, Kind, Opened, Store, Writer},
    upload,
};
use ferrostack_model::ErrorKind;
use futures_util::stream;
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// Fails once: the call of that number, with that error of the system.
#[derive(Clone)]
struct Fault {
    left: Arc<AtomicI64>,
    error: i32,
}

impl Fault {
    fn hit(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(io::Error::from_raw_os_error(self.error));
        }
        Ok(())
    }
}

/// A file store with a fault.
struct Faulty {
    files: FileStore,
    fault: Fault,
}

struct FaultyWriter {
    file: Box<dyn Writer>,
    fault: Fault,
}

impl Store for Faulty {
    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        self.fault.hit()?;
        let file = self.files.create(name)?;
        self.fault.hit()?;
        Ok(Box::new(FaultyWriter { file, fault: self.fault.clone() }))
    }
    fn open(&self, name: &str) -> io::Result<Opened> {
        self.files.open(name)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
    fn list(&self) -> io::Result<HashSet<String>> {
        self.files.list()
    }
    fn ping(&self) -> io::Result<()> {
        self.files.ping()
    }
    fn url(&self, name: &str) -> String {
        self.files.url(name)
    }
    fn properties(&self) -> Value {
        self.files.properties()
    }
}

impl Writer for FaultyWriter {
    fn write(&mut self, batch: &[Bytes]) -> io::Result<()> {
        self.fault.hit()?;
        // In the middle of a batch.
        let (some, rest) = batch.split_at(batch.len() / 2);
        self.file.write(some)?;
        self.fault.hit()?;
        self.file.write(rest)
    }
    fn publish(self: Box<Self>) -> io::Result<Opened> {
        self.fault.hit()?;
        let opened = self.file.publish()?;
        // Done, but the answer is an error.
        self.fault.hit()?;
        Ok(opened)
    }
}

async fn put(
    cloud: &Cloud,
    app: &Arc<App>,
    id: &str,
    into: &Arc<Backend>,
    data: &Bytes,
) -> ferrostack_model::Result<()> {
    let image = store::image::get(&app.db, id).await.unwrap().unwrap();
    assert_eq!(image.status, Status::Queued);
    let pieces: Vec<_> = (0..data.len())
        .step_by(50_000)
        .map(|at| Ok::<_, String>(data.slice(at..data.len().min(at + 50_000))))
        .collect();
    let done =
        upload::receive(app, &image, Status::Saving, into, Default::default(), stream::iter(pieces)).await;
    if done.is_err() {
        let left = store::image::get(&app.db, id).await.unwrap().unwrap();
        assert_eq!((left.status, left.size, left.checksum), (Status::Queued, None, None));
        assert_eq!(cloud.stored(), [""; 0], "nothing is left over");
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn r35_every_write_fails_once() {
    in_memory(
        |settings| settings.image.reconcile_ms = 60_000,
        async |cloud| {
            let app = cloud.app().await;
            let data = Bytes::from(pattern(1_000_003));
            for (error, kind) in [
                (28, ErrorKind::TooLarge),    // ENOSPC
                (122, ErrorKind::TooLarge),   // EDQUOT
                (27, ErrorKind::TooLarge),    // EFBIG
                (5, ErrorKind::Unavailable),  // EIO
                (30, ErrorKind::Unavailable), // EROFS
            ] {
                let id = cloud.create(json!({})).await;
                let mut failed = 0;
                for call in 0.. {
                    let fault = Fault { left: Arc::new(AtomicI64::new(call)), error };
                    let files = FileStore::open(&cloud.store).unwrap();
                    let store = Arc::new(Faulty { files, fault });
                    let into = Arc::new(Backend::new(&app.stores.default().id, Kind::File, store));
                    match put(cloud, &app, &id, &into, &data).await {
                        Ok(()) => break,
                        Err(refused) => {
                            assert_eq!(refused.kind, kind, "error {error} at call {call}: {refused:?}")
                        }
                    }
                    failed += 1;
                }
                assert!(failed >= 12, "{failed}");
                let file = format!("/v2/images/{id}/file");
                let got = cloud.call("member", reqwest::Method::GET, &file).send().await.unwrap();
                assert!(got.bytes().await.unwrap() == data, "it works again");
                assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
            }
        },
    )
    .await;
}

fn run(arguments: &[&str], directory: &Path) -> bool {
    let done = std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(directory).output();
    done.is_ok_and(|d| d.status.success())
}

/// A real file system that is full after any number of pages.
#[tokio::test(flavor = "multi_thread")]
async fn r35_a_disk_that_is_full_at_any_page() {
    const DISK: usize = 2 << 20;
    let directory = tempfile::tempdir().unwrap();
    if !run(&["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs"], directory.path()) {
        eprintln!("may not mount: skipped");
        return;
    }
    each_with(
        |settings| settings.image.store_directory = directory.path().join("images"),
        async |cloud| {
            let store = cloud.settings.image.store_directory.clone();
            let ballast = directory.path().join("ballast");
            let id = cloud.create(json!({})).await;
            for free in (0..1 << 20).step_by(times(60 << 10, 4 << 10)) {
                std::fs::write(&ballast, vec![0; DISK - free - (8 << 10)]).unwrap();
                let (status, error) = cloud.upload("member", &id, pattern((1 << 20) + (64 << 10))).await;
                assert_eq!(status, 413, "{free} bytes free: {error}");
                assert!(error.to_string().contains("Image storage media is full"), "{error}");
                eventually("nothing is left", async || std::fs::read_dir(&store).unwrap().next().is_none())
                    .await;
                assert_eq!(cloud.show(&id).await["status"], "queued");
            }
            std::fs::remove_file(&ballast).unwrap();
            assert_eq!(cloud.upload("member", &id, pattern(1 << 20)).await.0, 204);
            assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
            eventually("removed", async || std::fs::read_dir(&store).unwrap().next().is_none()).await;
        },
    )
    .await;
    assert!(run(&["umount"], directory.path()));
}
