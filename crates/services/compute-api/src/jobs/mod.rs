//! Durable jobs, one module a verb.

pub mod build;
pub mod choose;
pub mod delete;
pub mod evacuate;
pub mod fault;
pub mod give;
pub mod guest;
pub mod interface;
pub mod live_migrate;
pub mod moves;
pub mod order;
pub mod ports;
pub mod power;
pub mod rebuild;
pub mod shelve;
pub mod snapshot;
pub mod unshelve;
pub mod wait;

use crate::app::App;
use ferrostack_jobs::JobKind;

/// Whether an admin's reset of the state ends this kind of job: one that only leads from a state to another. What makes
/// or removes something goes on, or half of it would stay.
pub fn ends_with_reset(kind: &str) -> bool {
    power::Power::all().any(|power| power.kind() == kind)
}

/// Every kind of job of this service.
pub fn kinds() -> Vec<Box<dyn JobKind<App>>> {
    let mut kinds: Vec<Box<dyn JobKind<App>>> = vec![
        Box::new(build::Build::new()),
        Box::new(delete::Delete::new()),
        Box::new(rebuild::Rebuild::new()),
        Box::new(shelve::Shelve::new()),
        Box::new(shelve::ShelveOffload::new()),
        Box::new(unshelve::Unshelve::new()),
        Box::new(unshelve::UnshelveHere::new()),
        Box::new(evacuate::Evacuate::new()),
        Box::new(live_migrate::LiveMigrate::new()),
        Box::new(interface::Interface::attach()),
        Box::new(interface::Interface::detach()),
        Box::new(moves::resize::Resize::new()),
        Box::new(moves::confirm::Confirm::new()),
        Box::new(moves::revert::Revert::new()),
        Box::new(snapshot::Snapshot::image()),
        Box::new(snapshot::Snapshot::backup()),
    ];
    kinds.extend(power::Power::all().map(|kind| Box::new(kind) as Box<dyn JobKind<App>>));
    kinds
}
