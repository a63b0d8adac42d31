//! What old microversions pass on to the image and network services, what they answer where there is no such service,
//! and what Nova has removed.

use crate::{
    servers::{each, up},
    support::{Cloud, PROJECT_A, PROJECT_B},
    world::{IMAGE, NETWORK, World},
};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const OUTSIDE: &str = "88888888-8888-4888-8888-888888888888";

/// A network service with everything, by collection and id.
#[derive(Default)]
struct Neutron {
    items: BTreeMap<String, BTreeMap<String, Value>>,
    /// Tokens that came, with method and path.
    seen: Vec<(String, String)>,
}

type Shared = web::Data<Arc<Mutex<Neutron>>>;

fn singular(collection: &str) -> String {
    collection.trim_end_matches('s').replace('-', "_")
}

fn none() -> HttpResponse {
    HttpResponse::NotFound().json(json!({"NeutronError": {"type": "x", "message": "gone", "detail": ""}}))
}

async fn neutron(req: HttpRequest, state: Shared, body: Option<web::Json<Value>>) -> HttpResponse {
    let mut state = state.lock();
    let token = req.headers().get("X-Auth-Token").and_then(|t| t.to_str().ok()).unwrap_or("").to_owned();
    let path = req.path().trim_start_matches("/v2.0/").to_owned();
    state.seen.push((token, format!("{} {path}", req.method())));
    let (collection, id) = path.split_once('/').map_or((path.as_str(), None), |(c, i)| (c, Some(i)));
    let one = singular(collection);
    let key = collection.replace('-', "_");
    let items = state.items.entry(collection.to_owned()).or_default();
    match (req.method().as_str(), id) {
        ("GET", None) => {
            let query = ferrostack_http::query_pairs(req.query_string());
            let fits = |item: &&Value| {
                query.iter().all(|(k, v)| match &item[k.as_str()] {
                    Value::Bool(b) => v.eq_ignore_ascii_case(&b.to_string()),
                    other => *other == v.as_str(),
                })
            };
            let found: Vec<Value> = items.values().filter(fits).cloned().collect();
            HttpResponse::Ok().json(json!({key: found}))
        }
        ("POST", None) => {
            let mut item = body.unwrap().into_inner()[&one].clone();
            let id = ferrostack_model::id::uuid();
            item["id"] = json!(id);
            item["project_id"] = json!(PROJECT_A);
            if one == "floatingip" {
                item["floating_ip_address"] = json!("203.0.113.9");
                item["port_id"] = Value::Null;
                item["fixed_ip_address"] = Value::Null;
            }
            if one == "security_group" {
                item["security_group_rules"] = json!([]);
            }
            items.insert(id, item.clone());
            HttpResponse::Created().json(json!({one: item}))
        }
        ("GET", Some(id)) => items.get(id).map_or_else(none, |i| HttpResponse::Ok().json(json!({one: i}))),
        ("PUT", Some(id)) => {
            let Some(item) = items.get_mut(id) else { return none() };
            for (name, value) in body.unwrap().into_inner()[&one].as_object().unwrap() {
                item[name] = value.clone();
            }
            HttpResponse::Ok().json(json!({one: item}))
        }
        (_, Some(id)) => items.remove(id).map_or_else(none, |_| HttpResponse::NoContent().finish()),
        _ => none(),
    }
}

fn start(state: &Arc<Mutex<Neutron>>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let data = web::Data::new(state.clone());
    let server = HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(neutron)))
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
    tokio::spawn(server);
    url
}

fn put(state: &Arc<Mutex<Neutron>>, collection: &str, item: Value) {
    let id = item["id"].as_str().unwrap().to_owned();
    state.lock().items.entry(collection.into()).or_default().insert(id, item);
}

