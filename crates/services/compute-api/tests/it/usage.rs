//! Usage reports.

use crate::support::{Cloud, PROJECT_A, PROJECT_B, VERSIONS, each};
use ferrostack_db::sqlx;
use ferrostack_model::{Timestamp, id};
use serde_json::json;

/// A server of 2 vCPUs, 512 MiB and 3 GiB that was launched and terminated at these times.
async fn server(cloud: &Cloud, project: &str, launched: &str, terminated: Option<&str>) {
    let micros = |text: &str| Timestamp::parse(text).unwrap().0;
    let db = cloud.db().await;
    sqlx::query(
        "INSERT INTO servers (id, project_id, user_id, display_name, hostname, instance_name, reservation_id, \
         vm_state, image_id, image, flavor, flavor_id, vcpus, memory_mb, root_gb, ephemeral_gb, swap_mb, created_at, \
         launched_at, terminated_at) VALUES ($1, $2, 'u', 's', 's', 'i', 'r', 'active', 'x', '{}', \
         '{\"name\": \"m1.x\"}', '1', 2, 512, 2, 1, 0, 0, $3, $4)",
    )
    .bind(id::uuid())
    .bind(project)
    .bind(micros(launched))
    .bind(terminated.map(micros))
    .execute(db.writer())
    .await
    .unwrap();
    db.close().await;
}

#[actix_web::test]
async fn counts_what_lies_in_the_window() {
    each(async |cloud| {
        server(cloud, PROJECT_A, "2026-01-01T10:00:00", Some("2026-01-01T14:00:00")).await;
        server(cloud, PROJECT_A, "2026-01-01T11:00:00", None).await;
        server(cloud, PROJECT_A, "2026-01-01T09:00:00", Some("2026-01-01T09:30:00")).await;
        server(cloud, PROJECT_B, "2026-01-02T00:00:00", None).await;
        let window = "start=2026-01-01T10:30:00&end=2026-01-01T12:30:00";
        for version in VERSIONS {
            let (admin, reader) = (cloud.at("admin", version), cloud.at("reader", version));
            let one = reader.get(&format!("/os-simple-tenant-usage/{PROJECT_A}?{window}")).await.expect(200);
            reader.conforms("tenant_usage.show", &one);
            let usage = &one["tenant_usage"];
            assert_eq!(usage["total_hours"], 3.5);
            assert_eq!(usage["total_vcpus_usage"], 7.0);
            assert_eq!(usage["total_memory_mb_usage"], 1792.0);
            assert_eq!(usage["total_local_gb_usage"], 10.5);
            assert_eq!(usage["server_usages"][0]["state"], "terminated");
            assert_eq!(usage["server_usages"][0]["uptime"], 14_400);
            assert_eq!(usage["server_usages"][1]["flavor"], "m1.x");
            let all =
                admin.get("/os-simple-tenant-usage?detailed=1&start=2026-01-01T00:00:00").await.expect(200);
            admin.conforms("tenant_usage.index", &all);
            assert_eq!(all["tenant_usages"].as_array().unwrap().len(), 2);
            let plain = admin.get(&format!("/os-simple-tenant-usage?{window}")).await.expect(200);
            admin.conforms("tenant_usage.index", &plain);
            assert!(plain["tenant_usages"][0].get("server_usages").is_none());
        }
        let none = cloud.at("other", 1).get(&format!("/os-simple-tenant-usage/{PROJECT_B}?{window}")).await;
        assert_eq!(none.expect(200), json!({"tenant_usage": {}}));
        cloud.at("member", 1).get(&format!("/os-simple-tenant-usage/{PROJECT_B}?{window}")).await.fault(403);
    })
    .await;
}

#[actix_web::test]
async fn pages_by_server_from_2_40() {
    each(async |cloud| {
        for hour in ["10", "11", "12"] {
            server(cloud, PROJECT_A, &format!("2026-01-01T{hour}:00:00"), None).await;
        }
        let admin = cloud.at("admin", 40);
        let mut path = format!("/os-simple-tenant-usage/{PROJECT_A}?start=2026-01-01T00:00:00&limit=2");
        let mut seen = 0;
        loop {
            let page = admin.get(&path).await.expect(200);
            admin.conforms("tenant_usage.show", &page);
            seen += page["tenant_usage"]["server_usages"].as_array().map_or(0, Vec::len);
            let Some(next) = page["tenant_usage_links"][0]["href"].as_str() else { break };
            path = next.split_once("/v2.1").unwrap().1.to_owned();
        }
        assert_eq!(seen, 3);
        let at = |query: &str| format!("/os-simple-tenant-usage?{query}");
        assert_eq!(admin.get(&at("marker=zz")).await.fault(400), "marker [zz] not found");
        for bad in [
            "start=yesterday",
            "start=2026-01-01",
            "end=2026-01-01T00:00:00Z",
            "start=%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80",
        ] {
            assert_eq!(admin.get(&at(bad)).await.fault(400), "Datetime is in invalid format");
        }
        assert_eq!(
            admin.get(&at("start=2026-01-02T00:00:00&end=2026-01-01T00:00:00")).await.fault(400),
            "Invalid start time. The start time cannot occur after the end time."
        );
        cloud.at("admin", 75).get(&at("x=y")).await.fault(400);
    })
    .await;
}
