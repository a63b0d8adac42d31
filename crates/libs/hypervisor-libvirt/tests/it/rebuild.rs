//! Rebuilds wipe what the guest wrote, or keep what is asked for.

use crate::support::lab;
use ferrostack_hypervisor::{Hypervisor, Rebuilds};
use ferrostack_model::{guest::WantedPower, server::PowerState};
use std::os::unix::fs::MetadataExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_wipes_the_disks_that_it_may() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    let mut guest = lab.guest(b'B');
    guest.spec.flavor.ephemeral_gb = 1;
    guest.spec.flavor.swap_mb = 16;
    let id = guest.spec.server_id.clone();
    assert_eq!(driver.ensure(&guest).await.unwrap(), PowerState::Running);
    lab.console_with(&id, "tiny guest up").await;
    let file = |name: &str| lab.options.state_dir.join("instances").join(&id).join(name);
    let files = || ["disk.eph0", "disk.swap"].map(|name| std::fs::metadata(file(name)).unwrap().ino());
    let first = files();
    guest.spec.generation += 1;
    assert_eq!(driver.rebuild(&guest, true).await.unwrap(), PowerState::Running);
    assert_eq!(files(), first, "the second disk and the swap disk are kept");
    let booted = |text: String| (text.matches("tiny guest up").count() == 2).then_some(());
    crate::support::eventually("it boots anew", || async { booted(lab.console_with(&id, "up").await) }).await;
    // Suspended to disk, it does not wake on a disk that it does not know.
    ferrostack_hypervisor::States::suspend(driver, &id).await.unwrap();
    std::fs::write(file("kernel"), "of another image").unwrap();
    // What the guest would have written.
    for name in ["disk", "disk.eph0", "disk.swap"] {
        let mut written = std::fs::OpenOptions::new().append(true).open(file(name)).unwrap();
        std::io::Write::write_all(&mut written, b"a secret of before").unwrap();
    }
    guest.spec.generation += 1;
    guest.spec.power = WantedPower::Stopped;
    assert_eq!(driver.rebuild(&guest, false).await.unwrap(), PowerState::Shutdown);
    for name in ["disk", "disk.eph0", "disk.swap"] {
        assert!(!std::fs::read(file(name)).unwrap().ends_with(b"a secret of before"), "{name} is wiped");
    }
    assert!(!file("kernel").exists(), "nothing of another image is left");
    assert_eq!(driver.start(&id).await.unwrap(), PowerState::Running);
    let booted = |text: String| (text.matches("tiny guest up").count() == 3).then_some(());
    crate::support::eventually("it boots from its own disk", || async {
        booted(lab.console_with(&id, "up").await)
    })
    .await;
    driver.destroy(&id).await.unwrap();
    lab.assert_gone(&id);
}
