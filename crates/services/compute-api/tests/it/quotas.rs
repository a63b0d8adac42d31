//! Quota sets, classes, limits, and the check that creating servers goes through.

use crate::support::{Cloud, PROJECT_A, PROJECT_B, VERSIONS, each, user_id};
use ferrostack_compute_api::store::quota::{self, Want};
use ferrostack_db::{Db, Tx, sqlx};
use ferrostack_model::id;
use ferrostack_settings::Quota;
use serde_json::json;

/// A row of the servers table, as far as quotas look.
async fn insert(tx: &mut Tx, project: &str, user: &str, vcpus: i64, memory_mb: i64) {
    sqlx::query(
        "INSERT INTO servers (id, project_id, user_id, display_name, hostname, instance_name, reservation_id, \
         vm_state, image_id, image, flavor, flavor_id, vcpus, memory_mb, root_gb, ephemeral_gb, swap_mb, created_at) \
         VALUES ($1, $2, $3, 's', 's', 'i', 'r', 'active', 'x', '{}', '{}', '1', $4, $5, 0, 0, 0, 0)",
    )
    .bind(id::uuid())
    .bind(project)
    .bind(user)
    .bind(vcpus)
    .bind(memory_mb)
    .execute(&mut **tx)
    .await
    .unwrap();
}

pub async fn make_server(cloud: &Cloud, project: &str, vcpus: i64, memory_mb: i64) {
    let db = cloud.db().await;
    let mut tx = db.begin_write().await.unwrap();
    insert(&mut tx, project, &user_id("member"), vcpus, memory_mb).await;
    tx.commit().await.unwrap();
    db.close().await;
}

#[actix_web::test]
async fn every_version_has_novas_shape() {
    each(async |cloud| {
        make_server(cloud, PROJECT_A, 3, 1000).await;
        let path = format!("/os-quota-sets/{PROJECT_A}");
        for version in VERSIONS {
            let (admin, reader) = (cloud.at("admin", version), cloud.at("reader", version));
            let shown = reader.get(&path).await.expect(200);
            reader.conforms("quota_sets.show", &shown);
            assert_eq!(shown["quota_set"]["id"], PROJECT_A);
            assert_eq!(shown["quota_set"].get("fixed_ips").is_some(), version < 36);
            assert_eq!(shown["quota_set"].get("injected_files").is_some(), version < 57);
            let defaults = cloud.at("nobody", version).get(&format!("{path}/defaults")).await.expect(200);
            reader.conforms("quota_sets.defaults", &defaults);
            let detail = reader.get(&format!("{path}/detail")).await.expect(200);
            reader.conforms("quota_sets.detail", &detail);
            assert_eq!(detail["quota_set"]["cores"], json!({"limit": 20, "in_use": 3, "reserved": 0}));
            let updated = admin.put(&path, json!({"quota_set": {"instances": "11"}})).await.expect(200);
            admin.conforms("quota_sets.update", &updated);
            assert_eq!(updated["quota_set"]["instances"], 11);
            let gone = admin.delete(&path).await;
            assert_eq!(gone.text, "");
            gone.expect(202);
            assert_eq!(reader.get(&path).await.expect(200)["quota_set"]["instances"], 10);
            let limits = reader.get("/limits").await.expect(200);
            reader.conforms("limits.index", &limits);
            assert_eq!(limits["limits"]["absolute"]["totalRAMUsed"], 1000);
            assert_eq!(limits["limits"]["absolute"]["totalInstancesUsed"], 1);
            let class = admin.get("/os-quota-class-sets/default").await.expect(200);
            admin.conforms("quota_classes.show", &class);
            let class =
                admin.put("/os-quota-class-sets/gold", json!({"quota_class_set": {"cores": 7}})).await;
            admin.conforms("quota_classes.update", &class.expect(200));
        }
    })
    .await;
}

