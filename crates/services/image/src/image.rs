//! An image record and its states.

use crate::{
    inspect::{Declared, Rules},
    store::location::Location,
};
use ferrostack_model::{Error, Result, Timestamp};
use ferrostack_settings::Image as Settings;
use std::collections::{BTreeMap, BTreeSet};

/// Where an image is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A record without data.
    Queued,
    /// Data is being received.
    Saving,
    /// Data is being, or was, received for an import.
    Uploading,
    /// Staged data is being checked.
    Importing,
    /// Data is there.
    Active,
    /// Data is there, only admins may fetch it.
    Deactivated,
    /// Gone.
    Deleted,
}

impl Status {
    /// As in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Saving => "saving",
            Self::Uploading => "uploading",
            Self::Importing => "importing",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Deleted => "deleted",
        }
    }
    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "queued" => Self::Queued,
            "saving" => Self::Saving,
            "uploading" => Self::Uploading,
            "importing" => Self::Importing,
            "active" => Self::Active,
            "deactivated" => Self::Deactivated,
            "deleted" => Self::Deleted,
            other => return Err(Error::internal(format!("image status {other} in the database"))),
        })
    }
    /// Whether the image's data can be fetched.
    pub fn has_data(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated)
    }
}

/// Who sees an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody, in every list.
    Public,
    /// Everybody who knows its id.
    Community,
    /// The owner and the members.
    Shared,
    /// The owner.
    Private,
}

impl Visibility {
    /// As in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Community => "community",
            Self::Shared => "shared",
            Self::Private => "private",
        }
    }
    /// Reads an API or database value.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "public" => Self::Public,
            "community" => Self::Community,
            "shared" => Self::Shared,
            "private" => Self::Private,
            _ => return None,
        })
    }
}

/// An image record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// UUID.
    pub id: String,
    /// Any text, not unique.
    pub name: Option<String>,
    /// State.
    pub status: Status,
    /// Who sees it.
    pub visibility: Visibility,
    /// Project.
    pub owner: Option<String>,
    /// `qcow2`, `raw`, …
    pub disk_format: Option<String>,
    /// `bare`, …
    pub container_format: Option<String>,
    /// Bytes stored.
    pub size: Option<i64>,
    /// Bytes of the disk inside.
    pub virtual_size: Option<i64>,
    /// md5, hex.
    pub checksum: Option<String>,
    /// What `os_hash_value` was made by: of our own data sha512.
    pub os_hash_algo: Option<String>,
    /// Hash of the data, hex.
    pub os_hash_value: Option<String>,
    /// GiB a flavor must have.
    pub min_disk: i64,
    /// MiB a flavor must have.
    pub min_ram: i64,
    /// Cannot be deleted.
    pub protected: bool,
    /// Left out of lists.
    pub os_hidden: bool,
    /// Name of the staged object in the default store.
    pub file: Option<String>,
    /// Token of the upload under way.
    pub upload: Option<String>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Counts every change.
    pub generation: i64,
    /// Custom properties.
    pub properties: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeSet<String>,
    /// Where the data is, in order.
    pub locations: Vec<Location>,
}

impl Image {
    /// What the image's data must be: by the settings, or with a limit of the virtual size alone.
    pub fn declared(&self, rules: impl Into<Rules>) -> Declared {
        Declared {
            disk_format: self.disk_format.clone().unwrap_or_default(),
            container_format: self.container_format.clone().unwrap_or_default(),
            rules: rules.into(),
        }
    }

    /// What policy checks of an image look at, for a caller of `project` (`is_member`: the image is shared with it).
    pub fn target<'a>(&'a self, project: &'a str, is_member: bool) -> Vec<(&'static str, &'a str)> {
        let owner = self.owner.as_deref().unwrap_or("");
        let mut target =
            vec![("project_id", owner), ("owner", owner), ("visibility", self.visibility.as_str())];
        if is_member {
            target.push(("member_id", project));
        }
        target
    }
}

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        let formats = &settings.formats;
        Self {
            max_virtual_bytes: settings.max_virtual_bytes,
            require_match: formats.require_match,
            vmdk_types: formats.vmdk_allowed_types.clone(),
            check_mbr: !formats.gpt_safety_checks_nonfatal.iter().any(|c| c == "mbr"),
        }
    }
}

/// A project that an image is shared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The image.
    pub image_id: String,
    /// The project.
    pub member: String,
    /// `pending`, `accepted` or `rejected`.
    pub status: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}
