//! `[image.storage]`: where image data lies and what clients are told about it.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// `[image.storage]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageStorage {
    /// The store of data that nobody sends to another one. Staged data always lies here.
    pub default_store: String,
    /// Stores by their ids. Without any there is one, a directory with the id `file` (`image.store_directory`), and
    /// the API does not speak of stores.
    pub stores: BTreeMap<String, ImageStore>,
    /// Whether downloads of whole images are compared with their hash, and broken off before their end if they differ.
    pub verify_on_read: bool,
    /// Whether records tell the URL of an image's data as `direct_url`, to who may get locations.
    pub show_image_direct_url: bool,
    /// Whether records list the locations of an image's data, to who may get them, and locations can be changed.
    pub show_multiple_locations: bool,
    /// Whether the hash of data that is added as a location is calculated.
    pub do_secure_hash: bool,
}

impl Default for ImageStorage {
    fn default() -> Self {
        Self {
            default_store: "file".into(),
            stores: BTreeMap::new(),
            verify_on_read: true,
            show_image_direct_url: false,
            show_multiple_locations: false,
            do_secure_hash: true,
        }
    }
}

/// What a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageStoreKind {
    /// A directory.
    #[default]
    File,
    /// A bucket behind the S3 protocol.
    S3,
    /// Whatever a URL names; only read.
    Http,
}

/// `[image.storage.stores.ID]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageStore {
    /// `file`, `s3` or `http`.
    #[serde(rename = "type")]
    pub kind: ImageStoreKind,
    /// For people.
    pub description: String,
    /// Of several copies of an image the one in the store with the highest weight is read first.
    pub weight: i64,
    /// file: the directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// s3: the bucket, which must exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// s3: the server, `https://s3.example.org`. Without it: AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// s3: the region. Without it: `us-east-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// s3: before the names of the objects, `images/`. Stores that share a bucket need different ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// s3: the access key id. Without it: the environment's `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// s3: file with the secret access key, mode 0600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key_file: Option<PathBuf>,
    /// s3: whether the bucket is a part of the host name instead of the path.
    pub virtual_hosted: bool,
    /// s3: bytes of the parts in which objects are sent, 5 MiB at least; 0: 8 MiB. An object has 10,000 parts at most.
    pub part_bytes: u64,
}
