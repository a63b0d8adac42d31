//! A guest's life: made, started, stopped, rebooted, killed, removed; twice, and interrupted.

use crate::support::{eventually, lab, network, nic};
use ferrostack_hypervisor::{BaseImage, Guest, Hypervisor, PowerEvent};
use ferrostack_hypervisor_libvirt::{LibvirtHypervisor, LibvirtOptions, VirtType, probe};
use ferrostack_model::ErrorKind;
use ferrostack_model::guest::WantedPower;
use ferrostack_model::server::PowerState;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_lives_and_leaves_nothing() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    let mut guest = lab.guest(b'B');
    let id = guest.spec.server_id.clone();
    guest.spec.nics = vec![nic(&id, &network(1), 10)];
    guest.spec.flavor.ephemeral_gb = 1;
    guest.spec.flavor.swap_mb = 16;
    guest.spec.config_drive = true;
    let drive = lab.temp.path().join("drive");
    std::fs::write(&drive, vec![7u8; 64 << 10]).unwrap();
    guest.config_drive = Some(drive);

    assert_eq!(driver.ensure(&guest).await.unwrap(), PowerState::Running);
    lab.console_with(&id, "tiny guest up").await;
    assert_eq!(driver.ensure(&guest).await.unwrap(), PowerState::Running, "twice is as once");
    let listed = driver.list().await.unwrap();
    let mine: Vec<_> = listed.iter().filter(|g| g.server_id == id).collect();
    assert_eq!(mine.len(), 1);
    assert_eq!((mine[0].generation, mine[0].power), (1, PowerState::Running));

    let dir = lab.options.state_dir.join("instances").join(&id);
    let eph = std::fs::read(dir.join("disk.eph0")).unwrap();
    assert_eq!(eph.len(), 1 << 30);
    assert_eq!(&eph[0x438..0x43a], b"\x53\xef", "ephemeral0 is ext4");
    assert_eq!(&eph[0x478..0x478 + 11], b"ephemeral0\0");
    let swap = std::fs::read(dir.join("disk.swap")).unwrap();
    assert_eq!(&swap[4086..4096], b"SWAPSPACE2");

    assert_eq!(driver.stop(&id, 20).await.unwrap(), PowerState::Shutdown);
    let console = lab.console_with(&id, "tiny guest off").await;
    assert_eq!(driver.stop(&id, 20).await.unwrap(), PowerState::Shutdown);
    assert_eq!(driver.start(&id).await.unwrap(), PowerState::Running);
    assert_eq!(driver.start(&id).await.unwrap(), PowerState::Running);
    let console = eventually("a second greeting after the first", || async {
        let now = driver.console_output(&id, 1 << 20).await.unwrap();
        (now.len() > console.len()).then(|| String::from_utf8(now).unwrap())
    })
    .await;
    assert!(console.matches("tiny guest up").count() >= 1, "the log is kept over a restart: {console}");

    driver.destroy(&id).await.unwrap();
    lab.assert_gone(&id);
    driver.destroy(&id).await.unwrap();
    for error in [
        driver.start(&id).await.unwrap_err(),
        driver.stop(&id, 1).await.unwrap_err(),
        driver.reboot_soft(&id, 1).await.unwrap_err(),
        driver.console_output(&id, 10).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::NotFound, "{}", error.for_log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reboots_end_in_a_running_guest() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    for (mode, seconds) in [(b'B', 20), (b'I', 1)] {
        let guest = lab.guest(mode);
        let id = &guest.spec.server_id;
        driver.ensure(&guest).await.unwrap();
        lab.console_with(id, "tiny guest up").await;
        assert_eq!(driver.reboot_soft(id, seconds).await.unwrap(), PowerState::Running);
        let booted = |text: String, n: usize| (text.matches("tiny guest up").count() == n).then_some(());
        eventually("a second boot", || async { booted(lab.console_with(id, "up").await, 2) }).await;
        assert_eq!(driver.reboot_hard(&guest).await.unwrap(), PowerState::Running);
        eventually("a third boot", || async { booted(lab.console_with(id, "up").await, 3) }).await;
        let console = lab.console_with(id, "up").await;
        assert_eq!(console.matches("tiny guest off").count(), usize::from(mode == b'B'), "{console}");
        driver.destroy(id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_ignores_the_button_loses_its_plug() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    let guest = lab.guest(b'I');
    let id = &guest.spec.server_id;
    driver.ensure(&guest).await.unwrap();
    lab.console_with(id, "tiny guest up").await;
    let start = Instant::now();
    assert_eq!(driver.stop(id, 2).await.unwrap(), PowerState::Shutdown);
    assert!(start.elapsed() >= Duration::from_secs(2), "the guest was given its time");
    assert_eq!(driver.start(id).await.unwrap(), PowerState::Running);
    let start = Instant::now();
    assert_eq!(driver.stop(id, 0).await.unwrap(), PowerState::Shutdown);
    assert!(start.elapsed() < Duration::from_secs(5), "0 means at once");
    driver.destroy(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_nobody_ordered_is_told() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    let mut events = driver.events();
    let guest = lab.guest(b'B');
    let id = &guest.spec.server_id;
    driver.ensure(&guest).await.unwrap();
    driver.stop(id, 20).await.unwrap();
    driver.start(id).await.unwrap();
    // Somebody pulls the plug behind our back.
    lab.virsh().lookup_domain_by_uuid_string(id).unwrap().destroy().unwrap();
    assert_eq!(told(&mut events, id).await, PowerState::Shutdown);
    // QEMU dies.
    driver.start(id).await.unwrap();
    let pid = qemu_of(id).expect("a running QEMU");
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    let start = Instant::now();
    assert_eq!(told(&mut events, id).await, PowerState::Shutdown);
    assert!(start.elapsed() < Duration::from_secs(5), "seen after {:?}", start.elapsed());
    driver.destroy(id).await.unwrap();
    // A guest that shuts itself down.
    let mut guest = lab.guest(b'S');
    guest.spec.power = WantedPower::Running;
    driver.ensure(&guest).await.unwrap();
    let own = guest.spec.server_id.clone();
    assert_eq!(told(&mut events, &own).await, PowerState::Shutdown);
    driver.destroy(&own).await.unwrap();
    while let Ok(event) = events.try_recv() {
        assert!(event.server_id != *id && event.server_id != own, "told of what was ordered: {event:?}");
    }
}

/// The process of a guest on this machine.
fn qemu_of(id: &str) -> Option<String> {
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let path = entry.ok()?.path();
        let line = std::fs::read_to_string(path.join("cmdline")).ok()?;
        let qemu = line.split('\0').next()?.contains("qemu-system") && line.contains(&format!("uuid\0{id}"));
        qemu.then(|| path.file_name().unwrap().to_string_lossy().into_owned())
    })
}

/// The next event of a guest; other tests' guests on the same libvirtd are heard too.
async fn told(events: &mut tokio::sync::broadcast::Receiver<PowerEvent>, id: &str) -> PowerState {
    let wait = async {
        loop {
            let event = events.recv().await.unwrap();
            if event.server_id == id {
                return event.power;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("no event within 30 s")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_spec_changes_nothing_and_a_newer_one_is_taken() {
    let Some(lab) = lab().await else { return };
    let driver = &lab.driver;
    let mut guest = lab.guest(b'B');
    guest.spec.generation = 5;
    let id = guest.spec.server_id.clone();
    driver.ensure(&guest).await.unwrap();
    let mut old = guest.clone();
    old.spec.generation = 4;
    old.spec.power = WantedPower::Stopped;
    assert_eq!(driver.ensure(&old).await.unwrap(), PowerState::Running);
    guest.spec.generation = 6;
    guest.spec.display_name = "<renamed & \"quoted\">\u{0}\u{1F980}".into();
    driver.ensure(&guest).await.unwrap();
    let generation = |all: Vec<ferrostack_model::host::GuestState>| {
        all.into_iter().find(|g| g.server_id == id).map(|g| g.generation)
    };
    assert_eq!(generation(driver.list().await.unwrap()), Some(6), "seen on the running guest at once");
    guest.spec.generation = 7;
    guest.spec.power = WantedPower::Stopped;
    assert_eq!(driver.ensure(&guest).await.unwrap(), PowerState::Shutdown);
    driver.destroy(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_interruption_is_made_good() {
    let Some(lab) = lab().await else { return };
    let network = network(2);
    let mut guest = lab.guest(b'B');
    let id = guest.spec.server_id.clone();
    guest.spec.nics = vec![nic(&id, &network, 10)];
    for millis in [0, 10, 30, 80, 200, 500] {
        killed_while("ensure", millis, &lab.options.state_dir, &guest);
        assert_eq!(lab.driver.ensure(&guest).await.unwrap(), PowerState::Running, "after {millis} ms");
        killed_while("destroy", millis, &lab.options.state_dir, &guest);
        lab.driver.destroy(&id).await.unwrap();
        lab.assert_gone(&id);
        killed_while("ensure", millis, &lab.options.state_dir, &guest);
        lab.driver.destroy(&id).await.unwrap();
        lab.assert_gone(&id);
    }
    let left = lab.virsh().lookup_network_by_uuid_string(&network.id);
    assert!(left.is_err(), "the network went with its last port");
}

/// Runs `work` on the guest in another process, which is killed a moment after it began.
fn killed_while(work: &str, millis: u64, state: &std::path::Path, guest: &Guest) {
    let spec = serde_json::to_string(guest).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["life::child_of_every_interruption", "--exact", "--nocapture"])
        .env("FERROSTACK_TEST_CHILD", work)
        .env("FERROSTACK_TEST_CHILD_STATE", state)
        .env("FERROSTACK_TEST_CHILD_GUEST", spec)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(
        output.lines().map_while(Result::ok).any(|line| line.contains("child begins")),
        "the child fails"
    );
    // The moment of death is what is tested.
    std::thread::sleep(Duration::from_millis(millis));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Not a test of its own: what [`killed_while`] starts.
#[tokio::test(flavor = "multi_thread")]
async fn child_of_every_interruption() {
    let Ok(work) = std::env::var("FERROSTACK_TEST_CHILD") else { return };
    let variable = |name: &str| std::env::var(name).unwrap();
    let mut options =
        LibvirtOptions::new(variable("FERROSTACK_TEST_LIBVIRT"), variable("FERROSTACK_TEST_CHILD_STATE"));
    options.virt_type = VirtType::Qemu;
    let guest: Guest = serde_json::from_str(&variable("FERROSTACK_TEST_CHILD_GUEST")).unwrap();
    let driver = LibvirtHypervisor::connect(options).await.unwrap();
    println!("\nchild begins");
    match work.as_str() {
        "ensure" => drop(driver.ensure(&guest).await),
        _ => drop(driver.destroy(&guest.spec.server_id).await),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_leaves_nothing() {
    let Some(lab) = lab().await else { return };
    let good = lab.guest(b'B');
    let mut cases: Vec<(&str, Guest)> = Vec::new();
    let mut case = |what, change: &dyn Fn(&mut Guest)| {
        let mut guest = good.clone();
        change(&mut guest);
        cases.push((what, guest));
    };
    case("a disk smaller than the image", &|g| {
        g.spec.flavor.root_gb = 1;
        let base = g.base.as_mut().unwrap();
        *base = BaseImage { virtual_size: (1 << 30) + 1, ..base.clone() };
    });
    case("an unknown bus", &|g| {
        g.spec.image.properties.insert("hw_disk_bus".into(), "floppy'/>".into());
    });
    case("an unknown card", &|g| {
        g.spec.image.properties.insert("hw_vif_model".into(), "x".repeat(100_000));
    });
    case("a machine type with an option", &|g| {
        g.spec.image.properties.insert("hw_machine_type".into(), "pc,accel=kvm".into());
    });
    case("a name that is a path", &|g| g.spec.instance_name = "../../x".into());
    case("an id that is a path", &|g| g.spec.server_id = "../../x".into());
    for (what, guest) in cases {
        let error = lab.driver.ensure(&guest).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest, "{what}: {}", error.for_log());
        assert!(error.public.len() < 300, "{what}: {}", error.public);
        if what != "an id that is a path" {
            lab.driver.destroy(&guest.spec.server_id).await.unwrap();
            lab.assert_gone(&guest.spec.server_id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_domains_are_left_alone() {
    let Some(lab) = lab().await else { return };
    let id = uuid::Uuid::new_v4().to_string();
    let xml = format!(
        "<domain type='qemu'><name>other-{id}</name><uuid>{id}</uuid><memory unit='MiB'>32</memory>\
         <os><type arch='x86_64'>hvm</type></os></domain>"
    );
    let connect = lab.virsh();
    let domain = connect.define_domain_xml(&xml).unwrap();
    assert!(lab.driver.list().await.unwrap().iter().all(|g| g.server_id != id));
    let mut guest = lab.guest(b'B');
    guest.spec.server_id = id.clone();
    assert_eq!(lab.driver.ensure(&guest).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(lab.driver.destroy(&id).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(connect.lookup_domain_by_uuid_string(&id).is_ok());
    domain.undefine().unwrap();
    // Another agent on the same libvirtd, with other files.
    let other = crate::support::lab().await.unwrap();
    let mut guest = other.guest(b'B');
    guest.spec.power = WantedPower::Stopped;
    other.driver.ensure(&guest).await.unwrap();
    let theirs = &guest.spec.server_id;
    assert!(lab.driver.list().await.unwrap().iter().all(|g| g.server_id != *theirs));
    assert_eq!(lab.driver.destroy(theirs).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(other.driver.list().await.unwrap().len(), 1);
    other.driver.destroy(theirs).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_by_itself_boots() {
    let Some(lab) = lab().await else { return };
    let mut options = lab.options.clone();
    options.virt_type = VirtType::Auto;
    // The tiny guest needs the power management of this machine type.
    options.machine_type = Some("pc".into());
    let start = Instant::now();
    let driver = LibvirtHypervisor::connect(options.clone()).await.unwrap();
    eprintln!("KVM: {} after {:?}", driver.uses_kvm(), start.elapsed());
    let start = Instant::now();
    let again = LibvirtHypervisor::connect(options).await.unwrap();
    assert_eq!(again.uses_kvm(), driver.uses_kvm());
    assert!(start.elapsed() < Duration::from_secs(2), "the proof is kept");
    let guest = lab.guest(b'B');
    driver.ensure(&guest).await.unwrap();
    lab.console_with(&guest.spec.server_id, "tiny guest up").await;
    driver.destroy(&guest.spec.server_id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_proven_through_libvirt_too() {
    let Some(lab) = lab().await else { return };
    let sink = ferrostack_hypervisor_libvirt::events::EventSink::new();
    let connection = ferrostack_hypervisor_libvirt::connection::Connection::new(&lab.options.uri, 1, sink);
    let proof = probe::by_libvirt(&lab.options.state_dir, &connection, "qemu").await;
    assert_eq!(proof, probe::Proof::Works);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_drivers_holds() {
    let Some(lab) = lab().await else { return };
    let network = network(9);
    let make = |id: &str, generation| {
        let mut guest = lab.guest(b'B');
        guest.spec.instance_name = format!("instance-{id}");
        guest.spec.server_id = id.into();
        guest.spec.generation = generation;
        guest.spec.nics = vec![nic(id, &network, 10)];
        guest
    };
    ferrostack_hypervisor::contract::hypervisor_contract(&lab.driver, make).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_talks_without_end_does_not_fill_the_disk() {
    let Some(lab) = lab().await else { return };
    let guest = lab.guest(b'L');
    let id = &guest.spec.server_id;
    lab.driver.ensure(&guest).await.unwrap();
    let dir = lab.options.state_dir.join("instances").join(id);
    let size = |name: &str| std::fs::metadata(dir.join(name)).map(|m| m.len());
    eventually("two rotated logs", || async { size("console.log.1").ok() }).await;
    assert!(size("console.log.2").is_err(), "only two are kept");
    // What is written between the look at the size and the copy comes on top.
    assert!(size("console.log.0").unwrap() < 10 * lab.options.console_log_bytes);
    let console = lab.driver.console_output(id, 1000).await.unwrap();
    assert_eq!(console.len(), 1000);
    assert!(!console.contains(&0), "QEMU appends: no hole is left by the truncation");
    lab.driver.destroy(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_described_as_nova_does() {
    let Some(lab) = lab().await else { return };
    let info = lab.driver.host_info().await.unwrap();
    eprintln!("{info:#?}");
    assert_eq!(info.hypervisor_type, "QEMU");
    assert!(info.hypervisor_version >= 6_000_000, "{}", info.hypervisor_version);
    assert_eq!(info.cpu_info["arch"], info.arch.as_str());
    for key in ["model", "vendor"] {
        assert!(!info.cpu_info[key].as_str().unwrap().is_empty(), "{key}");
    }
    for key in ["cells", "sockets", "cores", "threads"] {
        assert!(info.cpu_info["topology"][key].as_u64().unwrap() > 0, "{key}");
    }
    assert!(!info.cpu_info["features"].as_array().unwrap().is_empty());
    assert!(info.uptime_seconds > 0);
}
