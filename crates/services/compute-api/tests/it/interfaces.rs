//! Interfaces of servers: their jobs through every fault, and `os-interface` over HTTP.

use crate::{
    jobs::{ASKER, Bench, until},
    servers::{each, make, show, up},
    support::Client,
    world::{EMPTY_NETWORK, NETWORK, SUBNET, World},
};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_compute_api::{
    app::App,
    jobs::interface::{self, Interface},
    store::servers::NicRequest,
};
use ferrostack_db::Db;
use ferrostack_jobs::{Job, JobKind, testing::Scenario, testing::every_step};
use ferrostack_model::server::VmState;
use serde_json::{Value, json};
use std::sync::Arc;

const OWN: &str = "99999999-9999-4999-8999-999999999999";

/// A port that a user made.
fn bring(world: &World, id: &str) {
    let port = json!({"id": id, "network_id": NETWORK, "mac_address": "fa:16:3e:99:00:01", "device_id": "",
        "device_owner": "", "status": "DOWN", "project_id": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "fixed_ips": [{"subnet_id": SUBNET, "ip_address": "10.0.99.9"}]});
    world.state.lock().ports.insert(id.to_owned(), port);
}

fn plugged(world: &World, server: &str) -> Vec<String> {
    let state = world.state.lock();
    state.specs.get(server).map_or_else(Vec::new, |s| s.nics.iter().map(|n| n.port_id.clone()).collect())
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Attach,
    AttachOwn,
    Detach,
    DetachOwn,
}

struct Case {
    bench: Bench,
    what: What,
}

