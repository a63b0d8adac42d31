//! Services, hypervisors and availability zones: the hosts as operators see them.

use crate::support::{Client, Cloud, PROJECT_A, VERSIONS, each};
use ferrostack_compute_api::store::{control_services, hosts};
use ferrostack_db::sqlx;
use ferrostack_model::{Timestamp, host::HostReport, id, message::ServiceReport};
use serde_json::{Value, json};

fn report(n: i64, zone: &str) -> HostReport {
    HostReport {
        host: format!("host{n}"),
        hypervisor_hostname: format!("node{n}.example"),
        hypervisor_type: "QEMU".into(),
        hypervisor_version: 7_002_000,
        arch: "x86_64".into(),
        vcpus: 8,
        memory_mb: 16_384,
        local_gb: 100,
        cpu_info: json!({"arch": "x86_64", "topology": {"cores": 8}}),
        host_ip: "192.0.2.1".into(),
        agent_url: "http://192.0.2.1:1".into(),
        uptime_seconds: 93 * 86_400 + 18 * 3_600 + 25 * 60,
        availability_zone: zone.into(),
        agent_start: Timestamp(1),
    }
}

/// Hosts 1 and 2 in `nova`, host 3 in `far`; each a heartbeat ago of its number times 20 s.
async fn three(cloud: &Cloud) {
    let db = cloud.db().await;
    for (n, zone) in [(1, "nova"), (2, "nova"), (3, "far")] {
        let mut tx = db.begin_write().await.unwrap();
        hosts::report(&mut tx, &report(n, zone), Timestamp::now().plus_seconds(-20 * n)).await.unwrap();
        tx.commit().await.unwrap();
    }
    db.close().await;
}

async fn service_ids(client: Client<'_>) -> Vec<String> {
    let list = client.get("/os-services?binary=nova-compute").await.expect(200);
    list["services"].as_array().unwrap().iter().map(|s| id_text(&s["id"])).collect()
}

fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

#[actix_web::test]
async fn services_at_every_version() {
    each(async |cloud| {
        three(cloud).await;
        for version in VERSIONS {
            let admin = cloud.at("admin", version);
            let list = admin.get("/os-services?binary=nova-compute").await.expect(200);
            admin.conforms("services.index", &list);
            let first = &list["services"][0];
            assert_eq!(first["binary"], "nova-compute");
            assert_eq!(first["state"], "up");
            assert_eq!(first["zone"], "nova");
            assert_eq!(first["id"].is_number(), version < 53);
            assert_eq!(list["services"][2]["zone"], "far");
            let one = admin.get("/os-services?host=host2&binary=nova-compute").await.expect(200);
            assert_eq!(one["services"].as_array().unwrap().len(), 1);
            let none = admin.get("/os-services?binary=nova-network").await.expect(200);
            assert_eq!(none["services"], json!([]));
            if version < 53 {
                let body = json!({"host": "host1", "binary": "nova-compute"});
                for verb in ["disable", "enable"] {
                    let done = admin.put(&format!("/os-services/{verb}"), body.clone()).await.expect(200);
                    admin.conforms("services.update", &done);
                }
                let mut reason = body.clone();
                admin.put("/os-services/disable-log-reason", reason.clone()).await.fault(400);
                reason["disabled_reason"] = json!("fan");
                let done = admin.put("/os-services/disable-log-reason", reason).await.expect(200);
                admin.conforms("services.update", &done);
                assert_eq!(done["service"]["disabled_reason"], "fan");
                admin.put("/os-services/enable", body.clone()).await.expect(200);
                let list = admin.get("/os-services?host=host1").await.expect(200);
                assert_eq!(list["services"][0]["disabled_reason"], Value::Null);
                let mut down = body.clone();
                down["forced_down"] = json!(true);
                let forced = admin.put("/os-services/force-down", down.clone()).await;
                if version < 11 {
                    forced.fault(400);
                    admin.put("/os-services/force-down", body.clone()).await.fault(404);
                } else {
                    admin.conforms("services.update", &forced.expect(200));
                    let list = admin.get("/os-services?host=host1").await.expect(200);
                    assert_eq!(list["services"][0]["state"], "down");
                    down["forced_down"] = json!("no");
                    admin.put("/os-services/force-down", down).await.expect(200);
                }
                let gone = json!({"host": "nosuch", "binary": "nova-compute"});
                assert_eq!(
                    admin.put("/os-services/enable", gone).await.fault(404),
                    "Host 'nosuch' is not mapped to any cell"
                );
                let other = json!({"host": "host1", "binary": "nova-scheduler"});
                admin.put("/os-services/enable", other).await.fault(404);
                assert_eq!(admin.put("/os-services/reboot", body).await.fault(404), "Unknown action");
            } else {
                let path = format!("/os-services/{}", first["id"].as_str().unwrap());
                let off = json!({"status": "disabled", "disabled_reason": "fan", "forced_down": true});
                let done = admin.put(&path, off).await.expect(200);
                admin.conforms("services.update", &done);
                assert_eq!(
                    (
                        &done["service"]["status"],
                        &done["service"]["state"],
                        &done["service"]["disabled_reason"]
                    ),
                    (&json!("disabled"), &json!("down"), &json!("fan"))
                );
                admin.put(&path, json!({"forced_down": false})).await.expect(200);
                let done = admin.put(&path, json!({"status": "enabled"})).await.expect(200);
                assert_eq!(done["service"]["disabled_reason"], Value::Null);
                assert_eq!(done["service"]["state"], "up");
                assert_eq!(
                    admin.put(&path, json!({"status": "enabled", "disabled_reason": "x"})).await.fault(400),
                    "Specifying disabled_reason requires that status is 'disabled'."
                );
                admin.put(&path, json!({})).await.fault(400);
                admin.put(&path, json!({"status": "off"})).await.fault(400);
                admin.put(&path, json!({"host": "host1"})).await.fault(400);
                assert_eq!(
                    admin.put("/os-services/disable", json!({"status": "disabled"})).await.fault(400),
                    "Invalid uuid disable"
                );
                admin
                    .put(&format!("/os-services/{}", id::uuid()), json!({"status": "enabled"}))
                    .await
                    .fault(404);
            }
        }
        cloud.at("admin", 75).get("/os-services?x=y").await.fault(400);
    })
    .await;
}

