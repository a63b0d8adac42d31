//! Addresses: never two ports with one, never one lost, whoever asks at once.

use crate::cloud::{Answer, Cloud, Store, error_type, ip};
use ferrostack_network_api::routes::KEY_HEADER;
use reqwest::Method;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Instant};

crate::both!(parallel, two_instances, exhaustion, churn, idempotency, keys_are_for_services, many);

/// Answers of `count` creations at once, spread over the instances.
async fn at_once(clouds: &[&Cloud], network: &str, count: usize, more: &Value) -> Vec<Answer> {
    let jobs = (0..count).map(|i| clouds[i % clouds.len()].port("alice", network, more.clone()));
    futures_util::future::join_all(jobs).await
}

/// Every address of the network's ports; fails if one is there twice.
async fn addresses(cloud: &Cloud, network: &str) -> BTreeSet<String> {
    let (_, body) = cloud.get("admin", &format!("/v2.0/ports?network_id={network}")).await;
    let mut seen = BTreeSet::new();
    for port in body["ports"].as_array().unwrap() {
        for ip in port["fixed_ips"].as_array().unwrap() {
            assert!(seen.insert(ip["ip_address"].as_str().unwrap().to_owned()), "{ip} twice");
        }
    }
    seen
}

async fn parallel(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    cloud.subnet("alice", &network, "10.1.0.0/24").await;
    let answers = at_once(&[&cloud], &network, 32, &json!({})).await;
    assert!(answers.iter().all(|a| a.0 == 201), "{answers:?}");
    let expected: BTreeSet<String> = (2..34).map(|i| format!("10.1.0.{i}")).collect();
    assert_eq!(addresses(&cloud, &network).await, expected, "the first free ones");
    let macs: BTreeSet<&str> = answers.iter().map(|a| a.1["port"]["mac_address"].as_str().unwrap()).collect();
    assert_eq!(macs.len(), 32);
    assert!(macs.iter().all(|m| m.starts_with("fa:16:3e:")));
    cloud.stop().await;
}

async fn two_instances(store: &Store) {
    let (a, b) = (Cloud::start(store).await, Cloud::start(store).await);
    let network = a.network("alice", "n").await;
    a.subnet("alice", &network, "10.1.0.0/24").await;
    b.subnet("alice", &network, "10.2.0.0/24").await;
    let answers = at_once(&[&a, &b], &network, 64, &json!({})).await;
    assert!(answers.iter().all(|a| a.0 == 201), "{answers:?}");
    assert_eq!(addresses(&b, &network).await, (2..66).map(|i| format!("10.1.0.{i}")).collect());
    a.stop().await;
    b.stop().await;
}

async fn exhaustion(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.network("alice", "n").await;
    let subnet = cloud.subnet("alice", &network, "10.1.0.0/28").await;
    let answers = at_once(&[&cloud], &network, 32, &json!({})).await;
    let made: Vec<&Answer> = answers.iter().filter(|a| a.0 == 201).collect();
    assert_eq!(made.len(), 13);
    let refused = answers.iter().filter(|a| a.0 != 201);
    for answer in refused {
        assert_eq!(error_type(answer), (409, "IpAddressGenerationFailure"));
    }
    let (_, body) = cloud.get("alice", &format!("/v2.0/ports?network_id={network}")).await;
    assert_eq!(body["ports"].as_array().unwrap().len(), 13, "a refused port leaves nothing");
    // What is freed is found again, also in the middle.
    let middle = made.iter().find(|a| ip(&a.1) == "10.1.0.7").unwrap();
    let path = format!("/v2.0/ports/{}", middle.1["port"]["id"].as_str().unwrap());
    assert_eq!(cloud.delete("alice", &path).await.0, 204);
    assert_eq!(ip(&cloud.port("alice", &network, json!({})).await.1), "10.1.0.7");
    // A second subnet, or a wider pool, gives more.
    cloud.subnet("alice", &network, "10.2.0.0/30").await;
    assert_eq!(ip(&cloud.port("alice", &network, json!({})).await.1), "10.2.0.2");
    let wanted = json!({"fixed_ips": [{"subnet_id": subnet}]});
    assert_eq!(
        error_type(&cloud.port("alice", &network, wanted.clone()).await),
        (409, "IpAddressGenerationFailure")
    );
    let shrunk = json!({"subnet": {"allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.3"}]}});
    assert_eq!(cloud.put("alice", &format!("/v2.0/subnets/{subnet}"), shrunk).await.0, 200);
    assert_eq!(error_type(&cloud.port("alice", &network, wanted).await), (409, "IpAddressGenerationFailure"));
    cloud.stop().await;
}

