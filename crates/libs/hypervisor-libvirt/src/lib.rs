//! The libvirt driver: the only crate that links C.
//!
//! | module | holds |
//! |---|---|
//! | [`driver`] | `Hypervisor` on libvirt: what is done in which order |
//! | [`connection`] | bounded blocking calls, reconnecting |
//! | [`events`] | libvirt's event loop |
//! | [`guests`], [`network`] | domains and networks in libvirt |
//! | [`definition`], [`xml`] | from a spec to libvirt's XML |
//! | [`files`], [`disks`], [`console`] | what a guest has on disk |
//! | [`snapshot`] | copies of root disks for images |
//! | [`moves`] | disks on their way to another host or size |
//! | [`probe`] | whether KVM works |
//! | [`metadata`] | the metadata service's socket |

pub mod connection;
pub mod console;
pub mod definition;
pub mod diagnostics;
pub mod disks;
pub mod driver;
pub mod events;
pub mod files;
pub mod guests;
pub mod hardware;
pub mod host;
mod locks;
pub mod metadata;
pub mod moves;
pub mod network;
pub mod options;
pub mod power;
pub mod probe;
pub mod snapshot;
pub mod xml;

pub use driver::LibvirtHypervisor;
pub use options::{LibvirtOptions, VirtType};