/// A cloud whose network service has everything.
async fn with_neutron(test: impl AsyncFn(&mut Cloud, &Arc<Mutex<Neutron>>)) {
    let state = Arc::new(Mutex::new(Neutron::default()));
    let url = start(&state);
    let network = |id: &str, name: &str, project: &str, shared: bool, external: bool| {
        json!({"id": id, "name": name, "project_id": project, "shared": shared, "router:external": external,
            "mtu": 1450, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"})
    };
    crate::support::each_with(
        |s| s.compute.network_url = Some(url.clone()),
        async |cloud| {
            *state.lock() = Neutron::default();
            put(&state, "networks", network(NETWORK, "mine", PROJECT_A, false, false));
            put(&state, "networks", network(OUTSIDE, "public", PROJECT_B, false, true));
            let db = cloud.db().await;
            let id = crate::matrix::server(&db).await;
            db.close().await;
            put(
                &state,
                "ports",
                json!({"id": "99999999-9999-4999-8999-999999999999", "device_id": id, "network_id": NETWORK,
                "mac_address": "fa:16:3e:00:00:01", "security_groups": [],
                "fixed_ips": [{"subnet_id": NETWORK, "ip_address": "10.0.0.5"}]}),
            );
            test(cloud, &state).await;
        },
    )
    .await;
}

fn server_of(state: &Arc<Mutex<Neutron>>) -> String {
    let state = state.lock();
    state.items["ports"].values().next().unwrap()["device_id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn networks_through_2_35() {
    with_neutron(async |cloud, state| {
        for version in [1, 35] {
            let (member, admin) = (cloud.at("member", version), cloud.at("admin", version));
            let list = member.get("/os-networks").await.expect(200);
            assert_eq!(list["networks"].as_array().unwrap().len(), 1);
            assert_eq!(list["networks"][0]["label"], "mine");
            assert!(list["networks"][0].get("project_id").is_none());
            let list = admin.get("/os-networks").await.expect(200);
            admin.conforms("networks.index", &list);
            assert_eq!(list["networks"][0]["mtu"], 1450);
            let shown = admin.get(&format!("/os-networks/{NETWORK}")).await.expect(200);
            admin.conforms("networks.show", &shown);
            assert_eq!(admin.get(&format!("/os-networks/{IMAGE}")).await.fault(404), "Network not found");
            let list = member.get("/os-tenant-networks").await.expect(200);
            let mine = json!({"id": NETWORK, "label": "mine", "cidr": "None"});
            assert_eq!(list, json!({"networks": [mine]}));
            let shown = member.get(&format!("/os-tenant-networks/{NETWORK}")).await.expect(200);
            assert_eq!(shown, json!({"network": mine}));
            assert_eq!(member.get("/os-tenant-networks/..%2Fports").await.fault(404), "Network not found");
        }
        // The caller's own token goes there.
        assert!(state.lock().seen.iter().all(|(token, _)| token == "x"));
        for path in [
            "/os-networks",
            "/os-tenant-networks",
            "/os-floating-ips",
            "/os-floating-ip-pools",
            "/os-security-groups",
            "/os-volumes",
            "/os-snapshots",
            "/os-baremetal-nodes",
            "/images",
        ] {
            assert_eq!(
                cloud.at("admin", 36).get(path).await.fault(404),
                "The resource could not be found.",
                "{path}"
            );
        }
    })
    .await;
}

#[actix_web::test]
async fn floating_ips_through_2_35() {
    with_neutron(async |cloud, state| {
        let member = cloud.at("member", 35);
        let pools = member.get("/os-floating-ip-pools").await.expect(200);
        member.conforms("floating_ip_pools.index", &pools);
        assert_eq!(pools, json!({"floating_ip_pools": [{"name": "public"}]}));
        assert_eq!(
            member.post("/os-floating-ips", json!({"pool": "nosuch"})).await.fault(404),
            "Floating IP pool nosuch not found."
        );
        let made = member.post("/os-floating-ips", json!({"pool": "public"})).await.expect(200);
        member.conforms("floating_ips.create", &made);
        let id = made["floating_ip"]["id"].as_str().unwrap().to_owned();
        let server = server_of(state);
        let action = format!("/servers/{server}/action");
        let add = |more: Value| {
            let mut wish = json!({"address": "203.0.113.9"});
            for (name, value) in more.as_object().unwrap() {
                wish[name] = value.clone();
            }
            json!({"addFloatingIp": wish})
        };
        assert_eq!(
            member.post(&action, add(json!({"fixed_address": "10.9.9.9"}))).await.fault(400),
            "Specified fixed address 10.9.9.9 not assigned to instance"
        );
        assert_eq!(
            member.post(&action, json!({"addFloatingIp": {"address": "203.0.113.1"}})).await.fault(404),
            "floating IP not found"
        );
        member.post(&action, json!({"addFloatingIp": {"address": "x"}})).await.fault(400);
        member.post(&action, add(json!({}))).await.expect(202);
        let list = member.get("/os-floating-ips").await.expect(200);
        member.conforms("floating_ips.index", &list);
        assert_eq!(
            list["floating_ips"][0],
            json!({"id": id, "ip": "203.0.113.9", "pool": "public", "fixed_ip": "10.0.0.5", "instance_id": server})
        );
        let shown = member.get(&format!("/os-floating-ips/{id}")).await.expect(200);
        member.conforms("floating_ips.show", &shown);
        let remove = json!({"removeFloatingIp": {"address": "203.0.113.9"}});
        // M02: another project's server is not there.
        cloud.at("other", 35).post(&action, remove.clone()).await.fault(404);
        member.post(&action, remove.clone()).await.expect(202);
        member.post(&action, remove.clone()).await.fault(409);
        cloud.at("member", 44).post(&action, remove).await.fault(404);
        assert_eq!(member.delete(&format!("/os-floating-ips/{id}")).await.text, "");
        member.delete(&format!("/os-floating-ips/{id}")).await.fault(404);
        member.get("/os-floating-ips/x").await.fault(400);
        cloud.at("reader", 35).post("/os-floating-ips", json!({"pool": "public"})).await.fault(403);
    })
    .await;
}

#[actix_web::test]
async fn security_groups_through_2_35() {
    with_neutron(async |cloud, state| {
        let member = cloud.at("member", 35);
        let wish = json!({"security_group": {"name": " web ", "description": "d"}});
        let made = member.post("/os-security-groups", wish.clone()).await.expect(200);
        member.conforms("security_groups.create", &made);
        assert_eq!(made["security_group"]["name"], "web");
        let id = made["security_group"]["id"].as_str().unwrap().to_owned();
        let rule = json!({"security_group_rule": {"parent_group_id": id, "ip_protocol": "TCP", "from_port": "80",
            "to_port": 80, "cidr": "10.0.0.0/8"}});
        let rule = member.post("/os-security-group-rules", rule).await.expect(200);
        member.conforms("security_group_rules.create", &rule);
        let made = rule["security_group_rule"].clone();
        assert_eq!(
            (&made["ip_protocol"], &made["from_port"], &made["ip_range"]),
            (&json!("tcp"), &json!(80), &json!({"cidr": "10.0.0.0/8"}))
        );
        member.post("/os-security-group-rules", json!({})).await.fault(400);
        assert_eq!(
            member
                .post("/os-security-group-rules", json!({"security_group_rule": {"parent_group_id": "x"}}))
                .await
                .fault(400),
            "Security group id should be uuid"
        );
        let (server, action) = (server_of(state), format!("/servers/{}/action", server_of(state)));
        let (add, remove) =
            (json!({"addSecurityGroup": {"name": "web"}}), json!({"removeSecurityGroup": {"name": "web"}}));
        member.post(&action, remove.clone()).await.fault(404);
        member.post(&action, add.clone()).await.expect(202);
        member.post(&action, add).await.expect(202);
        let of_server = member.get(&format!("/servers/{server}/os-security-groups")).await.expect(200);
        member.conforms("server_security_groups.index", &of_server);
        assert_eq!(of_server["security_groups"][0]["name"], "web");
        // M02: and not to others.
        cloud.at("other", 35).get(&format!("/servers/{server}/os-security-groups")).await.fault(404);
        assert_eq!(
            member.post(&action, json!({"addSecurityGroup": {"name": "nosuch"}})).await.fault(404),
            format!("Security group nosuch not found for project {PROJECT_A}.")
        );
        member.post(&action, remove).await.expect(202);
        let list = member.get("/os-security-groups").await.expect(200);
        member.conforms("security_groups.index", &list);
        assert_eq!(list["security_groups"].as_array().unwrap().len(), 1);
        let path = format!("/os-security-groups/{id}");
        member.conforms("security_groups.show", &member.get(&path).await.expect(200));
        let renamed = json!({"security_group": {"name": "w", "description": "e"}});
        let renamed = member.put(&path, renamed).await.expect(200);
        member.conforms("security_groups.update", &renamed);
        assert_eq!(renamed["security_group"]["description"], "e");
        member.get("/os-security-groups/x").await.fault(400);
        member.delete(&format!("/os-security-group-rules/{}", made["id"].as_str().unwrap())).await;
        assert_eq!(member.delete(&path).await.status, 202);
        assert_eq!(member.delete(&path).await.fault(404), format!("Security group {id} not found."));
        // A list of another project's shows nothing of ours.
        member.post("/os-security-groups", wish).await.expect(200);
        let others = cloud.at("other", 35).get("/os-security-groups").await.expect(200);
        assert_eq!(others, json!({"security_groups": []}));
    })
    .await;
}

/// Our own network service has neither: there are none, and nothing breaks.
#[actix_web::test]
async fn a_network_service_without_the_extensions_has_none() {
    each(async |cloud, _| {
        let member = cloud.at("member", 35);
        let server = up(member, json!({"networks": null})).await;
        assert_eq!(member.get("/os-floating-ips").await.expect(200), json!({"floating_ips": []}));
        assert_eq!(member.get("/os-floating-ip-pools").await.expect(200), json!({"floating_ip_pools": []}));
        assert_eq!(member.get("/os-security-groups").await.expect(200), json!({"security_groups": []}));
        let of_server = format!("/servers/{server}/os-security-groups");
        assert_eq!(member.get(&of_server).await.expect(200), json!({"security_groups": []}));
        member.post("/os-floating-ips", json!({"pool": null})).await.fault(404);
        member.get(&format!("/os-floating-ips/{IMAGE}")).await.fault(404);
        let group = json!({"security_group": {"name": "g", "description": "d"}});
        member.post("/os-security-groups", group).await.fault(404);
        let add = json!({"addSecurityGroup": {"name": "g"}});
        member.post(&format!("/servers/{server}/action"), add).await.fault(404);
    })
    .await;
}

fn image(world: &World, id: &str) -> Value {
    world.state.lock().images[id].clone()
}

#[actix_web::test]
async fn images_through_2_35_and_their_metadata_through_2_38() {
    each(async |cloud, world| {
        let id = "aaaaaaaa-0000-4000-8000-00000000000a";
        let made = json!({"id": id, "name": "snap", "status": "active", "owner": PROJECT_A, "min_ram": 64,
            "min_disk": 1, "size": 5, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
            "instance_uuid": IMAGE, "image_type": "snapshot", "auto_disk_config": "True", "tags": []});
        world.state.lock().images.insert(id.into(), made);
        let member = cloud.at("member", 35);
        let list = member.get("/images").await.expect(200);
        member.conforms("images.index", &list);
        assert_eq!(list["images"][0]["name"], "snap");
        let found = member.get(&format!("/images/detail?server=http://x/servers/{IMAGE}&type=snapshot")).await;
        let found = found.expect(200);
        member.conforms("images.detail", &found);
        assert_eq!(found["images"].as_array().unwrap().len(), 1);
        let none = member.get("/images/detail?name=other").await.expect(200);
        assert_eq!(none["images"], json!([]));
        let shown = member.get(&format!("/images/{id}")).await.expect(200);
        member.conforms("images.show", &shown);
        let image_shown = &shown["image"];
        assert_eq!(
            (&image_shown["status"], &image_shown["progress"], &image_shown["minRam"], &image_shown["server"]["id"]),
            (&json!("ACTIVE"), &json!(100), &json!(64), &json!(IMAGE))
        );
        assert_eq!(image_shown["OS-DCF:diskConfig"], "AUTO");
        assert_eq!(member.get("/images/nosuch").await.fault(404), "Image not found.");
        member.get(&format!("/images/{NETWORK}")).await.fault(404);

        let member = cloud.at("member", 38);
        let path = format!("/images/{id}/metadata");
        let all = member.get(&path).await.expect(200);
        member.conforms("image_metadata.index", &all);
        assert_eq!(all["metadata"]["image_type"], "snapshot");
        let added = member.post(&path, json!({"metadata": {"k": "v", "a~b": "w"}})).await;
        // A key that no image may have.
        assert_eq!(added.status, 400);
        let added = member.post(&path, json!({"metadata": {"k": "v", "image_type": "s"}})).await.expect(200);
        member.conforms("image_metadata.create", &added);
        assert_eq!((&added["metadata"]["k"], &added["metadata"]["image_type"]), (&json!("v"), &json!("s")));
        let one = member.get(&format!("{path}/k")).await.expect(200);
        member.conforms("image_metadata.show", &one);
        assert_eq!(one, json!({"meta": {"k": "v"}}));
        let set = member.put(&format!("{path}/k"), json!({"meta": {"k": "w"}})).await.expect(200);
        member.conforms("image_metadata.update", &set);
        assert_eq!(image(world, id)["k"], "w");
        assert_eq!(
            member.put(&format!("{path}/k"), json!({"meta": {"other": "w"}})).await.fault(400),
            "Request body and URI mismatch"
        );
        let replaced = member.put(&path, json!({"metadata": {"only": "this"}})).await.expect(200);
        member.conforms("image_metadata.update_all", &replaced);
        assert_eq!(replaced["metadata"], json!({"only": "this"}));
        assert_eq!(image(world, id)["name"], "snap");
        assert_eq!(member.get(&format!("{path}/k")).await.fault(404), "Metadata item was not found");
        assert_eq!(member.delete(&format!("{path}/k")).await.fault(404), "Invalid metadata key");
        assert_eq!(member.delete(&format!("{path}/only")).await.status, 204);
        let many: serde_json::Map<String, Value> = (0..129).map(|n| (format!("k{n}"), json!("v"))).collect();
        assert_eq!(
            member.post(&path, json!({"metadata": many})).await.fault(403),
            "Image metadata limit exceeded"
        );
        cloud.at("member", 39).get(&path).await.fault(404);
        let old = cloud.at("member", 35);
        world.state.lock().images.get_mut(id).unwrap()["protected"] = json!(true);
        assert_eq!(
            old.delete(&format!("/images/{id}")).await.fault(403),
            "You are not allowed to delete the image."
        );
        world.state.lock().images.get_mut(id).unwrap()["protected"] = json!(false);
        assert_eq!(old.delete(&format!("/images/{id}")).await.status, 204);
        old.delete(&format!("/images/{id}")).await.fault(404);
    })
    .await;
}

#[actix_web::test]
async fn removed_routes_are_gone_at_every_version() {
    crate::support::each(async |cloud| {
        for version in [1, 36, 96] {
            let nobody = cloud.at("nobody", version);
            for path in
                ["/os-cells", "/os-agents", "/os-fping/x", "/os-cells/x/capacities", "/servers/x/consoles"]
            {
                assert_eq!(
                    nobody.get(path).await.fault(410),
                    "This resource is no longer available. No forwarding address is given.",
                    "{path}"
                );
            }
            nobody.post("/os-networks", json!({})).await.fault(410);
            nobody.delete("/os-tenant-networks/x").await.fault(410);
            nobody.post("/os-fixed-ips/x/action", json!({"reserve": null})).await.fault(410);
            assert_eq!(
                nobody.post("/os-fixed-ips/x/action", json!({"steal": null})).await.fault(400),
                "There is no such action: steal"
            );
            assert_eq!(cloud.at("", version).get("/os-cells").await.status, 401);
        }
    })
    .await;
}

#[actix_web::test]
async fn a_cloud_without_volumes_and_bare_metal_says_so() {
    crate::support::each(async |cloud| {
        let (member, admin) = (cloud.at("member", 35), cloud.at("admin", 35));
        for path in
            ["/os-volumes", "/os-volumes/detail", "/os-volumes/x", "/os-snapshots", "/os-snapshots/detail"]
        {
            assert_eq!(member.get(path).await.fault(503), "The volume service is not available.", "{path}");
        }
        member.post("/os-volumes", json!({"volume": {}})).await.fault(400);
        member.post("/os-volumes", json!({"volume": {"size": 1}})).await.fault(503);
        let wish = json!({"snapshot": {"volume_id": IMAGE,
            "create_info": {"snapshot_id": IMAGE, "type": "qcow2", "new_file": "f"}}});
        let service = cloud.at("service", 96);
        assert_eq!(
            service.post("/os-assisted-volume-snapshots", wish.clone()).await.fault(400),
            format!("No volume Block Device Mapping with id {IMAGE}.")
        );
        member.post("/os-assisted-volume-snapshots", wish).await.fault(403);
        for info in ["", "?delete_info=x", "?delete_info={}"] {
            service.delete(&format!("/os-assisted-volume-snapshots/x{info}")).await.fault(400);
        }
        assert_eq!(
            admin.get("/os-baremetal-nodes").await.fault(501),
            "The requested functionality is not supported."
        );
        assert_eq!(
            admin.post("/os-baremetal-nodes", json!({})).await.fault(400),
            "Command Not supported. Please use Ironic command node-create to perform this action."
        );
    })
    .await;
}

#[actix_web::test]
async fn volumes_boot_is_servers_by_another_name() {
    each(async |cloud, _| {
        let member = cloud.at("member", 1);
        let made = member
            .post("/os-volumes_boot", crate::servers::wish(json!({"networks": null})))
            .await
            .expect(202);
        let id = made["server"]["id"].as_str().unwrap().to_owned();
        crate::servers::becomes(member, &id, "ACTIVE").await;
        let list = member.get("/os-volumes_boot").await.expect(200);
        assert_eq!(list["servers"][0]["id"], id.as_str());
        assert_eq!(member.get("/os-volumes_boot/detail").await.expect(200)["servers"][0]["id"], id.as_str());
        let renamed = json!({"server": {"name": "other"}});
        member.put(&format!("/os-volumes_boot/{id}"), renamed).await.expect(200);
        member.post(&format!("/os-volumes_boot/{id}/action"), json!({"os-stop": null})).await.expect(202);
        crate::servers::becomes(member, &id, "SHUTOFF").await;
        assert_eq!(member.delete(&format!("/os-volumes_boot/{id}")).await.status, 204);
    })
    .await;
}

#[actix_web::test]
async fn usage_audits_that_nobody_ran() {
    each(async |cloud, _| {
        let admin = cloud.at("admin", 1);
        let before = "/os-instance_usage_audit_log/2012-07-05%2010:00:00";
        for path in [before, "/os-instance_usage_audit_log/2012-07-05%2010:00:00.123456"] {
            let log = admin.get(path).await.expect(200)["instance_usage_audit_log"].clone();
            assert_eq!(
                (&log["period_beginning"], &log["period_ending"], &log["overall_status"]),
                (
                    &json!("2012-06-01 00:00:00"),
                    &json!("2012-07-01 00:00:00"),
                    &json!("0 of 3 hosts done. 0 errors.")
                )
            );
            assert_eq!(log["hosts_not_run"], json!(["host1", "host2", "host3"]));
        }
        let now = admin.get("/os-instance_usage_audit_log").await.expect(200);
        assert_eq!(now["instance_usage_audit_logs"]["num_hosts"], 3);
        for bad in ["x", "2012-07-05", "2012-13-05%2010:00:00", "2012-07-05T10:00:00"] {
            let path = format!("/os-instance_usage_audit_log/{bad}");
            assert!(admin.get(&path).await.fault(400).starts_with("Invalid timestamp for date"), "{bad}");
        }
        cloud.at("member", 1).get("/os-instance_usage_audit_log").await.fault(403);
    })
    .await;
    crate::support::each(async |cloud| {
        let admin = cloud.at("admin", 1);
        let none = admin.get("/os-instance_usage_audit_log").await.expect(200);
        admin.conforms("instance_usage_audit_log.index", &none);
        assert_eq!(none["instance_usage_audit_logs"]["overall_status"], "ALL hosts done. 0 errors.");
    })
    .await;
}
