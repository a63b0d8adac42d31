//! Quotas.

use crate::cloud::{Cloud, Store, error_type};
use serde_json::json;

crate::both!(shown_and_set, enforced, exact_under_parallel_requests);

async fn shown_and_set(store: &Store) {
    let cloud = Cloud::start(store).await;
    let defaults = json!({"quota": {"network": 100, "subnet": 100, "port": 500}});
    assert_eq!(cloud.get("admin", "/v2.0/quotas/p-alice").await.1, defaults);
    assert_eq!(cloud.get("manager", "/v2.0/quotas/p-alice").await.1, defaults);
    assert_eq!(cloud.get("alice", "/v2.0/quotas/p-alice").await.0, 403);
    assert_eq!(cloud.get("alice", "/v2.0/quotas/p-alice/default.json").await.1, defaults);
    assert_eq!(error_type(&cloud.get("bob", "/v2.0/quotas/p-alice/details").await), (403, "AdminRequired"));
    cloud.network("alice", "n").await;
    let (_, body) = cloud.get("alice", "/v2.0/quotas/p-alice/details.json").await;
    assert_eq!(body["quota"]["network"], json!({"limit": 100, "used": 1, "reserved": 0}));
    assert_eq!(cloud.get("admin", "/v2.0/quotas").await.1, json!({"quotas": []}));

    let set = json!({"quota": {"port": "7", "network": -1}});
    assert_eq!(cloud.put("manager", "/v2.0/quotas/p-alice", set.clone()).await.0, 403);
    let (status, body) = cloud.put("admin", "/v2.0/quotas/p-alice", set).await;
    assert_eq!((status, &body["quota"]), (200, &json!({"network": -1, "subnet": 100, "port": 7})));
    let (_, body) = cloud.get("admin", "/v2.0/quotas").await;
    assert_eq!(
        (&body["quotas"][0]["project_id"], &body["quotas"][0]["port"]),
        (&json!("p-alice"), &json!(7))
    );
    let too_low = json!({"quota": {"network": 0, "check_limit": true}});
    assert_eq!(
        error_type(&cloud.put("admin", "/v2.0/quotas/p-alice", too_low).await),
        (400, "InvalidQuotaValue")
    );
    for bad in [json!({"port": -2}), json!({"port": "x"}), json!({"router": 1}), json!(null), json!([])] {
        assert_eq!(cloud.put("admin", "/v2.0/quotas/p-alice", json!({"quota": bad})).await.0, 400, "{bad}");
    }
    assert_eq!(cloud.delete("admin", "/v2.0/quotas/p-alice").await.0, 204);
    assert_eq!(
        error_type(&cloud.delete("admin", "/v2.0/quotas/p-alice").await),
        (404, "TenantQuotaNotFound")
    );
    assert_eq!(cloud.get("admin", "/v2.0/quotas/p-alice").await.1, defaults);
    cloud.stop().await;
}

async fn enforced(store: &Store) {
    let cloud = Cloud::start(store).await;
    let set = json!({"quota": {"network": 1, "subnet": 1, "port": 1}});
    assert_eq!(cloud.put("admin", "/v2.0/quotas/p-alice", set).await.0, 200);
    let two = json!({"networks": [{"name": "a"}, {"name": "b"}]});
    assert_eq!(error_type(&cloud.post("alice", "/v2.0/networks", two).await), (409, "OverQuota"));
    let network = cloud.network("alice", "n").await;
    cloud.subnet("alice", &network, "10.1.0.0/24").await;
    let subnet = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.2.0.0/24"}});
    assert_eq!(error_type(&cloud.post("alice", "/v2.0/subnets", subnet).await), (409, "OverQuota"));
    assert_eq!(cloud.port("alice", &network, json!({})).await.0, 201);
    assert_eq!(error_type(&cloud.port("alice", &network, json!({})).await), (409, "OverQuota"));
    // Each pays for its own, whoever asks.
    let for_alice = cloud.port("service", &network, json!({"project_id": "p-alice"})).await;
    assert_eq!(error_type(&for_alice), (409, "OverQuota"));
    assert_eq!(cloud.port("admin", &network, json!({})).await.0, 201);
    cloud.stop().await;
}

async fn exact_under_parallel_requests(store: &Store) {
    let cloud = Cloud::start_with(store, |s| s.network.quota.port = 5).await;
    let network = cloud.private().await;
    let jobs = (0..16).map(|_| cloud.port("bob", &network, json!({})));
    let answers = futures_util::future::join_all(jobs).await;
    assert_eq!(answers.iter().filter(|a| a.0 == 201).count(), 5);
    assert_eq!(answers.iter().filter(|a| error_type(a) == (409, "OverQuota")).count(), 11);
    cloud.stop().await;
}
