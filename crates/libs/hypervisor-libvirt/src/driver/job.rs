//! libvirt's job that sends a guest. Not by the crate's own call: it reads a list that may be null.

use crate::connection::{CallResult, optional};
use ferrostack_model::live_migration::Progress;
use std::ffi::{CStr, c_int};
use virt::domain::Domain;
use virt::error::Error as VirtError;
use virt::sys;

/// What libvirt told of a job.
struct Parameters {
    list: sys::virTypedParameterPtr,
    count: c_int,
}

impl Drop for Parameters {
    fn drop(&mut self) {
        // SAFETY: libvirt allocated the list for us, and null is allowed.
        unsafe { sys::virTypedParamsFree(self.list, self.count) };
    }
}

impl Parameters {
    /// A counter; 0 where there is none.
    fn number(&self, name: &CStr) -> u64 {
        let mut value = 0;
        // SAFETY: the list holds `count` parameters, and the name ends with NUL.
        unsafe { sys::virTypedParamsGetULLong(self.list, self.count, name.as_ptr(), &raw mut value) };
        value
    }

    /// A number of a kind.
    fn kind(&self, name: &CStr) -> Option<u32> {
        let mut value = 0;
        // SAFETY: as above.
        let found =
            unsafe { sys::virTypedParamsGetInt(self.list, self.count, name.as_ptr(), &raw mut value) };
        (found == 1).then(|| u32::try_from(value).ok()).flatten()
    }
}

/// How far the domain is on its way to another host; `None` if it is not.
pub(super) fn sending(domain: &Domain) -> CallResult<Option<Progress>> {
    let (mut kind, mut list, mut count) = (0, std::ptr::null_mut(), 0);
    // SAFETY: the domain's pointer is valid while `domain` lives; the list is freed by its owner below.
    let told = unsafe {
        sys::virDomainGetJobStats(domain.as_ptr(), &raw mut kind, &raw mut list, &raw mut count, 0)
    };
    let told = if told < 0 { Err(VirtError::last_error()) } else { Ok(()) };
    let job = Parameters { list, count };
    if optional(told)?.is_none() || u32::try_from(kind).is_ok_and(|kind| kind == sys::VIR_DOMAIN_JOB_NONE) {
        return Ok(None);
    }
    if job.kind(c"operation") != Some(sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT) {
        return Ok(None);
    }
    Ok(Some(Progress {
        memory_total: job.number(c"memory_total"),
        memory_processed: job.number(c"memory_processed"),
        memory_remaining: job.number(c"memory_remaining"),
        disk_total: job.number(c"disk_total"),
        disk_processed: job.number(c"disk_processed"),
        disk_remaining: job.number(c"disk_remaining"),
    }))
}
