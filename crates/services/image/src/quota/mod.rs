//! Quotas of projects: unified limits of the identity service, or a limit of the settings; and a bound on records.
//!
//! A change is checked in the transaction that makes it (see [`crate::store::quota`]); what the limits are is found
//! out before, and if that cannot be found out the change is refused.

mod hold;
mod unified;

pub use hold::Hold;

use crate::{image::Image, store::quota as store};
use ferrostack_db::{Db, Tx, again, db_error};
use ferrostack_model::{Error, ErrorKind, Result};
use ferrostack_settings::Settings;
use parking_lot::Mutex;
use std::collections::HashMap;
use unified::Unified;

/// Bytes in the unit of the two limits of sizes.
const MIB: i64 = 1 << 20;
/// Projects whose allowance is remembered.
const REMEMBERED: usize = 10_000;
/// So many replicas together may not exceed the bound on records.
const REPLICAS: i64 = 16;

/// Bytes of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of images.
    Size,
    /// Of staged data.
    Stage,
}

impl Kind {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Stage => "stage",
        }
    }

    fn resource(self) -> &'static str {
        match self {
            Self::Size => "image_size_total",
            Self::Stage => "image_stage_total",
        }
    }

    fn of(self, usage: &Usage) -> i64 {
        match self {
            Self::Size => usage.size,
            Self::Stage => usage.staged,
        }
    }
}

/// What a project uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of images, until they are removed.
    pub size: i64,
    /// Bytes of staged data.
    pub staged: i64,
    /// Images, queued ones too.
    pub images: i64,
    /// Images that get data at the moment.
    pub uploading: i64,
}

/// The four limits in the identity service; -1: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnifiedLimits {
    /// MiB of images.
    pub image_size_total: i64,
    /// MiB of staged data.
    pub image_stage_total: i64,
    /// Images.
    pub image_count_total: i64,
    /// Images that get data at a time.
    pub image_count_uploading: i64,
}

/// What a project may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whose.
    pub project: String,
    /// Those of the identity service, if they are used.
    pub unified: Option<UnifiedLimits>,
    /// Bytes of images, where the former are not used.
    storage: Option<i64>,
    /// Whether bytes are counted to the last one, and while they arrive.
    strict: bool,
}

impl Limits {
    /// 413 for one image more than the project may have.
    pub fn check_images(&self, before: &Usage) -> Result<()> {
        match &self.unified {
            Some(limits) => self.unified("image_count_total", limits.image_count_total, before.images, 1),
            None => Ok(()),
        }
    }

    /// 413 if more images get data than may. `with` counts the one that begins.
    pub fn check_uploading(&self, with: &Usage) -> Result<()> {
        match &self.unified {
            Some(limits) => {
                self.unified("image_count_uploading", limits.image_count_uploading, with.uploading, 0)
            }
            None => Ok(()),
        }
    }

    /// 413 for `more` bytes than are left; `None`: how many come is not known. `begins`: nothing of them is there yet.
    pub fn check_bytes(&self, kind: Kind, before: &Usage, more: Option<u64>, begins: bool) -> Result<()> {
        let have = kind.of(before);
        let delta = i64::try_from(more.unwrap_or(0)).unwrap_or(i64::MAX);
        let Some(limits) = &self.unified else {
            return match self.storage.filter(|_| kind == Kind::Size) {
                Some(limit) if have.saturating_add(delta) > limit || (more.is_none() && have >= limit) => {
                    Err(storage_full(more, limit - have))
                }
                _ => Ok(()),
            };
        };
        let limit = match kind {
            Kind::Size => limits.image_size_total,
            Kind::Stage => limits.image_stage_total,
        };
        if !self.strict {
            // What has begun goes on, as with Glance, which asks once and in whole MiB.
            return if begins {
                self.unified(kind.resource(), limit, have / MIB, delta / MIB)
            } else {
                Ok(())
            };
        }
        if limit < 0 || have.saturating_add(delta) <= limit.saturating_mul(MIB) {
            return Ok(());
        }
        Err(self.over(kind.resource(), limit, have / MIB, delta.saturating_add(MIB - 1) / MIB))
    }

    fn unified(&self, resource: &str, limit: i64, usage: i64, delta: i64) -> Result<()> {
        if limit < 0 || usage.saturating_add(delta) <= limit {
            return Ok(());
        }
        Err(self.over(resource, limit, usage, delta))
    }

