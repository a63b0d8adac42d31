//! The metadata service as guests meet it: known by the address they call from.

use crate::cloud::{Cloud, ensure, eventually, spec, uuid};
use base64::{Engine, engine::general_purpose::STANDARD};
use ferrostack_model::{
    guest::GuestSpec,
    image::ImageSource,
    message::Order,
    network::{FixedIp, NetworkSpec, NicSpec, SubnetSpec},
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr, TcpListener};

fn nic(address: &str, dhcp: bool) -> NicSpec {
    NicSpec {
        port_id: "7a1b2c3d-0001-4000-8000-00000000000a".into(),
        mac_address: "fa:16:3e:00:00:01".into(),
        fixed_ips: vec![FixedIp { subnet_id: "subnet-1".into(), ip_address: address.parse().unwrap() }],
        network: NetworkSpec {
            id: "net-1".into(),
            name: "private".into(),
            mtu: 1500,
            subnets: vec![SubnetSpec {
                id: "subnet-1".into(),
                cidr: "127.0.9.0/24".into(),
                gateway_ip: Some("127.0.9.1".parse().unwrap()),
                enable_dhcp: dhcp,
                dns_nameservers: vec!["9.9.9.9".parse().unwrap()],
            }],
        },
    }
}

/// A guest with everything in it, ids fixed for the golden files.
fn full(address: &str, dhcp: bool) -> GuestSpec {
    let mut s = spec("6f70656e-7374-4163-8b00-000000000001", 1);
    s.instance_name = "instance-0000002a".into();
    s.display_name = "Web \"one\"".into();
    s.hostname = "web-one".into();
    s.launch_index = 2;
    s.metadata = [("role".to_owned(), "web".to_owned())].into();
    s.key_name = Some("mykey".into());
    s.public_key = Some("ssh-ed25519 AAAAC3Nz me@here".into());
    s.user_data = Some(STANDARD.encode([0u8, 255, b'#', b'!']));
    s.flavor.swap_mb = 512;
    s.nics = vec![nic(address, dhcp)];
    s.kernel = Some(ImageSource { id: "99999999-0000-4000-8000-000000000000".into(), ..s.image.clone() });
    s
}

fn ensure_spec(spec: GuestSpec) -> Order {
    Order::Ensure { spec: Box::new(spec) }
}

struct Site {
    cloud: Cloud,
    url: String,
}

impl Site {
    async fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut cloud = Cloud::without_agent(2);
        cloud.settings.agent.metadata_listen = vec![SocketAddr::from(([127, 0, 0, 1], free.port()))];
        cloud.listen().await;
        cloud.start().await;
        let site = Self { cloud, url: format!("http://{free}") };
        site.up().await;
        site
    }

    async fn up(&self) {
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        eventually("the metadata service", || std::net::TcpStream::connect(&address).ok()).await;
    }

    async fn build(&self, spec: GuestSpec) {
        let (id, job) = (spec.server_id.clone(), uuid());
        self.cloud.order(&job, &id, spec.generation, ensure_spec(spec)).await;
        self.cloud.answer(&job).await;
    }

    async fn send(&self, from: &str, method: Method, path: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let from: IpAddr = from.parse().unwrap();
        let client = reqwest::Client::builder().no_proxy().local_address(from).build().unwrap();
        let request =
            client.request(method, format!("{}{path}", self.url)).header("X-Forwarded-For", "127.0.9.5");
        let response = request.body(body).send().await.unwrap();
        (response.status(), response.bytes().await.unwrap().to_vec())
    }

    async fn get(&self, from: &str, path: &str) -> (StatusCode, Vec<u8>) {
        self.send(from, Method::GET, path, Vec::new()).await
    }

    async fn text(&self, path: &str) -> String {
        let (status, body) = self.get("127.0.9.5", path).await;
        assert_eq!(status, 200, "{path}");
        String::from_utf8(body).unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }
}

#[tokio::test]
async fn the_openstack_tree() {
    let site = Site::new().await;
    site.build(full("127.0.9.5", true)).await;
    let mut meta = site.json("/openstack/latest/meta_data.json").await;
    let seed = meta["random_seed"].take();
    assert_eq!(STANDARD.decode(seed.as_str().unwrap()).unwrap().len(), 512);
    assert_ne!(site.json("/openstack/latest/meta_data.json").await["random_seed"], seed);
    insta::assert_json_snapshot!("meta_data", meta);
    insta::assert_json_snapshot!("network_data_dhcp", site.json("/openstack/latest/network_data.json").await);
    assert_eq!(site.get("127.0.9.5", "/openstack/latest/user_data").await.1, [0, 255, b'#', b'!']);
    assert_eq!(site.text("/openstack/latest/vendor_data.json").await, "{}");
    assert_eq!(site.text("/openstack/2018-08-27/vendor_data2.json").await, "{\"static\":{}}");
    assert!(site.text("/openstack").await.starts_with("2012-08-10\n"));
    assert!(site.text("/openstack/").await.ends_with("\nlatest"));
    let files = "meta_data.json\nuser_data\npassword\nvendor_data.json\nnetwork_data.json\nvendor_data2.json";
    assert_eq!(site.text("/openstack/latest/").await, files);
    assert_eq!(site.text("/openstack/2012-08-10").await, "meta_data.json\nuser_data");
    let oldest = site.json("/openstack/2012-08-10/meta_data.json").await;
    for newer in ["random_seed", "project_id", "devices", "dedicated_cpus"] {
        assert!(oldest.get(newer).is_none(), "{newer}");
    }
    for absent in [
        "/openstack/2012-08-10/network_data.json",
        "/openstack/latest/x",
        "/openstack/1999-01-01/meta_data.json",
        "/openstack/latest/meta_data.json/x",
        "/x",
        "/latest/meta-data/x",
        "/latest/meta-data/public-keys/0/_name",
        "/%2e%2e/%2e%2e/etc/passwd",
    ] {
        assert_eq!(site.get("127.0.9.5", absent).await.0, 404, "{absent}");
    }
}

