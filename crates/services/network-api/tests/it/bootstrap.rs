//! The network `private`.

use crate::cloud::{Cloud, Store, error_type, ip};
use ferrostack_bus::LocalBus;
use ferrostack_http::actix_web::{App, HttpResponse, HttpServer, web};
use ferrostack_settings::Settings;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

crate::both!(
    made_once,
    made_by_one_of_two,
    follows_the_cidr_while_unused,
    stays_deleted,
    gets_its_owner,
    everybody_may_use_it
);

async fn private(cloud: &Cloud) -> Vec<Value> {
    let (_, body) = cloud.get("bob", "/v2.0/networks?name=private").await;
    body["networks"].as_array().unwrap().clone()
}

async fn subnet(cloud: &Cloud) -> Value {
    let (_, body) = cloud.get("bob", "/v2.0/subnets?name=private-subnet").await;
    body["subnets"][0].clone()
}

async fn made_once(store: &Store) {
    let dns = |s: &mut Settings| s.network.dns_nameservers = vec!["9.9.9.9".parse().unwrap()];
    let cloud = Cloud::start_with(store, dns).await;
    let first = private(&cloud).await;
    assert_eq!((first.len(), &first[0]["shared"], &first[0]["project_id"]), (1, &json!(true), &json!("")));
    let subnet = subnet(&cloud).await;
    assert_eq!(
        (&subnet["cidr"], &subnet["gateway_ip"]),
        (&json!("192.168.233.0/24"), &json!("192.168.233.1"))
    );
    assert_eq!((&subnet["enable_dhcp"], &subnet["dns_nameservers"]), (&json!(true), &json!(["9.9.9.9"])));
    cloud.stop().await;
    let cloud = Cloud::start_with(store, dns).await;
    assert_eq!(private(&cloud).await, first);
    cloud.stop().await;
}

async fn made_by_one_of_two(store: &Store) {
    if matches!(store, Store::Sqlite(_)) {
        return; // one process owns a SQLite file
    }
    let (a, b) = tokio::join!(Cloud::start(store), Cloud::start(store));
    assert_eq!(private(&a).await.len(), 1);
    a.stop().await;
    b.stop().await;
}

async fn follows_the_cidr_while_unused(store: &Store) {
    let cidr = |text: &'static str| move |s: &mut Settings| s.network.private_cidr = text.into();
    Cloud::start(store).await.stop().await;
    let cloud = Cloud::start_with(store, cidr("10.5.0.0/16")).await;
    let moved = subnet(&cloud).await;
    assert_eq!((&moved["cidr"], &moved["gateway_ip"]), (&json!("10.5.0.0/16"), &json!("10.5.0.1")));
    let network = cloud.private().await;
    let (_, port) = cloud.port("bob", &network, json!({})).await;
    assert_eq!(ip(&port), "10.5.0.2");
    cloud.stop().await;
    let cloud = Cloud::start_with(store, cidr("10.6.0.0/16")).await;
    assert_eq!(subnet(&cloud).await["cidr"], "10.5.0.0/16", "in use");
    let path = format!("/v2.0/ports/{}", port["port"]["id"].as_str().unwrap());
    assert_eq!(cloud.delete("bob", &path).await.0, 204);
    cloud.stop().await;
    let cloud = Cloud::start_with(store, cidr("10.6.0.0/16")).await;
    assert_eq!(subnet(&cloud).await["cidr"], "10.6.0.0/16");
    assert_eq!(ip(&cloud.port("bob", &network, json!({})).await.1), "10.6.0.2");
    cloud.stop().await;
}

async fn stays_deleted(store: &Store) {
    let cloud = Cloud::start(store).await;
    let path = format!("/v2.0/networks/{}", cloud.private().await);
    assert_eq!(error_type(&cloud.delete("bob", &path).await), (403, "PolicyNotAuthorized"));
    assert_eq!(cloud.delete("admin", &path).await.0, 204);
    cloud.stop().await;
    let cloud = Cloud::start(store).await;
    assert!(private(&cloud).await.is_empty());
    cloud.stop().await;
}

/// An identity service that lets everybody in as a user of the project `p-service`.
async fn login() -> HttpResponse {
    HttpResponse::Created().insert_header(("X-Subject-Token", "t")).json(json!({"token": {
        "project": {"id": "p-service"}, "user": {"id": "u"}, "expires_at": "2099-01-01T00:00:00.000000Z",
        "catalog": []}}))
}

async fn gets_its_owner(store: &Store) {
    let identity = HttpServer::new(|| App::new().route("/v3/auth/tokens", web::post().to(login)))
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let url = format!("http://{}/v3", identity.addrs()[0]);
    let identity = identity.run();
    let handle = identity.handle();
    tokio::spawn(identity);
    let mut password = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut password, b"x").unwrap();
    let file = password.path().to_owned();
    let cloud = Cloud::start_with(store, move |s| {
        s.credentials.auth_url = url;
        s.credentials.password_file = file;
    })
    .await;
    let mut left = 100;
    while private(&cloud).await[0]["project_id"] != "p-service" {
        left -= 1;
        assert!(left > 0, "the network did not get its owner");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(subnet(&cloud).await["project_id"], "p-service");
    cloud.stop().await;
    handle.stop(false).await;
}

async fn everybody_may_use_it(store: &Store) {
    let cloud = Cloud::start(store).await;
    let network = cloud.private().await;
    let (status, body) = cloud.port("bob", &network, json!({})).await;
    assert_eq!((status, ip(&body)), (201, "192.168.233.2".to_owned()));
    let path = format!("/v2.0/ports/{}", body["port"]["id"].as_str().unwrap());
    assert_eq!(cloud.get("alice", &path).await.0, 404, "ports are their owner's");
    for more in [
        json!({"fixed_ips": [{"ip_address": "192.168.233.9"}]}),
        json!({"mac_address": "fa:16:3e:00:00:01"}),
        json!({"device_owner": "network:dhcp"}),
        json!({"binding:host_id": "h"}),
    ] {
        let answer = cloud.port("bob", &network, more.clone()).await;
        assert_eq!(error_type(&answer), (403, "PolicyNotAuthorized"), "{more}");
    }
    let unshare = json!({"network": {"shared": false}});
    let refused = cloud.put("admin", &format!("/v2.0/networks/{network}"), unshare).await;
    assert_eq!(error_type(&refused), (409, "InvalidSharedSetting"));
    cloud.stop().await;
}

#[tokio::test]
async fn a_wrong_cidr_is_named() {
    for wrong in ["", "10.0.0.5/24", "10.0.0.0/31", "127.0.0.0/8", "x"] {
        let store = Store::sqlite();
        let mut settings = Settings::default();
        settings.database.url = store.url();
        settings.network.listen = "127.0.0.1:0".parse().unwrap();
        settings.network.private_cidr = wrong.into();
        let db = ferrostack_network_api::start(
            &settings,
            Arc::new(LocalBus::new()),
            Arc::new(crate::cloud::Table),
            tokio_util::sync::CancellationToken::new(),
        );
        let error = db.await.err().expect("refused").for_log();
        assert!(error.contains("network.private_cidr"), "{error}");
    }
}
