//! The session of a course report, word for word, through unmodified clients: image, keypair, server, console log, ssh, ping, delete.

use ferrostack_testkit::eventually_for;
use ferrostack_tests::{LocalCloud, needs, run, run_with};
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, process::Command, time::Duration};

/// A guest under TCG on shared cores is up in half a minute; this is for a machine under load.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

struct Clients {
    bin: String,
    environment: BTreeMap<String, String>,
}

impl Clients {
    #[track_caller]
    fn run(&self, program: &str, words: &str) -> String {
        let arguments: Vec<_> = words.split_whitespace().collect();
        run_with(&format!("{}/{program}", self.bin), &arguments, &self.environment)
    }
    #[track_caller]
    fn openstack(&self, words: &str) -> String {
        self.run("openstack", words)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_the_course_report() {
    let (Some(_), Some(bin), Some(uri), Some(guest)) = (
        needs("FERROSTACK_TEST_LOCAL"),
        needs("FERROSTACK_TEST_CLIENTS"),
        needs("FERROSTACK_TEST_LIBVIRT"),
        needs("FERROSTACK_TEST_GUEST_IMAGE"),
    ) else {
        return;
    };
    let cloud = LocalCloud::up(22_000, &["--hypervisor", "libvirt", "--libvirt-uri", &uri]);
    let mut environment = cloud.openrc();
    environment.insert("NO_COLOR".into(), "1".into());
    let clients = Clients { bin, environment };
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    let key = key.to_str().unwrap();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]);
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();

    let made = clients.run(
        "glance",
        &format!(
            "image-create --visibility public --container-format bare --disk-format qcow2 --name x --file {guest} --progress"
        ),
    );
    assert!(made.contains("| status           | active"), "{made}");
    assert!(clients.run("glance", "image-list").contains("| x "));

    clients.openstack("flavor create --ram 192 --disk 1 --vcpus 1 course");
    clients.openstack(&format!("keypair create --public-key {key}.pub mykey"));
    let server = clients.openstack(
        "server create --flavor course --image x --key-name mykey --network private --wait vm1 -f json",
    );
    let server: serde_json::Value = serde_json::from_str(server[server.find('{').unwrap()..].trim()).unwrap();
    assert_eq!(server["status"], "ACTIVE");
    let address = server["addresses"]["private"][0].as_str().expect("an address on private").to_owned();

    let ssh = |command: &str| {
        // A libvirtd for tests may have its networks in a namespace of its own.
        let mut words = match std::env::var("FERROSTACK_TEST_LIBVIRT_NETNS") {
            Ok(path) if !path.is_empty() => vec!["nsenter".to_owned(), format!("--net={path}"), "--".into()],
            _ => Vec::new(),
        };
        words.push("ssh".into());
        let output = Command::new(&words[0])
            .args(&words[1..])
            .args(["-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "ConnectTimeout=5", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .arg(format!("root@{address}"))
            .arg(command)
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hostname = eventually_for(BOOT_LIMIT, "the guest answers ssh", async || ssh("hostname")).await;
    // The metadata service gives the name with Nova's default domain.
    assert_eq!(hostname.split('.').next(), Some("vm1"));
    let log = clients.openstack("console log show vm1");
    assert!(log.contains("vm1"), "the console log shows the hostname:\n{log}");
    let gateway = ssh("ip route show default").unwrap_or_default();
    let gateway = gateway.split_whitespace().nth(2).expect("a default route").to_owned();
    assert!(ssh(&format!("ping -c 3 {gateway}")).is_some(), "ping from inside to the host");

    clients.openstack("server delete --wait vm1");
    assert!(!clients.openstack("server list -f value -c Name").contains("vm1"));
    let domains = run("virsh", &["-c", &uri, "list", "--all", "--name"]);
    assert_eq!(domains.trim(), "", "no domain is left");
}
