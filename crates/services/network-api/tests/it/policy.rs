//! Who may do what, for every row of the route table.

use crate::cloud::{Cloud, Store};
use ferrostack_http::Access;
use ferrostack_network_api::{policy::RULES, routes::table};
use serde_json::{Value, json};
use std::collections::BTreeSet;

crate::both!(matrix, foreign_networks);

const WHO: [&str; 6] = ["admin", "alice", "reader", "bob", "service", "unscoped"];

/// Statuses for [`WHO`] on resources of alice's project.
const EXPECTED: &[(&str, &str, [u16; 6])] = &[
    ("GET", "/", [200; 6]),
    ("GET", "/v2.0", [200; 6]),
    ("GET", "/v2.0/", [200; 6]),
    ("GET", "/v2.0/extensions", [200; 6]),
    ("GET", "/v2.0/extensions/{alias}", [200; 6]),
    ("GET", "/v2.0/networks", [200; 6]),
    ("POST", "/v2.0/networks", [201, 201, 403, 201, 403, 400]),
    ("GET", "/v2.0/networks/{id}", [200, 200, 200, 404, 200, 404]),
    ("PUT", "/v2.0/networks/{id}", [200, 200, 403, 404, 403, 404]),
    ("DELETE", "/v2.0/networks/{id}", [204, 204, 403, 404, 403, 404]),
    ("GET", "/v2.0/subnets", [200; 6]),
    ("POST", "/v2.0/subnets", [201, 201, 403, 404, 403, 400]),
    ("GET", "/v2.0/subnets/{id}", [200, 200, 200, 404, 200, 404]),
    ("PUT", "/v2.0/subnets/{id}", [200, 200, 403, 404, 403, 404]),
    ("DELETE", "/v2.0/subnets/{id}", [204, 204, 403, 404, 403, 404]),
    ("GET", "/v2.0/ports", [200; 6]),
    ("POST", "/v2.0/ports", [201, 201, 403, 404, 201, 400]),
    ("GET", "/v2.0/ports/{id}", [200, 200, 200, 404, 200, 404]),
    ("PUT", "/v2.0/ports/{id}", [200, 200, 403, 404, 200, 404]),
    ("DELETE", "/v2.0/ports/{id}", [204, 204, 403, 404, 204, 404]),
    ("GET", "/v2.0/quotas", [200, 403, 403, 403, 403, 403]),
    ("GET", "/v2.0/quotas/{project_id}", [200, 403, 403, 403, 403, 403]),
    ("GET", "/v2.0/quotas/{project_id}/default", [200, 200, 200, 403, 403, 403]),
    ("GET", "/v2.0/quotas/{project_id}/details", [200, 200, 200, 403, 403, 403]),
    ("PUT", "/v2.0/quotas/{project_id}", [200, 403, 403, 403, 403, 403]),
    ("DELETE", "/v2.0/quotas/{project_id}", [404, 403, 403, 403, 403, 403]),
    ("GET", "/v2.0/availability_zones", [200; 6]),
    ("GET", "/v2.0/agents", [200; 6]),
    ("GET", "/v2.0/agents/{id}", [404; 6]),
    ("GET", "/v2.0/networks/{id}/tags", [200, 200, 200, 404, 403, 404]),
    ("PUT", "/v2.0/networks/{id}/tags", [200, 200, 403, 404, 403, 404]),
    ("DELETE", "/v2.0/networks/{id}/tags", [204, 204, 403, 404, 403, 404]),
    ("GET", "/v2.0/networks/{id}/tags/{tag}", [204, 204, 204, 404, 403, 404]),
    ("PUT", "/v2.0/networks/{id}/tags/{tag}", [201, 201, 403, 404, 403, 404]),
    ("DELETE", "/v2.0/networks/{id}/tags/{tag}", [204, 204, 403, 404, 403, 404]),
    ("GET", "/v2.0/subnets/{id}/tags", [200, 200, 200, 404, 403, 404]),
    ("PUT", "/v2.0/subnets/{id}/tags", [200, 200, 403, 404, 403, 404]),
    ("DELETE", "/v2.0/subnets/{id}/tags", [204, 204, 403, 404, 403, 404]),
    ("GET", "/v2.0/subnets/{id}/tags/{tag}", [204, 204, 204, 404, 403, 404]),
    ("PUT", "/v2.0/subnets/{id}/tags/{tag}", [201, 201, 403, 404, 403, 404]),
    ("DELETE", "/v2.0/subnets/{id}/tags/{tag}", [204, 204, 403, 404, 403, 404]),
    ("GET", "/v2.0/ports/{id}/tags", [200, 200, 200, 404, 403, 404]),
    ("PUT", "/v2.0/ports/{id}/tags", [200, 200, 403, 404, 403, 404]),
    ("DELETE", "/v2.0/ports/{id}/tags", [204, 204, 403, 404, 403, 404]),
    ("GET", "/v2.0/ports/{id}/tags/{tag}", [204, 204, 204, 404, 403, 404]),
    ("PUT", "/v2.0/ports/{id}/tags/{tag}", [201, 201, 403, 404, 403, 404]),
    ("DELETE", "/v2.0/ports/{id}/tags/{tag}", [204, 204, 403, 404, 403, 404]),
];