/// Creations with and without a named address and deletions at once; then every address can still be had.
async fn churn(store: &Store) {
    let (a, b) = (Cloud::start(store).await, Cloud::start(store).await);
    let network = a.network("alice", "n").await;
    a.subnet("alice", &network, "10.1.0.0/27").await;
    let worker = |n: usize| {
        let (a, b, network) = (&a, &b, &network);
        async move {
            let cloud = if n.is_multiple_of(2) { a } else { b };
            let mut mine: Vec<String> = Vec::new();
            for round in 0..12 {
                let more = if (n + round).is_multiple_of(3) {
                    json!({"fixed_ips": [{"ip_address": format!("10.1.0.{}", 2 + (n * 7 + round * 5) % 28)}]})
                } else {
                    json!({})
                };
                let (status, body) = cloud.port("alice", network, more).await;
                match status {
                    201 => mine.push(body["port"]["id"].as_str().unwrap().to_owned()),
                    409 => {}
                    other => panic!("{other} {body}"),
                }
                if mine.len() > 2 {
                    let path = format!("/v2.0/ports/{}", mine.remove(0));
                    assert_eq!(cloud.delete("alice", &path).await.0, 204);
                }
            }
        }
    };
    futures_util::future::join_all((0..8).map(worker)).await;
    addresses(&a, &network).await;
    while a.port("alice", &network, json!({})).await.0 == 201 {}
    assert_eq!(addresses(&a, &network).await.len(), 29, "no address is lost");
    a.stop().await;
    b.stop().await;
}

async fn keyed(cloud: &Cloud, token: &str, key: &str, body: Value) -> Answer {
    cloud.send(cloud.request(token, Method::POST, "/v2.0/ports").header(KEY_HEADER, key).json(&body)).await
}

async fn idempotency(store: &Store) {
    let (a, b) = (Cloud::start(store).await, Cloud::start(store).await);
    let network = a.private().await;
    let body = json!({"port": {"network_id": network, "project_id": "p-alice", "device_id": "s1",
        "device_owner": "compute:nova"}});
    let answers = futures_util::future::join_all(
        (0..16).map(|i| keyed(if i % 2 == 0 { &a } else { &b }, "service", "s1/0", body.clone())),
    )
    .await;
    assert_eq!(answers.iter().filter(|a| a.0 == 201).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|a| a.0 == 200).count(), 15);
    let first = answers[0].1.clone();
    assert!(answers.iter().all(|a| a.1 == first));
    let (_, ports) = a.get("service", "/v2.0/ports?device_id=s1").await;
    assert_eq!(ports["ports"], json!([first["port"]]));
    // Another key is another port; the same key for another network is a mistake.
    assert_eq!(keyed(&a, "service", "s1/1", body.clone()).await.0, 201);
    let other = a.network("alice", "o").await;
    let elsewhere = keyed(&a, "service", "s1/0", json!({"port": {"network_id": other}})).await;
    assert_eq!(error_type(&elsewhere), (409, "IdempotencyKeyInUse"));
    // A deleted port's key is free.
    let path = format!("/v2.0/ports/{}", first["port"]["id"].as_str().unwrap());
    assert_eq!(a.delete("service", &path).await.0, 204);
    let again = keyed(&a, "service", "s1/0", body).await;
    assert_eq!(again.0, 201);
    assert_ne!(again.1["port"]["id"], first["port"]["id"]);
    a.stop().await;
    b.stop().await;
}

async fn keys_are_for_services(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.private().await;
    let body = json!({"port": {"network_id": network}});
    for token in ["alice", "admin"] {
        assert_eq!(keyed(&cloud, token, "k/0", body.clone()).await.0, 403, "{token}");
    }
    assert_eq!(keyed(&cloud, "service", &"k".repeat(256), body.clone()).await.0, 400);
    assert_eq!(keyed(&cloud, "service", " ", body.clone()).await.0, 400);
    let bulk = json!({"ports": [{"network_id": network}]});
    assert_eq!(keyed(&cloud, "service", "k/0", bulk).await.0, 400);
    let (_, ports) = cloud.get("admin", &format!("/v2.0/ports?network_id={network}")).await;
    assert_eq!(ports["ports"], json!([]));
    cloud.stop().await;
}

/// A thousand ports in a /16, one after the other: the cost of one must not grow with their number.
async fn many(store: &Store) {
    let cloud = Cloud::start_with(store, |s| s.network.quota.port = -1).await;
    let network = cloud.network("alice", "n").await;
    cloud.subnet("alice", &network, "10.1.0.0/16").await;
    let mut halves = Vec::new();
    for half in 0..2 {
        let started = Instant::now();
        for i in 0..500 {
            let (status, body) = cloud.port("alice", &network, json!({})).await;
            let n = half * 500 + i + 2;
            assert_eq!((status, ip(&body)), (201, format!("10.1.{}.{}", n / 256, n % 256)));
        }
        halves.push(started.elapsed());
    }
    let started = Instant::now();
    let (_, body) = cloud.get("alice", &format!("/v2.0/ports?network_id={network}")).await;
    let (count, listed) = (body["ports"].as_array().unwrap().len(), started.elapsed());
    println!("500 ports: {halves:?}; list of {count}: {listed:?}");
    assert_eq!(count, 1000);
    assert!(halves[1] < halves[0] * 3, "{halves:?}");
    cloud.stop().await;
}
