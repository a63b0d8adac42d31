//! Running commands as a user would.

use std::{collections::BTreeMap, process::Command};

/// Runs `program` with `arguments`; its standard output. Panics with both outputs if it fails.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    run_with(program, arguments, &BTreeMap::new())
}

/// [`run`] with variables added to the environment.
#[track_caller]
pub fn run_with(program: &str, arguments: &[&str], environment: &BTreeMap<String, String>) -> String {
    let output = Command::new(program)
        .args(arguments)
        .envs(environment)
        .output()
        .unwrap_or_else(|e| panic!("{program} cannot be started: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {} failed ({}):\n{text}\n{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
