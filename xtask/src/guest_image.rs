//! `cargo xtask guest-image`: the small Linux guest of the tests and of `./quickstart`.

use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Builds the guest image; a second time it is a copy of the first, unless a package or a file of the guest changed.
#[derive(Debug, clap::Args)]
pub struct GuestImage {
    /// Where the qcow2 file goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Builds it even if it was built before.
    #[arg(long)]
    anew: bool,
}

impl GuestImage {
    /// Runs `xtask/guest-image/build.sh`, which may install Debian packages and therefore wants root on a bare machine.
    pub fn run(&self) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-image/build.sh");
        let status = Command::new(&script)
            .arg(&self.out)
            .env("CACHE", if self.anew { "0" } else { "1" })
            .status()
            .with_context(|| format!("cannot run {}", script.display()))?;
        ensure!(status.success(), "the guest image was not built ({status}), see above");
        Ok(())
    }
}
