//! Input that means no good: never a 5xx (checked by every `send`), and nothing changed.

use crate::cloud::{Cloud, Store};
use ferrostack_network_api::attribute::{Noun, network::NETWORK, port::PORT, subnet::SUBNET};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::Method;
use serde_json::{Map, Value, json};

crate::both!(bodies, wrong_values, paths_and_queries);

/// A JSON value, of kinds that are nearly right more often than chance would have it.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        "\\PC{0,20}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "\0",
            "10.1.0.0/24",
            "10.1.0.5",
            "::1",
            "2001:db8::/64",
            "fe80::/10",
            "0.0.0.0/0",
            "255.255.255.255",
            "fa:16:3e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "true",
            "4",
            "-1",
            "slaac",
            "normal",
            "local",
            "a.b.c.",
            "00000000-0000-0000-0000-000000000000",
            "99999999999999999999999999",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let key = prop::sample::select(vec![
            "start",
            "end",
            "destination",
            "nexthop",
            "subnet_id",
            "ip_address",
            "network",
            "port",
            "x",
            "\0",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|pairs| pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

/// A body for the noun: a few attributes with any value, on top of what makes it nearly valid.
fn body(noun: &'static Noun, valid: Value) -> impl Strategy<Value = Value> {
    let names: Vec<&str> =
        noun.attributes.iter().map(|a| a.name).chain(["project_id", "tenant_id", "x"]).collect();
    prop::collection::vec((prop::sample::select(names), value()), 0..4).prop_map(move |pairs| {
        let mut object = valid.clone();
        for (name, value) in pairs {
            object[name] = value;
        }
        json!({noun.name: object})
    })
}

async fn bodies(store: &Store) {
    let cloud = Cloud::start_with(store, |s| {
        s.network.quota.network = -1;
        s.network.quota.subnet = -1;
        s.network.quota.port = -1;
    })
    .await;
    let network = cloud.network("admin", "n").await;
    let subnet = cloud.subnet("admin", &network, "10.1.0.0/24").await;
    let (_, port) = cloud.port("admin", &network, json!({})).await;
    let port = port["port"]["id"].as_str().unwrap().to_owned();
    let mut runner = TestRunner::default();
    let rows = [
        (&NETWORK, json!({}), network.clone()),
        (&SUBNET, json!({"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/24"}), subnet),
        (&PORT, json!({"network_id": network}), port),
    ];
    for (noun, valid, id) in rows {
        let collection = format!("/v2.0/{}", noun.plural);
        let (create, change) = (body(noun, valid), body(noun, json!({})));
        for _ in 0..150 {
            let body = create.new_tree(&mut runner).unwrap().current();
            let (status, _) = cloud.post("admin", &collection, body.clone()).await;
            assert!(matches!(status, 201 | 400 | 403 | 404 | 409 | 413), "{status} {body}");
            let body = change.new_tree(&mut runner).unwrap().current();
            let (status, _) = cloud.put("admin", &format!("{collection}/{id}"), body.clone()).await;
            assert!(matches!(status, 200 | 400 | 403 | 404 | 409 | 413), "{status} {body}");
        }
        let any = value();
        for _ in 0..60 {
            let body = any.new_tree(&mut runner).unwrap().current();
            assert!(matches!(cloud.post("admin", &collection, body.clone()).await.0, 400 | 201), "{body}");
            let tags = format!("{collection}/{id}/tags");
            assert!(matches!(cloud.put("admin", &tags, json!({"tags": body})).await.0, 200 | 400), "{body}");
            let quota = cloud.put("admin", "/v2.0/quotas/p", json!({"quota": body})).await.0;
            assert!(matches!(quota, 200 | 400), "{body}");
        }
        let (status, body) = cloud.get("admin", &collection).await;
        assert_eq!(status, 200, "what was stored can be read: {body}");
    }
    cloud.stop().await;
}

async fn wrong_values(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    let subnet = cloud.subnet("alice", &network, "10.1.0.0/24").await;
    let (_, port) = cloud.port("alice", &network, json!({})).await;
    let port = port["port"]["id"].as_str().unwrap().to_owned();
    let long = "x".repeat(256);
    let five: Vec<Value> = (0..6).map(|_| json!({"subnet_id": subnet})).collect();
    let routes: Vec<Value> =
        (0..21).map(|i| json!({"destination": format!("10.{i}.0.0/16"), "nexthop": "10.1.0.9"})).collect();
    let pools: Vec<Value> = (0..101).map(|_| json!({"start": "10.1.0.2", "end": "10.1.0.2"})).collect();
    let cases = [
        (
            &NETWORK,
            &network,
            vec![
                ("name", json!(long)),
                ("name", json!(5)),
                ("name", json!("a\0b")),
                ("description", json!({})),
                ("admin_state_up", json!("maybe")),
                ("mtu", json!(67)),
                ("mtu", json!(65_536)),
                ("mtu", json!(1.5)),
                ("mtu", json!(99_999_999_999_999_999_999_u128 as f64)),
                ("dns_domain", json!("no dot")),
                ("id", json!(network)),
                ("status", json!("DOWN")),
                ("x", json!(1)),
                (&long, json!(1)),
                ("provider:network_type", json!("vxlan")),
                ("port_security_enabled", json!(true)),
                ("router:external", json!(true)),
            ],
        ),
        (
            &SUBNET,
            &subnet,
            vec![
                ("gateway_ip", json!("10.9.9.9")),
                ("gateway_ip", json!("x")),
                ("dns_nameservers", json!(["x"])),
                ("dns_nameservers", json!(["1.1.1.1", "1.1.1.1"])),
                ("dns_nameservers", json!("1.1.1.1")),
                (
                    "dns_nameservers",
                    json!(["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6"]),
                ),
                ("host_routes", json!(routes)),
                ("host_routes", json!([{"destination": "x"}])),
                ("allocation_pools", json!([{"start": "10.1.0.9"}])),
                ("allocation_pools", json!(pools)),
                ("name", json!(long)),
                ("subnetpool_id", json!("p")),
            ],
        ),
        (
            &PORT,
            &port,
            vec![
                ("fixed_ips", json!(five)),
                ("fixed_ips", json!([{"ip_address": "x"}])),
                ("fixed_ips", json!({})),
                ("fixed_ips", json!([{"ip_address": "10.1.0.9"}, {"ip_address": "10.1.0.9"}])),
                ("mac_address", json!("x")),
                ("device_id", json!(long)),
                ("dns_name", json!("a b")),
                ("binding:vnic_type", json!("direct")),
                ("security_groups", json!(["x"])),
                ("name", json!(["a"])),
            ],
        ),
    ];
    for (noun, id, wrong) in cases {
        let path = format!("/v2.0/{}/{id}", noun.plural);
        let before = cloud.get("admin", &path).await;
        for (name, value) in wrong {
            let mut object = match noun.name {
                "network" => json!({}),
                "subnet" => json!({"network_id": network, "ip_version": 4, "cidr": "10.2.0.0/24"}),
                _ => json!({"network_id": network}),
            };
            object[name] = value.clone();
            let answer =
                cloud.post("admin", &format!("/v2.0/{}", noun.plural), json!({noun.name: object})).await;
            assert_eq!(answer.0, 400, "POST {name}={value} {}", answer.1);
            let shown = name.chars().take(20).collect::<String>();
            let message = answer.1["NeutronError"]["message"].as_str().unwrap();
            let named = message.contains(&shown) || name == "gateway_ip";
            assert!(named && message.len() < 1000, "{name}: {message}");
            let answer = cloud.put("admin", &path, json!({noun.name: {name: value}})).await;
            assert_eq!(answer.0, 400, "PUT {name}={value} {}", answer.1);
        }
        assert_eq!(cloud.get("admin", &path).await, before, "a refused change changes nothing");
    }
    let (_, networks) = cloud.get("alice", "/v2.0/networks?project_id=p-admin").await;
    assert_eq!(networks["networks"], json!([]));
    cloud.stop().await;
}

async fn paths_and_queries(store: &Store) {
    let cloud = Cloud::start(store).await;
    for noun in ["networks", "subnets", "ports"] {
        for id in ["%00", "x%00y", "..%2f..", "%F0%9F%92%A9", &"x".repeat(4000), "'%20OR%201=1--", "%ff%fe"] {
            let status = cloud.get("admin", &format!("/v2.0/{noun}/{id}")).await.0;
            assert!(matches!(status, 404 | 400), "{id} {status}");
            let status = cloud.delete("admin", &format!("/v2.0/{noun}/{id}")).await.0;
            assert!(matches!(status, 404 | 400), "{id} {status}");
            let status = cloud.get("admin", &format!("/v2.0/{noun}?id={id}&name={id}")).await.0;
            assert!(matches!(status, 200 | 400), "{id} {status}");
            let status = cloud.put("admin", &format!("/v2.0/{noun}/{id}/tags/{id}"), json!({})).await.0;
            assert!(matches!(status, 404 | 400), "{id} {status}");
        }
        let query = "/v2.0/".to_owned() + noun + "?" + &"id=a&".repeat(1500);
        assert!(matches!(cloud.get("admin", &query).await.0, 200 | 400));
    }
    for path in ["/v2.0/quotas/%00", "/v2.0/quotas/%00/details"] {
        assert!(matches!(cloud.get("admin", path).await.0, 400 | 404), "{path}");
    }
    let raw = |body: Vec<u8>, kind: &'static str| {
        let request = cloud.request("admin", Method::POST, "/v2.0/networks").header("Content-Type", kind);
        cloud.send(request.body(body))
    };
    assert_eq!(raw(b"{".to_vec(), "application/json").await.0, 400);
    assert_eq!(raw(Vec::new(), "application/json").await.0, 400);
    assert_eq!(raw(b"\xff\xfe".to_vec(), "application/json").await.0, 400);
    assert_eq!(raw(b"{}".to_vec(), "text/plain").await.0, 415);
    assert_eq!(raw(vec![b' '; 200_000], "application/json").await.0, 413);
    assert_eq!(raw("[".repeat(50_000).into_bytes(), "application/json").await.0, 400);
    assert_eq!(raw(br#"{"networks": []}"#.to_vec(), "application/json").await.0, 400);
    assert_eq!(raw(br#"{"networks": [1, null]}"#.to_vec(), "application/json").await.0, 400);
    cloud.stop().await;
}