#[actix_web::test]
async fn the_control_plane_reports_and_cannot_be_switched() {
    each(async |cloud| {
        let db = cloud.db().await;
        let report = |binary: &str, host: &str| ServiceReport { binary: binary.into(), host: host.into() };
        let (now, then) = (Timestamp::now(), Timestamp::now().plus_seconds(-300));
        for (binary, at) in [("nova-scheduler", now), ("nova-scheduler", then), ("nova-conductor", then)] {
            control_services::report(&db, &report(binary, "ctl"), at).await.unwrap();
        }
        for (binary, host) in [("nova-compute", "x"), ("", "x"), ("nova-scheduler", "")] {
            assert!(control_services::report(&db, &report(binary, host), now).await.is_err());
        }
        assert!(control_services::report(&db, &report("nova-scheduler", &"h".repeat(256)), now).await.is_err());
        db.close().await;
        // This service has a line of its own, by its machine's name.
        crate::jobs::until("the own line", async || {
            let list = cloud.at("admin", 1).get("/os-services?binary=nova-conductor").await.expect(200);
            (list["services"].as_array().unwrap().len() == 2).then_some(())
        })
        .await;
        for version in VERSIONS {
            let admin = cloud.at("admin", version);
            let list = admin.get("/os-services?host=ctl").await.expect(200);
            admin.conforms("services.index", &list);
            let list = list["services"].as_array().unwrap().clone();
            let shown: Vec<_> = list
                .iter()
                .map(|s| (s["binary"].as_str().unwrap(), s["state"].as_str().unwrap(), s["zone"].as_str().unwrap()))
                .collect();
            // A late report moves no time back.
            assert_eq!(shown, [("nova-scheduler", "up", "internal"), ("nova-conductor", "down", "internal")]);
            let detail = admin.get("/os-availability-zone/detail").await.expect(200);
            admin.conforms("availability_zone.detail", &detail);
            let ctl = &detail["availabilityZoneInfo"][0]["hosts"]["ctl"];
            assert_eq!(ctl["nova-scheduler"]["available"], true);
            assert_eq!(ctl["nova-conductor"]["available"], false);
            if version < 53 {
                let body = json!({"host": "ctl", "binary": "nova-scheduler"});
                admin.put("/os-services/disable", body).await.fault(404);
            } else {
                let path = format!("/os-services/{}", id_text(&list[0]["id"]));
                assert_eq!(
                    admin.put(&path, json!({"status": "disabled"})).await.fault(400),
                    "Updating a nova-scheduler service is not supported. Only nova-compute services can be updated."
                );
            }
        }
        let admin = cloud.at("admin", 53);
        let list = admin.get("/os-services?host=ctl&binary=nova-conductor").await.expect(200);
        let path = format!("/os-services/{}", id_text(&list["services"][0]["id"]));
        admin.delete(&path).await.expect(204);
        admin.delete(&path).await.fault(404);
        let list = admin.get("/os-services?host=ctl").await.expect(200);
        assert_eq!(list["services"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[actix_web::test]
async fn silence_is_down() {
    each(async |cloud| {
        let db = cloud.db().await;
        for (n, age) in [(1, 10), (2, 300)] {
            let mut tx = db.begin_write().await.unwrap();
            hosts::report(&mut tx, &report(n, "nova"), Timestamp::now().plus_seconds(-age)).await.unwrap();
            tx.commit().await.unwrap();
        }
        db.close().await;
        let admin = cloud.at("admin", 53);
        let list = admin.get("/os-services?binary=nova-compute").await.expect(200);
        let states: Vec<_> =
            list["services"].as_array().unwrap().iter().map(|s| s["state"].clone()).collect();
        assert_eq!(states, ["up", "down"]);
        let second = admin.get("/os-hypervisors").await.expect(200)["hypervisors"][1].clone();
        assert_eq!(second["state"], "down");
        let path = format!("/os-hypervisors/{}/uptime", second["id"].as_str().unwrap());
        assert_eq!(
            admin.get(&path).await.fault(400),
            "Compute service of host2 is unavailable at this time."
        );
        let new = cloud.at("admin", 88).get("/os-hypervisors/detail").await.expect(200);
        assert!(new["hypervisors"][0]["uptime"].as_str().unwrap().ends_with("up 93 days, 18:25"));
        assert_eq!(new["hypervisors"][1]["uptime"], Value::Null);
    })
    .await;
}

#[actix_web::test]
async fn only_empty_services_are_deleted() {
    each(async |cloud| {
        three(cloud).await;
        let db = cloud.db().await;
        sqlx::query(
            "INSERT INTO servers (id, project_id, user_id, display_name, hostname, instance_name, reservation_id, \
             vm_state, image_id, image, flavor, flavor_id, vcpus, memory_mb, root_gb, ephemeral_gb, swap_mb, \
             created_at, host) VALUES ('8f4d8a6e-6a1c-4f0e-9e0c-0b5a3f6d7c11', 'p', 'u', 's', 's', 'instance-1', 'r', \
             'active', 'x', '{}', '{}', '1', 1, 1, 0, 0, 0, 0, 'host1')",
        )
        .execute(db.writer())
        .await
        .unwrap();
        db.close().await;
        let admin = cloud.at("admin", 53);
        let ids = service_ids(admin).await;
        assert_eq!(
            admin.delete(&format!("/os-services/{}", ids[0])).await.fault(409),
            "Unable to delete compute service that is hosting instances. Migrate or delete the instances first."
        );
        admin.delete(&format!("/os-services/{}", ids[1])).await.expect(204);
        admin.delete(&format!("/os-services/{}", ids[1])).await.fault(404);
        admin.delete("/os-services/x").await.fault(400);
        let old = cloud.at("admin", 52);
        let numbers = service_ids(old).await;
        let third = format!("/os-services/{}", numbers[1]);
        old.delete(&third).await.expect(204);
        old.delete(&third).await.fault(404);
        old.delete("/os-services/x").await.fault(400);
        assert_eq!(service_ids(old).await, numbers[..1]);
        // Its servers are shown with the hypervisor, from 2.75 an empty list as well.
        let list = admin.get("/os-hypervisors?with_servers=true").await.expect(200);
        admin.conforms("hypervisors.index", &list);
        assert_eq!(
            list["hypervisors"][0]["servers"],
            json!([{"uuid": "8f4d8a6e-6a1c-4f0e-9e0c-0b5a3f6d7c11", "name": "instance-1"}])
        );
        let found = old.get("/os-hypervisors/node1/servers").await.expect(200);
        old.conforms("hypervisors.servers", &found);
        assert_eq!(found["hypervisors"][0]["servers"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[actix_web::test]
async fn hypervisors_at_every_version() {
    each(async |cloud| {
        three(cloud).await;
        for version in VERSIONS {
            let admin = cloud.at("admin", version);
            let list = admin.get("/os-hypervisors").await.expect(200);
            admin.conforms("hypervisors.index", &list);
            assert_eq!(list["hypervisors"].as_array().unwrap().len(), 3);
            let id = id_text(&list["hypervisors"][0]["id"]);
            let detail = admin.get("/os-hypervisors/detail").await.expect(200);
            admin.conforms("hypervisors.detail", &detail);
            let shown = admin.get(&format!("/os-hypervisors/{id}")).await.expect(200);
            admin.conforms("hypervisors.show", &shown);
            let shown = &shown["hypervisor"];
            assert_eq!(shown["host_ip"], "192.0.2.1");
            assert_eq!(shown["service"]["host"], "host1");
            match version {
                88.. => assert!(shown.get("vcpus").is_none() && shown["uptime"].is_string()),
                28.. => assert_eq!(shown["cpu_info"]["arch"], "x86_64"),
                _ => assert!(shown["cpu_info"].as_str().unwrap().contains("x86_64")),
            }
            let uptime = admin.get(&format!("/os-hypervisors/{id}/uptime")).await;
            let statistics = admin.get("/os-hypervisors/statistics").await;
            if version < 88 {
                admin.conforms("hypervisors.uptime", &uptime.expect(200));
                let statistics = statistics.expect(200);
                admin.conforms("hypervisors.statistics", &statistics);
                let sum = &statistics["hypervisor_statistics"];
                assert_eq!(
                    (&sum["count"], &sum["vcpus"], &sum["free_ram_mb"]),
                    (&json!(3), &json!(24), &json!(49_152))
                );
            } else {
                uptime.fault(404);
                statistics.fault(404);
            }
            let search = admin.get("/os-hypervisors/node2/search").await;
            if version < 53 {
                let search = search.expect(200);
                admin.conforms("hypervisors.search", &search);
                assert_eq!(search["hypervisors"][0]["hypervisor_hostname"], "node2.example");
                admin.conforms(
                    "hypervisors.servers",
                    &admin.get("/os-hypervisors/node/servers").await.expect(200),
                );
                assert_eq!(
                    admin.get("/os-hypervisors/nope/search").await.fault(404),
                    "No hypervisor matching 'nope' could be found."
                );
                admin.get("/os-hypervisors/99").await.fault(404);
            } else {
                search.fault(404);
                let found = admin.get("/os-hypervisors?hypervisor_hostname_pattern=node2").await.expect(200);
                assert_eq!(found["hypervisors"].as_array().unwrap().len(), 1);
                admin.get("/os-hypervisors?hypervisor_hostname_pattern=nope").await.fault(404);
                admin.get("/os-hypervisors?hypervisor_hostname_pattern=n&limit=1").await.fault(400);
                admin.get("/os-hypervisors/99").await.fault(400);
                admin.get(&format!("/os-hypervisors/{}", id::uuid())).await.fault(404);
                let with = admin.get(&format!("/os-hypervisors/{id}?with_servers=1")).await.expect(200);
                admin.conforms("hypervisors.show", &with);
                assert_eq!(with["hypervisor"].get("servers").is_some(), version >= 75);
            }
            let page = admin.get("/os-hypervisors?limit=1").await;
            if version >= 33 {
                let page = page.expect(200);
                admin.conforms("hypervisors.index", &page);
                assert_eq!(page["hypervisors"].as_array().unwrap().len(), 1);
                let next = page["hypervisors_links"][0]["href"].as_str().unwrap();
                assert!(next.ends_with(&format!("/os-hypervisors?limit=1&marker={id}")), "{next}");
                let rest = admin.get(&format!("/os-hypervisors/detail?marker={id}")).await.expect(200);
                assert_eq!(rest["hypervisors"].as_array().unwrap().len(), 2);
                admin.get("/os-hypervisors?marker=nosuch").await.fault(400);
            } else {
                assert_eq!(page.expect(200)["hypervisors"].as_array().unwrap().len(), 3);
            }
        }
        // A disabled host does not count.
        let body = json!({"host": "host2", "binary": "nova-compute"});
        cloud.at("admin", 1).put("/os-services/disable", body).await.expect(200);
        let sum = cloud.at("admin", 1).get("/os-hypervisors/statistics").await.expect(200);
        assert_eq!(sum["hypervisor_statistics"]["count"], 2);
    })
    .await;
}

#[actix_web::test]
async fn zones_are_those_of_hosts() {
    each(async |cloud| {
        let (admin, reader) = (cloud.at("admin", 1), cloud.at("reader", 1));
        let none = admin.get("/os-availability-zone/detail").await.expect(200);
        assert_eq!(none["availabilityZoneInfo"].as_array().unwrap().len(), 1);
        assert_eq!(none["availabilityZoneInfo"][0]["zoneName"], "internal");
        three(cloud).await;
        let body = json!({"host": "host3", "binary": "nova-compute"});
        admin.put("/os-services/disable", body).await.expect(200);
        let list = reader.get("/os-availability-zone").await.expect(200);
        reader.conforms("availability_zones.index", &list);
        assert_eq!(
            list,
            json!({"availabilityZoneInfo": [
                {"zoneName": "nova", "zoneState": {"available": true}, "hosts": null},
                {"zoneName": "far", "zoneState": {"available": false}, "hosts": null}]})
        );
        let detail = admin.get("/os-availability-zone/detail").await.expect(200);
        admin.conforms("availability_zones.detail", &detail);
        let nova = &detail["availabilityZoneInfo"][1]["hosts"];
        assert_eq!(nova.as_object().unwrap().len(), 2);
        assert_eq!(nova["host1"]["nova-compute"]["available"], true);
        reader.get("/os-availability-zone/detail").await.fault(403);
        assert_eq!(admin.get("/os-aggregates").await.expect(200), json!({"aggregates": []}));
    })
    .await;
}

#[actix_web::test]
async fn os_hosts_until_2_42() {
    each(async |cloud| {
        three(cloud).await;
        crate::quotas::make_server(cloud, PROJECT_A, 3, 1000).await;
        let db = cloud.db().await;
        sqlx::query("UPDATE servers SET host = 'host1', root_gb = 5").execute(db.writer()).await.unwrap();
        db.close().await;
        for version in [1, 42] {
            let admin = cloud.at("admin", version);
            let list = admin.get("/os-hosts").await.expect(200);
            admin.conforms("os_hosts.index", &list);
            assert_eq!(list["hosts"][0], json!({"host_name": "host1", "service": "compute", "zone": "nova"}));
            let far = admin.get("/os-hosts?zone=far").await.expect(200);
            assert_eq!(far["hosts"].as_array().unwrap().len(), 1);
            let shown = admin.get("/os-hosts/host1").await.expect(200);
            admin.conforms("os_hosts.show", &shown);
            let rows: Vec<_> = shown["host"].as_array().unwrap().iter().map(|r| r["resource"].clone()).collect();
            let row = |project: &str, cpu: i64, memory_mb: i64, disk_gb: i64| {
                json!({"host": "host1", "project": project, "cpu": cpu, "memory_mb": memory_mb, "disk_gb": disk_gb})
            };
            assert_eq!(
                rows,
                [
                    row("(total)", 8, 16_384, 100),
                    row("(used_now)", 0, 0, 0),
                    row("(used_max)", 3, 1000, 5),
                    row(PROJECT_A, 3, 1000, 5)
                ]
            );
            let off = admin.put("/os-hosts/host1", json!({"status": "Disable"})).await.expect(200);
            admin.conforms("os_hosts.update", &off);
            assert_eq!(off, json!({"host": "host1", "status": "disabled"}));
            let services = admin.get("/os-services?host=host1").await.expect(200);
            assert_eq!(services["services"][0]["status"], "disabled");
            admin.put("/os-hosts/host1", json!({"status": "enable"})).await.expect(200);
            admin.put("/os-hosts/host1", json!({"maintenance_mode": "enable"})).await.fault(501);
            admin.put("/os-hosts/host1", json!({})).await.fault(400);
            assert_eq!(
                admin.get("/os-hosts/nosuch").await.fault(404),
                "Compute host nosuch could not be found."
            );
            admin.put("/os-hosts/nosuch", json!({"status": "enable"})).await.fault(404);
            for verb in ["reboot", "shutdown", "startup"] {
                admin.get(&format!("/os-hosts/nosuch/{verb}")).await.fault(404);
                assert_eq!(
                    admin.get(&format!("/os-hosts/host1/{verb}")).await.fault(501),
                    "The requested functionality is not supported."
                );
                cloud.at("member", version).get(&format!("/os-hosts/host1/{verb}")).await.fault(403);
            }
        }
        cloud.at("admin", 43).get("/os-hosts").await.fault(404);
        cloud.at("admin", 43).get("/os-hosts/host1").await.fault(404);
    })
    .await;
}