#[tokio::test]
async fn a_network_without_dhcp_names_its_addresses() {
    let site = Site::new().await;
    site.build(full("127.0.9.5", false)).await;
    insta::assert_json_snapshot!(
        "network_data_static",
        site.json("/openstack/latest/network_data.json").await
    );
}

#[tokio::test]
async fn the_ec2_tree() {
    let site = Site::new().await;
    site.build(full("127.0.9.5", true)).await;
    assert!(site.text("/").await.starts_with("1.0\n2007-01-19\n"));
    assert_eq!(site.text("/latest").await, "meta-data/\nuser-data");
    let names = site.text("/2009-04-04/meta-data/").await;
    let mut all = format!("{names}\n");
    for name in names.lines().filter(|n| !n.ends_with('/') && *n != "public-keys/") {
        all.push_str(&format!("{name}: {}\n", site.text(&format!("/latest/meta-data/{name}")).await));
    }
    insta::assert_snapshot!("ec2", all);
    assert_eq!(site.text("/latest/meta-data/public-keys/").await, "0=mykey");
    assert_eq!(site.text("/latest/meta-data/public-keys/0/").await, "openssh-key");
    assert_eq!(
        site.text("/latest/meta-data/public-keys/0/openssh-key").await,
        "ssh-ed25519 AAAAC3Nz me@here"
    );
    assert_eq!(site.text("/latest/meta-data/placement/availability-zone").await, "nova");
    assert_eq!(site.text("/latest/meta-data/block-device-mapping/root").await, "/dev/vda");
    assert_eq!(site.get("127.0.9.5", "/latest/user-data").await.1, [0, 255, b'#', b'!']);
    assert_eq!(site.get("127.0.9.5", "/1.0/meta-data/placement/").await.0, 404);
}

#[tokio::test]
async fn only_the_guest_itself_is_answered() {
    let site = Site::new().await;
    let one = full("127.0.9.5", true);
    site.build(one.clone()).await;
    let path = "/openstack/latest/meta_data.json";
    assert_eq!(site.get("127.0.9.5", path).await.0, 200);
    // The header names the guest; the connection does not.
    assert_eq!(site.get("127.0.9.6", path).await.0, 404);
    // A second guest with the same address (on another network): neither is told the other's secrets.
    let mut other = full("127.0.9.5", true);
    other.server_id = uuid();
    let other_id = other.server_id.clone();
    site.build(other).await;
    assert_eq!(site.get("127.0.9.5", path).await.0, 404);
    site.cloud.order("delete", &other_id, 2, Order::Destroy).await;
    site.cloud.answer("delete").await;
    assert_eq!(site.json(path).await["uuid"], one.server_id.as_str());
    // Newer metadata show at once; an address that was taken away shows nobody.
    let mut newer = full("127.0.9.7", true);
    newer.generation = 2;
    newer.metadata = [("role".to_owned(), "db".to_owned())].into();
    site.build(newer).await;
    assert_eq!(site.get("127.0.9.5", path).await.0, 404);
    let (_, body) = site.get("127.0.9.7", path).await;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["meta"]["role"], "db");
    site.cloud.order("gone", &one.server_id, 3, Order::Destroy).await;
    site.cloud.answer("gone").await;
    assert_eq!(site.get("127.0.9.7", path).await.0, 404);
}

#[tokio::test]
async fn the_password_is_posted_once() {
    let site = Site::new().await;
    let path = "/openstack/latest/password";
    let mut spec = full("127.0.9.5", true);
    site.build(spec.clone()).await;
    assert_eq!(site.text(path).await, "");
    let post = async |body: &[u8]| site.send("127.0.9.5", Method::POST, path, body.to_vec()).await.0;
    assert_eq!(post(b"").await, 400);
    assert_eq!(post(&[b'x'; 1021]).await, 400);
    assert_eq!(post(&vec![b'x'; 1 << 20]).await, 400);
    assert_eq!(post(&[0xff]).await, 400);
    assert_eq!(post(b"c2VjcmV0").await, 200);
    assert_eq!(post(b"another").await, 409);
    // It outlives a change of the guest.
    spec.generation = 2;
    site.build(spec).await;
    assert_eq!(site.text(path).await, "c2VjcmV0");
    let (status, _) =
        site.send("127.0.9.5", Method::POST, "/openstack/latest/meta_data.json", Vec::new()).await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn it_answers_while_the_control_plane_is_down_and_after_a_restart() {
    let mut site = Site::new().await;
    site.build(full("127.0.9.5", true)).await;
    site.cloud.kill().await;
    // Nothing but the agent: a bus without compute-api's queue.
    site.cloud.bus = Default::default();
    site.cloud.start().await;
    site.up().await;
    assert_eq!(site.json("/openstack/latest/meta_data.json").await["name"], "Web \"one\"");
}

#[tokio::test]
async fn an_address_that_cannot_be_had_yet_does_not_stop_the_agent() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cloud = Cloud::without_agent(1);
    let address = taken.local_addr().unwrap();
    cloud.settings.agent.metadata_listen = vec![address];
    cloud.listen().await;
    cloud.start().await;
    let id = uuid();
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.answer("build").await;
    drop(taken);
    let site = Site { cloud, url: format!("http://{address}") };
    site.up().await;
    assert_eq!(site.get("127.0.9.5", "/openstack").await.0, 404);
}
