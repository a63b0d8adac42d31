//! `POST /servers` to ACTIVE and away again, through every service.

use crate::on_both;
use ferrostack_testkit::{Api, TestCloud, eventually};
use reqwest::Method;
use serde_json::{Value, json};

async fn status(api: &Api, id: &str) -> Value {
    api.get(&format!("/servers/{id}")).await.expect(200)["server"].clone()
}

async fn until(api: &Api, id: &str, wanted: &str) -> Value {
    eventually(&format!("server {id} is {wanted}"), async || {
        let server = status(api, id).await;
        assert!(wanted == "ERROR" || server["status"] != "ERROR", "{server:#}");
        (server["status"] == wanted).then_some(server)
    })
    .await
}

async fn until_gone(api: &Api, id: &str) {
    eventually(&format!("server {id} is gone"), async || {
        (api.get(&format!("/servers/{id}")).await.status == 404).then_some(())
    })
    .await;
}

/// Nothing holds a port or capacity any more.
async fn assert_nothing_left(cloud: &TestCloud) {
    let api = &cloud.admin;
    let url = format!("{}/v2.0/ports", api.network);
    eventually("every port is gone", async || {
        let ports = api.call(Method::GET, &url, None).await.expect(200);
        ports["ports"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    eventually("every claim is released", async || {
        let used = api.get("/os-hypervisors/statistics").await.expect(200);
        let s = &used["hypervisor_statistics"];
        (s["vcpus_used"] == 0 && s["running_vms"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_lives_and_dies() {
    on_both(|cloud| async move {
        let api = &cloud.admin;
        let image = api.make_image("tiny", vec![7; 4096]).await;
        let flavor = api.make_flavor("t.nano", 1, 64, 1).await;
        let body =
            json!({"server": {"name": "vm1", "imageRef": image, "flavorRef": flavor, "networks": "auto"}});
        let made = api.at("2.37").post("/servers", &body).await.expect(202);
        let id = made["server"]["id"].as_str().unwrap().to_owned();
        let server = until(api, &id, "ACTIVE").await;
        assert_eq!(server["OS-EXT-STS:power_state"], 1);
        let address = &server["addresses"]["private"][0];
        assert_eq!(address["version"], 4, "{server:#}");
        assert!(address["OS-EXT-IPS-MAC:mac_addr"].as_str().unwrap().starts_with("fa:16:3e:"));

        api.post(&format!("/servers/{id}/action"), &json!({"os-stop": null})).await.expect(202);
        until(api, &id, "SHUTOFF").await;
        api.post(&format!("/servers/{id}/action"), &json!({"os-start": null})).await.expect(202);
        until(api, &id, "ACTIVE").await;
        api.post(&format!("/servers/{id}/action"), &json!({"reboot": {"type": "HARD"}})).await.expect(202);
        until(api, &id, "ACTIVE").await;

        api.delete(&format!("/servers/{id}")).await.expect(204);
        until_gone(api, &id).await;
        assert_nothing_left(&cloud).await;
        cloud.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_host_is_explained() {
    let cloud = TestCloud::start().await;
    let api = &cloud.admin;
    let image = api.make_image("tiny", vec![7; 4096]).await;
    let flavor = api.make_flavor("t.giant", 1, 100_000_000, 1).await;
    let quota = json!({"quota_set": {"ram": -1}});
    let project = api.get("/limits").await;
    assert_eq!(project.status, 200);
    let me = api.call(Method::GET, &format!("{}/v3/auth/projects", api.identity), None).await;
    let project = match me.status.as_u16() {
        200 => me.body["projects"][0]["id"].as_str().unwrap().to_owned(),
        _ => {
            let all = api
                .call(Method::GET, &format!("{}/v3/projects?name=admin", api.identity), None)
                .await
                .expect(200);
            all["projects"][0]["id"].as_str().unwrap().to_owned()
        }
    };
    api.call(Method::PUT, &format!("{}/os-quota-sets/{project}", api.compute), Some(&quota))
        .await
        .expect(200);
    let body = json!({"server": {"name": "big", "imageRef": image, "flavorRef": flavor, "networks": "none"}});
    let made = api.at("2.37").post("/servers", &body).await.expect(202);
    let id = made["server"]["id"].as_str().unwrap().to_owned();
    let server = until(api, &id, "ERROR").await;
    let message = server["fault"]["message"].as_str().unwrap();
    assert!(message.starts_with("No valid host was found."), "{message}");
    assert!(server["fault"]["details"].as_str().unwrap().contains("RamFilter"), "{server:#}");
    api.delete(&format!("/servers/{id}")).await.expect(204);
    until_gone(api, &id).await;
    assert_nothing_left(&cloud).await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_servers_of_one_request_share_the_hosts() {
    let cloud = TestCloud::start().await;
    let api = &cloud.admin;
    let image = api.make_image("tiny", vec![7; 4096]).await;
    let flavor = api.make_flavor("t.nano", 1, 64, 1).await;
    let body = json!({"server": {"name": "many", "imageRef": image, "flavorRef": flavor, "networks": "none",
        "min_count": 10, "max_count": 10}});
    api.at("2.37").post("/servers", &body).await.expect(202);
    let servers = eventually("all are ACTIVE", async || {
        let list = api.get("/servers/detail?name=many").await.expect(200);
        let servers = list["servers"].as_array().unwrap().clone();
        assert_eq!(servers.len(), 10);
        servers.iter().all(|s| s["status"] == "ACTIVE").then_some(servers)
    })
    .await;
    let hosts: std::collections::BTreeSet<_> =
        servers.iter().map(|s| s["OS-EXT-SRV-ATTR:host"].as_str().unwrap().to_owned()).collect();
    assert_eq!(hosts.len(), 3, "the weighers spread over all hosts: {hosts:?}");
    for server in &servers {
        api.delete(&format!("/servers/{}", server["id"].as_str().unwrap())).await.expect(204);
    }
    eventually("the list is empty", async || {
        let list = api.get("/servers").await.expect(200);
        list["servers"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    assert_nothing_left(&cloud).await;
    cloud.stop().await;
}
