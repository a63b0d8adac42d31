//! Servers in rescue, over HTTP.

use crate::{
    jobs::until,
    servers::{becomes, each, gone, show, up},
    world::{IMAGE, QUEUED},
};
use serde_json::json;

const RESCUE: &str = "88888888-8888-4888-8888-888888888888";
const VOLUMES: &str = "99999999-8888-4888-8888-888888888888";

#[actix_web::test]
async fn servers_are_rescued() {
    each(async |cloud, world| {
        let (member, admin) = (cloud.at("member", 84), cloud.at("admin", 84));
        let id = up(member, json!({"networks": "auto"})).await;
        let action = format!("/servers/{id}/action");
        let early = member.post(&action, json!({"unrescue": null})).await.fault(409);
        assert_eq!(early, format!("Cannot 'unrescue' instance {id} while it is in vm_state active"));
        let ports = world.state.lock().ports.clone();

        let said = member.post(&action, json!({"rescue": null})).await.expect(200);
        member.conforms("servers.rescue", &said);
        let password = said["adminPass"].as_str().unwrap().to_owned();
        assert_eq!(password.len(), 12);
        let server = becomes(member, &id, "RESCUE").await;
        assert_eq!(server["OS-EXT-STS:power_state"], 1);
        assert_eq!(server["OS-EXT-STS:vm_state"], "rescued");
        let rescue = world.state.lock().rescues[&id].clone();
        assert_eq!((rescue.image.id.as_str(), rescue.admin_pass.unwrap().0), (IMAGE, password));
        for name in ["os-start", "os-stop", "pause", "suspend", "rescue"] {
            let text = member.post(&action, json!({name: null})).await.fault(409);
            let verb = name.trim_start_matches("os-");
            assert_eq!(text, format!("Cannot '{verb}' instance {id} while it is in vm_state rescued"));
        }
        for kind in ["SOFT", "HARD"] {
            let text = member.post(&action, json!({"reboot": {"type": kind}})).await.fault(409);
            assert_eq!(text, format!("Cannot 'reboot' instance {id} while it is in vm_state rescued"));
        }
        assert_eq!(member.post(&action, json!({"unrescue": null})).await.expect(202), json!(null));
        becomes(member, &id, "ACTIVE").await;
        // OSSN-0022, S-2013-030: the ports are what they were.
        assert_eq!(world.state.lock().ports, ports);
        let list = admin.get(&format!("/servers/{id}/os-instance-actions")).await.expect(200);
        let names: Vec<_> =
            list["instanceActions"].as_array().unwrap().iter().map(|a| &a["action"]).collect();
        assert_eq!(names, ["unrescue", "rescue", "create"]);

        // With an image and a password of one's own, out of SHUTOFF.
        member.post(&action, json!({"os-stop": null})).await.expect(202);
        becomes(member, &id, "SHUTOFF").await;
        {
            let mut state = world.state.lock();
            state
                .odd_images
                .insert(RESCUE.into(), json!({"hw_rescue_device": "cdrom", "hw_rescue_bus": "usb"}));
            state.odd_images.insert(VOLUMES.into(), json!({"img_block_device_mapping": "[{}]"}));
        }
        let wish = |image: &str| json!({"rescue": {"adminPass": "MySecretPass", "rescue_image_ref": image}});
        for image in [VOLUMES, "77777777-0000-4000-8000-000000000000"] {
            let text = member.post(&action, wish(image)).await.fault(400);
            assert_eq!(text, format!("Requested rescue image '{image}' is not supported"));
        }
        let text = member.post(&action, wish(QUEUED)).await.fault(400);
        assert_eq!(text, format!("Image {QUEUED} is not active."));
        for bad in [
            json!({"rescue": {"rescue_image_ref": "x"}}),
            json!({"rescue": {"adminPass": 1}}),
            json!({"rescue": {"adminPass": "x".repeat(5000)}}),
            json!({"rescue": {"image": IMAGE}}),
            json!({"rescue": "x"}),
        ] {
            member.post(&action, bad).await.fault(400);
        }
        assert_eq!(show(member, &id).await["status"], "SHUTOFF");
        assert_eq!(
            member.post(&action, wish(RESCUE)).await.expect(200),
            json!({"adminPass": "MySecretPass"})
        );
        becomes(member, &id, "RESCUE").await;
        let rescue = world.state.lock().rescues[&id].clone();
        assert_eq!(rescue.image.id, RESCUE);
        assert_eq!(rescue.image.properties["hw_rescue_bus"], "usb");
        assert_eq!(rescue.admin_pass.unwrap().0, "MySecretPass");
        let db = cloud.db().await;
        let kept = "SELECT COUNT(*) FROM server_inputs WHERE admin_pass IS NOT NULL";
        assert_eq!(crate::world::count(&db, kept).await, 0, "the password is forgotten");
        // S-2014-017: out of rescue nothing stays.
        gone(member, &id).await;
        world.assert_empty(&db).await;
        db.close().await;
    })
    .await;
}

#[actix_web::test]
async fn s_2014_032_a_rescue_that_fails_can_be_deleted() {
    each(async |cloud, world| {
        let (member, admin) = (cloud.at("member", 84), cloud.at("admin", 84));
        for out in ["delete", "hard reboot"] {
            let id = up(member, json!({})).await;
            let action = format!("/servers/{id}/action");
            let host = show(admin, &id).await["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned();
            world.state.lock().failing.insert(host, false);
            member.post(&action, json!({"rescue": null})).await.expect(200);
            let server = becomes(member, &id, "ERROR").await;
            assert_eq!(server["fault"]["message"], "The guest does not listen.");
            world.state.lock().failing.clear();
            let text = member.post(&action, json!({"suspend": null})).await.fault(409);
            assert_eq!(text, format!("Cannot 'suspend' instance {id} while it is in vm_state error"));
            if out == "hard reboot" {
                member.post(&action, json!({"reboot": {"type": "HARD"}})).await.expect(202);
                becomes(member, &id, "ACTIVE").await;
            }
            gone(member, &id).await;
        }
        let db = cloud.db().await;
        world.assert_empty(&db).await;
        db.close().await;
    })
    .await;
}

#[actix_web::test]
async fn s_2014_017_servers_that_are_rescued_count_and_go() {
    each(async |cloud, world| {
        let member = cloud.at("member", 84);
        // Deleted in the middle of it: nobody answers the rescue.
        let id = up(member, json!({})).await;
        world.state.lock().lose.insert("rescue", 1000);
        member.post(&format!("/servers/{id}/action"), json!({"rescue": null})).await.expect(200);
        until("it is under way", async || {
            (show(member, &id).await["OS-EXT-STS:task_state"] == "rescuing").then_some(())
        })
        .await;
        let used = member.get("/limits").await.expect(200);
        assert_eq!(used["limits"]["absolute"]["totalInstancesUsed"], 1);
        gone(member, &id).await;
        let used = member.get("/limits").await.expect(200);
        assert_eq!(used["limits"]["absolute"]["totalInstancesUsed"], 0);
        let db = cloud.db().await;
        world.assert_empty(&db).await;
        db.close().await;
    })
    .await;
}
