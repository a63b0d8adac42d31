//! The `openstack` and `glance` clients at work on images: made, saved, changed, shared, staged, imported, deleted.

use ferrostack_testkit::{Options, TestCloud, eventually_for};
use ferrostack_tests::{needs, run_with};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

struct Clients {
    bin: String,
    environment: BTreeMap<String, String>,
}

impl Clients {
    fn new(bin: String, cloud: &TestCloud) -> Self {
        let environment = [
            ("OS_USERNAME", "admin"),
            ("OS_PASSWORD", "admin-secret"),
            ("OS_PROJECT_NAME", "admin"),
            ("OS_USER_DOMAIN_NAME", "Default"),
            ("OS_PROJECT_DOMAIN_NAME", "Default"),
            ("OS_IDENTITY_API_VERSION", "3"),
            ("OS_AUTH_URL", cloud.settings.credentials.auth_url.as_str()),
            ("NO_COLOR", "1"),
            ("no_proxy", "*"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        Self { bin, environment }
    }

    /// Words separated by spaces; what it prints.
    fn run(&self, program: &str, words: &str) -> String {
        let arguments: Vec<_> = words.split_whitespace().collect();
        run_with(&format!("{}/{program}", self.bin), &arguments, &self.environment)
    }

    fn json(&self, words: &str) -> Value {
        let text = self.run("openstack", &format!("{words} -f json"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{words}: {e}: {text}"))
    }

    fn status(&self, image: &str) -> String {
        self.run("openstack", &format!("image show {image} -f value -c status")).trim().to_owned()
    }

    /// What it says when it fails, as it must.
    fn refused(&self, words: &str) -> String {
        let output = Command::new(format!("{}/openstack", self.bin))
            .args(words.split_whitespace())
            .envs(&self.environment)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{words} was taken");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn same(a: &Path, b: &Path) {
    assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap(), "{} differs", b.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_work_on_images() {
    let Some(bin) = needs("FERROSTACK_TEST_CLIENTS") else { return };
    let cloud = TestCloud::with(Options::default()).await.unwrap();
    let clients = Clients::new(bin, &cloud);
    let openstack = |words: &str| clients.run("openstack", words);
    let directory = tempfile::tempdir().unwrap();
    let (data, back) = (directory.path().join("data"), directory.path().join("back"));
    let bytes: Vec<u8> =
        (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ 0x5a).collect();
    std::fs::write(&data, &bytes).unwrap();
    let (data_at, back_at) = (data.display().to_string(), back.display().to_string());

    let made = clients.json(&format!(
        "image create --disk-format raw --container-format bare --file {data_at} --min-disk 1 --min-ram 64 --property os_type=linux --property hw_disk_bus=scsi --tag one first"
    ));
    assert_eq!((&made["min_disk"], &made["min_ram"]), (&json!(1), &json!(64)), "{made}");
    let shown = clients.json("image show first");
    assert_eq!(shown["status"], "active", "{shown}");
    assert_eq!(shown["size"], 3_000_000, "{shown}");
    assert_eq!(shown["properties"]["os_hash_algo"], "sha512", "{shown}");
    openstack(&format!("image save --file {back_at} first"));
    same(&data, &back);

    openstack("image set --property hw_vif_model=e1000 --name second --tag two --protected first");
    openstack("image unset --property hw_disk_bus --tag one second");
    let listed = openstack("image list --tag two --property hw_vif_model=e1000 -f value -c Name");
    assert_eq!(listed.trim(), "second");
    let shown = clients.json("image show second");
    assert_eq!((&shown["tags"], &shown["protected"]), (&json!(["two"]), &json!(true)));
    assert_eq!(shown["properties"]["hw_vif_model"], "e1000", "{shown}");
    assert!(shown["properties"].get("hw_disk_bus").is_none(), "{shown}");
    assert!(clients.refused("image delete second").contains("protected"));
    openstack("image set --unprotected --shared second");

    openstack("image add project second service");
    let members = clients.json("image member list second");
    assert_eq!(members[0]["Status"], "pending", "{members}");
    openstack("image remove project second service");
    assert_eq!(clients.json("image member list second"), json!([]));
    openstack("image set --deactivate second");
    assert_eq!(clients.status("second"), "deactivated");
    openstack("image set --activate second");
    assert_eq!(clients.status("second"), "active");

    // With any standard input at all, the clients would send that as the data.
    let queued = format!(
        "exec {}/glance image-create --disk-format raw --container-format bare --name third <&-",
        clients.bin
    );
    run_with("sh", &["-c", &queued], &clients.environment);
    assert_eq!(clients.status("third"), "queued");
    openstack(&format!("image stage --file {data_at} third"));
    assert_eq!(clients.status("third"), "uploading");
    openstack("image import --method glance-direct third");
    eventually_for(Duration::from_secs(60), "the import ends", async || {
        (clients.status("third") == "active").then_some(())
    })
    .await;
    assert!(openstack("image import info -f json").contains("glance-direct"));

    clients.run(
        "glance",
        &format!("image-create --name fourth --disk-format raw --container-format bare --file {data_at}"),
    );
    assert!(clients.run("glance", "image-list").contains("fourth"));
    let id = openstack("image show fourth -f value -c id");
    std::fs::remove_file(&back).unwrap();
    clients.run("glance", &format!("image-download --file {back_at} {}", id.trim()));
    same(&data, &back);

    openstack(&format!(
        "image create --import --disk-format raw --container-format bare --file {data_at} fifth"
    ));
    eventually_for(Duration::from_secs(60), "the import ends", async || {
        (clients.status("fifth") == "active").then_some(())
    })
    .await;

    openstack("image delete second third fourth fifth");
    assert_eq!(openstack("image list -f value").trim(), "");
    assert!(clients.refused("image show second").contains("No Image found"));
    cloud.stop().await;
}
