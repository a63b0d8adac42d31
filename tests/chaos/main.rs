//! A smoke of the chaos suite: each process is killed once while servers are built.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use ferrostack_testkit::{Api, eventually, eventually_for};
use ferrostack_tests::{LocalCloud, needs};
use nix::{sys::signal, unistd::Pid};
use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Servers of the smoke.
const SERVERS: usize = 50;

/// Sends a request until a service answers it; refused connections and 5xx are the chaos itself.
async fn insist(api: &Api, method: Method, url: &str, body: Option<&Value>) -> (u16, Value) {
    let request = async || {
        let mut request = api.http.request(method.clone(), url).timeout(Duration::from_secs(20));
        request = request.header("X-Auth-Token", api.token.as_deref().unwrap());
        request = request.header("OpenStack-API-Version", "compute 2.37");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        (status < 500).then_some((status, answer.json().await.unwrap_or(Value::Null)))
    };
    eventually_for(Duration::from_secs(120), &format!("{method} {url} is answered"), request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_boots_survive_the_death_of_every_process() {
    if needs("FERROSTACK_TEST_LOCAL").is_none() {
        return;
    }
    let cloud = LocalCloud::up(21_000, &["--hypervisor", "fake", "--hosts", "5"]);
    let api = cloud.admin().await;
    let image = api.make_image("tiny", vec![7; 4096]).await;
    let flavor = api.make_flavor("t.nano", 1, 64, 1).await;
    let projects =
        api.call(Method::GET, &format!("{}/v3/projects?name=admin", api.identity), None).await.expect(200);
    let quota = format!("{}/os-quota-sets/{}", api.compute, projects["projects"][0]["id"].as_str().unwrap());
    let unlimited = json!({"quota_set": {"instances": -1, "cores": -1, "ram": -1}});
    api.call(Method::PUT, &quota, Some(&unlimited)).await.expect(200);

    let (names, kills) = {
        let mut random = rand::rng();
        let names: Vec<String> = cloud.pids().into_keys().collect();
        let kills: Vec<u64> = names.iter().map(|_| random.random_range(0..1500)).collect();
        (names, kills)
    };
    eprintln!("kill plan: {:?}", names.iter().zip(&kills).collect::<Vec<_>>());
    let killer = async {
        for (name, pause) in names.iter().zip(kills) {
            // The moment is random on purpose: it is the fault, not a synchronisation.
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let pid = cloud.pids()[name];
            signal::kill(Pid::from_raw(pid), signal::Signal::SIGKILL).expect("the process lives");
            tokio::task::block_in_place(|| cloud.restart(name));
        }
    };
    let boots = async {
        let mut ids = Vec::new();
        for n in 0..SERVERS {
            let body = json!({"server": {"name": format!("chaos-{n}"), "imageRef": image, "flavorRef": flavor,
                "networks": "auto"}});
            let (status, made) =
                insist(&api, Method::POST, &format!("{}/servers", api.compute), Some(&body)).await;
            assert_eq!(status, 202, "{made:#}");
            let id = made["server"]["id"].as_str().unwrap().to_owned();
            // Every fifth is deleted at once, in the middle of its build.
            if n % 5 == 4 {
                let (status, _) =
                    insist(&api, Method::DELETE, &format!("{}/servers/{id}", api.compute), None).await;
                assert!(status == 204 || status == 404, "{status}");
            } else {
                ids.push(id);
            }
        }
        ids
    };
    let ((), ids) = tokio::join!(killer, boots);

    // A POST whose answer was lost has made a server all the same, so the list is what counts.
    let all = eventually_for(Duration::from_secs(240), "every server is ACTIVE or gone", async || {
        let (_, list) = insist(&api, Method::GET, &format!("{}/servers/detail", api.compute), None).await;
        let servers = list["servers"].as_array().unwrap().clone();
        let error = servers.iter().find(|s| s["status"] == "ERROR");
        assert!(error.is_none(), "a server is in ERROR: {error:#?}");
        servers
            .iter()
            .all(|s| s["status"] == "ACTIVE" && s["OS-EXT-STS:task_state"].is_null())
            .then_some(servers)
    })
    .await;
    for id in &ids {
        assert!(all.iter().any(|s| s["id"] == *id), "server {id} was lost");
    }

    for server in &all {
        let url = format!("{}/servers/{}", api.compute, server["id"].as_str().unwrap());
        insist(&api, Method::DELETE, &url, None).await;
    }
    eventually_for(Duration::from_secs(120), "every server is gone", async || {
        let (_, list) = insist(&api, Method::GET, &format!("{}/servers", api.compute), None).await;
        list["servers"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    eventually("no claim is left", async || {
        let (_, used) =
            insist(&api, Method::GET, &format!("{}/os-hypervisors/statistics", api.compute), None).await;
        let s = &used["hypervisor_statistics"];
        (s["vcpus_used"] == 0 && s["running_vms"] == 0).then_some(())
    })
    .await;
    // A fake guest is a file below its host's directory.
    let guests = cloud.state().join("agent/fake");
    eventually("no guest is left on any host", async || {
        let hosts: Vec<_> = std::fs::read_dir(&guests).expect("the fake hosts' state").flatten().collect();
        assert_eq!(hosts.len(), 5);
        hosts.iter().all(|h| std::fs::read_dir(h.path()).is_ok_and(|mut d| d.next().is_none())).then_some(())
    })
    .await;
    // Ports of builds that were killed between the network service and their own table are swept by a reconciler.
    eventually_for(Duration::from_secs(180), "no port is left", async || {
        let (_, ports) = insist(&api, Method::GET, &format!("{}/v2.0/ports", api.network), None).await;
        ports["ports"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}
