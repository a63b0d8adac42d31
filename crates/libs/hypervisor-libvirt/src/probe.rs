//! Whether guests can run under KVM.

use crate::connection::Connection;
use crate::options::LibvirtOptions;
use crate::xml::capabilities::Capabilities;

/// Whether a 64-bit program was seen running under KVM.
pub async fn kvm_works(
    _options: &LibvirtOptions,
    _connection: &Connection,
    capabilities: &Capabilities,
) -> bool {
    let arch = &capabilities.host.cpu.arch;
    let offered = capabilities.guest(arch).is_some_and(|g| g.domain.iter().any(|d| d.kind == "kvm"));
    tracing::debug!(offered, "KVM is not proven here");
    false
}