    /// oslo.limit's words within Glance's.
    fn over(&self, resource: &str, limit: i64, usage: i64, delta: i64) -> Error {
        over_limit(&format!(
            "Project {} is over a limit for [Resource {resource} is over limit of {limit} due to current usage {usage} and delta {delta}]",
            self.project
        ))
    }
}

fn over_limit(body: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "The request returned a 413 Request Entity Too Large. This generally means that rate limiting or a quota threshold was breached.\n\nThe response body:\n{body}"
        ),
    )
}

fn storage_full(size: Option<u64>, remaining: i64) -> Error {
    let size = size.map_or_else(|| "None".to_owned(), |size| size.to_string());
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "Image exceeds the storage quota: The size of the data {size} will exceed the limit. {} bytes remaining.",
            remaining.max(0)
        ),
    )
}

/// What a new object costs.
#[derive(Clone, Debug)]
pub struct Charge {
    /// What the project may use.
    pub limits: Limits,
    /// The object's name in its store.
    pub object: String,
    /// Bytes of what.
    pub kind: Kind,
    /// How many come; `None` if nobody knows.
    pub bytes: Option<u64>,
}

impl Charge {
    /// The room that is held once this is admitted.
    pub fn hold(self) -> Hold {
        Hold::new(self.limits, self.object, self.kind, self.bytes.unwrap_or(0))
    }
}

/// What an import asks for when it begins.
#[derive(Clone, Debug)]
pub struct Import {
    /// What the project may use.
    pub limits: Limits,
    /// Bytes that become the image's, as far as is known.
    pub bytes: u64,
    /// It takes room among the staged data first.
    pub fetches: bool,
}

/// Where limits come from.
pub struct Quota {
    unified: Option<Unified>,
    storage: Option<i64>,
    strict: bool,
    records: Option<i64>,
    /// Records that a project may make before they are counted again.
    allowance: Mutex<HashMap<String, i64>>,
}

impl Quota {
    /// As the settings say; an error names the one that cannot be.
    pub fn new(settings: &Settings) -> Result<Self> {
        let image = &settings.image;
        let storage = bytes(&image.user_storage_quota).ok_or_else(|| {
            Error::internal(format!(
                "image.user_storage_quota {:?}: a number with B, KB, MB, GB or TB, or without",
                image.user_storage_quota
            ))
        })?;
        Ok(Self {
            unified: image.use_keystone_limits.then(|| Unified::new(settings)).transpose()?,
            storage: Some(storage).filter(|limit| *limit > 0),
            strict: image.quota.strict,
            records: Some(image.quota.images_per_project).filter(|limit| *limit > 0),
            allowance: Mutex::default(),
        })
    }

    /// What `project` may use; `None` if there is no limit. 503 if that cannot be found out.
    pub async fn limits(&self, project: &str) -> Result<Option<Limits>> {
        if project.is_empty() || (self.unified.is_none() && self.storage.is_none()) {
            return Ok(None);
        }
        let unified = match &self.unified {
            Some(unified) => Some(unified.limits(project).await?),
            None => None,
        };
        // The limits of the identity service take precedence, as with Glance.
        let storage = self.storage.filter(|_| unified.is_none());
        Ok(Some(Limits { project: project.to_owned(), unified, storage, strict: self.strict }))
    }

    /// What the owner of an image may use.
    pub async fn of(&self, image: &Image) -> Result<Option<Limits>> {
        self.limits(image.owner.as_deref().unwrap_or("")).await
    }

    /// Inserts a new record; 413 if it is one more than its owner may have.
    pub async fn insert(&self, db: &Db, image: &Image) -> Result<()> {
        let owner = image.owner.as_deref().unwrap_or("");
        let limits = self.limits(owner).await?;
        again!(async {
            let mut tx = db.begin_write().await?;
            self.check_new(&mut tx, owner, limits.as_ref()).await?;
            crate::store::image::insert_in(&mut tx, image).await?;
            tx.commit().await.map_err(db_error)
        })
    }

