//! Logs.

use crate::{Log, LogFormat};
use anyhow::Context;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sends `tracing` to standard error as `log` says. A second call (tests) changes nothing.
pub fn init(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)
        .with_context(|| format!("log.level: cannot read '{}'", log.level))?
        // It logs the whole of a message that could not be delivered, and messages may hold secrets.
        .add_directive("lapin::returned_messages=off".parse().context("log filter")?);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    std::panic::set_hook(Box::new(|info| {
        // A text that was put together may hold anything, a secret too; one that stands in the program does not.
        let said = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown)");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, said, "panic");
    }));
    let _ = match log.format {
        LogFormat::Human => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
