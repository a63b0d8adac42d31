//! Our element in a domain's `<metadata>`: how guests are known as ours, and at which generation.

use ferrostack_model::guest::GuestSpec;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The XML namespace of our metadata element.
pub const NAMESPACE: &str = "https://ferrostack.org/xmlns/libvirt/guest/1.0";
/// Its prefix.
pub const PREFIX: &str = "ferrostack";

/// `<metadata>` of a domain.
#[derive(Clone, Debug, Serialize)]
pub struct Metadata {
    /// Our element.
    #[serde(rename = "ferrostack:guest")]
    pub guest: GuestMeta,
}

/// `<ferrostack:guest>`: for operators' eyes, and for finding our guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename = "guest")]
pub struct GuestMeta {
    /// The namespace declaration; libvirt wants to add it itself where only the element is set.
    #[serde(rename = "@xmlns:ferrostack", skip_serializing_if = "Option::is_none")]
    pub xmlns: Option<&'static str>,
    /// Server id.
    pub server: String,
    /// Generation that the guest was last ensured at.
    pub generation: i64,
    /// Display name.
    pub name: String,
    /// Flavor name.
    pub flavor: String,
    /// Owning project.
    pub project: String,
    /// Creator.
    pub user: String,
    /// Image id.
    pub image: String,
    /// Directory of the guests' files: tells the guests of several agents on one libvirtd apart.
    pub instances: String,
}

impl GuestMeta {
    /// The element for a spec.
    pub fn of(spec: &GuestSpec, instances: &Path) -> Self {
        Self {
            xmlns: Some(NAMESPACE),
            server: super::clean(&spec.server_id),
            generation: spec.generation,
            name: super::clean(&spec.display_name),
            flavor: super::clean(&spec.flavor.name),
            project: super::clean(&spec.project_id),
            user: super::clean(&spec.user_id),
            image: super::clean(&spec.image.id),
            instances: super::clean(&instances.to_string_lossy()),
        }
    }

    /// The element alone, as `virDomainSetMetadata` takes it.
    ///
    /// # Errors
    /// `Internal`: it cannot be written.
    pub fn bare_xml(mut self) -> ferrostack_model::Result<String> {
        self.xmlns = None;
        super::to_string("guest metadata", &self)
    }
}

/// What is read back from the element.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GuestMark {
    /// Server id.
    pub server: String,
    /// Generation.
    pub generation: i64,
    /// Display name.
    #[serde(default)]
    pub name: String,
    /// Directory of the guests' files.
    #[serde(default)]
    pub instances: String,
}

impl GuestMark {
    /// Whether the guest's files are in this directory.
    pub fn is_in(&self, instances: &Path) -> bool {
        self.instances == super::clean(&instances.to_string_lossy())
    }
}
