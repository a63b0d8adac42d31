//! libvirtd goes away and comes back: guests run on, calls work again, events come again.
//!
//! Runs where `FERROSTACK_TEST_LIBVIRT_RESTART` is a shell command that restarts the libvirtd under test, e.g.
//! `deploy/dev/libvirtd restart DIR`. Its tests disturb others: run them alone (`--test-threads=1`).

use crate::support::{eventually, lab, network, nic};
use ferrostack_hypervisor::Hypervisor;
use ferrostack_model::ErrorKind;
use ferrostack_model::server::PowerState;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_libvirtd_is_found_again() {
    let Ok(command) = std::env::var("FERROSTACK_TEST_LIBVIRT_RESTART") else {
        eprintln!("FERROSTACK_TEST_LIBVIRT_RESTART is not set: nothing is tested");
        return;
    };
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    let mut guest = lab.guest(b'B');
    let id = guest.spec.server_id.clone();
    guest.spec.nics = vec![nic(&id, &network(8), 10)];
    driver.ensure(&guest).await.unwrap();
    lab.console_with(&id, "tiny guest up").await;
    let mut events = driver.events();

    let restart = tokio::task::spawn_blocking(move || {
        std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success()
    });
    // Meanwhile nothing hangs and nothing is wrong: an answer, or that libvirt is away.
    while !restart.is_finished() {
        let listed =
            tokio::time::timeout(Duration::from_secs(20), driver.list()).await.expect("a call hangs");
        match listed {
            Ok(all) => assert!(all.iter().any(|g| g.server_id == id && g.power == PowerState::Running)),
            Err(e) => assert_eq!(e.kind, ErrorKind::Unavailable, "{}", e.for_log()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(restart.await.unwrap(), "the restart command failed");
    eventually("libvirt again", || async { driver.host_info().await.ok() }).await;
    assert_eq!(driver.ensure(&guest).await.unwrap(), PowerState::Running, "the guest ran on");
    let console = lab.console_with(&id, "tiny guest up").await;
    assert_eq!(console.matches("tiny guest up").count(), 1, "and was not started anew: {console}");
    // The driver asks for the changes it may have missed by itself; no call of ours is needed.
    lab.virsh().lookup_domain_by_uuid_string(&id).unwrap().destroy().unwrap();
    let told = async {
        loop {
            let event = events.recv().await.unwrap();
            if event.server_id == id {
                return event.power;
            }
        }
    };
    let power =
        tokio::time::timeout(Duration::from_secs(10), told).await.expect("events do not come any more");
    assert_eq!(power, PowerState::Shutdown);
    driver.destroy(&id).await.unwrap();
    lab.assert_gone(&id);
}
