//! Lists of migrations: every microversion, filters, pages and who sees what.

use crate::{
    support::{Cloud, PROJECT_A, PROJECT_B, each, user_id},
    world::IMAGE,
};
use ferrostack_compute_api::store::{
    flavors,
    migrations::{self, New, Place, Progress, Size},
    servers::{self, Inputs, Server},
};
use ferrostack_db::{Db, sqlx};
use ferrostack_model::{
    Timestamp,
    guest::GuestFlavor,
    id,
    image::ImageSource,
    migration::{Kind, Status},
    server::{PowerState, VmState},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The microversions at which the shape changes, and their neighbours.
const VERSIONS: [u16; 10] = [1, 22, 23, 58, 59, 65, 66, 79, 80, 96];

fn server(project: &str) -> Server {
    let now = Timestamp::now();
    Server {
        id: id::uuid(),
        generation: 1,
        project_id: project.into(),
        user_id: user_id("member"),
        display_name: "s".into(),
        hostname: "s".into(),
        description: None,
        instance_name: "instance-00000001".into(),
        reservation_id: "r-1".into(),
        launch_index: 0,
        vm_state: VmState::Active,
        task_state: None,
        power_state: PowerState::Running,
        power_at: now,
        progress: 0,
        host: Some("host1".into()),
        node: Some("node1".into()),
        availability_zone: None,
        pinned_az: None,
        image: image(),
        kernel: None,
        ramdisk: None,
        flavor: flavor(),
        flavor_id: "f1".into(),
        key_name: None,
        public_key: None,
        config_drive: false,
        access_ip_v4: String::new(),
        access_ip_v6: String::new(),
        metadata: BTreeMap::new(),
        hints: BTreeMap::new(),
        nics: Vec::new(),
        ports: Vec::new(),
        fault: None,
        locked: false,
        locked_reason: None,
        created_at: now,
        updated_at: now,
        launched_at: Some(now),
        terminated_at: None,
        deleted_at: None,
        tags: Vec::new(),
        trusted_certs: None,
        disk_config: "MANUAL".into(),
    }
}

fn image() -> ImageSource {
    ImageSource {
        id: IMAGE.into(),
        disk_format: "qcow2".into(),
        size: 1,
        virtual_size: 2,
        sha512: "ab".into(),
        properties: BTreeMap::new(),
    }
}

fn flavor() -> GuestFlavor {
    GuestFlavor {
        name: "f".into(),
        vcpus: 1,
        ram_mb: 512,
        root_gb: 1,
        ephemeral_gb: 0,
        swap_mb: 0,
        extra_specs: BTreeMap::new(),
    }
}

struct Row {
    id: i64,
    uuid: String,
    server: String,
}

/// A migration that `persona` asked for in `project`, with its destination, created `age` seconds ago.
async fn row(db: &Db, kind: Kind, status: Status, persona: &str, project: &str, age: i64) -> Row {
    let server = server(project);
    let mut tx = db.begin_write().await.unwrap();
    servers::insert(&mut tx, &server, &Inputs::default()).await.unwrap();
    sqlx::query("UPDATE servers SET host = 'host1' WHERE id = $1")
        .bind(&server.id)
        .execute(&mut *tx)
        .await
        .unwrap();
    let size = |number| Size { flavor_id: format!("f{number}"), number: Some(number), flavor: flavor() };
    let new = New {
        server: &server,
        kind,
        status,
        user_id: &user_id(persona),
        project_id: project,
        request_id: "req-1",
        old: &size(1),
        new: &size(2),
    };
    let id = migrations::insert(&mut tx, new).await.unwrap();
    let dest = Place { host: Some("host2".into()), node: Some("node2".into()) };
    migrations::set_dest(&mut tx, id, &dest, Some("192.0.2.2")).await.unwrap();
    let at = Timestamp::now().plus_seconds(-age).0;
    sqlx::query("UPDATE migrations SET created_at = $2, updated_at = $2 WHERE id = $1")
        .bind(id)
        .bind(at)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = migrations::get(db, id).await.unwrap().unwrap();
    assert_eq!(migrations::by_uuid(db, &found.uuid).await.unwrap().unwrap(), found);
    Row { id, uuid: found.uuid, server: server.id }
}

fn ids(body: &Value) -> Vec<i64> {
    body["migrations"].as_array().unwrap().iter().map(|m| m["id"].as_i64().unwrap()).collect()
}

async fn four(cloud: &Cloud) -> Vec<Row> {
    let db = cloud.db().await;
    let rows = vec![
        row(&db, Kind::Resize, Status::Finished, "member", PROJECT_A, 400).await,
        row(&db, Kind::Migration, Status::Error, "admin", PROJECT_A, 300).await,
        row(&db, Kind::Live, Status::Running, "other", PROJECT_B, 200).await,
        row(&db, Kind::Live, Status::Completed, "admin", PROJECT_A, 100).await,
    ];
    migrations::set_progress(&db, rows[2].id, Progress::default(), Progress::default()).await.unwrap();
    let some = |n| Progress { total: Some(n), processed: Some(1), remaining: Some(n - 1) };
    migrations::set_progress(&db, rows[2].id, some(100), some(200)).await.unwrap();
    db.close().await;
    rows
}

#[actix_web::test]
async fn the_list_has_novas_shape_at_every_version() {
    each(async |cloud| {
        let rows = four(cloud).await;
        for version in VERSIONS {
            let admin = cloud.at("admin", version);
            let list = admin.get("/os-migrations").await.expect(200);
            admin.conforms("migrations.index", &list);
            assert_eq!(ids(&list), [rows[3].id, rows[2].id, rows[1].id, rows[0].id]);
            let running = &list["migrations"][1];
            assert_eq!(running["source_compute"], "host1");
            assert_eq!(running["dest_host"], "192.0.2.2");
            assert_eq!(running["new_instance_type_id"], 2);
            assert_eq!(running["links"].is_array(), version >= 23);
            assert!(list["migrations"][0].get("links").is_none());
            if version >= 23 {
                let href = running["links"][0]["href"].as_str().unwrap();
                let end = format!("/v2.1/servers/{}/migrations/{}", rows[2].server, rows[2].id);
                assert!(href.ends_with(&end), "{href}");
            }
            assert_eq!(running["uuid"].is_string(), version >= 59);
            assert_eq!(running["project_id"].is_string(), version >= 80);
        }
    })
    .await;
}

#[actix_web::test]
async fn filters_narrow_the_list() {
    each(async |cloud| {
        let rows = four(cloud).await;
        let admin = cloud.at("admin", 80);
        let by = async |query: &str| ids(&admin.get(&format!("/os-migrations?{query}")).await.expect(200));
        assert_eq!(by("status=finished").await, [rows[0].id]);
        assert_eq!(by("migration_type=live-migration").await, [rows[3].id, rows[2].id]);
        assert_eq!(by("migration_type=live-migration&status=running").await, [rows[2].id]);
        assert_eq!(by(&format!("instance_uuid={}", rows[1].server)).await, [rows[1].id]);
        assert_eq!(by("host=host2").await.len(), 4);
        assert_eq!(by("source_compute=host1").await.len(), 4);
        assert!(by("source_compute=host2").await.is_empty());
        assert!(by("host=%25").await.is_empty());
        assert!(by("hidden=true").await.is_empty());
        assert_eq!(by("hidden=false").await.len(), 4);
        assert_eq!(by(&format!("project_id={PROJECT_B}")).await, [rows[2].id]);
        assert_eq!(by(&format!("user_id={}", user_id("member"))).await, [rows[0].id]);
        let at = |seconds: i64| Timestamp::now().plus_seconds(-seconds).iso();
        assert_eq!(by(&format!("changes-before={}", at(250))).await, [rows[1].id, rows[0].id]);
        // The running one changed a moment ago, though it is old.
        assert_eq!(by(&format!("changes-since={}", at(150))).await, [rows[3].id, rows[2].id]);
        for bad in ["changes-since=x", "limit=-1", "limit=x", "nonsense=1", "user_id=a&user_id=b"] {
            admin.get(&format!("/os-migrations?{bad}")).await.fault(400);
        }
        let turned = format!("/os-migrations?changes-since={}&changes-before={}", at(1), at(100));
        assert_eq!(
            admin.get(&turned).await.fault(400),
            "The value of changes-since must be less than or equal to changes-before."
        );
        // What a version does not know is refused from 2.59 on, and ignored below.
        for (version, query) in [(59, "changes-before=x"), (79, "user_id=x"), (65, "changes-before=x")] {
            cloud.at("admin", version).get(&format!("/os-migrations?{query}")).await.fault(400);
        }
        let old = cloud.at("admin", 58);
        let loose = old.get(&format!("/os-migrations?changes-since={}&limit=1&nonsense=1", at(0))).await;
        assert_eq!(ids(&loose.expect(200)).len(), 4);
        // Hostile and long values are data.
        let long = "x".repeat(3000);
        assert!(by(&format!("host={long}")).await.is_empty());
        assert!(by("instance_uuid=%27%20OR%201%3D1%20--").await.is_empty());
    })
    .await;
}

#[actix_web::test]
async fn pages_follow_each_other() {
    each(async |cloud| {
        let rows = four(cloud).await;
        let admin = cloud.at("admin", 80);
        let mut path = "/os-migrations?limit=3".to_owned();
        let mut seen = Vec::new();
        loop {
            let page = admin.get(&path).await.expect(200);
            admin.conforms("migrations.index", &page);
            seen.extend(ids(&page));
            let Some(next) = page["migrations_links"][0]["href"].as_str() else { break };
            path = next.split_once("/v2.1").unwrap().1.to_owned();
        }
        assert_eq!(seen, rows.iter().rev().map(|r| r.id).collect::<Vec<_>>());
        let after = admin.get(&format!("/os-migrations?marker={}", rows[1].uuid)).await.expect(200);
        assert_eq!(ids(&after), [rows[0].id]);
        let gone = id::uuid();
        assert_eq!(
            admin.get(&format!("/os-migrations?marker={gone}")).await.fault(400),
            format!("marker [{gone}] not found")
        );
    })
    .await;
}

#[actix_web::test]
async fn managers_see_their_project_without_hosts() {
    each(async |cloud| {
        let rows = four(cloud).await;
        let all = "Policy doesn't allow os_compute_api:os-migrations:index:all_projects to be performed.";
        for version in [1, 58, 80] {
            let manager = cloud.at("manager", version);
            assert_eq!(manager.get("/os-migrations").await.fault(403), all);
            let other = format!("/os-migrations?project_id={PROJECT_B}");
            assert_eq!(manager.get(&other).await.fault(403), all);
            let own = manager.get(&format!("/os-migrations?project_id={PROJECT_A}")).await.expect(200);
            manager.conforms("migrations.index", &own);
            assert_eq!(ids(&own), [rows[3].id, rows[1].id, rows[0].id]);
            for name in ["source_compute", "source_node", "dest_compute", "dest_node", "dest_host"] {
                assert_eq!(own["migrations"][0][name], Value::Null);
            }
        }
        let own = format!("/os-migrations?project_id={PROJECT_A}");
        for who in ["member", "reader", "nobody", "other"] {
            assert_eq!(
                cloud.at(who, 80).get(&own).await.fault(403),
                "Policy doesn't allow os_compute_api:os-migrations:index to be performed."
            );
        }
        cloud.at("", 80).get(&own).await.expect(401);
    })
    .await;
}

#[actix_web::test]
async fn a_server_shows_its_live_migrations() {
    each(async |cloud| {
        let rows = four(cloud).await;
        let (live, cold) = (&rows[2], &rows[0]);
        for version in [23, 58, 59, 79, 80, 96] {
            let admin = cloud.at("admin", version);
            let list = admin.get(&format!("/servers/{}/migrations", live.server)).await.expect(200);
            admin.conforms("server_migrations.index", &list);
            assert_eq!(ids(&list), [live.id]);
            let one = admin.get(&format!("/servers/{}/migrations/{}", live.server, live.id)).await;
            let one = one.expect(200);
            admin.conforms("server_migrations.show", &one);
            assert_eq!(one["migration"], list["migrations"][0]);
            assert_eq!(one["migration"]["disk_total_bytes"], 200);
        }
        let admin = cloud.at("admin", 80);
        // What is no live migration that goes on is not listed and not found.
        let none = admin.get(&format!("/servers/{}/migrations", cold.server)).await.expect(200);
        assert_eq!(none, json!({"migrations": []}));
        let path = |server: &str, id: &str| format!("/servers/{server}/migrations/{id}");
        assert_eq!(
            admin.get(&path(&cold.server, &cold.id.to_string())).await.fault(404),
            format!("Migration {} for server {} is not live-migration.", cold.id, cold.server)
        );
        let over = &rows[3];
        assert_eq!(
            admin.get(&path(&over.server, &over.id.to_string())).await.fault(404),
            format!("Live migration {} for server {} is not in progress.", over.id, over.server)
        );
        // Another server's migration, and what is no number.
        for id in [cold.id.to_string(), "99999".into(), "x".into(), "99999999999999999999".into()] {
            assert_eq!(
                admin.get(&path(&live.server, &id)).await.fault(404),
                format!("In-progress live migration {id} is not found for server {}.", live.server)
            );
        }
        cloud.at("admin", 22).get(&path(&live.server, &live.id.to_string())).await.fault(404);
        // A manager of its project lists without hosts and is not shown one; others do not see the server.
        let mine = row(&cloud.db().await, Kind::Live, Status::Queued, "admin", PROJECT_A, 0).await;
        let manager = cloud.at("manager", 80);
        let list = manager.get(&format!("/servers/{}/migrations", mine.server)).await.expect(200);
        manager.conforms("server_migrations.index", &list);
        assert_eq!(list["migrations"][0]["source_compute"], Value::Null);
        manager.get(&path(&mine.server, &mine.id.to_string())).await.fault(403);
        cloud.at("member", 80).get(&format!("/servers/{}/migrations", mine.server)).await.fault(403);
        cloud.at("other", 80).get(&format!("/servers/{}/migrations", mine.server)).await.fault(404);
    })
    .await;
}

#[actix_web::test]
async fn flavors_of_a_server_have_their_number_while_they_exist() {
    each(async |cloud| {
        let admin = cloud.at("admin", 1);
        let body = json!({"flavor": {"name": "f", "ram": 1, "vcpus": 1, "disk": 0, "id": "f1"}});
        admin.post("/flavors", body).await.expect(200);
        let db = cloud.db().await;
        let catalog = flavors::get_by_id(&db, "f1", flavors::Viewer::Admin).await.unwrap();
        let one = server(PROJECT_A);
        assert_eq!(Size::of_server(&db, &one).await.unwrap().number, Some(catalog.number));
        assert_eq!(Size::of(&catalog).number, Some(catalog.number));
        admin.delete("/flavors/f1").await;
        assert_eq!(Size::of_server(&db, &one).await.unwrap().number, None);
        db.close().await;
    })
    .await;
}
