//! Image data through the real clients: uploads and downloads with their progress bars, and downloads that go on.

use ferrostack_testkit::TestCloud;
use ferrostack_tests::{needs, run_with};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

struct Clients {
    bin: String,
    environment: BTreeMap<String, String>,
}

impl Clients {
    fn run(&self, program: &str, words: &str, file: &Path) -> String {
        let file = file.to_str().unwrap();
        let arguments: Vec<_> =
            words.split_whitespace().map(|word| if word == "FILE" { file } else { word }).collect();
        run_with(&format!("{}/{program}", self.bin), &arguments, &self.environment)
    }

    /// The same on a terminal: elsewhere `glance` draws no bars.
    fn run_on_terminal(&self, program: &str, words: &str, file: &Path) -> String {
        let words = words.replace("FILE", file.to_str().unwrap());
        let command = format!("{}/{program} {words}", self.bin);
        run_with("script", &["--quiet", "--return", "--command", &command, "/dev/null"], &self.environment)
    }
}

/// R67, I08: what goes in by `glance` or `openstack` comes out of both as it was.
#[tokio::test(flavor = "multi_thread")]
async fn i08_r67_image_data_through_the_clients() {
    let Some(bin) = needs("FERROSTACK_TEST_CLIENTS") else { return };
    let cloud = TestCloud::start().await;
    let auth_url = cloud.settings.credentials.auth_url.clone();
    let environment = [
        ("OS_AUTH_URL", auth_url.as_str()),
        ("OS_USERNAME", "admin"),
        ("OS_PASSWORD", "admin-secret"),
        ("OS_PROJECT_NAME", "admin"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_PROJECT_DOMAIN_NAME", "Default"),
        ("OS_IDENTITY_API_VERSION", "3"),
        ("NO_COLOR", "1"),
        ("no_proxy", "*"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let clients = Clients { bin, environment };
    let directory = tempfile::tempdir().unwrap();
    let (source, copy) = (directory.path().join("source"), directory.path().join("copy"));
    let data: Vec<u8> =
        (0..3_000_001_usize).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8 ^ 0x5a).collect();
    fs::write(&source, &data).unwrap();

    // `glance` shows its bars and stores what it was given.
    let shown = clients.run_on_terminal(
        "glance",
        "image-create --progress --name by-glance --disk-format raw --container-format bare --file FILE",
        &source,
    );
    assert!(shown.contains("100%"), "{shown}");
    assert!(shown.contains("by-glance") && shown.contains("active"), "{shown}");
    let list = clients.run("openstack", "image list -f json", &source);
    let list: Value = serde_json::from_str(&list).unwrap();
    let id =
        list.as_array().unwrap().iter().find(|i| i["Name"] == "by-glance").unwrap()["ID"].as_str().unwrap();
    let shown =
        clients.run_on_terminal("glance", &format!("image-download --progress --file FILE {id}"), &copy);
    assert!(shown.contains("100%"), "{shown}");
    assert!(fs::read(&copy).unwrap() == data);
    fs::remove_file(&copy).unwrap();
    clients.run("openstack", "image save --file FILE by-glance", &copy);
    assert!(fs::read(&copy).unwrap() == data);
    fs::remove_file(&copy).unwrap();

    // `openstack` says before how many bytes come.
    let made = clients.run(
        "openstack",
        "image create -f json --disk-format raw --container-format bare --file FILE by-openstack",
        &source,
    );
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(
        made["size"].as_u64().or(made["size"].as_str().and_then(|s| s.parse().ok())),
        Some(data.len() as u64)
    );
    clients.run("openstack", "image save --chunk-size 4096 --file FILE by-openstack", &copy);
    assert!(fs::read(&copy).unwrap() == data);

    // A record first (on a terminal: else standard input would be its data), its data later, by either.
    let empty = clients.run_on_terminal(
        "openstack",
        "image create -f json --disk-format raw --container-format bare later",
        &source,
    );
    let empty: Value = serde_json::from_str(&empty).unwrap();
    let id = empty["id"].as_str().unwrap();
    assert_eq!(empty["status"], "queued");
    clients.run_on_terminal(
        "glance",
        &format!("image-upload --progress --size {} --file FILE {id}", data.len()),
        &source,
    );
    assert_eq!(
        serde_json::from_str::<Value>(&clients.run(
            "openstack",
            &format!("image show -f json {id}"),
            &source
        ))
        .unwrap()["status"],
        "active"
    );
    cloud.stop().await;
}