impl Case {
    async fn new(what: What) -> Self {
        let bench = Bench::new(1).await;
        bench.build().await;
        bring(&bench.world, OWN);
        if what == What::DetachOwn {
            let id = Self::attach(&bench, Some(OWN)).await;
            bench.finish(&id).await;
        }
        Self { bench, what }
    }
    async fn attach(bench: &Bench, port: Option<&str>) -> String {
        let nic = match port {
            Some(id) => NicRequest { port_id: Some(id.into()), ..NicRequest::default() },
            None => NicRequest {
                network_id: Some(NETWORK.into()),
                tag: Some("red".into()),
                ..NicRequest::default()
            },
        };
        let asker = ferrostack_compute_api::store::instance_actions::Asker { request_id: "req-a", ..ASKER };
        interface::attach(&bench.app, bench.row().await, nic, asker).await.map_err(|e| e.for_log()).unwrap()
    }
    fn port(&self, id: &str) -> Option<Value> {
        self.bench.world.state.lock().ports.get(id).cloned()
    }
    /// The row, the guest and the network service agree on `count` interfaces.
    async fn agree(&self, count: usize) {
        let row = self.bench.row().await;
        assert_eq!((row.vm_state, row.task_state), (VmState::Active, None));
        assert_eq!((row.nics.len(), row.ports.len()), (count, count), "{:?} {:?}", row.nics, row.ports);
        let ids: Vec<String> = row.ports.iter().map(|p| p.port_id.clone()).collect();
        // As `until`, whose closure would not be Send here.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while plugged(&self.bench.world, &self.bench.server) != ids {
            assert!(std::time::Instant::now() < deadline, "never: the guest has the interfaces of the row");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let owned: Vec<String> = {
            let state = self.bench.world.state.lock();
            let of = |p: &&Value| p["device_id"] == self.bench.server.as_str();
            state.ports.values().filter(of).map(|p| p["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(owned.len(), count, "{owned:?}");
        assert!(self.port(OWN).is_some(), "a user's own port is never deleted");
    }
}

#[async_trait]
impl Scenario<App> for Case {
    fn context(&self) -> Arc<App> {
        self.bench.app.clone()
    }
    fn db(&self) -> Db {
        self.bench.app.db.clone()
    }
    fn bus(&self) -> Arc<dyn Bus> {
        self.bench.app.bus.clone()
    }
    fn kind(&self) -> Box<dyn JobKind<App>> {
        match self.what {
            What::Attach | What::AttachOwn => Box::new(Interface::attach()),
            What::Detach | What::DetachOwn => Box::new(Interface::detach()),
        }
    }
    async fn enqueue(&self) -> String {
        let port = match self.what {
            What::Attach => return Self::attach(&self.bench, None).await,
            What::AttachOwn => return Self::attach(&self.bench, Some(OWN)).await,
            What::Detach => self.bench.row().await.ports[0].port_id.clone(),
            What::DetachOwn => OWN.to_owned(),
        };
        let row = self.bench.row().await;
        interface::detach(&self.bench.app, row, &port, ASKER).await.map_err(|e| e.for_log()).unwrap()
    }
    async fn assert_done(&self, job: &Job) {
        let request = job.request_id.as_deref().unwrap();
        assert_eq!(self.bench.event(request).await.0.as_deref(), Some("Success"));
        let own = self.port(OWN).unwrap();
        match self.what {
            What::Attach => {
                self.agree(2).await;
                assert_eq!(self.bench.row().await.nics[1].tag.as_deref(), Some("red"));
            }
            What::AttachOwn => {
                self.agree(2).await;
                assert_eq!(own["device_id"], self.bench.server.as_str());
            }
            What::Detach => self.agree(0).await,
            What::DetachOwn => {
                self.agree(1).await;
                assert_eq!(own["device_id"], "");
            }
        }
    }
    async fn assert_undone(&self, job: &Job) {
        let request = job.request_id.as_deref().unwrap();
        assert_eq!(self.bench.event(request).await.0.as_deref(), Some("Error"));
        let had_own = self.what == What::DetachOwn;
        self.agree(if had_own { 2 } else { 1 }).await;
        let own = self.port(OWN).unwrap();
        assert_eq!(own["device_id"] == self.bench.server.as_str(), had_own, "{own}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attaching_survives_every_fault() {
    every_step(|| Case::new(What::Attach)).await;
    every_step(|| Case::new(What::AttachOwn)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn detaching_survives_every_fault() {
    every_step(|| Case::new(What::Detach)).await;
    every_step(|| Case::new(What::DetachOwn)).await;
}

async fn listed(client: Client<'_>, id: &str) -> Vec<Value> {
    let body = client.get(&format!("/servers/{id}/os-interface")).await.expect(200);
    body["interfaceAttachments"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn interfaces_come_and_go() {
    each(async |cloud, world| {
        let member = cloud.at("member", 70);
        let id = up(member, json!({"networks": [{"uuid": NETWORK, "tag": "first"}]})).await;
        let path = format!("/servers/{id}/os-interface");
        let first = listed(member, &id).await;
        assert_eq!(first.len(), 1);
        assert_eq!((&first[0]["net_id"], &first[0]["tag"]), (&json!(NETWORK), &json!("first")));
        assert!(listed(cloud.at("member", 69), &id).await[0].get("tag").is_none());

        // On a network, on the only network, with an address, and a port of one's own.
        let made = member.post(&path, json!({"interfaceAttachment": {"net_id": NETWORK, "tag": "red"}})).await;
        let made = made.expect(200)["interfaceAttachment"].clone();
        assert_eq!(made["tag"], "red");
        assert_eq!(plugged(world, &id).len(), 2, "it is in the guest when the answer comes");
        let alone = member.post(&path, json!({})).await.expect(200);
        assert!(alone["interfaceAttachment"]["fixed_ips"][0]["ip_address"].is_string());
        let wished = json!({"interfaceAttachment": {"net_id": NETWORK, "fixed_ips": [{"ip_address": "10.0.77.7"}]}});
        let at = member.post(&path, wished.clone()).await.expect(200);
        assert_eq!(at["interfaceAttachment"]["fixed_ips"][0]["ip_address"], "10.0.77.7");
        bring(world, OWN);
        let own = json!({"interfaceAttachment": {"port_id": OWN}});
        member.post(&path, own.clone()).await.expect(200);
        let all = listed(member, &id).await;
        assert_eq!(all.len(), 5);
        let one = member.get(&format!("{path}/{OWN}")).await.expect(200);
        assert_eq!(one["interfaceAttachment"]["port_id"], OWN);
        assert_eq!(show(member, &id).await["addresses"]["private"].as_array().unwrap().len(), 5);
        let actions = member.get(&format!("/servers/{id}/os-instance-actions")).await.expect(200);
        assert_eq!(actions["instanceActions"][0]["action"], "attach_interface");

        // What cannot be had changes nothing.
        let both = json!({"interfaceAttachment": {"net_id": NETWORK, "port_id": OWN}});
        let lost = "00000000-0000-4000-8000-000000000000";
        for (body, status, text) in [
            (both, 400, "Must not input both network_id and port_id".to_owned()),
            (
                json!({"interfaceAttachment": {"fixed_ips": [{"ip_address": "10.0.7.1"}]}}),
                400,
                "Must input network_id when request IP address".to_owned(),
            ),
            (json!({"interfaceAttachment": {"port_id": lost}}), 404, format!("Port id {lost} could not be found.")),
            (json!({"interfaceAttachment": {"net_id": lost}}), 404, format!("Network {lost} could not be found.")),
            (
                json!({"interfaceAttachment": {"net_id": EMPTY_NETWORK}}),
                400,
                format!("Network {EMPTY_NETWORK} requires a subnet in order to boot instances on."),
            ),
            (own, 409, format!("Port {OWN} is still in use.")),
            (wished, 409, "Fixed IP address 10.0.77.7 is already in use.".to_owned()),
            (
                json!({"interfaceAttachment": {"net_id": NETWORK, "fixed_ips": [{"ip_address": "192.0.2.1"}]}}),
                400,
                format!("Fixed IP address 192.0.2.1 is not a valid ip address for network {NETWORK}."),
            ),
        ] {
            assert_eq!(member.post(&path, body).await.fault(status), text);
        }
        assert_eq!(listed(member, &id).await.len(), 5);
        world.state.lock().shared_networks = 2;
        let unclear = member.post(&path, json!({})).await.fault(400);
        assert!(unclear.starts_with("More than one possible network found."), "{unclear}");
        assert_eq!(cloud.at("reader", 70).post(&path, json!({})).await.status, 403);
        assert_eq!(cloud.at("other", 70).post(&path, json!({})).await.status, 404);
        assert_eq!(member.get(&format!("{path}/{lost}")).await.status, 404);
        assert_eq!(member.delete(&format!("{path}/{lost}")).await.status, 404);

        // One after another they go, however fast it is asked for.
        for port in &all {
            member.delete(&format!("{path}/{}", port["port_id"].as_str().unwrap())).await.expect(202);
        }
        until("all interfaces are gone", async || listed(member, &id).await.is_empty().then_some(())).await;
        assert!(plugged(world, &id).is_empty());
        assert_eq!(world.state.lock().ports[OWN]["device_id"], "", "a user's own port is given back");
        assert_eq!(world.state.lock().ports.len(), 1);

        // A host that fails leaves nothing behind.
        world.state.lock().failing.insert("host1".into(), false);
        let failed = member.post(&path, json!({"interfaceAttachment": {"net_id": NETWORK}})).await.fault(500);
        assert_eq!(failed, format!("Failed to attach network adapter device to {id}"));
        world.state.lock().failing.clear();
        assert_eq!(world.state.lock().ports.len(), 1);
        let action = format!("/servers/{id}/action");
        member.post(&action, json!({"os-resetState": {"state": "error"}})).await.fault(403);
        cloud.at("admin", 1).post(&action, json!({"os-resetState": {"state": "error"}})).await.expect(202);
        let refused = member.post(&path, json!({"interfaceAttachment": {"net_id": NETWORK}})).await.fault(409);
        assert_eq!(refused, format!("Cannot 'attach_interface' instance {id} while it is in vm_state error"));
    })
    .await;
}

#[actix_web::test]
async fn fixed_addresses_come_and_go_through_2_43() {
    each(async |cloud, world| {
        let member = cloud.at("member", 43);
        let id = up(member, json!({"networks": [{"uuid": NETWORK}]})).await;
        let action = format!("/servers/{id}/action");
        // The world's ports take addresses as they come; a real one would choose.
        member.post(&action, json!({"addFixedIp": {"networkId": "nope"}})).await.fault(400);
        let address = show(member, &id).await["addresses"]["private"][0]["addr"].as_str().unwrap().to_owned();
        member.post(&action, json!({"removeFixedIp": {"address": "10.9.9.9"}})).await.fault(400);
        member.post(&action, json!({"removeFixedIp": {"address": address}})).await.expect(202);
        assert_eq!(show(member, &id).await["addresses"], json!({"private": []}));
        assert_eq!(world.state.lock().ports.values().next().unwrap()["fixed_ips"], json!([]));
        for name in ["addFixedIp", "removeFixedIp"] {
            let body = json!({name: {"networkId": NETWORK, "address": "10.0.0.1"}});
            assert_eq!(cloud.at("member", 44).post(&action, body).await.status, 404);
        }
    })
    .await;
}

#[actix_web::test]
async fn events_of_other_services_have_their_codes() {
    each(async |cloud, world| {
        let admin = cloud.at("admin", 93);
        let id = up(admin, json!({"networks": [{"uuid": NETWORK}]})).await;
        let lost = "00000000-0000-4000-8000-000000000000";
        let post =
            async |events: Value| admin.post("/os-server-external-events", json!({"events": events})).await;
        let event = |name: &str| json!({"name": name, "server_uuid": id});
        let good = post(json!([event("network-vif-plugged"), event("network-changed")])).await.expect(200);
        assert_eq!(
            good["events"][0],
            json!({"name": "network-vif-plugged", "server_uuid": id, "status": "completed", "code": 200})
        );
        world.state.lock().no_host = true;
        let nowhere = make(admin, json!({})).await;
        crate::servers::becomes(admin, &nowhere, "ERROR").await;
        world.state.lock().no_host = false;
        let mixed = post(json!([
            event("network-changed"),
            {"name": "network-changed", "server_uuid": lost, "tag": "x"},
            event("volume-extended"),
            {"name": "network-changed", "server_uuid": nowhere},
        ]))
        .await
        .expect(207);
        let codes: Vec<&Value> = mixed["events"].as_array().unwrap().iter().map(|e| &e["code"]).collect();
        assert_eq!(codes, [200, 404, 400, 422]);
        assert_eq!(mixed["events"][1]["status"], "failed");
        let none = post(json!([{"name": "network-changed", "server_uuid": lost}])).await.expect(207);
        assert_eq!(none["events"][0]["code"], 404);

        // A changed address is taken over.
        let port = {
            let mut state = world.state.lock();
            let (port, body) = state.ports.iter_mut().next().unwrap();
            body["fixed_ips"] = json!([{"subnet_id": SUBNET, "ip_address": "10.0.55.5"}]);
            port.clone()
        };
        post(json!([{"name": "network-changed", "server_uuid": id, "tag": port}])).await.expect(200);
        assert_eq!(show(admin, &id).await["addresses"]["private"][0]["addr"], "10.0.55.5");
        until("the host knows the new address", async || {
            let state = world.state.lock();
            (state.specs[&id].nics[0].fixed_ips[0].ip_address.to_string() == "10.0.55.5").then_some(())
        })
        .await;
        // A port that was deleted leaves the guest.
        world.state.lock().ports.clear();
        post(json!([{"name": "network-vif-deleted", "server_uuid": id, "tag": port}])).await.expect(200);
        until("the interface is gone", async || {
            let empty = show(admin, &id).await["addresses"].as_object().unwrap().is_empty();
            (empty && plugged(world, &id).is_empty()).then_some(())
        })
        .await;
        let event = json!({"events": [{"name": "network-changed", "server_uuid": id}]});
        assert_eq!(cloud.at("member", 93).post("/os-server-external-events", event).await.status, 403);
    })
    .await;
}

/// S-2013-001: a volume of another project, and every other one too: there is no volume service.
#[actix_web::test]
async fn s_2013_001_volumes_are_unknown() {
    each(async |cloud, _| {
        let member = cloud.at("member", 89);
        let id = up(member, json!({})).await;
        let path = format!("/servers/{id}/os-volume_attachments");
        let volume = "00000000-0000-4000-8000-000000000000";
        assert_eq!(member.get(&path).await.expect(200), json!({"volumeAttachments": []}));
        assert_eq!(
            member.get(&format!("{path}/{volume}")).await.fault(404),
            format!("Instance {id} is not attached to volume {volume}")
        );
        let body = json!({"volumeAttachment": {"volumeId": volume}});
        let unknown = format!("Volume {volume} could not be found.");
        assert_eq!(member.post(&path, body.clone()).await.fault(404), unknown);
        assert_eq!(member.delete(&format!("{path}/{volume}")).await.fault(404), unknown);
        assert_eq!(
            member.put(&format!("{path}/{volume}"), body.clone()).await.fault(404),
            format!("No volume Block Device Mapping with id {volume}.")
        );
        // Below 2.85 it is always a swap, which is not for members.
        assert_eq!(cloud.at("member", 84).put(&format!("{path}/{volume}"), body.clone()).await.status, 403);
        assert_eq!(cloud.at("admin", 84).put(&format!("{path}/{volume}"), body).await.fault(404), unknown);
        let create = json!({"snapshot": {"volume_id": volume,
            "create_info": {"snapshot_id": "s", "type": "qcow2", "new_file": "f"}}});
        let admin = cloud.at("admin", 1);
        assert_eq!(
            admin.post("/os-assisted-volume-snapshots", create.clone()).await.fault(400),
            format!("No volume Block Device Mapping with id {volume}.")
        );
        let info =
            format!("/os-assisted-volume-snapshots/x?delete_info=%7B%22volume_id%22:%22{volume}%22%7D");
        admin.delete(&info).await.fault(400);
        assert_eq!(member.post("/os-assisted-volume-snapshots", create).await.status, 403);
        let topology = cloud.at("member", 78).get(&format!("/servers/{id}/topology")).await.expect(200);
        assert_eq!(topology, json!({"nodes": [], "pagesize_kb": null}));
        assert_eq!(cloud.at("member", 77).get(&format!("/servers/{id}/topology")).await.status, 404);
    })
    .await;
}
