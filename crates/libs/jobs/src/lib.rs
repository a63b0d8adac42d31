//! The durable step machine: a job is a straight list of steps, each safe to run twice.
//!
//! A step's result, the domain rows it changes and the job's row are one transaction. A runner claims a job by one
//! conditional UPDATE, holds a lease, and every write names the generation it claimed, so a runner that lost its
//! lease writes nothing. Messages are sent after the commit; if one is lost the step's deadline brings it back.

mod job;
mod runner;
mod step;
mod store;
pub mod testing;

pub use job::{Job, State};
pub use runner::{Runner, RunnerOptions};
pub use step::{JobKind, Outcome, Send, Step, Verdict};
pub use store::{
    Enqueue, active_data, enqueue, find, find_active, list, prune, supersede, wake, wake_if_silent,
};
