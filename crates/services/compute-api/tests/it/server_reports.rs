//! What agents report, and what schedulers are told.

use crate::{
    jobs::until,
    servers::{becomes, each, gone, show, up},
};
use ferrostack_model::{Timestamp, server::PowerState};
use serde_json::json;

#[actix_web::test]
async fn reports_of_guests_are_believed() {
    each(async |cloud, world| {
        let (member, admin) = (cloud.at("member", 37), cloud.at("admin", 37));
        let id = up(member, json!({})).await;
        let host = show(admin, &id).await["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned();
        let later = || Timestamp::now().plus_millis(50);
        let set = |power: PowerState| {
            world.state.lock().guests.get_mut(&host).unwrap().insert(id.clone(), power);
        };
        // An old report changes nothing.
        set(PowerState::Shutdown);
        world.report_guests(&host, Timestamp::now().plus_seconds(-60), true).await;
        // It shut itself down.
        world.report_guests(&host, later(), false).await;
        let server = becomes(member, &id, "SHUTOFF").await;
        assert_eq!(server["OS-EXT-STS:power_state"], 4);
        // Somebody started it behind our back: what the user stopped does not run.
        set(PowerState::Running);
        world.report_guests(&host, later().plus_millis(100), true).await;
        until("it is stopped again", async || {
            (world.state.lock().guests[&host][&id] == PowerState::Shutdown).then_some(())
        })
        .await;
        becomes(member, &id, "SHUTOFF").await;
        // A guest of a deleted server comes back from nowhere.
        gone(member, &id).await;
        set(PowerState::Running);
        world
            .state
            .lock()
            .guests
            .get_mut(&host)
            .unwrap()
            .insert("99999999-9999-4999-8999-999999999999".into(), PowerState::Running);
        world.report_guests(&host, later(), true).await;
        until("the stray is destroyed", async || {
            (!world.state.lock().guests[&host].contains_key(&id)).then_some(())
        })
        .await;
        assert_eq!(world.guest_count(), 1, "a guest we know nothing of is left alone");
    })
    .await;
}

#[actix_web::test]
async fn schedulers_hear_of_hosts() {
    each(async |cloud, world| {
        use ferrostack_bus::{Address, Bus};
        use ferrostack_model::message::{Envelope, HostsWanted};
        let send = async |message: Envelope| cloud.bus.publish(&Address::Compute, &message).await.unwrap();
        send(Envelope::new(&HostsWanted { scheduler: "s".into() }, None).unwrap()).await;
        until("all are told", async || (world.state.lock().told.len() == 3).then_some(())).await;
        let mut report = world.report("host9");
        report.availability_zone = "far".into();
        send(Envelope::new(&report, None).unwrap()).await;
        until("a new host is told", async || world.state.lock().told.contains_key("host9").then_some(()))
            .await;
        let id = up(cloud.at("member", 37), json!({})).await;
        until("the claim is told", async || {
            world.state.lock().told.values().any(|h| h.vcpus_used == 1 && h.num_instances == 1).then_some(())
        })
        .await;
        gone(cloud.at("member", 37), &id).await;
        until("the release is told", async || {
            world.state.lock().told.values().all(|h| h.vcpus_used == 0).then_some(())
        })
        .await;
        // What nobody knows goes to the dead letters.
        let mut odd = Envelope::new(&HostsWanted { scheduler: "s".into() }, None).unwrap();
        odd.kind = "from.the.future".into();
        send(odd).await;
        until("it is buried", async || (cloud.bus.dead_letters(9).await.unwrap().len() == 1).then_some(()))
            .await;
    })
    .await;
}
