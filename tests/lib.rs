//! Helpers shared by the end-to-end tests: a cloud of separate processes, commands, and skipping.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod command;
mod local_cloud;

pub use command::{run, run_with};
pub use local_cloud::LocalCloud;

use std::path::{Path, PathBuf};

/// The repository's top folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// The value of an environment variable that says a real part is there; `None` prints why the test is skipped.
pub fn needs(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|v| !v.is_empty());
    if value.is_none() {
        eprintln!("skipped: {variable} is not set (./test sets it)");
    }
    value
}
