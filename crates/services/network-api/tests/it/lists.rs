//! Lists: filters, pages, sorting, chosen fields.
#![allow(clippy::cloned_ref_to_slice_refs)]

use crate::cloud::{Cloud, Store};
use serde_json::{Value, json};

crate::both!(networks, subnets_and_ports, pages);

async fn ids(cloud: &Cloud, token: &str, path: &str, plural: &str) -> Vec<String> {
    let (status, body) = cloud.get(token, path).await;
    assert_eq!(status, 200, "{path} {body}");
    body[plural].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

async fn networks(store: &Store) {
    let cloud = Cloud::start(store).await;
    let (a, b) = (cloud.network("alice", "a").await, cloud.network("alice", "b").await);
    let foreign = cloud.network("bob", "a").await;
    let private = cloud.private().await;
    let ask = |token, query: &str| {
        let path = format!("/v2.0/networks?{query}");
        let cloud = &cloud;
        async move { ids(cloud, token, &path, "networks").await }
    };
    assert_eq!(ask("alice", "").await, sorted(vec![a.clone(), b.clone(), private.clone()]));
    assert_eq!(ask("admin", "").await.len(), 4);
    assert_eq!(ask("alice", "name=a").await, [a.clone()]);
    assert_eq!(ask("admin", "name=a").await, sorted(vec![a.clone(), foreign.clone()]));
    assert_eq!(ask("alice", "name=a&name=b").await, sorted(vec![a.clone(), b.clone()]));
    assert_eq!(
        ask("alice", &format!("id={a}&id={foreign}&id={private}")).await,
        sorted(vec![a.clone(), private.clone()])
    );
    assert_eq!(ask("alice", "shared=True").await, [private.clone()]);
    assert_eq!(ask("alice", "shared=False&tenant_id=p-alice").await, sorted(vec![a.clone(), b.clone()]));
    assert_eq!(ask("alice", "router%3Aexternal=True").await, Vec::<String>::new());
    assert_eq!(ask("alice", "admin_state_up=1&status=ACTIVE&mtu=1500&name=b").await, [b.clone()]);
    assert_eq!(ask("alice", "sort_key=name&sort_dir=desc&shared=False").await, [b.clone(), a.clone()]);
    assert_eq!(ask("alice", "changed_since=2099-01-01T00:00:00Z").await, Vec::<String>::new());
    let (_, body) = cloud.get("alice", "/v2.0/networks?name=a&fields=id&fields=name").await;
    assert_eq!(body, json!({"networks": [{"id": a, "name": "a"}]}));
    for bad in ["nonsense=1", "sort_key=nonsense", "limit=-1", "limit=x", "sort_key=id&sort_dir=up"] {
        assert_eq!(cloud.get("alice", &format!("/v2.0/networks?{bad}")).await.0, 400, "{bad}");
    }
    assert_eq!(cloud.get("alice", "/v2.0/networks?limit=2&marker=nothing").await.0, 404);
    cloud.stop().await;
}

async fn subnets_and_ports(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    let subnet = cloud.subnet("alice", &network, "10.1.0.0/24").await;
    let mut ports = Vec::new();
    for i in 0..3 {
        let more = json!({"device_id": format!("d{i}"), "name": "p", "fixed_ips": [{"ip_address": format!("10.1.0.{}", 10 + i)}]});
        let (status, body) = cloud.port("alice", &network, more).await;
        assert_eq!(status, 201, "{body}");
        ports.push(body["port"].clone());
    }
    let id = |i: usize| ports[i]["id"].as_str().unwrap().to_owned();
    let ask = |token, query: String| {
        let cloud = &cloud;
        async move { ids(cloud, token, &format!("/v2.0/ports?{query}"), "ports").await }
    };
    assert_eq!(ask("alice", String::new()).await, sorted(vec![id(0), id(1), id(2)]));
    assert_eq!(ask("alice", "device_id=d1".into()).await, [id(1)]);
    assert_eq!(
        ask("alice", "device_id=d1&device_id=d2&device_id=x".into()).await,
        sorted(vec![id(1), id(2)])
    );
    assert_eq!(ask("bob", "device_id=d1".into()).await, Vec::<String>::new());
    assert_eq!(ask("service", "device_id=d1".into()).await, [id(1)]);
    let mac = ports[2]["mac_address"].as_str().unwrap().to_uppercase();
    assert_eq!(ask("alice", format!("mac_address={mac}")).await, [id(2)]);
    assert_eq!(ask("alice", "fixed_ips=ip_address%3D10.1.0.11".into()).await, [id(1)]);
    assert_eq!(ask("alice", format!("fixed_ips=subnet_id%3D{subnet}")).await.len(), 3);
    assert_eq!(ask("alice", "fixed_ips=ip_address_substr%3D.12".into()).await, [id(2)]);
    assert_eq!(ask("alice", format!("network_id={network}&name=p&status=DOWN")).await.len(), 3);
    assert_eq!(ask("alice", format!("network_id=x&project_id={}", "p-alice")).await, Vec::<String>::new());
    let (_, body) = cloud.get("admin", "/v2.0/ports?binding%3Avif_type=unbound&device_id=d0").await;
    assert_eq!(body["ports"][0]["binding:host_id"], "");
    // Filtering by what one may not see finds nothing out.
    assert_eq!(ask("alice", "binding%3Ahost_id=".into()).await, Vec::<String>::new());

    let subnets = |token: &'static str, query: String| {
        let cloud = &cloud;
        async move { ids(cloud, token, &format!("/v2.0/subnets?{query}"), "subnets").await }
    };
    assert_eq!(subnets("alice", String::new()).await.len(), 2);
    assert_eq!(subnets("bob", String::new()).await.len(), 1, "only the shared network's");
    assert_eq!(subnets("alice", format!("network_id={network}")).await, [subnet.clone()]);
    assert_eq!(subnets("bob", format!("network_id={network}")).await, Vec::<String>::new());
    assert_eq!(
        subnets("alice", "cidr=10.1.0.0/24&ip_version=4&enable_dhcp=True".into()).await,
        [subnet.clone()]
    );
    assert_eq!(subnets("alice", "gateway_ip=10.1.0.1".into()).await, [subnet]);
    cloud.stop().await;
}

async fn pages(store: &Store) {
    let cloud = Cloud::start(store).await;
    let bodies: Vec<Value> = (0..7).map(|i| json!({"name": format!("n{}", i % 3)})).collect();
    assert_eq!(cloud.post("alice", "/v2.0/networks", json!({"networks": bodies})).await.0, 201);
    let all = ids(&cloud, "alice", "/v2.0/networks?sort_key=name&shared=False", "networks").await;
    let mut seen = Vec::new();
    let mut path = "/v2.0/networks?limit=3&sort_key=name&shared=False".to_owned();
    loop {
        let (_, body) = cloud.get("alice", &path).await;
        seen.extend(
            body["networks"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap().to_owned()),
        );
        let links = body["networks_links"].as_array().cloned().unwrap_or_default();
        match links.iter().find(|l| l["rel"] == "next") {
            Some(next) => {
                path = next["href"].as_str().unwrap().strip_prefix(cloud.base.as_str()).unwrap().to_owned();
            }
            None => break,
        }
    }
    assert_eq!(seen, all);
    let back =
        format!("/v2.0/networks?limit=2&sort_key=name&shared=False&page_reverse=True&marker={}", all[4]);
    assert_eq!(ids(&cloud, "alice", &back, "networks").await, all[2..4]);
    cloud.stop().await;
}
