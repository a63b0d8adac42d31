//! libvirtd goes away, hangs, and comes back: guests run on, calls work again, events come again.
//!
//! Runs where `FERROSTACK_TEST_LIBVIRT_DIR` is the directory of the libvirtd under test as `deploy/dev/libvirtd` made
//! it. Its tests disturb others: run them alone (`--test-threads=1`).

use crate::support::{Lab, eventually, lab, network, nic};
use ferrostack_hypervisor::Hypervisor;
use ferrostack_model::ErrorKind;
use ferrostack_model::server::PowerState;
use std::time::{Duration, Instant};

/// Runs `deploy/dev/libvirtd VERB` on the libvirtd under test.
async fn libvirtd(verb: &'static str) {
    let dir = std::env::var("FERROSTACK_TEST_LIBVIRT_DIR").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy/dev/libvirtd");
    let status = tokio::process::Command::new(script).arg(verb).arg(dir).status().await.unwrap();
    assert!(status.success(), "{verb} failed");
}

async fn own_lab() -> Option<Lab> {
    if std::env::var("FERROSTACK_TEST_LIBVIRT_DIR").is_err() {
        eprintln!("FERROSTACK_TEST_LIBVIRT_DIR is not set: nothing is tested");
        return None;
    }
    lab().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_libvirtd_is_found_again() {
    let Some(lab) = own_lab().await else { return };
    let driver = &lab.driver;
    let mut guest = lab.guest(b'B');
    let id = guest.spec.server_id.clone();
    guest.spec.nics = vec![nic(&id, &network(8), 10)];
    driver.ensure(&guest).await.unwrap();
    lab.console_with(&id, "tiny guest up").await;
    let mut events = driver.events();

    let restart = tokio::spawn(libvirtd("restart"));
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
    restart.await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_libvirtd_that_hangs_is_answered_for() {
    let Some(lab) = own_lab().await else { return };
    let guest = lab.guest(b'B');
    let id = &guest.spec.server_id;
    lab.driver.ensure(&guest).await.unwrap();
    libvirtd("freeze").await;
    let start = Instant::now();
    let answers = tokio::time::timeout(Duration::from_secs(150), async {
        tokio::join!(lab.driver.list(), lab.driver.host_info(), lab.driver.stop(id, 5))
    });
    let Ok((list, info, stop)) = answers.await else {
        libvirtd("thaw").await;
        panic!("no answer after {:?}", start.elapsed());
    };
    eprintln!("answered after {:?}", start.elapsed());
    libvirtd("thaw").await;
    for error in [list.unwrap_err(), info.unwrap_err(), stop.unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.for_log());
    }
    eventually("libvirt again", || async { lab.driver.list().await.ok() }).await;
    assert_eq!(lab.driver.stop(id, 5).await.unwrap(), PowerState::Shutdown);
    lab.driver.destroy(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_come_back_after_a_power_failure() {
    let Some(lab) = own_lab().await else { return };
    let network = network(6);
    let mut guest = lab.guest(b'B');
    let id = guest.spec.server_id.clone();
    guest.spec.nics = vec![nic(&id, &network, 10)];
    lab.driver.ensure(&guest).await.unwrap();
    let mut events = lab.driver.events();
    libvirtd("kill").await;
    libvirtd("up").await;
    let told = async {
        loop {
            let event = events.recv().await.unwrap();
            if event.server_id == id {
                return event.power;
            }
        }
    };
    let power = tokio::time::timeout(Duration::from_secs(30), told).await.expect("nobody tells");
    assert_eq!(power, PowerState::Shutdown);
    assert_eq!(lab.driver.ensure(&guest).await.unwrap(), PowerState::Running);
    let connect = lab.virsh();
    let found = connect.lookup_network_by_uuid_string(&network.id).unwrap();
    assert!(found.is_active().unwrap());
    assert_eq!(found.xml_desc(0).unwrap().matches("<host mac").count(), 1);
    lab.driver.destroy(&id).await.unwrap();
    lab.assert_gone(&id);
}
