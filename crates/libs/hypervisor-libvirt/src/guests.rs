//! Our domains in libvirt: finding, defining, starting and removing them. Blocking, one libvirt call after another.

use crate::connection::{CallResult, already, optional};
use crate::power;
use crate::xml;
use crate::xml::metadata::{GuestMark, NAMESPACE, PREFIX};
use ferrostack_model::Error;
use ferrostack_model::server::PowerState;
use std::path::Path;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::sys;

/// The domain of a server, if libvirt has one.
pub fn find(connect: &Connect, id: &str) -> CallResult<Option<Domain>> {
    Ok(optional(connect.lookup_domain_by_uuid_string(id))?)
}

/// The domain of a server.
///
/// # Errors
/// `NotFound` if libvirt has none.
pub fn get(connect: &Connect, id: &str) -> CallResult<Domain> {
    find(connect, id)?.ok_or_else(|| Error::not_found("The guest is not defined on this host.").into())
}

/// Our mark in a domain; `None` where it is somebody else's, or of an agent with other files.
pub fn mark(domain: &Domain, instances: &Path) -> CallResult<Option<GuestMark>> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
    let Some(text) = optional(domain.metadata(kind, Some(NAMESPACE), sys::VIR_DOMAIN_AFFECT_CURRENT))? else {
        return Ok(None);
    };
    match xml::from_str::<GuestMark>("guest metadata", &text) {
        Ok(mark) => Ok(Some(mark).filter(|mark| mark.is_in(instances))),
        Err(e) => {
            // One damaged guest must not hide the others.
            tracing::warn!(error = %e.for_log(), "a domain has unreadable metadata of ours");
            Ok(None)
        }
    }
}

/// Defines the domain anew under the same id; a running one gets its metadata at once, the rest at its next start.
pub fn define(connect: &Connect, domain_xml: &str, metadata_xml: &str) -> CallResult<Domain> {
    let domain = connect.define_domain_xml(domain_xml)?;
    if domain.is_active()? {
        let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
        let live = sys::VIR_DOMAIN_AFFECT_LIVE;
        domain.set_metadata(kind, Some(metadata_xml), Some(PREFIX), Some(NAMESPACE), live)?;
    }
    Ok(domain)
}

/// Starts the domain if it is off.
pub fn start(domain: &Domain) -> CallResult<PowerState> {
    if !domain.is_active()? {
        already(domain.create(), || domain.is_active())?;
    }
    Ok(power::of_domain(domain)?)
}

/// Pulls the plug if the domain is on. A domain without a definition is gone then, and cannot be asked anything.
pub fn power_off(domain: &Domain) -> CallResult<()> {
    if domain.is_active()? {
        already(domain.destroy(), || domain.is_active().map(|active| !active))?;
    }
    Ok(())
}

/// Pulls the plug if the domain is on; memory that was written to disk is lost with it.
pub fn plug(domain: &Domain) -> CallResult<()> {
    power_off(domain)?;
    if domain.has_managed_save(0)? {
        domain.managed_save_remove(0)?;
    }
    Ok(())
}

/// Removes the definition with all that libvirt keeps for it.
pub fn undefine(domain: &Domain) -> CallResult<()> {
    let flags = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | sys::VIR_DOMAIN_UNDEFINE_NVRAM;
    optional(domain.undefine_flags(flags))?;
    Ok(())
}

/// Gives a domain that has come from another host our mark for good, running and defined.
pub fn keep(connect: &Connect, domain: &Domain, metadata_xml: &str) -> CallResult<()> {
    if !domain.is_persistent()? {
        connect.define_domain_xml(
            &domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE)?,
        )?;
    }
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
    let both = sys::VIR_DOMAIN_AFFECT_LIVE | sys::VIR_DOMAIN_AFFECT_CONFIG;
    domain.set_metadata(kind, Some(metadata_xml), Some(PREFIX), Some(NAMESPACE), both)?;
    Ok(())
}
