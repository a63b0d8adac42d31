//! Server groups, and the hints of new servers.

use crate::{
    jobs::{Bench, until},
    servers::{becomes, each, gone, make, show, up, wish},
    support::{Database, PROJECT_A, user_id},
    world::{KERNEL, count},
};
use ferrostack_compute_api::store::{claims, move_claims, server_groups as groups, servers};
use ferrostack_db::Db;
use ferrostack_model::{Timestamp, id, placement::GroupPolicy};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Where groups change, and the ends.
const VERSIONS: [u16; 9] = [1, 12, 13, 14, 15, 63, 64, 75, 96];

fn group(policy: &str) -> Value {
    json!({"server_group": {"name": "g", "policy": policy}})
}

fn hinted(hints: Value) -> Value {
    let mut body = wish(json!({}));
    body["os:scheduler_hints"] = hints;
    body
}

#[actix_web::test]
async fn groups_live_at_every_version() {
    each(async |cloud, _| {
        for version in VERSIONS {
            let member = cloud.at("member", version);
            let body = if version < 64 {
                json!({"server_group": {"name": "g", "policies": ["anti-affinity"]}})
            } else {
                json!({"server_group": {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": "3"}}})
            };
            let made = member.post("/os-server-groups", body).await.expect(200);
            member.conforms("server_groups.create", &made);
            let shown = &made["server_group"];
            assert_eq!(shown["members"], json!([]));
            if version < 64 {
                assert_eq!((&shown["policies"], &shown["metadata"]), (&json!(["anti-affinity"]), &json!({})));
            } else {
                assert_eq!(shown["rules"], json!({"max_server_per_host": 3}));
            }
            if version >= 13 {
                assert_eq!(shown["project_id"], PROJECT_A);
                assert_eq!(shown["user_id"], json!(user_id("member")));
            }
            let path = format!("/os-server-groups/{}", shown["id"].as_str().unwrap());
            let again = member.get(&path).await.expect(200);
            member.conforms("server_groups.show", &again);
            assert_eq!(again, made);
            let list = member.get("/os-server-groups").await.expect(200);
            member.conforms("server_groups.index", &list);
            assert_eq!(list["server_groups"], json!([made["server_group"]]));
            member.delete(&path).await.expect(204);
            let id = shown["id"].as_str().unwrap();
            for gone in [member.get(&path).await, member.delete(&path).await] {
                assert_eq!(gone.fault(404), format!("Instance group {id} could not be found."));
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn what_is_wrong_with_a_group_is_said() {
    each(async |cloud, _| {
        let long = "x".repeat(256);
        let old = |policies: Value| json!({"server_group": {"name": "g", "policies": policies}});
        let new = |policy: &str, rules: Value| json!({"server_group": {"name": "g", "policy": policy, "rules": rules}});
        for (version, body, text) in [
            (14, old(json!(["soft-affinity"])), "'soft-affinity' is not one of"),
            (15, old(json!(["nearby"])), "'nearby' is not one of"),
            (15, old(json!([])), "policies"),
            (15, old(json!(["affinity", "anti-affinity"])), "policies"),
            (15, group("affinity"), "'policies' is a required property"),
            (64, old(json!(["affinity"])), "'policy' is a required property"),
            (64, new("affinity", json!({"max_server_per_host": 3})), "Only anti-affinity policy supports rules."),
            (64, new("soft-anti-affinity", json!({"max_server_per_host": 3})), "Only anti-affinity policy supports rules."),
            (64, new("anti-affinity", json!({"max_server_per_host": 0})), "max_server_per_host"),
            (64, new("anti-affinity", json!({"max_server_per_host": -1})), "max_server_per_host"),
            (64, new("anti-affinity", json!({"max_server_per_host": "x"})), "max_server_per_host"),
            (64, new("anti-affinity", json!({"max_server_per_host": "99999999999999999999"})), "max_server_per_host"),
            (64, new("anti-affinity", json!({"max_server_per_host": 2_147_483_648u64})), "max_server_per_host"),
            (64, new("anti-affinity", json!({"most": 3})), "most"),
            (64, json!({"server_group": {"name": "", "policy": "affinity"}}), "name"),
            (64, json!({"server_group": {"name": long, "policy": "affinity"}}), "name"),
            (64, json!({"server_group": {"name": "g", "policy": "affinity", "x": 1}}), "x"),
            (64, json!([]), "is not of type 'object'"),
        ] {
            let said = cloud.at("member", version).post("/os-server-groups", body.clone()).await;
            assert_eq!(said.status, 400, "2.{version} {body}: {}", said.text);
            let said = said.fault(400);
            assert!(said.contains(text), "2.{version} {body}: {said}");
        }
        let member = cloud.at("member", 75);
        assert_eq!(member.get("/os-server-groups?nonsense=1").await.status, 400);
        for bad in ["limit=-1", "limit=x", "offset=-1", "offset=x"] {
            assert_eq!(member.get(&format!("/os-server-groups?{bad}")).await.status, 400, "{bad}");
        }
        for id in ["x".repeat(5000), "..%2f..".into(), "'; DROP TABLE server_groups; --".into()] {
            assert_eq!(member.get(&format!("/os-server-groups/{id}")).await.status, 404, "{id}");
        }
        assert_eq!(member.get("/os-server-groups").await.expect(200)["server_groups"], json!([]));
    })
    .await;
}

#[actix_web::test]
async fn groups_are_their_projects_and_page() {
    each(async |cloud, _| {
        let (admin, member, other) = (cloud.at("admin", 64), cloud.at("member", 64), cloud.at("other", 64));
        let mut ids = Vec::new();
        for who in [member, member, other] {
            let made = who.post("/os-server-groups", group("soft-affinity")).await.expect(200);
            ids.push(made["server_group"]["id"].as_str().unwrap().to_owned());
        }
        let listed = async |who: crate::support::Client<'_>, query: &str| -> Vec<String> {
            let list = who.get(&format!("/os-server-groups{query}")).await.expect(200);
            let list = list["server_groups"].as_array().unwrap().clone();
            list.iter().map(|g| g["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(listed(member, "").await, ids[..2]);
        assert_eq!(listed(member, "?all_projects=True").await, ids[..2], "not heard");
        assert_eq!(listed(admin, "?all_projects=True").await, ids);
        assert_eq!(listed(admin, "?all_projects=True&limit=1&offset=1").await, ids[1..2]);
        assert_eq!(listed(member, "?limit=0").await, [""; 0]);
        assert_eq!(listed(member, "?offset=99999999999999999999").await, [""; 0]);
        let path = format!("/os-server-groups/{}", ids[0]);
        for (who, status) in [("other", 403), ("nobody", 403), ("", 401)] {
            assert_eq!(cloud.at(who, 64).get(&path).await.status, status, "{who}");
            assert_eq!(cloud.at(who, 64).delete(&path).await.status, status, "{who}");
        }
        cloud.at("reader", 64).get(&path).await.expect(200);
        for (who, status) in [("reader", 403), ("nobody", 403), ("", 401)] {
            let answer = cloud.at(who, 64).post("/os-server-groups", group("affinity")).await;
            assert_eq!(answer.status, status, "{who}");
        }
        assert_eq!(cloud.at("reader", 64).delete(&path).await.status, 403);
        admin.delete(&path).await.expect(204);
        // A server cannot get into the group of another project.
        let said = member.post("/servers", hinted(json!({"group": ids[2]}))).await.fault(400);
        assert_eq!(said, format!("Instance group {} could not be found.", ids[2]));
    })
    .await;
}

/// X27: quotas of project, user and group mixed end in 403 and never worse; nobody gets past them, however fast.
#[actix_web::test]
async fn x27_quotas_of_groups_and_members_hold() {
    each(async |cloud, _| {
        let (admin, member) = (cloud.at("admin", 64), cloud.at("member", 64));
        let quota = async |user: bool, groups: i64, members: i64| {
            let user = if user { format!("?user_id={}", user_id("member")) } else { String::new() };
            let set = json!({"quota_set": {"server_groups": groups, "server_group_members": members, "force": true}});
            admin.put(&format!("/os-quota-sets/{PROJECT_A}{user}"), set).await.expect(200);
        };
        for (project, own, fits) in [(2, -1, 2), (-1, 1, 1), (3, 2, 2), (0, -1, 0), (-1, 0, 0)] {
            quota(false, project, 10).await;
            quota(true, own, 10).await;
            let posts = (0..6).map(|_| member.post("/os-server-groups", group("affinity")));
            let answers = futures_util::future::join_all(posts).await;
            let made: Vec<_> = answers.iter().filter(|a| a.status == 200).collect();
            assert_eq!(made.len(), fits, "{project} {own}");
            for refused in answers.iter().filter(|a| a.status != 200) {
                assert_eq!(refused.status, 403, "{}", refused.text);
                assert_eq!(refused.body["forbidden"]["message"], "Quota exceeded, too many server groups.");
            }
            for made in made {
                let id = made.body["server_group"]["id"].as_str().unwrap();
                member.delete(&format!("/os-server-groups/{id}")).await.expect(204);
            }
        }
        quota(true, -1, 2).await;
        quota(false, -1, 2).await;
        let made = member.post("/os-server-groups", group("soft-anti-affinity")).await.expect(200);
        let id = made["server_group"]["id"].as_str().unwrap();
        let mut three = hinted(json!({"group": id}));
        three["server"]["min_count"] = json!(3);
        let said = member.post("/servers", three).await.fault(403);
        assert_eq!(said, "Quota exceeded, too many servers in group");
        let posts = (0..5).map(|_| member.post("/servers", hinted(json!({"group": id}))));
        let answers = futures_util::future::join_all(posts).await;
        assert_eq!(answers.iter().filter(|a| a.status == 202).count(), 2);
        assert!(answers.iter().all(|a| a.status == 202 || a.status == 403));
        // Members count by user: another one has room.
        admin.post("/servers", hinted(json!({"group": id}))).await.expect(202);
        let db = cloud.db().await;
        assert_eq!(count(&db, "SELECT COUNT(*) FROM servers").await, 3, "what was refused left nothing");
        db.close().await;
    })
    .await;
}

#[actix_web::test]
async fn members_come_and_go() {
    each(async |cloud, world| {
        let member = cloud.at("member", 71);
        let made = member.post("/os-server-groups", group("soft-anti-affinity")).await.expect(200);
        let id = made["server_group"]["id"].as_str().unwrap().to_owned();
        let path = format!("/os-server-groups/{id}");
        let mut body = hinted(json!({"group": id}));
        body["server"]["min_count"] = json!(2);
        member.post("/servers", body).await.expect(202);
        let list = member.get("/servers?sort_key=display_name&sort_dir=asc").await.expect(200);
        let ids: Vec<String> = list["servers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["id"].as_str().unwrap().to_owned())
            .collect();
        for server in &ids {
            let shown = becomes(member, server, "ACTIVE").await;
            assert_eq!(shown["server_groups"], json!([id]));
            member.conforms("servers.show", &json!({"server": shown}));
        }
        let put =
            member.put(&format!("/servers/{}", ids[0]), json!({"server": {"name": "n"}})).await.expect(200);
        assert_eq!(put["server"]["server_groups"], json!([id]));
        let detail = member.get("/servers/detail").await.expect(200);
        assert!(detail["servers"].as_array().unwrap().iter().all(|s| s.get("server_groups").is_none()));
        let mut members = member.get(&path).await.expect(200)["server_group"]["members"].clone();
        members.as_array_mut().unwrap().sort_by_key(|m| m.as_str().unwrap().to_owned());
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(members, json!(sorted));
        // The scheduler is told of the others.
        let asked = world.state.lock().requests.last().cloned().unwrap();
        let group = asked.group.unwrap();
        assert_eq!((group.policy, group.max_server_per_host), (GroupPolicy::SoftAntiAffinity, None));
        gone(member, &ids[0]).await;
        assert_eq!(member.get(&path).await.expect(200)["server_group"]["members"], json!([ids[1]]));
        member.delete(&path).await.expect(204);
        assert_eq!(show(member, &ids[1]).await["server_groups"], json!([]));
        gone(member, &ids[1]).await;
        let none = up(member, json!({})).await;
        assert_eq!(show(member, &none).await["server_groups"], json!([]));
    })
    .await;
}

/// S-2026-022: hints that begin with `_` mean nothing and are not kept; the server has its claim and its zone.
#[actix_web::test]
async fn s_2026_022_internal_hints_have_no_power() {
    each(async |cloud, world| {
        let admin = cloud.at("admin", 94);
        let mut body = hinted(json!({"_nova_check_type": ["rebuild"], "_x": 1, "mine": "1"}));
        body["server"]["availability_zone"] = json!("nova");
        let id = admin.post("/servers", body).await.expect(202)["server"]["id"].as_str().unwrap().to_owned();
        becomes(admin, &id, "ACTIVE").await;
        let asked = world.state.lock().requests.last().cloned().unwrap();
        assert_eq!(asked.hints.keys().collect::<Vec<_>>(), ["mine"]);
        assert_eq!((asked.availability_zone.as_deref(), asked.rebuild), (Some("nova"), false));
        let db = cloud.db().await;
        assert_eq!(count(&db, "SELECT COUNT(*) FROM claims").await, 1);
        assert_eq!(count(&db, "SELECT CAST(SUM(memory_mb_used) AS BIGINT) FROM hosts").await, 512);
        assert_eq!(servers::get(&db, &id).await.unwrap().hints.keys().collect::<Vec<_>>(), ["mine"]);
        db.close().await;
    })
    .await;
}

/// S-2012-009: nobody needs thousands of servers in a hint.
#[actix_web::test]
async fn s_2012_009_hints_are_bounded() {
    each(async |cloud, world| {
        let member = cloud.at("member", 94);
        let ids = |n: usize| (0..n).map(|_| id::uuid()).collect::<Vec<_>>();
        for hints in [
            json!({"different_host": ids(10_000)}),
            json!({"same_host": ids(101)}),
            json!({"group": ids(101)}),
            json!({"x": "x".repeat(70_000)}),
            (0..65).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into(),
        ] {
            let said = member.post("/servers", hinted(hints)).await.fault(400);
            assert!(said.starts_with("Invalid input for field/attribute"), "{said}");
        }
        for hints in [
            json!({"different_host": ["x"]}),
            json!({"group": "x"}),
            json!({"build_near_host_ip": "x"}),
            json!({"cidr": "24"}),
            json!({"query": 1}),
        ] {
            assert_eq!(member.post("/servers", hinted(hints.clone())).await.status, 400, "{hints}");
        }
        assert!(world.state.lock().requests.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn hints_reach_the_scheduler_with_the_hosts_they_mean() {
    each(async |cloud, world| {
        let member = cloud.at("member", 94);
        let first = make(member, json!({})).await;
        let host = {
            becomes(member, &first, "ACTIVE").await;
            becomes(cloud.at("admin", 94), &first, "ACTIVE").await["OS-EXT-SRV-ATTR:host"].clone()
        };
        let hints = json!({"same_host": first, "different_host": [KERNEL], "query": ["=", "$host", "x"],
            "build_near_host_ip": "192.0.2.1", "cidr": "/25"});
        let mut hints = hints;
        hints["query"] = json!("[\"=\", \"$host\", \"x\"]");
        let answer = member.post("/servers", hinted(hints)).await.expect(202);
        becomes(member, answer["server"]["id"].as_str().unwrap(), "ACTIVE").await;
        let asked = world.state.lock().requests.last().cloned().unwrap();
        assert_eq!(asked.hints["same_host"], std::slice::from_ref(&first));
        assert_eq!(asked.hints["query"], ["[\"=\", \"$host\", \"x\"]"]);
        assert_eq!(asked.hints["cidr"], ["/25"]);
        assert_eq!(json!(asked.hosts_of), json!({first: host}));
    })
    .await;
}

async fn insert(db: &Db, policy: GroupPolicy, max: Option<i64>) -> String {
    let new = groups::ServerGroup {
        id: id::uuid(),
        project_id: PROJECT_A.into(),
        user_id: "u".into(),
        name: "g".into(),
        policy,
        max_server_per_host: max,
        created_at: Timestamp::now(),
    };
    groups::insert(db, &new, &ferrostack_settings::Quota::default()).await.unwrap();
    new.id
}

/// Builds `servers` members at once with a scheduler that knows nothing of groups; how many each host got.
async fn built(hosts: usize, servers: usize, policy: GroupPolicy, max: Option<i64>) {
    let mut databases = vec![None];
    databases.extend(Database::test_postgres().await.map(Some));
    for database in databases {
        let mut bench = Bench::on(database, hosts).await;
        let db = bench.app.db.clone();
        let group = insert(&db, policy, max).await;
        let mut ids = Vec::new();
        for n in 0..servers {
            let server = bench.insert(&format!("vm{n}"), 1).await;
            let mut tx = db.begin_write().await.unwrap();
            groups::admit(&mut tx, &group, "u", 1, -1).await.unwrap();
            groups::join(&mut tx, &group, &server, "u").await.unwrap();
            tx.commit().await.unwrap();
            ids.push(server);
        }
        for server in &ids {
            bench.enqueue_build(server).await;
        }
        let stop = CancellationToken::new();
        let running = tokio::spawn(bench.runner().start(stop.clone()));
        until("every build has ended", async || {
            let open = "SELECT COUNT(*) FROM jobs WHERE state IN ('active', 'undoing')";
            (count(&db, open).await == 0).then_some(())
        })
        .await;
        stop.cancel();
        running.await.unwrap();
        let mut on: std::collections::BTreeMap<String, i64> = Default::default();
        for server in &ids {
            let row = servers::find(&db, server).await.unwrap().unwrap();
            match row.host {
                Some(host) if row.vm_state.as_str() == "active" => *on.entry(host).or_default() += 1,
                None => assert_eq!(row.vm_state.as_str(), "error"),
                Some(_) => panic!("{row:?}"),
            }
        }
        match policy {
            GroupPolicy::AntiAffinity => {
                let most = max.unwrap_or(1);
                assert_eq!(on.len(), hosts, "{on:?}");
                assert!(on.values().all(|n| *n == most), "{on:?}");
            }
            _ => assert_eq!((on.len(), on.values().sum::<i64>()), (1, servers as i64), "{on:?}"),
        }
        let held = "SELECT COUNT(*) FROM claims";
        assert_eq!(count(&db, held).await, on.values().sum::<i64>());
        assert_eq!(bench.world.guest_count() as i64, on.values().sum::<i64>());
        bench.app.stop.cancel();
        db.close().await;
        if let Some(database) = bench.database.take() {
            database.drop().await;
        }
    }
}

/// R09: the rule of a group is part of the claim, so however many are built at once it holds.
#[tokio::test(flavor = "multi_thread")]
async fn r09_fifty_at_once_in_an_anti_affinity_group_on_three_hosts() {
    built(3, 50, GroupPolicy::AntiAffinity, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r09_the_rule_of_a_group_holds_for_builds_at_once() {
    built(2, 12, GroupPolicy::AntiAffinity, Some(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r09_an_affinity_group_comes_together_on_one_host() {
    built(3, 8, GroupPolicy::Affinity, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn u5_a_claim_asks_the_group_and_so_does_a_move() {
    let bench = Bench::new(3).await;
    let db = bench.app.db.clone();
    let group = insert(&db, GroupPolicy::AntiAffinity, None).await;
    let want = claims::Want { vcpus: 1, memory_mb: 1, local_gb: 1 };
    let settings = &bench.app.settings.compute;
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        let server = bench.insert(name, 1).await;
        let mut tx = db.begin_write().await.unwrap();
        groups::join(&mut tx, &group, &server, "u").await.unwrap();
        tx.commit().await.unwrap();
        ids.push(server);
    }
    let claim = async |server: &str, host: &str| {
        let mut tx = db.begin_write().await.unwrap();
        // Not even an operator's choice of the host breaks the rule.
        let got = claims::claim(&mut tx, server, host, want, settings, true).await.unwrap().is_some();
        tx.commit().await.unwrap();
        got
    };
    assert!(claim(&ids[0], "host1").await);
    assert!(!claim(&ids[1], "host1").await);
    assert!(claim(&bench.server, "host1").await, "whoever is in no group may");
    assert!(claim(&ids[1], "host2").await);
    let mut tx = db.begin_write().await.unwrap();
    assert!(groups::permits(&mut tx, &ids[0], "host1").await.unwrap(), "it does not stand in its own way");
    assert!(!groups::permits(&mut tx, &ids[0], "host2").await.unwrap());
    // U5: a move is judged alike, and holds where it goes from when it is claimed.
    let moved = async |tx: &mut ferrostack_compute_api::store::Tx, server: &str, host: &str| {
        move_claims::claim(tx, server, host, want, settings, true).await.unwrap().is_some()
    };
    assert!(!moved(&mut tx, &ids[0], "host2").await, "U5");
    assert!(moved(&mut tx, &ids[0], "host3").await);
    assert!(!moved(&mut tx, &ids[1], "host3").await, "U5");
    assert_eq!(groups::wish(&db, &bench.server).await.unwrap(), None);
}
