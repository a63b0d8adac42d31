//! Copies of root disks: of a running guest, of a stopped one, abandoned ones, and a guest that boots from its copy.

use crate::support::{Lab, eventually, lab};
use ferrostack_hypervisor::{BaseImage, Compression, Hypervisor, SnapshotWish};
use ferrostack_hypervisor_libvirt::LibvirtHypervisor;
use ferrostack_model::{ErrorKind, server::PowerState, snapshot::SnapshotFormat};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const MARKER: &[u8] = b"the marker of this test";

fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output().unwrap();
    assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn wish(lab: &Lab, name: &str, format: SnapshotFormat) -> SnapshotWish {
    let directory = lab.options.state_dir.join("snapshots");
    std::fs::create_dir_all(&directory).unwrap();
    SnapshotWish {
        to: directory.join(name),
        format,
        compression: Compression::None,
        quiesce: false,
        max_bytes: 0,
    }
}

/// Writes behind the guest's boot sector, as the guest would have: through its overlay.
fn mark(disk: &Path, at: u64) {
    let file = disk.with_extension("marker");
    let mut bytes = MARKER.to_vec();
    bytes.resize(512, b'.');
    std::fs::write(&file, bytes).unwrap();
    run(
        "qemu-io",
        &["-f", "qcow2", "-c", &format!("write -s {} {at} 512", file.display()), disk.to_str().unwrap()],
    );
    std::fs::remove_file(file).unwrap();
}

fn raw_of(qcow2: &Path) -> Vec<u8> {
    let raw = qcow2.with_extension("raw");
    run("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", qcow2.to_str().unwrap(), raw.to_str().unwrap()]);
    let bytes = std::fs::read(&raw).unwrap();
    std::fs::remove_file(raw).unwrap();
    bytes
}

fn left(lab: &Lab) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(lab.options.state_dir.join("snapshots")).unwrap();
    entries.map(|e| e.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_guest_is_copied_and_its_copy_boots() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    let guest = lab.guest(b'B');
    let id = &guest.spec.server_id;
    driver.ensure(&guest).await.unwrap();
    lab.console_with(id, "tiny guest up").await;
    let disk = lab.options.state_dir.join("instances").join(id).join("disk");
    driver.stop(id, 0).await.unwrap();
    mark(&disk, 64 << 10);
    assert_eq!(driver.start(id).await.unwrap(), PowerState::Running);

    let qcow2 = wish(&lab, "live", SnapshotFormat::Qcow2);
    assert_eq!(driver.snapshot(id, &qcow2).await.unwrap(), PowerState::Running);
    assert_eq!(left(&lab), std::slice::from_ref(&qcow2.to), "nothing beside the copy");
    let info = run("qemu-img", &["info", "--output=json", qcow2.to.to_str().unwrap()]);
    assert!(!info.contains("backing-filename"), "{info}");
    let content = raw_of(&qcow2.to);
    assert_eq!(&content[64 << 10..][..MARKER.len()], MARKER);
    let raw = wish(&lab, "raw", SnapshotFormat::Raw);
    assert_eq!(driver.snapshot(id, &raw).await.unwrap(), PowerState::Running);
    assert_eq!(std::fs::read(&raw.to).unwrap(), content, "twice the same");

    // The guest still listens, and its disk is the one it had.
    let xml = lab.virsh().lookup_domain_by_uuid_string(id).unwrap().xml_desc(0).unwrap();
    assert!(xml.contains(disk.to_str().unwrap()), "{xml}");
    assert_eq!(driver.stop(id, 20).await.unwrap(), PowerState::Shutdown);
    lab.console_with(id, "tiny guest off").await;
    let stopped = wish(&lab, "stopped", SnapshotFormat::Raw);
    assert_eq!(driver.snapshot(id, &stopped).await.unwrap(), PowerState::Shutdown);
    assert_eq!(std::fs::read(&stopped.to).unwrap(), content, "the stopped guest's disk is the same");
    assert_eq!(driver.start(id).await.unwrap(), PowerState::Running);

    // A guest of the copy.
    let mut copy = lab.guest(b'B');
    let base = lab.temp.path().join("copied");
    std::fs::copy(&qcow2.to, &base).unwrap();
    copy.base = Some(BaseImage { path: base, format: "qcow2".into(), virtual_size: 1 << 20 });
    driver.ensure(&copy).await.unwrap();
    lab.console_with(&copy.spec.server_id, "tiny guest up").await;
    for id in [id, &copy.spec.server_id] {
        driver.destroy(id).await.unwrap();
        lab.assert_gone(id);
    }
    let error = driver.snapshot(id, &stopped).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{}", error.for_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_copies_end_and_hold_nothing_up() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    let mut guest = lab.guest(b'B');
    // Enough to copy that it can be interrupted.
    guest.spec.flavor.root_gb = 1;
    let id = guest.spec.server_id.clone();
    let big = lab.temp.path().join("big");
    let mut content = std::fs::read(&guest.base.as_ref().unwrap().path).unwrap();
    content.resize(192 << 20, 0);
    for (n, byte) in content[1 << 20..].iter_mut().enumerate() {
        *byte = (n % 253) as u8;
    }
    std::fs::write(&big, content).unwrap();
    guest.base = Some(BaseImage { path: big, format: "raw".into(), virtual_size: 192 << 20 });
    driver.ensure(&guest).await.unwrap();
    lab.console_with(&id, "tiny guest up").await;
    let wish = wish(&lab, "x", SnapshotFormat::Qcow2);
    let is_copied = || {
        let domain = lab.virsh().lookup_domain_by_uuid_string(&id).unwrap();
        domain.job_info().is_ok_and(|job| job.r#type != 0)
    };
    for wait in [0, 50, 150, 400] {
        let call = driver.snapshot(&id, &wish);
        let _ = tokio::time::timeout(Duration::from_millis(wait), call).await;
        eventually("the end of the copy", || async { (!is_copied()).then_some(()) }).await;
        assert!(
            driver.list().await.unwrap().iter().any(|g| g.server_id == id && g.power == PowerState::Running)
        );
    }
    // A process that dies leaves the copy to QEMU; the next one ends it.
    let running = {
        let (driver, id, wish) = (driver.clone(), id.clone(), wish.clone());
        tokio::spawn(async move { driver.snapshot(&id, &wish).await })
    };
    eventually("a copy", || async { (is_copied() || running.is_finished()).then_some(()) }).await;
    let next = LibvirtHypervisor::connect(lab.options.clone()).await.map_err(|e| e.for_log()).unwrap();
    let outcome = running.await.unwrap();
    assert!(!is_copied());
    drop(outcome);
    assert_eq!(next.snapshot(&id, &wish).await.map_err(|e| e.for_log()).unwrap(), PowerState::Running);
    // A destroy in the middle ends it at once.
    let running = {
        let (driver, id, wish) = (driver.clone(), id.clone(), wish.clone());
        tokio::spawn(async move { driver.snapshot(&id, &wish).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    driver.destroy(&id).await.unwrap();
    let _ = running.await.unwrap();
    lab.assert_gone(&id);
    eventually("no copy's file", || async {
        left(&lab).iter().all(|f| !f.to_string_lossy().ends_with(".copy")).then_some(())
    })
    .await;
}
