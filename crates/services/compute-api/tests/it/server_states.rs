//! Paused and suspended servers, over HTTP.

use crate::servers::{becomes, each, gone, show, up};
use serde_json::{Value, json};

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
