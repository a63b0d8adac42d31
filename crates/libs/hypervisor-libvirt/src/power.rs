//! libvirt's domain states as Nova's power states.

use ferrostack_model::server::PowerState;
use virt::domain::{Domain, DomainState};
use virt::error::Error as VirtError;

/// Nova's power state for a libvirt domain state (nova/virt/libvirt/guest.py, LIBVIRT_POWER_STATE).
///
/// A guest paused by an I/O error or a watchdog is `Paused`: libvirt says so, and so does Nova.
pub fn of_state(state: DomainState) -> PowerState {
    match state {
        DomainState::NoState => PowerState::NoState,
        // Nova: "the domain is running, blocked on resource".
        DomainState::Running | DomainState::Blocked => PowerState::Running,
        DomainState::Paused => PowerState::Paused,
        // One that is being shut down counts as off, as in Nova's table.
        DomainState::Shutdown | DomainState::Shutoff => PowerState::Shutdown,
        DomainState::Crashed => PowerState::Crashed,
        DomainState::PMSuspended => PowerState::Suspended,
    }
}

/// The power state of a domain; a saved one (managed save) is `Shutdown` as in Nova.
///
/// # Errors
/// libvirt's.
pub fn of_domain(domain: &Domain) -> Result<PowerState, VirtError> {
    // Not Domain::state(): it hides the call's failure.
    Ok(of_state(domain.info()?.state.unwrap_or(DomainState::NoState)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_novas_number() {
        let table = [
            (DomainState::NoState, 0),
            (DomainState::Running, 1),
            (DomainState::Blocked, 1),
            (DomainState::Paused, 3),
            (DomainState::Shutdown, 4),
            (DomainState::Shutoff, 4),
            (DomainState::Crashed, 6),
            (DomainState::PMSuspended, 7),
        ];
        for (state, code) in table {
            assert_eq!(of_state(state).code(), code, "{state:?}");
        }
    }
}