    /// 413 for a record more than the project may have: of `limits`, and of the bound on records of every project,
    /// which is only counted when it could be near. To be called in the transaction that inserts it.
    pub async fn check_new(&self, tx: &mut Tx, project: &str, limits: Option<&Limits>) -> Result<()> {
        if project.is_empty() {
            return Ok(());
        }
        if let Some(limits) = limits {
            store::lock(tx, project).await?;
            limits.check_images(&store::locked_usage(tx, limits, None).await?)?;
        }
        let Some(most) = self.records else { return Ok(()) };
        if self.spend(project) {
            return Ok(());
        }
        store::lock(tx, project).await?;
        let have = store::records(tx, project, most).await?;
        if have >= most {
            return Err(over_limit(&format!(
                "Project {project} is over a limit for [Resource images_per_project is over limit of {most} due to current usage {have} and delta 1]"
            )));
        }
        let mut allowance = self.allowance.lock();
        if allowance.len() >= REMEMBERED {
            allowance.clear();
        }
        allowance.insert(project.to_owned(), (most - have - 1) / REPLICAS);
        Ok(())
    }

    fn spend(&self, project: &str) -> bool {
        match self.allowance.lock().get_mut(project) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

/// `10`, `10B`, `10KB`, `10MB`, `10GB`, `10TB`, in powers of 1024.
fn bytes(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn limits(strict: bool) -> Limits {
        let unified = UnifiedLimits {
            image_size_total: 2,
            image_stage_total: -1,
            image_count_total: 1,
            image_count_uploading: 1,
        };
        Limits { project: "p".into(), unified: Some(unified), storage: None, strict }
    }

    #[test]
    fn sizes_with_units() {
        let cases = [("0", 0), ("7", 7), ("7B", 7), ("2KB", 2048), ("1TB", 1 << 40)];
        for (text, number) in cases {
            assert_eq!(bytes(text), Some(number), "{text}");
        }
        for text in ["", "-1", "1 GB", "1gb", "1PB", "GB", "1.5GB", "99999999999TB", "٣"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn strict_counts_every_byte_and_glance_whole_mebibytes() {
        let at = |size| Usage { size, ..Usage::default() };
        let (strict, loose) = (limits(true), limits(false));
        let mib = MIB as u64;
        assert!(strict.check_bytes(Kind::Size, &at(MIB), Some(mib), true).is_ok());
        assert!(strict.check_bytes(Kind::Size, &at(MIB), Some(mib + 1), true).is_err());
        assert!(strict.check_bytes(Kind::Size, &at(2 * MIB), Some(1), false).is_err());
        assert!(strict.check_bytes(Kind::Size, &at(0), Some(u64::MAX), true).is_err());
        assert!(strict.check_bytes(Kind::Stage, &at(0), Some(u64::MAX), true).is_ok());
        assert!(loose.check_bytes(Kind::Size, &at(2 * MIB), None, true).is_ok());
        assert!(loose.check_bytes(Kind::Size, &at(3 * MIB), None, true).is_err());
        assert!(loose.check_bytes(Kind::Size, &at(2 * MIB), Some(mib), true).is_err());
        assert!(loose.check_bytes(Kind::Size, &at(9 * MIB), Some(mib), false).is_ok());
        let said = loose.check_images(&Usage { images: 1, ..Usage::default() }).unwrap_err();
        assert_eq!(said.kind, ErrorKind::TooLarge);
        assert_eq!(
            said.public,
            "The request returned a 413 Request Entity Too Large. This generally means that rate limiting or a quota threshold was breached.\n\nThe response body:\nProject p is over a limit for [Resource image_count_total is over limit of 1 due to current usage 1 and delta 1]"
        );
        assert!(loose.check_uploading(&Usage { uploading: 1, ..Usage::default() }).is_ok());
        assert!(loose.check_uploading(&Usage { uploading: 2, ..Usage::default() }).is_err());
    }

    #[test]
    fn the_limit_of_the_settings_is_bytes() {
        let limits = Limits { project: "p".into(), unified: None, storage: Some(10), strict: true };
        let at = |size| Usage { size, ..Usage::default() };
        assert!(limits.check_bytes(Kind::Size, &at(4), Some(6), true).is_ok());
        let said = limits.check_bytes(Kind::Size, &at(4), Some(7), true).unwrap_err();
        assert_eq!(
            said.public,
            "Image exceeds the storage quota: The size of the data 7 will exceed the limit. 6 bytes remaining."
        );
        assert!(limits.check_bytes(Kind::Size, &at(10), None, true).is_err());
        assert!(limits.check_bytes(Kind::Stage, &at(99), Some(99), true).is_ok());
        assert!(limits.check_images(&at(99)).is_ok());
    }
}
