//! Every service in one process: what `ferrostack up` and the tests start.

mod cloud;

pub use cloud::Cloud;