#[actix_web::test]
async fn limits_are_set_and_checked() {
    each(async |cloud| {
        make_server(cloud, PROJECT_B, 4, 2048).await;
        let path = format!("/os-quota-sets/{PROJECT_B}");
        let admin = cloud.at("admin", 57);
        let put = async |set: serde_json::Value| admin.put(&path, json!({"quota_set": set})).await;
        assert_eq!(
            put(json!({"cores": 3})).await.fault(400),
            "Quota limit 3 for cores must be greater than or equal to already used and reserved 4."
        );
        // All or nothing.
        put(json!({"instances": 50, "ram": 1})).await.fault(400);
        assert_eq!(admin.get(&path).await.expect(200)["quota_set"]["instances"], 10);
        assert_eq!(put(json!({"cores": 3, "force": "True"})).await.expect(200)["quota_set"]["cores"], 3);
        assert_eq!(put(json!({"cores": -1})).await.expect(200)["quota_set"]["cores"], -1);
        let says = put(json!({"cores": -2})).await.fault(400);
        assert!(says.contains("less than the minimum of -1"), "{says}");
        assert_eq!(
            put(json!({"instances": 5, "force": true, "tenant_id": "x"})).await.fault(400),
            "Invalid input for field/attribute quota_set. Value: {'instances': 5, 'force': True, 'tenant_id': 'x'}. Additional properties are not allowed ('tenant_id' was unexpected)"
        );
        put(json!({"injected_files": 1})).await.fault(400);
        put(json!({"ram": "x"})).await.fault(400);
        put(json!({"ram": 2147483648_i64})).await.fault(400);
        for path in ["/os-quota-sets/nosuch", "/os-quota-sets/nosuch/detail", "/os-quota-sets/nosuch/defaults"] {
            assert_eq!(admin.get(path).await.fault(400), "Project ID nosuch is not a valid project.");
        }
        admin.put("/os-quota-sets/nosuch", json!({"quota_set": {}})).await.fault(400);
        // The defaults of all follow the class `default`.
        admin.put("/os-quota-class-sets/default", json!({"quota_class_set": {"ram": 123}})).await.expect(200);
        let other = cloud.at("member", 57).get("/limits").await.expect(200);
        assert_eq!(other["limits"]["absolute"]["maxTotalRAMSize"], 123);
        assert_eq!(admin.get(&format!("{path}/defaults")).await.expect(200)["quota_set"]["ram"], 123);
    })
    .await;
}

#[actix_web::test]
async fn users_have_limits_of_their_own() {
    each(async |cloud| {
        let admin = cloud.at("admin", 57);
        let user = user_id("member");
        let path = format!("/os-quota-sets/{PROJECT_A}");
        let of_user = format!("{path}?user_id={user}");
        admin.put(&of_user, json!({"quota_set": {"instances": 4}})).await.expect(200);
        assert_eq!(admin.get(&of_user).await.expect(200)["quota_set"]["instances"], 4);
        assert_eq!(admin.get(&path).await.expect(200)["quota_set"]["instances"], 10);
        assert_eq!(
            admin.put(&of_user, json!({"quota_set": {"instances": 11}})).await.fault(400),
            "Quota limit 11 for instances must be less than or equal to 10."
        );
        assert_eq!(
            admin.put(&path, json!({"quota_set": {"instances": 3}})).await.fault(400),
            "Quota limit 3 for instances must be greater than or equal to already used and reserved 4."
        );
        let second = format!("{path}?user_id={}", user_id("reader"));
        admin.put(&second, json!({"quota_set": {"instances": 7}})).await.fault(400);
        let db = cloud.db().await;
        assert_eq!(reserve(&db, PROJECT_A, &user, 1, 9).await, Ok(4));
        assert_eq!(reserve(&db, PROJECT_A, "somebody", 1, 9).await, Ok(6));
        db.close().await;
        admin.delete(&of_user).await.expect(202);
        assert_eq!(admin.get(&of_user).await.expect(200)["quota_set"]["instances"], 10);
    })
    .await;
}

/// Reserves servers of 1 vCPU and 1 MiB and inserts them, as a create does.
async fn reserve(db: &Db, project: &str, user: &str, min: i64, max: i64) -> Result<i64, String> {
    let want = Want { min_count: min, max_count: max, vcpus: 1, memory_mb: 1 };
    let mut tx = db.begin_write().await.unwrap();
    let granted = quota::reserve_servers(&mut tx, &Quota::default(), project, user, want)
        .await
        .map_err(|e| e.public)?;
    for _ in 0..granted {
        insert(&mut tx, project, user, 1, 1).await;
    }
    tx.commit().await.unwrap();
    Ok(granted)
}

