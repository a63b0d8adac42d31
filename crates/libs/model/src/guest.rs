//! The wanted state of one guest, as the control plane hands it to an agent.

use crate::{auth::Secret, image::ImageSource, network::NicSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The flavor's numbers a guest was created with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestFlavor {
    /// Flavor name, for libvirt metadata and the EC2 instance type.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory, MiB.
    pub ram_mb: u64,
    /// Root disk, GiB; 0 = as large as the image.
    pub root_gb: u64,
    /// Second disk, GiB; 0 = none.
    pub ephemeral_gb: u64,
    /// Swap disk, MiB; 0 = none.
    pub swap_mb: u64,
    /// Extra specs.
    #[serde(default)]
    pub extra_specs: BTreeMap<String, String>,
}

/// A file to put into the guest (below microversion 2.57).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personality {
    /// Absolute path in the guest.
    pub path: String,
    /// Base64 of the contents.
    pub contents: String,
}

/// Whether a guest should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedPower {
    /// Defined and running.
    Running,
    /// Defined and shut off.
    Stopped,
}

/// Everything an agent needs to make and keep a guest without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSpec {
    /// Server id (UUID with dashes): also the libvirt domain's UUID.
    pub server_id: String,
    /// The server's generation this spec belongs to.
    pub generation: i64,
    /// libvirt domain name, `instance-…`.
    pub instance_name: String,
    /// Display name.
    pub display_name: String,
    /// Host name inside the guest.
    pub hostname: String,
    /// Owner.
    pub project_id: String,
    /// Creator.
    pub user_id: String,
    /// Number within a multi-create.
    pub launch_index: u32,
    /// `r-…`.
    pub reservation_id: String,
    /// Zone shown in the metadata.
    pub availability_zone: String,
    /// Numbers of the flavor.
    pub flavor: GuestFlavor,
    /// The root disk's image.
    pub image: ImageSource,
    /// Direct kernel boot.
    pub kernel: Option<ImageSource>,
    /// Initial ramdisk of a direct kernel boot.
    pub ramdisk: Option<ImageSource>,
    /// Interfaces, in order.
    pub nics: Vec<NicSpec>,
    /// User metadata (`meta` in meta_data.json).
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Name of the injected key.
    pub key_name: Option<String>,
    /// The injected public key, OpenSSH form.
    pub public_key: Option<String>,
    /// Base64 user data as the client gave it.
    pub user_data: Option<String>,
    /// The guest's admin password.
    pub admin_pass: Option<Secret>,
    /// Injected files.
    #[serde(default)]
    pub personality: Vec<Personality>,
    /// Whether a config drive is attached.
    pub config_drive: bool,
    /// Wanted power state.
    pub power: WantedPower,
}
