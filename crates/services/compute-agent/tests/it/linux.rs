//! A real Linux guest through the whole agent: image download, libvirt, metadata service and config drive.
//!
//! Runs where `FERROSTACK_TEST_LIBVIRT` is a libvirt URI and `FERROSTACK_TEST_IMAGE` the guest image that
//! `cargo xtask guest-image` builds. With a libvirtd in a network namespace of its own
//! `FERROSTACK_TEST_LIBVIRT_NETNS` is that namespace's path; `FERROSTACK_TEST_LIBVIRT_STATE` is a directory that
//! QEMU's user may pass through.

use crate::{
    cloud::{Cloud, spec, uuid},
    orders::{done, running},
    store::Store,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ferrostack_model::{
    guest::GuestSpec,
    message::Order,
    network::{FixedIp, NetworkSpec, NicSpec, SubnetSpec},
    server::PowerState,
};
use ferrostack_settings::{HypervisorKind, VirtType};
use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(300);

fn nic(network: &NetworkSpec, server: &str, number: u8) -> NicSpec {
    let address = format!("10.202.9.{number}").parse().unwrap();
    NicSpec {
        port_id: uuid(),
        mac_address: format!("fa:16:3e:{}:{}:{number:02x}", &server[0..2], &server[2..4]),
        fixed_ips: vec![FixedIp { subnet_id: network.subnets[0].id.clone(), ip_address: address }],
        network: network.clone(),
    }
}

async fn console(cloud: &Cloud, host: &str, id: &str, text: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/hosts/{host}/servers/{id}/console", cloud.agent().address);
    let begin = Instant::now();
    loop {
        let answer = client.get(&url).header("X-Auth-Token", "token-of-service").send().await.unwrap();
        let seen = answer.text().await.unwrap();
        if seen.contains(text) {
            eprintln!("{text:?} after {:?}", begin.elapsed());
            return seen;
        }
        assert!(begin.elapsed() < LIMIT, "no {text:?} on the console:\n{seen}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn linux_boots_with_its_metadata_from_the_service_and_from_the_drive() {
    let (Ok(uri), Ok(image)) =
        (std::env::var("FERROSTACK_TEST_LIBVIRT"), std::env::var("FERROSTACK_TEST_IMAGE"))
    else {
        eprintln!("FERROSTACK_TEST_LIBVIRT and FERROSTACK_TEST_IMAGE are not set: nothing is tested");
        return;
    };
    let temp = match std::env::var("FERROSTACK_TEST_LIBVIRT_STATE") {
        Ok(directory) => tempfile::tempdir_in(directory).unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut cloud = Cloud::without_agent(1);
    let agent = &mut cloud.settings.agent;
    agent.state_directory = temp.path().join("agent");
    agent.hypervisor = HypervisorKind::Libvirt;
    agent.virt_type = VirtType::Qemu;
    agent.libvirt_uri = uri;
    agent.libvirt_netns = std::env::var("FERROSTACK_TEST_LIBVIRT_NETNS").ok().map(Into::into);
    agent.host = cloud.host.clone();
    agent.metadata_listen = vec!["169.254.169.254:80".parse().unwrap()];
    let store = Store::start(&mut cloud).await;
    cloud.listen().await;
    cloud.start().await;
    let host = cloud.host.clone();

    let image = store.image("qcow2", std::fs::read(image).unwrap());
    let network = NetworkSpec {
        id: uuid(),
        name: "private".into(),
        mtu: 1450,
        subnets: vec![SubnetSpec {
            id: uuid(),
            cidr: "10.202.9.0/24".into(),
            gateway_ip: Some("10.202.9.1".parse().unwrap()),
            enable_dhcp: true,
            dns_nameservers: Vec::new(),
        }],
    };
    let guest = |number: u8, hostname: &str, config_drive: bool| {
        let id = uuid();
        let base = spec(&id, 1);
        let mut flavor = base.flavor.clone();
        flavor.ram_mb = 192;
        GuestSpec {
            image: image.clone(),
            flavor,
            instance_name: format!("instance-{}", &id[..8]),
            hostname: hostname.into(),
            nics: vec![nic(&network, &id, number)],
            key_name: Some("k".into()),
            public_key: Some("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBr0ken k@here".into()),
            user_data: Some(STANDARD.encode("#!/bin/sh\necho user data ran\n")),
            config_drive,
            ..base
        }
    };
    let (served, driven) = (guest(21, "by-service", false), guest(22, "by-drive", true));
    for spec in [&served, &driven] {
        let begin = Instant::now();
        cloud.order(&spec.hostname, &spec.server_id, 1, Order::Ensure { spec: Box::new(spec.clone()) }).await;
        assert_eq!(cloud.answer(&spec.hostname).await, running());
        eprintln!("{} runs after {:?}", spec.hostname, begin.elapsed());
    }
    assert_eq!(store.downloads.load(std::sync::atomic::Ordering::SeqCst), 1);
    for (spec, source) in [(&served, "metadata=openstack"), (&driven, "metadata=config-drive")] {
        let seen = console(&cloud, &host, &spec.server_id, "READY after").await;
        eprintln!("{seen}");
        let line = format!("hostname={}.novalocal instance={}", spec.hostname, spec.server_id);
        assert!(seen.contains(&line) && seen.contains(source), "{line}");
        assert!(seen.contains("keys=1") && seen.contains("user data ran"));
        let address = spec.nics[0].fixed_ips[0].ip_address;
        assert!(seen.contains(&format!("address={address}/24")), "{address}");
    }
    for (n, spec) in [&served, &driven].into_iter().enumerate() {
        let job = format!("delete-{n}");
        cloud.order(&job, &spec.server_id, 2, Order::Destroy).await;
        assert_eq!(cloud.answer(&job).await, done(PowerState::NoState));
        assert!(!cloud.settings.agent.state_directory.join("instances").join(&spec.server_id).exists());
    }
    cloud.stop().await;
}