#[actix_web::test]
async fn parallel_creates_never_exceed_the_quota() {
    each(async |cloud| {
        let db = cloud.db().await;
        let other = cloud.db().await;
        let calls = (0..32).map(|n| reserve(if n % 2 == 0 { &db } else { &other }, PROJECT_A, "u", 1, 1));
        let results = futures_util::future::join_all(calls).await;
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 10);
        for refused in results.into_iter().filter_map(Result::err) {
            assert_eq!(
                refused,
                "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"
            );
        }
        assert_eq!(quota::used(&db, PROJECT_A, "").await.unwrap().instances, 10);
        // Another project is not concerned.
        assert_eq!(reserve(&db, PROJECT_B, "u", 2, 20).await, Ok(10));
        db.close().await;
        other.close().await;
    })
    .await;
}

#[actix_web::test]
async fn limits_of_others_are_for_admins() {
    each(async |cloud| {
        make_server(cloud, PROJECT_B, 4, 2048).await;
        let path = format!("/limits?tenant_id={PROJECT_B}");
        let seen = cloud.at("admin", 57).get(&path).await.expect(200);
        assert_eq!(seen["limits"]["absolute"]["totalCoresUsed"], 4);
        cloud.at("member", 57).get(&path).await.fault(403);
        cloud.at("member", 57).get("/limits?reserved=1").await.expect(200);
        cloud.at("member", 75).get("/limits?reserved=1").await.fault(400);
        cloud.at("member", 57).get(&format!("/os-quota-sets/{PROJECT_B}")).await.fault(403);
    })
    .await;
}

/// X27: limits of a project, of its users and of groups, mixed in every order, are never a fault of ours.
#[actix_web::test]
async fn x27_limits_of_projects_users_and_groups_mix() {
    each(async |cloud| {
        let admin = cloud.at("admin", 57);
        let project = format!("/os-quota-sets/{PROJECT_A}");
        let users =
            [String::new(), format!("?user_id={}", user_id("member")), "?user_id=nobody%20knows".into()];
        let limits = [-1, 0, 1, 5, 1_000_000, i64::from(i32::MAX)];
        for resource in ["instances", "cores", "key_pairs", "server_groups", "server_group_members"] {
            for user in &users {
                for limit in limits {
                    for force in [false, true] {
                        let body = json!({"quota_set": {resource: limit, "force": force}});
                        let answer = admin.put(&format!("{project}{user}"), body).await;
                        assert!(
                            [200, 400].contains(&answer.status.as_u16()),
                            "{resource} {user} {limit}: {}",
                            answer.text
                        );
                        let shown = admin.get(&format!("{project}/detail{user}")).await.expect(200);
                        admin.conforms("quota_sets.detail", &shown);
                    }
                }
            }
            for user in users.iter().rev() {
                admin.delete(&format!("{project}{user}")).await.expect(202);
                admin.get(&format!("{project}{user}")).await.expect(200);
            }
        }
    })
    .await;
}

/// S-2012-005 and I06: what has a limit is refused one above it, and what is counted is what is there.
#[actix_web::test]
async fn s_2012_005_one_above_the_limit_is_refused() {
    each(async |cloud| {
        let (admin, member) = (cloud.at("admin", 96), cloud.at("member", 64));
        let limits = json!({"quota_set": {"key_pairs": 2, "server_groups": 2}});
        admin.put(&format!("/os-quota-sets/{PROJECT_A}"), limits).await.expect(200);
        for n in 0..3 {
            let group = json!({"server_group": {"name": format!("g{n}"), "policy": "affinity"}});
            let made = member.post("/os-server-groups", group).await;
            let key = json!({"keypair": {"name": format!("k{n}"), "type": "ssh"}});
            let key = member.post("/os-keypairs", key).await;
            if n < 2 {
                made.expect(200);
                key.expect(201);
            } else {
                assert!(made.fault(403).starts_with("Quota exceeded"));
                assert_eq!(key.fault(403), "Quota exceeded, too many key pairs.");
            }
        }
        let used = member.get("/limits").await.expect(200);
        assert_eq!(used["limits"]["absolute"]["totalServerGroupsUsed"], 2);
        let detail = member.get(&format!("/os-quota-sets/{PROJECT_A}/detail")).await.expect(200);
        assert_eq!(detail["quota_set"]["server_groups"], json!({"limit": 2, "in_use": 2, "reserved": 0}));
        let low = json!({"quota_set": {"server_groups": 1}});
        admin.put(&format!("/os-quota-sets/{PROJECT_A}"), low.clone()).await.fault(400);
        let forced = json!({"quota_set": {"server_groups": 1, "force": true}});
        admin.put(&format!("/os-quota-sets/{PROJECT_A}"), forced).await.expect(200);
    })
    .await;
}