/// Fresh resources of alice, and the request of a row on them.
async fn request(cloud: &Cloud, method: &str, row: &str, octet: usize) -> (String, Option<Value>) {
    let network = cloud.network("alice", "n").await;
    let noun = row.split('/').nth(2).unwrap_or("").trim_end_matches('s').to_owned();
    let id = match noun.as_str() {
        "subnet" => cloud.subnet("alice", &network, "10.1.0.0/24").await,
        "port" => cloud.port("alice", &network, json!({})).await.1["port"]["id"].as_str().unwrap().to_owned(),
        _ => network.clone(),
    };
    if row.ends_with("{tag}") {
        assert_eq!(cloud.put("alice", &format!("/v2.0/{noun}s/{id}/tags/t"), json!({})).await.0, 201);
    }
    let path = row
        .replace("{id}", &id)
        .replace("{alias}", "quotas")
        .replace("{project_id}", "p-alice")
        .replace("{tag}", "t");
    let body = match (method, noun.as_str()) {
        (_, _) if row.ends_with("/tags") => Some(json!({"tags": ["x"]})),
        ("POST", "network") => Some(json!({"network": {"name": "x"}})),
        ("POST", "subnet") => Some(json!({"subnet": {"network_id": network, "ip_version": 4,
            "cidr": format!("10.2.{octet}.0/24")}})),
        ("POST", "port") => Some(json!({"port": {"network_id": network}})),
        ("PUT", "quota") => Some(json!({"quota": {}})),
        ("PUT", noun) => Some(json!({noun: {"name": "y"}})),
        _ => None,
    };
    (path, body)
}

async fn matrix(store: &Store) {
    let cloud = Cloud::start_with(store, |s| {
        s.network.quota.network = -1;
        s.network.quota.subnet = -1;
    })
    .await;
    let known: BTreeSet<&str> = RULES.iter().map(|r| r.name).collect();
    let mut left: BTreeSet<(&str, &str)> = EXPECTED.iter().map(|(m, p, _)| (*m, *p)).collect();
    let table = table();
    for route in &table {
        for rule in route.policy {
            assert!(known.contains(rule), "{} names the unknown rule {rule}", route.path);
        }
        let method = route.method.as_str();
        let row = EXPECTED.iter().find(|(m, p, _)| *m == method && *p == route.path);
        let (_, _, expected) = row.unwrap_or_else(|| panic!("no expectation for {method} {}", route.path));
        left.remove(&(method, route.path));
        for (i, (who, expected)) in WHO.iter().zip(expected).enumerate() {
            let (path, body) = request(&cloud, method, route.path, i).await;
            let send = |token| {
                let request = cloud.request(token, method.parse().unwrap(), &path);
                cloud.send(match &body {
                    Some(body) => request.json(body),
                    None => request,
                })
            };
            if i == 0 && route.access == Access::Token {
                assert_eq!(send("nobody").await.0, 401, "{method} {path}");
            }
            let answer = send(who).await;
            assert_eq!(answer.0, *expected, "{who} {method} {} {}", route.path, answer.1);
            if answer.0 < 300 {
                let of_table = if route.path.starts_with("/v2.0/quotas/") && method == "DELETE" {
                    204
                } else {
                    route.success
                };
                assert_eq!(answer.0, of_table, "{method} {}: the table's success", route.path);
            }
        }
    }
    assert!(left.is_empty(), "not in the table any more: {left:?}");
    cloud.stop().await;
}

async fn foreign_networks(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    assert_eq!(cloud.port("bob", &network, json!({})).await.0, 404);
    // For another project: admins and services only.
    let for_alice = json!({"network": {"project_id": "p-alice"}});
    assert_eq!(cloud.post("bob", "/v2.0/networks", for_alice.clone()).await.0, 400);
    let (status, body) = cloud.post("admin", "/v2.0/networks", for_alice).await;
    assert_eq!((status, &body["network"]["project_id"]), (201, &json!("p-alice")));
    let both = json!({"network": {"project_id": "p-alice", "tenant_id": "p-bob"}});
    assert_eq!(cloud.post("admin", "/v2.0/networks", both).await.0, 400);
    // Sharing is for admins; what is not set differently is no question.
    assert_eq!(cloud.post("bob", "/v2.0/networks", json!({"network": {"shared": true}})).await.0, 403);
    assert_eq!(cloud.post("bob", "/v2.0/networks", json!({"network": {"shared": false}})).await.0, 201);
    let share = json!({"network": {"shared": true}});
    let path = format!("/v2.0/networks/{network}");
    assert_eq!(cloud.put("alice", &path, share.clone()).await.0, 403);
    assert_eq!(cloud.put("admin", &path, share).await.0, 200);
    assert_eq!(cloud.port("bob", &network, json!({})).await.0, 201);
    // The owner of a network sees, but does not change, the ports of others on it.
    let (_, body) = cloud.get("alice", &format!("/v2.0/ports?network_id={network}")).await;
    assert_eq!(body["ports"][0]["project_id"], "p-bob");
    let path = format!("/v2.0/ports/{}", body["ports"][0]["id"].as_str().unwrap());
    assert_eq!(cloud.put("alice", &path, json!({"port": {"name": "x"}})).await.0, 403);
    let unshare = json!({"network": {"shared": false}});
    assert_eq!(cloud.put("admin", &format!("/v2.0/networks/{network}"), unshare).await.0, 409);
    cloud.stop().await;
}
