//! `os-migrateLive`, `evacuate` and what is asked of live migrations, over HTTP.

use crate::{
    jobs::until,
    servers::{becomes, each, up},
    support::Client,
    world::World,
};
use ferrostack_model::Timestamp;
use serde_json::{Value, json};

fn live_wish(version: u16, host: Value) -> Value {
    let mut wish =
        json!({"host": host, "block_migration": if version < 25 { json!(true) } else { json!("auto") }});
    if version < 25 {
        wish["disk_over_commit"] = json!(false);
    }
    json!({"os-migrateLive": wish})
}

async fn host_of(admin: Client<'_>, id: &str) -> String {
    let server = admin.get(&format!("/servers/{id}")).await.expect(200);
    server["server"]["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned()
}

async fn latest(admin: Client<'_>, id: &str) -> Value {
    let all = admin.get("/os-migrations").await.expect(200);
    let mine = |m: &&Value| m["instance_uuid"] == id;
    let mut found: Vec<Value> = all["migrations"].as_array().unwrap().iter().filter(mine).cloned().collect();
    found.sort_by_key(|m| std::cmp::Reverse(m["id"].as_i64()));
    found.into_iter().next().unwrap_or(Value::Null)
}

async fn down(admin: Client<'_>, host: &str, down: bool) {
    let body = json!({"host": host, "binary": "nova-compute", "forced_down": down});
    admin.put("/os-services/force-down", body).await.expect(200);
}

fn lose(world: &World, host: &str) {
    let mut state = world.state.lock();
    state.guests.remove(host);
    state.mute.insert(host.to_owned());
}

#[actix_web::test]
async fn a_server_moves_live_at_every_microversion() {
    each(async |cloud, world| {
        let id = up(cloud.at("member", 37), json!({})).await;
        for version in [1, 24, 25, 29, 30, 33, 34, 67, 68, 96] {
            let admin = cloud.at("admin", version);
            let from = host_of(cloud.at("admin", 1), &id).await;
            let action = format!("/servers/{id}/action");
            let answer = admin.post(&action, live_wish(version, Value::Null)).await;
            assert_eq!(answer.expect(202), Value::Null);
            becomes(cloud.at("admin", 1), &id, "ACTIVE").await;
            let now = host_of(cloud.at("admin", 1), &id).await;
            assert_ne!(now, from, "2.{version}");
            let row = latest(cloud.at("admin", 59), &id).await;
            assert_eq!(
                (&row["status"], &row["migration_type"], &row["source_compute"], &row["dest_compute"]),
                (&json!("completed"), &json!("live-migration"), &json!(from), &json!(now))
            );
            assert_eq!(world.guest_count(), 1);
        }
        assert_eq!(world.state.lock().live.block[..3], [Some(true), Some(true), None]);
        let actions =
            cloud.at("admin", 62).get(&format!("/servers/{id}/os-instance-actions")).await.expect(200);
        assert_eq!(actions["instanceActions"][0]["action"], "live-migration", "{actions:#}");
    })
    .await;
}

#[actix_web::test]
async fn refusals_are_novas() {
    each(async |cloud, world| {
        let member = cloud.at("member", 37);
        let id = up(member, json!({})).await;
        let action = format!("/servers/{id}/action");
        let admin = |version| cloud.at("admin", version);
        let from = host_of(admin(1), &id).await;
        let told = |text: &str| text.to_owned();
        // Who may: managers and admins, and only admins name a host.
        for who in ["member", "reader", "nobody"] {
            let refused = cloud.at(who, 37).post(&action, live_wish(37, Value::Null)).await.fault(403);
            assert_eq!(
                refused,
                "Policy doesn't allow os_compute_api:os-migrate-server:migrate_live to be performed."
            );
        }
        cloud.at("other", 37).post(&action, live_wish(37, Value::Null)).await.expect(404);
        // Bad bodies name the field and change nothing.
        for (version, body) in [
            (1, json!({"os-migrateLive": {"host": null, "block_migration": "auto", "disk_over_commit": false}})),
            (1, json!({"os-migrateLive": {"host": null, "block_migration": true}})),
            (25, json!({"os-migrateLive": {"host": null, "block_migration": true, "disk_over_commit": false}})),
            (25, json!({"os-migrateLive": {"host": "x".repeat(256), "block_migration": true}})),
            (25, json!({"os-migrateLive": {"host": "a b", "block_migration": true}})),
            (29, json!({"os-migrateLive": {"host": null, "block_migration": true, "force": true}})),
            (68, json!({"os-migrateLive": {"host": "x", "block_migration": true, "force": true}})),
            (34, json!({"os-migrateLive": null})),
        ] {
            admin(version).post(&action, body).await.expect(400);
        }
        let forced = json!({"os-migrateLive": {"host": null, "block_migration": true, "force": true}});
        let refused = admin(30).post(&action, forced).await.fault(400);
        assert_eq!(refused, "Can't force to a non-provided destination");
        let refused = admin(68).post(&action, live_wish(68, json!("nowhere"))).await.fault(400);
        assert_eq!(refused, "Compute host nowhere could not be found.");
        // Checks are told of below 2.34.
        let refused = admin(1).post(&action, live_wish(1, json!(from))).await.fault(400);
        assert_eq!(refused, format!("Unable to migrate instance ({id}) to current host ({from})."));
        let refused = admin(1).post(&action, live_wish(1, json!("nowhere"))).await.fault(400);
        assert_eq!(refused, "Compute host nowhere could not be found.");
        world.state.lock().no_host = true;
        let refused = admin(33).post(&action, live_wish(33, Value::Null)).await.fault(400);
        assert!(refused.starts_with("No valid host was found."), "{refused}");
        // And not from then on.
        admin(34).post(&action, live_wish(34, Value::Null)).await.expect(202);
        becomes(member, &id, "ACTIVE").await;
        world.state.lock().no_host = false;
        assert_eq!(latest(admin(59), &id).await["status"], "error");
        let other = if from == "host2" { "host3" } else { "host2" };
        down(admin(11), other, true).await;
        let refused = admin(1).post(&action, live_wish(1, json!(other))).await.fault(400);
        assert_eq!(refused, format!("Compute service of {other} is unavailable at this time."));
        down(admin(11), other, false).await;
        // States and locks.
        member.post(&action, json!({"os-stop": null})).await.expect(202);
        member.post(&action, json!({"lock": null})).await.expect(202);
        let stopped = becomes(member, &id, "SHUTOFF").await;
        assert_eq!(stopped["status"], "SHUTOFF");
        let refused = admin(34).post(&action, live_wish(34, Value::Null)).await.fault(409);
        assert_eq!(refused, told(&format!("Cannot 'os-migrateLive' instance {id} while it is in vm_state stopped")));
        assert_eq!(host_of(admin(1), &id).await, from);
    })
    .await;
}

#[actix_web::test]
async fn a_migration_under_way_is_shown_aborted_and_forced() {
    each(async |cloud, world| {
        let id = up(cloud.at("member", 37), json!({})).await;
        let action = format!("/servers/{id}/action");
        for (version, force) in [(24, false), (65, false), (22, true), (96, true)] {
            world.state.lock().live.hold = true;
            let from = host_of(cloud.at("admin", 1), &id).await;
            cloud.at("admin", 34).post(&action, live_wish(34, Value::Null)).await.expect(202);
            let admin = cloud.at("admin", 80);
            let row = until("it is shown", async || {
                let all = admin.get(&format!("/servers/{id}/migrations")).await.expect(200);
                all["migrations"].as_array()?.iter().find(|m| m["status"] == "running").cloned()
            })
            .await;
            let number = row["id"].as_i64().unwrap();
            let shown = until("progress", async || {
                let shown = admin.get(&format!("/servers/{id}/migrations/{number}")).await.expect(200);
                (shown["migration"]["memory_remaining_bytes"] == 1).then_some(shown)
            })
            .await;
            admin.conforms("server_migrations.show", &shown);
            assert_eq!(
                cloud.at("admin", 1).get(&format!("/servers/{id}")).await.expect(200)["server"]["status"],
                "MIGRATING"
            );
            let path = format!("/servers/{id}/migrations/{number}");
            let client = cloud.at("admin", version);
            // Not before its time, not by everybody, not another's.
            cloud
                .at("admin", 21)
                .post(&format!("{path}/action"), json!({"force_complete": null}))
                .await
                .expect(404);
            cloud.at("admin", 23).delete(&path).await.expect(404);
            cloud.at("member", 80).delete(&path).await.expect(403);
            cloud
                .at("member", 80)
                .post(&format!("{path}/action"), json!({"force_complete": null}))
                .await
                .expect(403);
            let missing = admin.delete(&format!("/servers/{id}/migrations/999999")).await.fault(404);
            assert_eq!(missing, format!("Migration 999999 not found for instance {id}"));
            let bad = admin.post(&format!("{path}/action"), json!({"force_complete": 1})).await;
            bad.expect(400);
            match force {
                true => {
                    client.post(&format!("{path}/action"), json!({"force_complete": null})).await.expect(202)
                }
                false => client.delete(&path).await.expect(202),
            };
            becomes(cloud.at("admin", 1), &id, "ACTIVE").await;
            world.state.lock().live.hold = false;
            let ended = latest(cloud.at("admin", 59), &id).await;
            assert_eq!(ended["status"], if force { "completed" } else { "cancelled" });
            assert_eq!(host_of(cloud.at("admin", 1), &id).await != from, force);
            let late = admin.delete(&path).await.fault(409);
            assert_eq!(
                late,
                format!("Cannot 'abort live migration' instance {id} while it is in task_state None")
            );
            let actions = admin.get(&format!("/servers/{id}/os-instance-actions")).await.expect(200);
            let names: Vec<&str> = actions["instanceActions"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|a| a["action"].as_str())
                .collect();
            let name = if force { "live_migration_force_complete" } else { "live_migration_cancel" };
            assert!(names.contains(&name), "{names:?}");
        }
    })
    .await;
}

#[actix_web::test]
async fn evacuation_at_every_microversion() {
    each(async |cloud, world| {
        for (version, body) in [
            (1, json!({"onSharedStorage": false})),
            (13, json!({"onSharedStorage": "False", "adminPass": "hunter2"})),
            (13, json!({"onSharedStorage": true})),
            (14, json!({"adminPass": "hunter2"})),
            (29, json!({"force": false})),
            (67, json!({})),
            (68, json!({})),
            (94, json!({})),
            (95, json!({})),
        ] {
            let id = up(cloud.at("member", 37), json!({})).await;
            let (admin, action) = (cloud.at("admin", version), format!("/servers/{id}/action"));
            let from = host_of(cloud.at("admin", 1), &id).await;
            let wish = json!({"evacuate": body});
            let refused = admin.post(&action, wish.clone()).await.fault(400);
            assert_eq!(refused, format!("Compute service of {from} is still in use."));
            cloud.at("member", version).post(&action, wish.clone()).await.expect(403);
            down(cloud.at("admin", 11), &from, true).await;
            lose(world, &from);
            let answer = admin.post(&action, wish.clone()).await.expect(200);
            match version {
                ..14 if body["onSharedStorage"] == true => assert_eq!(answer, json!({"adminPass": null})),
                ..14 => {
                    let password = answer["adminPass"].as_str().unwrap();
                    assert!(body.get("adminPass").is_none_or(|p| p == password));
                    assert!(password.len() >= 7);
                }
                _ => assert_eq!(answer, Value::Null),
            }
            let status = if version < 95 { "ACTIVE" } else { "SHUTOFF" };
            becomes(cloud.at("admin", 1), &id, status).await;
            assert_ne!(host_of(cloud.at("admin", 1), &id).await, from);
            let row = latest(cloud.at("admin", 59), &id).await;
            assert_eq!((&row["status"], &row["migration_type"]), (&json!("done"), &json!("evacuation")));
            let actions = admin.get(&format!("/servers/{id}/os-instance-actions")).await.expect(200);
            assert_eq!(actions["instanceActions"][0]["action"], "evacuate");
            world.state.lock().mute.clear();
            down(cloud.at("admin", 11), &from, false).await;
            world.beat(&cloud.db().await, Timestamp::now()).await;
            world.report_guests(&from, Timestamp::now(), true).await;
            crate::servers::gone(cloud.at("admin", 1), &id).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn evacuations_that_cannot_be() {
    each(async |cloud, world| {
        let id = up(cloud.at("member", 37), json!({})).await;
        let action = format!("/servers/{id}/action");
        let from = host_of(cloud.at("admin", 1), &id).await;
        let ask = async |version: u16, body: Value| {
            cloud.at("admin", version).post(&action, json!({"evacuate": body})).await
        };
        for (version, body) in [
            (1, json!({})),
            (1, json!({"onSharedStorage": "maybe"})),
            (14, json!({"onSharedStorage": false})),
            (28, json!({"force": true})),
            (68, json!({"force": true})),
            (29, json!({"host": ""})),
            (29, json!({"adminPass": 7})),
        ] {
            ask(version, body).await.expect(400);
        }
        let refused = ask(13, json!({"onSharedStorage": true, "adminPass": "x"})).await.fault(400);
        assert_eq!(refused, "admin password can't be changed on existing disk");
        assert_eq!(
            ask(29, json!({"force": true})).await.fault(400),
            "Can't force to a non-provided destination"
        );
        assert_eq!(ask(29, json!({"host": "nowhere"})).await.fault(404), "Compute host nowhere not found.");
        assert_eq!(ask(29, json!({"host": from})).await.fault(400), "The target host can't be the same one.");
        down(cloud.at("admin", 11), &from, true).await;
        lose(world, &from);
        world.state.lock().no_host = true;
        ask(68, json!({})).await.expect(200);
        let server = becomes(cloud.at("admin", 1), &id, "ERROR").await;
        assert!(
            server["fault"]["message"].as_str().unwrap().starts_with("No valid host was found."),
            "{server:#}"
        );
        assert_eq!(host_of(cloud.at("admin", 1), &id).await, from);
        world.state.lock().no_host = false;
        // From ERROR again, to a host of one's choice.
        let other = if from == "host3" { "host2" } else { "host3" };
        ask(29, json!({"host": other, "force": true})).await.expect(200);
        becomes(cloud.at("admin", 1), &id, "ACTIVE").await;
        assert_eq!(host_of(cloud.at("admin", 1), &id).await, other);
    })
    .await;
}
