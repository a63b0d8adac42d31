//! Servers over HTTP, in a world with agents, a scheduler, images and networks.

use crate::{
    jobs::until,
    support::{Client, Cloud, postgres_too},
    world::{IMAGE, NETWORK, World},
};
use ferrostack_bus::LocalBus;
use ferrostack_model::Timestamp;
use ferrostack_settings::Settings;
use serde_json::{Value, json};
use std::sync::Arc;

/// Where shapes of servers change, and the ends.
const VERSIONS: [u16; 34] = [
    1, 2, 3, 8, 9, 15, 16, 18, 19, 25, 26, 36, 37, 46, 47, 51, 57, 58, 61, 62, 63, 66, 69, 70, 71, 72, 73,
    75, 83, 84, 89, 90, 94, 96,
];

/// Runs `test` on every database there is, in a world of three hosts.
pub async fn each<F: AsyncFn(&mut Cloud, &World)>(test: F) {
    each_with(|_| {}, test).await;
}

/// The same with other settings.
pub async fn each_with<F: AsyncFn(&mut Cloud, &World)>(change: impl Fn(&mut Settings), test: F) {
    for postgres in postgres_too() {
        let bus = Arc::new(LocalBus::new());
        let world = World::start(bus.clone(), 3).await;
        let url = world.url.clone();
        let mut cloud = Cloud::start(postgres, bus, &|s: &mut Settings| {
            s.compute.network_url = Some(url.clone());
            s.compute.image_url = Some(url.clone());
            s.compute.quota.instances = 50;
            s.compute.quota.cores = -1;
            s.compute.build_inquiry_seconds = 1;
            change(s);
        })
        .await;
        let db = cloud.db().await;
        world.beat(&db, Timestamp::now()).await;
        db.close().await;
        let admin = cloud.at("admin", 1);
        let flavor = json!({"flavor": {"id": "f1", "name": "m1.x", "ram": 512, "vcpus": 1, "disk": 10}});
        admin.post("/flavors", flavor).await.expect(200);
        let specs = json!({"extra_specs": {"hw:watchdog_action": "reset"}});
        admin.post("/flavors/f1/os-extra_specs", specs).await.expect(200);
        test(&mut cloud, &world).await;
        world.stop.cancel();
        cloud.end().await;
    }
}

pub fn wish(more: Value) -> Value {
    let mut body =
        json!({"server": {"name": "vm", "imageRef": IMAGE, "flavorRef": "f1", "networks": "none"}});
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            body["server"].as_object_mut().unwrap().shift_remove(name);
        } else {
            body["server"][name] = value.clone();
        }
    }
    body
}

pub async fn make(client: Client<'_>, more: Value) -> String {
    client.post("/servers", wish(more)).await.expect(202)["server"]["id"].as_str().unwrap().to_owned()
}

pub async fn show(client: Client<'_>, id: &str) -> Value {
    client.get(&format!("/servers/{id}")).await.expect(200)["server"].clone()
}

pub async fn becomes(client: Client<'_>, id: &str, status: &str) -> Value {
    until(&format!("{id} is {status}"), async || {
        let server = show(client, id).await;
        (server["status"] == status && server["OS-EXT-STS:task_state"].is_null()).then_some(server)
    })
    .await
}

pub async fn up(client: Client<'_>, more: Value) -> String {
    let id = make(client, more).await;
    becomes(client, &id, "ACTIVE").await;
    id
}

