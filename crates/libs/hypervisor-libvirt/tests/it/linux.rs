//! A real Linux guest: DHCP gives it the port's address, it finds the metadata server, it obeys the power button.
//!
//! Runs where `FERROSTACK_TEST_IMAGE` names a qcow2 with a Linux that asks 169.254.169.254 for its metadata. With a
//! libvirtd in a network namespace of its own, `FERROSTACK_TEST_LIBVIRT_NETNS` is that namespace's path.

use crate::support::{lab_with, network, nic};
use ferrostack_hypervisor::{BaseImage, Hypervisor};
use ferrostack_model::server::PowerState;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn linux_finds_its_address_and_its_metadata() {
    let Ok(image) = std::env::var("FERROSTACK_TEST_IMAGE") else {
        eprintln!("FERROSTACK_TEST_IMAGE is not set: nothing is tested");
        return;
    };
    let netns = std::env::var("FERROSTACK_TEST_LIBVIRT_NETNS").ok().map(Into::into);
    let Some(lab) = lab_with(|options| options.netns = netns).await else { return };
    let driver = &lab.driver;
    let base = lab.temp.path().join("linux.qcow2");
    std::fs::copy(&image, &base).unwrap();
    let network = network(7);
    let mut guest = lab.guest(b'B');
    let id = guest.spec.server_id.clone();
    guest.base = Some(BaseImage { path: base, format: "qcow2".into(), virtual_size: 64 << 20 });
    guest.spec.flavor.ram_mb = 192;
    guest.spec.flavor.root_gb = 1;
    guest.spec.nics = vec![nic(&id, &network, 77)];

    assert_eq!(driver.metadata_listen().len(), 1);
    let listener = driver.metadata_listener(80).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let start = Instant::now();
    driver.ensure(&guest).await.unwrap();
    eprintln!("started after {:?}", start.elapsed());
    let served = async {
        let (mut stream, peer) = listener.accept().await.unwrap();
        let mut request = vec![0; 1000];
        let n = stream.read(&mut request).await.unwrap();
        let body = format!("{{\"uuid\": \"{id}\", \"hostname\": \"found-me\"}}");
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        (peer.ip().to_string(), String::from_utf8_lossy(&request[..n]).into_owned())
    };
    let (peer, request) = tokio::time::timeout(Duration::from_secs(180), served).await.expect("nobody asks");
    eprintln!("asked after {:?}: {request:?}", start.elapsed());
    assert_eq!(peer, "10.201.7.77", "a guest is known by its address");
    assert!(request.starts_with("GET /"), "{request}");
    // Others it may ask for are not there.
    let (peers, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let refuse = tokio::spawn(async move {
        loop {
            let (mut stream, peer) = listener.accept().await.unwrap();
            let _ = peers.send(peer.ip().to_string());
            let answer = b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    if image.contains("mini") {
        let console = lab.console_with(&id, "mini: READY").await;
        eprintln!("ready after {:?}\n{console}", start.elapsed());
        assert!(console.contains("hostname found-me") && console.contains("10.201.7.77/24"), "{console}");
        while asked.try_recv().is_ok() {}
        // A guest that takes another's address is not heard; its own is.
        let ask = |from: &str| {
            format!(
                "ip addr add {from}/24 dev eth0; ip route replace 169.254.169.254/32 via 10.201.7.1 src {from}; \
                 timeout 10 wget -q -O- http://169.254.169.254/; echo asked from {from} > /dev/ttyS0"
            )
        };
        for from in ["10.201.7.78", "10.201.7.77"] {
            lab.run_in_guest(&id, &ask(from)).await;
            lab.console_with(&id, &format!("asked from {from}")).await;
        }
        let mut heard = Vec::new();
        while let Ok(peer) = asked.try_recv() {
            heard.push(peer);
        }
        assert_eq!(heard, ["10.201.7.77"]);
    }
    let start = Instant::now();
    assert_eq!(driver.stop(&id, 120).await.unwrap(), PowerState::Shutdown);
    eprintln!("stopped after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(110), "by the button, not by the plug");
    refuse.abort();
    driver.destroy(&id).await.unwrap();
    lab.assert_gone(&id);
}

/// Kernel and ramdisk from files beside the image (`IMAGE.vmlinuz`, `IMAGE.initrd`), and a root disk without loader.
#[tokio::test(flavor = "multi_thread")]
async fn linux_boots_from_kernel_and_ramdisk() {
    let Ok(image) = std::env::var("FERROSTACK_TEST_IMAGE") else { return };
    let (kernel, ramdisk) = (format!("{image}.vmlinuz"), format!("{image}.initrd"));
    if !std::path::Path::new(&kernel).exists() {
        eprintln!("{kernel} is not there: nothing is tested");
        return;
    }
    let Some(lab) = lab_with(|_| {}).await else { return };
    let cached = |from: &str, name: &str| {
        let path = lab.temp.path().join(name);
        std::fs::copy(from, &path).unwrap();
        path
    };
    let mut guest = lab.guest(b'B');
    let id = guest.spec.server_id.clone();
    guest.spec.flavor.ram_mb = 192;
    guest.kernel = Some(cached(&kernel, "kernel"));
    guest.ramdisk = Some(cached(&ramdisk, "ramdisk"));
    let start = Instant::now();
    lab.driver.ensure(&guest).await.unwrap();
    // Its own kernel speaks with the default command line: the disk holds no system.
    let console = lab.console_with(&id, "READY").await;
    eprintln!("ready after {:?}", start.elapsed());
    assert!(!console.contains("tiny guest"), "{console}");
    // Started anew after the cache has been emptied.
    std::fs::remove_file(lab.temp.path().join("kernel")).unwrap();
    lab.driver.stop(&id, 0).await.unwrap();
    lab.driver.start(&id).await.unwrap();
    lab.driver.destroy(&id).await.unwrap();
    lab.assert_gone(&id);
}
