//! Between check and store: what the operator wants all imported disks to be.
//!
//! Both steps write a file of their own in a work directory, stage it anew, and let go of what was staged before.

use super::{Data, Method, Original, image, read, refused, writing};
use crate::{
    app::App,
    convert::{self, Target},
    image::Image,
    inspect::{CheckedImage, DiskFormat, ReadAt},
    receive::storage_error,
    store::{import, location, quota},
    stores::Opened,
    upload,
};
use async_trait::async_trait;
use ferrostack_db::Tx;
use ferrostack_jobs::{Job, Outcome, Step};
use ferrostack_model::{Error, Result};
use futures_util::StreamExt;
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// Bytes copied at once.
const BLOCK: usize = 1 << 20;

/// A directory for the files of one run of a step; gone with it.
struct Work(PathBuf);

impl Work {
    fn new(app: &App, job: &Job) -> Result<Self> {
        let path = app.work_directory().join(format!("{}.{}", job.id, job.generation));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(storage_error)?;
        Ok(Self(path))
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "work directory left to the sweep");
        }
        // The place of all of them goes with the last: it is no store's.
        if let Some(all) = self.0.parent() {
            let _ = fs::remove_dir(all);
        }
    }
}

/// Cancels what runs beside the step when the step is dropped.
struct Cancel(CancellationToken);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The staged data as a file: itself, or a copy of what lies elsewhere.
async fn staged_file(app: &App, image: &Image, work: &Work) -> Result<File> {
    let name = image.file.clone().ok_or_else(|| Error::internal("nothing is staged"))?;
    let staged = app.stores.default().open(&name).await?;
    let path = work.file("staged");
    match staged.ok_or_else(|| refused("The staged data is missing."))? {
        Opened::File(file, _) => Ok(file),
        remote => app.blocking(move || copy(&remote, &path)).await?.map_err(storage_error),
    }
}

fn copy(from: &Opened, to: &Path) -> io::Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(to)?;
    let (mut at, mut buffer) = (0, vec![0; BLOCK]);
    while at < from.size() {
        let length = BLOCK.min(usize::try_from(from.size() - at).unwrap_or(BLOCK));
        from.read_exact_at(&mut buffer[..length], at)?;
        file.write_all(&buffer[..length])?;
        at += length as u64;
    }
    Ok(file)
}

/// Stages `file` instead of what is staged; the transaction in which it counts.
async fn restage(app: &App, job: &Job, data: &Data, file: File) -> Result<Tx> {
    let size = file.metadata().map_err(storage_error)?.len();
    let source = Arc::new(Opened::File(file, size));
    let blocks = read::all(source).map(|block| block.map_err(storage_error));
    let store = app.stores.default();
    let (location, received) = writing::write(app, job, data, store, blocks).await?;
    let limits = app.quota.of(&super::image(app, job).await?).await?;
    let mut tx = app.db.begin_write().await?;
    if let Some(limits) = &limits {
        quota::lock(&mut tx, &limits.project).await?;
    }
    location::condemn_staged(&mut tx, &job.target, &store.id).await?;
    import::staged(&mut tx, &location, &received, limits.as_ref()).await?;
    Ok(tx)
}

/// Unpacks gzip data, if the operator wants that and the image is not declared to be packed.
pub(super) struct Unpack;

#[async_trait]
impl Step<App> for Unpack {
    fn name(&self) -> &'static str {
        "unpack"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        if !app.settings.import.decompress || data.method == Method::CopyImage {
            return Ok(Outcome::next());
        }
        let image = image(app, job).await?;
        if !matches!(image.container_format.as_deref(), Some("bare" | "ovf")) {
            return Ok(Outcome::next());
        }
        let work = Work::new(app, job)?;
        let file = staged_file(app, &image, &work).await?;
        let size = file.metadata().map_err(storage_error)?.len();
        let mut magic = [0; 2];
        let packed = size >= 18 && file.read_exact_at(&mut magic, 0).is_ok() && magic == [0x1f, 0x8b];
        if !packed {
            return Ok(Outcome::next());
        }
        // What is unpacked must be what was uploaded: the hash of it is all that is known.
        let staged = Arc::new(Opened::File(file.try_clone().map_err(storage_error)?, size));
        if Some(read::sha512(&staged).await?) != image.os_hash_value {
            return Err(refused("The staged data is not what was uploaded."));
        }
        let cancel = Cancel(CancellationToken::new());
        let (stop, path) = (cancel.0.clone(), work.file("unpacked"));
        let limit = app.settings.max_image_bytes.min(app.settings.convert.max_output_bytes);
        let unpacked = app.blocking(move || convert::decompress(&file, &path, limit, &stop)).await??;
        Ok(Outcome::next().in_tx(restage(app, job, &data, unpacked).await?))
    }
}

/// Converts disks to the operator's format.
pub(super) struct Convert;

#[async_trait]
impl Step<App> for Convert {
    fn name(&self) -> &'static str {
        "convert"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let wanted = app.settings.import.convert_to.as_deref();
        let Some(target) = wanted.filter(|_| data.method != Method::CopyImage).and_then(Target::parse) else {
            return Ok(Outcome::next());
        };
        let image = image(app, job).await?;
        let disk_format = image.disk_format.as_deref().unwrap_or_default();
        let is = DiskFormat::parse(disk_format);
        let disk = !matches!(is, None | Some(DiskFormat::Iso | DiskFormat::Amazon));
        let bare = matches!(image.container_format.as_deref(), Some("bare" | "ovf"));
        if !disk || !bare || disk_format == target.disk_format() {
            return Ok(Outcome::next());
        }
        let work = Work::new(app, job)?;
        let file = staged_file(app, &image, &work).await?;
        let declared = image.declared(&app.settings);
        let checked =
            app.blocking(move || CheckedImage::check(&file, &declared)).await?.map_err(upload::refused)?;
        let cancel = Cancel(CancellationToken::new());
        let done = convert::run(
            &app.settings.convert,
            Arc::new(checked),
            target,
            &work.file("converted"),
            |_| {},
            cancel.0.clone(),
        )
        .await?;
        let made = done.image;
        let virtual_size = i64::try_from(made.virtual_size()).ok();
        let file = made.file().try_clone().map_err(storage_error)?;
        let mut tx = restage(app, job, &data, file).await?;
        let formats = (Some(target.disk_format()), image.container_format.as_deref());
        import::describe(&mut tx, &image.id, formats, &[], &[]).await?;
        data.original.get_or_insert_with(|| Original::formats(&image));
        data.virtual_size = virtual_size;
        Outcome::next().in_tx(tx).data(&data)
    }
}