pub async fn gone(client: Client<'_>, id: &str) {
    client.delete(&format!("/servers/{id}")).await.expect(204);
    until("the server is gone", async || {
        (client.get(&format!("/servers/{id}")).await.status == 404).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn a_server_lives_and_dies() {
    each(async |cloud, world| {
        let member = cloud.at("member", 37);
        let answer = member.post("/servers", wish(json!({"networks": [{"uuid": NETWORK}]}))).await;
        let location = answer.headers["location"].to_str().unwrap().to_owned();
        let made = answer.expect(202);
        member.conforms("servers.create", &made);
        assert_eq!(made["server"]["adminPass"].as_str().unwrap().len(), 12);
        let id = made["server"]["id"].as_str().unwrap();
        assert!(location.ends_with(&format!("/v2.1/servers/{id}")), "{location}");
        let server = becomes(member, id, "ACTIVE").await;
        assert_eq!(server["OS-EXT-STS:power_state"], 1);
        assert_eq!(server["addresses"]["private"][0]["version"], 4, "{server:#}");
        assert_eq!(server["OS-EXT-AZ:availability_zone"], "nova");
        assert_eq!(server["hostId"].as_str().unwrap().len(), 56);
        assert!(server.get("OS-EXT-SRV-ATTR:host").is_none());
        let action = format!("/servers/{id}/action");

        let busy = member.post(&action, json!({"os-start": null})).await.fault(409);
        assert_eq!(busy, format!("Cannot 'start' instance {id} while it is in vm_state active"));
        let accepted = member.post(&action, json!({"os-stop": null})).await;
        assert_eq!(accepted.headers["content-type"], "application/json");
        assert_eq!(accepted.expect(202), Value::Null);
        let server = becomes(member, id, "SHUTOFF").await;
        assert_eq!(server["OS-EXT-STS:power_state"], 4);
        let soft = json!({"reboot": {"type": "SOFT"}});
        let refused = member.post(&action, soft.clone()).await.fault(409);
        assert_eq!(refused, format!("Cannot 'reboot' instance {id} while it is in vm_state stopped"));
        member.post(&action, json!({"os-start": null})).await.expect(202);
        becomes(member, id, "ACTIVE").await;
        member.post(&action, soft).await.expect(202);
        becomes(member, id, "ACTIVE").await;
        member.post(&action, json!({"reboot": {"type": "hard"}})).await.expect(202);
        becomes(member, id, "ACTIVE").await;
        let orders = world.state.lock().orders.clone();
        let verbs: Vec<&str> = orders.iter().map(|o| o.split(' ').nth(1).unwrap()).collect();
        assert_eq!(verbs, ["ensure", "stop", "start", "reboot-soft", "reboot-hard"]);

        gone(member, id).await;
        assert_eq!(
            member.delete(&format!("/servers/{id}")).await.fault(404),
            format!("Instance {id} could not be found.")
        );
        let db = cloud.db().await;
        world.assert_empty(&db).await;
        db.close().await;
    })
    .await;
}

#[actix_web::test]
async fn every_version_has_novas_shape() {
    each(async |cloud, world| {
        let member = cloud.at("member", 94);
        let full = json!({"networks": [{"uuid": NETWORK}], "metadata": {"a": "b"}, "user_data": "aGk=",
            "description": "d", "config_drive": true, "accessIPv4": "192.0.2.7", "accessIPv6": "2001:db8::7",
            "tags": ["x", "y", "x"], "hostname": "h.example", "OS-DCF:diskConfig": "AUTO"});
        let id = up(member, full).await;
        world.state.lock().no_host = true;
        let broken = make(member, json!({"name": "broken"})).await;
        becomes(member, &broken, "ERROR").await;
        let stopped = {
            world.state.lock().no_host = false;
            up(member, json!({"name": "other"})).await
        };
        member.post(&format!("/servers/{stopped}/action"), json!({"os-stop": null})).await.expect(202);
        becomes(member, &stopped, "SHUTOFF").await;
        for version in VERSIONS {
            for who in ["admin", "member", "reader"] {
                let client = cloud.at(who, version);
                for id in [&id, &broken, &stopped] {
                    let body = client.get(&format!("/servers/{id}")).await.expect(200);
                    client.conforms("servers.show", &body);
                    let ips = client.get(&format!("/servers/{id}/ips")).await.expect(200);
                    client.conforms("ips.index", &ips);
                    let meta = client.get(&format!("/servers/{id}/metadata")).await.expect(200);
                    client.conforms("server_metadata.index", &meta);
                    let actions = client.get(&format!("/servers/{id}/os-instance-actions")).await.expect(200);
                    client.conforms("instance_actions.index", &actions);
                    let request = actions["instanceActions"][0]["request_id"].as_str().unwrap();
                    let path = format!("/servers/{id}/os-instance-actions/{request}");
                    let shown = client.get(&path).await.expect(200);
                    client.conforms("instance_actions.show", &shown);
                    let events = shown["instanceAction"]["events"].as_array();
                    assert_eq!(events.is_some(), who == "admin" || version >= 51);
                    if let Some(event) = events.and_then(|e| e.first()) {
                        assert_eq!(event.get("traceback").is_some(), who == "admin");
                        assert_eq!(event.get("host").is_some(), who == "admin" && version >= 62);
                        assert_eq!(event.get("details").is_some(), who == "admin" && version >= 84);
                    }
                }
                let list = client.get("/servers").await.expect(200);
                client.conforms("servers.index", &list);
                assert_eq!(list["servers"].as_array().unwrap().len(), 3);
                let detail = client.get("/servers/detail").await.expect(200);
                client.conforms("servers.detail", &detail);
                let one = &detail["servers"][2];
                assert_eq!(one["id"], *id);
                assert_eq!(one.get("OS-EXT-SRV-ATTR:host").is_some(), who == "admin");
                assert_eq!(one.get("OS-EXT-SRV-ATTR:user_data").is_some(), who == "admin" && version >= 3);
                assert_eq!(one.get("host_status").is_some(), who == "admin" && version >= 16);
                assert_eq!(
                    one.get("OS-EXT-SRV-ATTR:hostname").is_some(),
                    (who == "admin" && version >= 3) || version >= 90
                );
                assert_eq!(one["flavor"].get("id").is_some(), version < 47);
                assert_eq!(one.get("tags").is_some(), version >= 26);
                if who != "reader" {
                    let edit = json!({"server": {"name": "renamed"}});
                    let updated = client.put(&format!("/servers/{id}"), edit).await.expect(200);
                    client.conforms("servers.update", &updated);
                    assert_eq!(updated["server"]["name"], "renamed");
                }
            }
        }
        let admin = show(cloud.at("admin", 96), &id).await;
        assert_eq!(admin["OS-EXT-SRV-ATTR:user_data"], "aGk=");
        assert_eq!(admin["OS-EXT-SRV-ATTR:hostname"], "h.example");
        assert_eq!(admin["tags"], json!(["x", "y"]));
        assert_eq!(admin["config_drive"], "True");
        assert_eq!(admin["OS-DCF:diskConfig"], "AUTO");
        assert_eq!(admin["host_status"], "UP");
        assert_eq!(admin["flavor"]["extra_specs"], json!({"hw:watchdog_action": "reset"}));
        let fault = show(cloud.at("admin", 96), &broken).await["fault"].clone();
        assert!(
            fault["details"].as_str().unwrap().contains("RamFilter refused host1, host2, host3"),
            "{fault}"
        );
        let fault = show(cloud.at("member", 96), &broken).await["fault"].clone();
        assert!(fault["details"].as_str().unwrap().contains("RamFilter refused 3 hosts"), "{fault}");
        assert!(!fault.to_string().contains("host1"), "{fault}");
    })
    .await;
}

#[actix_web::test]
async fn metadata_is_kept() {
    each(async |cloud, _| {
        let member = cloud.at("member", 37);
        let id = up(member, json!({"metadata": {"a": "1"}})).await;
        let all = format!("/servers/{id}/metadata");
        let said = member.post(&all, json!({"metadata": {"b": "2"}})).await.expect(200);
        assert_eq!(said["metadata"], json!({"a": "1", "b": "2"}));
        member.conforms("server_metadata.create", &said);
        assert_eq!(
            member.put(&all, json!({"metadata": {"c": "3"}})).await.expect(200)["metadata"],
            json!({"c": "3"})
        );
        let one = member.put(&format!("{all}/d"), json!({"meta": {"d": "4"}})).await.expect(200);
        member.conforms("server_metadata.update", &one);
        assert_eq!(member.get(&format!("{all}/d")).await.expect(200), json!({"meta": {"d": "4"}}));
        let mismatch = member.put(&format!("{all}/x"), json!({"meta": {"y": "4"}})).await.fault(400);
        assert_eq!(mismatch, "Request body and URI mismatch");
        member.delete(&format!("{all}/d")).await.expect(204);
        assert_eq!(member.delete(&format!("{all}/d")).await.fault(404), "Metadata item was not found");
        assert_eq!(member.get(&format!("{all}/d")).await.fault(404), "Metadata item was not found");
        let many: serde_json::Map<_, _> = (0..200).map(|n| (format!("k{n}"), json!("v"))).collect();
        assert_eq!(
            member.post(&all, json!({"metadata": many})).await.fault(403),
            "Maximum number of metadata items exceeds 128"
        );
        for bad in [
            json!({"metadata": {"k": 1}}),
            json!({"metadata": {"k/": "v"}}),
            json!({"meta": {}}),
            json!({"metadata": {"k": "v".repeat(256)}}),
        ] {
            member.post(&all, bad).await.fault(400);
        }
        assert_eq!(member.get(&all).await.expect(200), json!({"metadata": {"c": "3"}}));
        assert_eq!(cloud.at("reader", 37).post(&all, json!({"metadata": {}})).await.status, 403);
        assert_eq!(cloud.at("other", 37).get(&all).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn actions_and_addresses() {
    each(async |cloud, world| {
        let (member, admin) = (cloud.at("member", 84), cloud.at("admin", 84));
        let id = up(member, json!({"networks": "auto"})).await;
        let action = format!("/servers/{id}/action");
        let output = |length: Value| json!({"os-getConsoleOutput": {"length": length}});
        let said = member.post(&action, json!({"os-getConsoleOutput": {}})).await.expect(200);
        member.conforms("servers.os-getConsoleOutput", &said);
        assert_eq!(said["output"], format!("one\ntwo\nlogin on {id}\n"));
        for (length, text) in [
            (json!(1), format!("login on {id}\n")),
            (json!("2"), format!("two\nlogin on {id}\n")),
            (json!(-1), format!("one\ntwo\nlogin on {id}\n")),
            (json!(null), format!("one\ntwo\nlogin on {id}\n")),
        ] {
            assert_eq!(member.post(&action, output(length)).await.expect(200)["output"], text);
        }
        member.post(&action, output(json!("x"))).await.fault(400);
        member.post(&action, output(json!(-2))).await.fault(400);

        let ips = member.get(&format!("/servers/{id}/ips/private")).await.expect(200);
        member.conforms("ips.show", &ips);
        assert_eq!(
            member.get(&format!("/servers/{id}/ips/mars")).await.fault(404),
            "Instance is not a member of specified network"
        );

        assert_eq!(
            member.post(&action, json!({"nope": null})).await.fault(400),
            "There is no such action: nope"
        );
        assert_eq!(
            member.post(&action, json!({"resetSomething": null})).await.fault(400),
            "There is no such action: resetSomething"
        );
        assert_eq!(
            member.post(&action, json!({"os-start": null, "os-stop": null})).await.fault(400),
            "Malformed request body"
        );
        assert_eq!(member.post(&action, json!([])).await.status, 400);
        member.post(&action, json!({"reboot": {"type": "MAYBE"}})).await.fault(400);
        member.post(&action, json!({"reboot": null})).await.fault(400);
        assert_eq!(member.post("/servers/nope/action", json!({"os-stop": null})).await.status, 404);
        assert_eq!(cloud.at("other", 84).post(&action, json!({"os-stop": null})).await.status, 404);
        assert_eq!(cloud.at("reader", 84).post(&action, json!({"os-stop": null})).await.status, 403);

        let reset = |state: &str| json!({"os-resetState": {"state": state}});
        assert_eq!(member.post(&action, reset("error")).await.status, 403);
        admin.post(&action, reset("paused")).await.fault(400);
        admin.post(&action, reset("error")).await.expect(202);
        assert_eq!(show(member, &id).await["status"], "ERROR");
        admin.post(&action, reset("active")).await.expect(202);
        assert_eq!(show(member, &id).await["status"], "ACTIVE");

        // An agent that refuses leaves the server as it was, and says why.
        let host = show(admin, &id).await["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned();
        world.state.lock().failing.insert(host.clone(), false);
        member.post(&action, json!({"os-stop": null})).await.expect(202);
        becomes(member, &id, "ACTIVE").await;
        let list = member.get(&format!("/servers/{id}/os-instance-actions?limit=1")).await.expect(200);
        member.conforms("instance_actions.index", &list);
        let last = &list["instanceActions"][0];
        assert_eq!((&last["action"], &last["message"]), (&json!("stop"), &json!("Error")));
        assert!(list["links"][0]["href"].as_str().unwrap().contains("marker=req-"));
        let request = last["request_id"].as_str().unwrap();
        let path = format!("/servers/{id}/os-instance-actions/{request}");
        let event = admin.get(&path).await.expect(200)["instanceAction"]["events"][0].clone();
        assert_eq!(event["result"], "Error");
        assert_eq!(event["details"], "The guest does not listen.");
        assert!(event["traceback"].as_str().unwrap().contains(&host));
        let text = member.get(&path).await.expect(200).to_string();
        assert!(!text.contains("listen") && !text.contains(&host), "{text}");
        assert_eq!(member.get(&format!("/servers/{id}/os-instance-actions/req-x")).await.status, 404);
        assert_eq!(member.get(&format!("/servers/{id}/os-instance-actions?marker=nope")).await.status, 400);
        let rest =
            member.get(&format!("/servers/{id}/os-instance-actions?marker={request}")).await.expect(200);
        let names: Vec<&str> = rest["instanceActions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["action"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["resetState", "resetState", "create"]);
        // Not launched: no power, no console.
        world.state.lock().no_host = true;
        let broken = make(member, json!({})).await;
        becomes(member, &broken, "ERROR").await;
        let path = format!("/servers/{broken}/action");
        assert_eq!(
            member.post(&path, json!({"os-stop": null})).await.fault(409),
            format!("Instance {broken} is in an invalid state for 'stop'")
        );
        assert_eq!(
            member.post(&path, json!({"os-getConsoleOutput": {}})).await.fault(409),
            format!("Instance {broken} is not ready")
        );
        gone(member, &broken).await;
    })
    .await;
}
