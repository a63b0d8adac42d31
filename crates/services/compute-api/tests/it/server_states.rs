//! Paused and suspended servers, over HTTP.

use crate::{
    jobs::until,
    servers::{becomes, each, gone, make, show, up},
    support::Cloud,
    world::{World, count},
};
use ferrostack_bus::{Address, Bus};
use ferrostack_compute_api::store::servers::states;
use ferrostack_model::{
    Timestamp,
    auth::Secret,
    message::{Envelope, GuestPassword},
    server::PowerState,
};
use serde_json::{Value, json};

/// The host of a server.
async fn host_of(cloud: &Cloud, id: &str) -> String {
    show(cloud.at("admin", 84), id).await["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned()
}

/// What a server's guest was made to be on its host.
fn set_power(world: &World, host: &str, id: &str, power: PowerState) {
    world.state.lock().guests.get_mut(host).unwrap().insert(id.to_owned(), power);
}

#[actix_web::test]
async fn servers_are_paused_and_suspended() {
    each(async |cloud, world| {
        let (member, admin) = (cloud.at("member", 84), cloud.at("admin", 84));
        let id = up(member, json!({})).await;
        let action = format!("/servers/{id}/action");
        let act = async |name: &str| {
            let said = member.post(&action, json!({name: null})).await;
            assert_eq!(said.headers["content-type"], "application/json", "{name}: {}", said.text);
            assert_eq!(said.expect(202), Value::Null);
        };
        for (name, status, power, event) in [
            ("pause", "PAUSED", 3, "compute_pause_instance"),
            ("unpause", "ACTIVE", 1, "compute_unpause_instance"),
            ("suspend", "SUSPENDED", 4, "compute_suspend_instance"),
            ("resume", "ACTIVE", 1, "compute_resume_instance"),
        ] {
            act(name).await;
            let server = becomes(member, &id, status).await;
            assert_eq!(server["OS-EXT-STS:power_state"], power, "{name}");
            let list = admin.get(&format!("/servers/{id}/os-instance-actions?limit=1")).await.expect(200);
            assert_eq!(list["instanceActions"][0]["action"], name);
            let request = list["instanceActions"][0]["request_id"].as_str().unwrap();
            let one = admin.get(&format!("/servers/{id}/os-instance-actions/{request}")).await.expect(200);
            let event_of = &one["instanceAction"]["events"][0];
            assert_eq!((&event_of["event"], &event_of["result"]), (&json!(event), &json!("Success")));
        }
        let refused = |name: &str, state: &str| {
            format!("Cannot '{name}' instance {id} while it is in vm_state {state}")
        };
        for name in ["unpause", "resume"] {
            let text = member.post(&action, json!({name: null})).await.fault(409);
            assert_eq!(text, refused(name, "active"));
        }
        // Out of both a hard reboot leads.
        for name in ["pause", "suspend"] {
            act(name).await;
            let vm_state = if name == "pause" { "paused" } else { "suspended" };
            becomes(member, &id, &vm_state.to_uppercase()).await;
            for other in ["pause", "suspend", "os-start", "os-stop"] {
                let text = member.post(&action, json!({other: null})).await.fault(409);
                let verb = other.trim_start_matches("os-");
                assert_eq!(text, refused(verb, vm_state));
            }
            let text = member.post(&action, json!({"reboot": {"type": "SOFT"}})).await.fault(409);
            assert_eq!(text, refused("reboot", vm_state));
            member.post(&action, json!({"reboot": {"type": "HARD"}})).await.expect(202);
            becomes(member, &id, "ACTIVE").await;
        }
        // What the agent refuses leaves the server as it was.
        let host = show(admin, &id).await["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned();
        world.state.lock().failing.insert(host.clone(), false);
        act("suspend").await;
        let server = becomes(member, &id, "ACTIVE").await;
        assert!(server.get("fault").is_none(), "{server:#}");
        world.state.lock().failing.clear();
        for who in ["reader", "nobody"] {
            assert_eq!(cloud.at(who, 84).post(&action, json!({"pause": null})).await.status, 403);
        }
        assert_eq!(cloud.at("other", 84).post(&action, json!({"pause": null})).await.status, 404);
        act("suspend").await;
        becomes(member, &id, "SUSPENDED").await;
        gone(member, &id).await;
        assert_eq!(world.guest_count(), 0);
    })
    .await;
}

#[actix_web::test]
async fn locks_hold_as_in_nova() {
    each(async |cloud, _| {
        let (member, admin) = (cloud.at("member", 84), cloud.at("admin", 84));
        let id = up(member, json!({})).await;
        let action = format!("/servers/{id}/action");
        let locked = |server: &Value| (server["locked"].clone(), server["locked_reason"].clone());
        assert_eq!(locked(&show(member, &id).await), (json!(false), Value::Null));
        // Before 2.73 a reason is not known, whatever the body.
        cloud.at("member", 72).post(&action, json!({"lock": {"locked_reason": "x"}})).await.expect(202);
        assert_eq!(locked(&show(member, &id).await), (json!(true), Value::Null));
        // Locked already: not even the reason changes.
        member.post(&action, json!({"lock": {"locked_reason": "late"}})).await.expect(202);
        assert_eq!(locked(&show(member, &id).await).1, Value::Null);
        for body in [
            json!({"os-stop": null}),
            json!({"pause": null}),
            json!({"suspend": null}),
            json!({"rescue": null}),
            json!({"changePassword": {"adminPass": "x"}}),
            json!({"trigger_crash_dump": null}),
            json!({"reboot": {"type": "HARD"}}),
            json!({"forceDelete": null}),
        ] {
            let text = member.post(&action, body).await.fault(409);
            assert_eq!(text, format!("Instance {id} is locked"));
        }
        assert_eq!(member.delete(&format!("/servers/{id}")).await.status, 409);
        member.post(&action, json!({"unlock": null})).await.expect(202);
        assert_eq!(locked(&show(member, &id).await), (json!(false), Value::Null));
        // An admin of the same project locks as the owner does.
        admin.post(&action, json!({"lock": {"locked_reason": "because"}})).await.expect(202);
        assert_eq!(locked(&show(member, &id).await), (json!(true), json!("because")));
        member.post(&action, json!({"unlock": null})).await.expect(202);
        for bad in [
            json!({"lock": {"locked_reason": ""}}),
            json!({"lock": {"locked_reason": "x".repeat(256)}}),
            json!({"lock": {"locked_reason": 1}}),
            json!({"lock": {"reason": "x"}}),
            json!({"lock": "x"}),
        ] {
            member.post(&action, bad).await.fault(400);
        }
        // A lock of an admin of elsewhere is not the owner's to open.
        let theirs = up(cloud.at("other", 84), json!({})).await;
        let action = format!("/servers/{theirs}/action");
        let other = cloud.at("other", 84);
        admin.post(&action, json!({"lock": {"locked_reason": "maintenance"}})).await.expect(202);
        assert_eq!(other.post(&action, json!({"unlock": null})).await.status, 403);
        assert_eq!(locked(&show(other, &theirs).await), (json!(true), json!("maintenance")));
        admin.post(&action, json!({"os-stop": null})).await.expect(202);
        becomes(other, &theirs, "SHUTOFF").await;
        admin.post(&action, json!({"unlock": null})).await.expect(202);
        other.post(&action, json!({"os-start": null})).await.expect(202);
        becomes(other, &theirs, "ACTIVE").await;
        let list = admin.get(&format!("/servers/{theirs}/os-instance-actions")).await.expect(200);
        let names: Vec<_> =
            list["instanceActions"].as_array().unwrap().iter().map(|a| &a["action"]).collect();
        assert_eq!(names, ["start", "unlock", "stop", "lock", "create"]);
        assert_eq!(cloud.at("reader", 84).post(&action, json!({"lock": null})).await.status, 404);
    })
    .await;
}

#[actix_web::test]
async fn passwords_are_changed_inside_the_guest() {
    each(async |cloud, world| {
        let member = cloud.at("member", 84);
        let id = up(member, json!({})).await;
        let action = format!("/servers/{id}/action");
        let change = |password: &str| json!({"changePassword": {"adminPass": password}});
        member.post(&action, change("n3w")).await.expect(202);
        assert_eq!(world.state.lock().passwords[&id], "root:n3w", "the answer comes when it is done");
        assert_eq!(show(member, &id).await["status"], "ACTIVE");
        world.state.lock().no_guest_agent = true;
        let text = member.post(&action, change("again")).await.fault(501);
        assert_eq!(text, "Unable to set password on instance");
        let server = becomes(member, &id, "ACTIVE").await;
        assert!(!server.to_string().contains("again"));
        world.state.lock().no_guest_agent = false;
        let host = host_of(cloud, &id).await;
        world.state.lock().failing.insert(host, false);
        member.post(&action, change("third")).await.fault(409);
        world.state.lock().failing.clear();
        for bad in [
            json!({"changePassword": {}}),
            json!({"changePassword": null}),
            json!({"changePassword": {"adminPass": 1}}),
            json!({"changePassword": {"adminPass": "x", "user": "root"}}),
            change(&"x".repeat(5000)),
            change("a\u{0}b"),
        ] {
            member.post(&action, bad).await.fault(400);
        }
        // Nothing of it is kept, neither where it was wanted nor where it failed.
        let db = cloud.db().await;
        assert_eq!(count(&db, "SELECT COUNT(*) FROM server_inputs WHERE admin_pass IS NOT NULL").await, 0);
        for secret in ["n3w", "again", "third"] {
            let jobs: Vec<(String,)> =
                ferrostack_db::sqlx::query_as("SELECT data FROM jobs").fetch_all(db.reader()).await.unwrap();
            assert!(jobs.iter().all(|(data,)| !data.contains(secret)), "{secret} is in a job");
        }
        db.close().await;
        member.post(&action, json!({"os-stop": null})).await.expect(202);
        becomes(member, &id, "SHUTOFF").await;
        let text = member.post(&action, change("x")).await.fault(409);
        assert_eq!(text, format!("Cannot 'changePassword' instance {id} while it is in vm_state stopped"));
    })
    .await;
}

#[actix_web::test]
async fn posted_passwords_are_shown_and_forgotten() {
    each(async |cloud, world| {
        let member = cloud.at("member", 84);
        let id = up(member, json!({})).await;
        let path = format!("/servers/{id}/os-server-password");
        let host = host_of(cloud, &id).await;
        let said = member.get(&path).await.expect(200);
        member.conforms("server_password.index", &said);
        assert_eq!(said, json!({"password": ""}));
        let post = async |host: &str, password: &str| {
            let message =
                GuestPassword { host: host.into(), server_id: id.clone(), password: Secret(password.into()) };
            cloud.bus.publish(&Address::Compute, &Envelope::new(&message, None).unwrap()).await.unwrap();
        };
        // An agent speaks of its own guests only; and what is too long is refused.
        post("elsewhere", "stolen").await;
        post(&host, &"x".repeat(1021)).await;
        until("the long one is refused", async || {
            (cloud.bus.dead_letters(9).await.unwrap().len() == 1).then_some(())
        })
        .await;
        post(&host, "Zm9v").await;
        until("it is kept", async || {
            (member.get(&path).await.expect(200)["password"] == "Zm9v").then_some(())
        })
        .await;
        post(&host, "YmFy").await;
        let reader = cloud.at("reader", 84);
        assert_eq!(reader.get(&path).await.expect(200)["password"], "Zm9v");
        assert_eq!(reader.delete(&path).await.status, 403);
        assert_eq!(cloud.at("other", 84).get(&path).await.status, 404);
        member.delete(&path).await.expect(204);
        assert!(world.state.lock().asked.contains(&"DELETE password".to_owned()), "its agent takes another");
        post(&host, "YmFy").await;
        until("another is kept", async || {
            (member.get(&path).await.expect(200)["password"] == "YmFy").then_some(())
        })
        .await;
        let db = cloud.db().await;
        assert_eq!(states::posted_password(&db, &id).await.unwrap().as_deref(), Some("YmFy"));
        db.close().await;
    })
    .await;
}

#[actix_web::test]
async fn diagnostics_have_both_forms() {
    each(async |cloud, world| {
        let member = cloud.at("member", 84);
        let id = up(member, json!({})).await;
        let path = format!("/servers/{id}/diagnostics");
        assert_eq!(member.get(&path).await.status, 403);
        for version in [1, 47] {
            let said = cloud.at("admin", version).get(&path).await.expect(200);
            cloud.at("admin", version).conforms("server_diagnostics.index", &said);
            assert_eq!(said["cpu0_time"], 17_300_000_000i64);
            assert_eq!((&said["memory"], &said["memory-rss"]), (&json!(524_288), &json!(1000)));
            assert_eq!((&said["vda_read"], &said["vda_errors"]), (&json!(262_144), &json!(-1)));
            assert_eq!(said["vnet1_rx"], 2_070_139);
        }
        for version in [48, 96] {
            let said = cloud.at("admin", version).get(&path).await.expect(200);
            cloud.at("admin", version).conforms("server_diagnostics.index", &said);
            assert_eq!((&said["state"], &said["driver"]), (&json!("running"), &json!("libvirt")));
            assert_eq!(said["memory_details"], json!({"maximum": 512, "used": 512}));
            assert_eq!(said["nic_details"][0]["rx_octets"], 2_070_139);
            assert_eq!(
                (&said["num_cpus"], &said["num_disks"], &said["num_nics"]),
                (&json!(1), &json!(1), &json!(1))
            );
        }
        let host = host_of(cloud, &id).await;
        set_power(world, &host, &id, PowerState::Shutdown);
        let text = cloud.at("admin", 96).get(&path).await.fault(409);
        assert_eq!(
            text,
            format!("Cannot 'get_diagnostics' instance {id} while it is in power state shutdown")
        );
        world.state.lock().no_host = true;
        let nowhere = make(member, json!({})).await;
        becomes(member, &nowhere, "ERROR").await;
        let text = cloud.at("admin", 96).get(&format!("/servers/{nowhere}/diagnostics")).await.fault(409);
        assert_eq!(text, format!("Instance {nowhere} is not ready"));
    })
    .await;
}

#[actix_web::test]
async fn crash_dumps_and_network_actions() {
    each(async |cloud, world| {
        let (member, admin) = (cloud.at("member", 84), cloud.at("admin", 84));
        let id = up(member, json!({"networks": "auto"})).await;
        let action = format!("/servers/{id}/action");
        assert_eq!(
            cloud.at("member", 16).post(&action, json!({"trigger_crash_dump": null})).await.status,
            404
        );
        member.post(&action, json!({"trigger_crash_dump": {}})).await.fault(400);
        cloud.at("member", 17).post(&action, json!({"trigger_crash_dump": null})).await.expect(202);
        assert_eq!(world.state.lock().asked, ["POST crash-dump"]);
        let last = async || {
            let list = admin.get(&format!("/servers/{id}/os-instance-actions?limit=1")).await.expect(200);
            let request = list["instanceActions"][0]["request_id"].as_str().unwrap().to_owned();
            let one = admin.get(&format!("/servers/{id}/os-instance-actions/{request}")).await.expect(200);
            let event = &one["instanceAction"]["events"][0];
            (one["instanceAction"]["action"].clone(), event["event"].clone(), event["result"].clone())
        };
        let name = json!("trigger_crash_dump");
        assert_eq!(last().await, (name.clone(), json!("compute_trigger_crash_dump"), json!("Success")));
        set_power(world, &host_of(cloud, &id).await, &id, PowerState::Shutdown);
        // As in Nova it is the event that tells.
        member.post(&action, json!({"trigger_crash_dump": null})).await.expect(202);
        assert_eq!(last().await, (name, json!("compute_trigger_crash_dump"), json!("Error")));
        set_power(world, &host_of(cloud, &id).await, &id, PowerState::Running);

        for who in ["admin", "member"] {
            let gone = cloud.at(who, 84).post(&action, json!({"resetNetwork": null})).await.fault(410);
            assert!(gone.starts_with("This resource is no longer available."), "{gone}");
        }
        assert_eq!(member.post(&action, json!({"injectNetworkInfo": null})).await.status, 403);
        for port in world.state.lock().ports.values_mut() {
            port["fixed_ips"][0]["ip_address"] = json!("10.0.99.99");
        }
        admin.post(&action, json!({"injectNetworkInfo": null})).await.expect(202);
        assert_eq!(show(member, &id).await["addresses"]["private"][0]["addr"], "10.0.99.99");
        gone(member, &id).await;
    })
    .await;
}

#[actix_web::test]
async fn reports_correct_paused_suspended_and_deleted_servers() {
    each(async |cloud, world| {
        let member = cloud.at("member", 84);
        let id = up(member, json!({})).await;
        let host = host_of(cloud, &id).await;
        let action = format!("/servers/{id}/action");
        let mut later = 0;
        let mut report = async |power: PowerState| {
            later += 100;
            set_power(world, &host, &id, power);
            world.report_guests(&host, Timestamp::now().plus_millis(later), true).await;
        };
        member.post(&action, json!({"suspend": null})).await.expect(202);
        becomes(member, &id, "SUSPENDED").await;
        report(PowerState::Shutdown).await;
        report(PowerState::Running).await;
        until("somebody resumed it behind our back", async || {
            (show(member, &id).await["OS-EXT-STS:power_state"] == 1).then_some(())
        })
        .await;
        assert_eq!(show(member, &id).await["status"], "SUSPENDED", "as in Nova");
        member.post(&action, json!({"resume": null})).await.expect(202);
        becomes(member, &id, "ACTIVE").await;
        member.post(&action, json!({"pause": null})).await.expect(202);
        becomes(member, &id, "PAUSED").await;
        // R18: QEMU dies under a paused guest.
        report(PowerState::Crashed).await;
        let server = becomes(member, &id, "SHUTOFF").await;
        assert_eq!(server["OS-EXT-STS:power_state"], 6);
    })
    .await;
}

#[actix_web::test]
async fn r18_a_guest_whose_qemu_was_killed_is_shutoff_and_stays_so() {
    each(async |cloud, world| {
        let member = cloud.at("member", 84);
        let id = up(member, json!({})).await;
        let host = host_of(cloud, &id).await;
        set_power(world, &host, &id, PowerState::Shutdown);
        let orders = world.state.lock().orders.len();
        world.report_guests(&host, Timestamp::now().plus_millis(50), false).await;
        becomes(member, &id, "SHUTOFF").await;
        world.report_guests(&host, Timestamp::now().plus_millis(100), true).await;
        assert_eq!(show(member, &id).await["status"], "SHUTOFF");
        assert_eq!(world.state.lock().orders.len(), orders, "nobody starts it again");
    })
    .await;
}

#[actix_web::test]
async fn r19_guests_that_went_down_with_their_host_run_again_once() {
    each(async |cloud, world| {
        let member = cloud.at("member", 84);
        let (ran, stopped, paused) =
            (up(member, json!({})).await, up(member, json!({})).await, up(member, json!({})).await);
        for (id, name, status) in [(&stopped, "os-stop", "SHUTOFF"), (&paused, "pause", "PAUSED")] {
            member.post(&format!("/servers/{id}/action"), json!({name: null})).await.expect(202);
            becomes(member, id, status).await;
        }
        let hosts =
            [host_of(cloud, &ran).await, host_of(cloud, &stopped).await, host_of(cloud, &paused).await];
        for (host, id) in hosts.iter().zip([&ran, &stopped, &paused]) {
            set_power(world, host, id, PowerState::Shutdown);
            world.state.lock().booted.insert(host.clone(), Timestamp::now().plus_seconds(4));
        }
        let starts = || world.state.lock().orders.iter().filter(|o| o.ends_with(" start")).count();
        assert_eq!(starts(), 0);
        for round in 1..=3 {
            for host in &hosts {
                world.report_guests(host, Timestamp::now().plus_millis(4000 + round * 50), true).await;
            }
            becomes(member, &ran, "ACTIVE").await;
        }
        until("it runs", async || {
            (world.state.lock().guests[&hosts[0]][&ran] == PowerState::Running).then_some(())
        })
        .await;
        assert_eq!(starts(), 1, "exactly once");
        becomes(member, &ran, "ACTIVE").await;
        becomes(member, &stopped, "SHUTOFF").await;
        becomes(member, &paused, "SHUTOFF").await;
    })
    .await;
}
