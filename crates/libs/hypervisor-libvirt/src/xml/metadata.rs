//! Our element in a domain's `<metadata>`: how guests are known as ours, and at which generation.

use ferrostack_model::guest::GuestSpec;
use serde::{Deserialize, Serialize};

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
#[serde(rename = "ferrostack:guest")]
pub struct GuestMeta {
    /// The namespace declaration.
    #[serde(rename = "@xmlns:ferrostack")]
    pub xmlns: &'static str,
    /// Server id.
    #[serde(rename = "ferrostack:server")]
    pub server: String,
    /// Generation that the guest was last ensured at.
    #[serde(rename = "ferrostack:generation")]
    pub generation: i64,
    /// Display name.
    #[serde(rename = "ferrostack:name")]
    pub name: String,
    /// Flavor name.
    #[serde(rename = "ferrostack:flavor")]
    pub flavor: String,
    /// Owning project.
    #[serde(rename = "ferrostack:project")]
    pub project: String,
    /// Creator.
    #[serde(rename = "ferrostack:user")]
    pub user: String,
    /// Image id.
    #[serde(rename = "ferrostack:image")]
    pub image: String,
}

impl GuestMeta {
    /// The element for a spec.
    pub fn of(spec: &GuestSpec) -> Self {
        Self {
            xmlns: NAMESPACE,
            server: super::clean(&spec.server_id),
            generation: spec.generation,
            name: super::clean(&spec.display_name),
            flavor: super::clean(&spec.flavor.name),
            project: super::clean(&spec.project_id),
            user: super::clean(&spec.user_id),
            image: super::clean(&spec.image.id),
        }
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
}
