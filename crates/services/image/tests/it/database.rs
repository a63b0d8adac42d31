//! R52, R54, R55: a database that gives statements up, is full, takes no writes or connections, or is slow.

use crate::{
    imports::stage,
    postgres::{Proxy, behind},
    support::{Cloud, PROJECT_B, each, each_with, eventually, pattern, queued, times},
};
use ferrostack_db::sqlx;
use ferrostack_image::{reconcile, store, task};
use ferrostack_model::id;
use ferrostack_settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const PATCH: &str = "application/openstack-images-v2.1-json-patch";

/// Something a client does, and what has to be there before it.
struct Act {
    name: &'static str,
    token: &'static str,
    method: Method,
    path: &'static str,
    media: &'static str,
    body: Vec<u8>,
    before: &'static [&'static str],
}

fn act(
    name: &'static str,
    method: Method,
    path: &'static str,
    body: Value,
    before: &'static [&'static str],
) -> Act {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Act { name, token: "member", method, path, media: "application/json", body, before }
}

/// One of each way in which the API writes.
fn acts() -> Vec<Act> {
    let image = json!({"id": "ID", "name": "n", "disk_format": "raw", "container_format": "bare", "tags": ["a"],
        "p": "v"});
    let patch =
        json!([{"op": "add", "path": "/p", "value": "v"}, {"op": "replace", "path": "/name", "value": "m"}]);
    let space = json!({"namespace": "NS", "visibility": "private"});
    let file = "application/octet-stream";
    vec![
        act("create", Method::POST, "/v2/images", image, &[]),
        Act { media: PATCH, ..act("patch", Method::PATCH, "/v2/images/{id}", patch, &["image"]) },
        act("tag", Method::PUT, "/v2/images/{id}/tags/t", Value::Null, &["image"]),
        act("untag", Method::DELETE, "/v2/images/{id}/tags/t", Value::Null, &["image", "tag"]),
        act("share", Method::POST, "/v2/images/{id}/members", json!({"member": PROJECT_B}), &["image"]),
        Act {
            token: "other",
            ..act(
                "accept",
                Method::PUT,
                "/v2/images/{id}/members/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                json!({"status": "accepted"}),
                &["image", "member"],
            )
        },
        act(
            "unshare",
            Method::DELETE,
            "/v2/images/{id}/members/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            Value::Null,
            &["image", "member"],
        ),
        Act {
            media: file,
            body: pattern(70_000),
            ..act("upload", Method::PUT, "/v2/images/{id}/file", Value::Null, &["image"])
        },
        Act {
            media: file,
            body: pattern(70_000),
            ..act("stage", Method::PUT, "/v2/images/{id}/stage", Value::Null, &["image"])
        },
        act(
            "import",
            Method::POST,
            "/v2/images/{id}/import",
            json!({"method": {"name": "glance-direct"}}),
            &["image", "staged"],
        ),
        Act {
            token: "admin",
            ..act(
                "deactivate",
                Method::POST,
                "/v2/images/{id}/actions/deactivate",
                Value::Null,
                &["image", "data"],
            )
        },
        act("delete", Method::DELETE, "/v2/images/{id}", Value::Null, &["image", "tag", "member", "data"]),
        Act { token: "admin", ..act("namespace", Method::POST, "/v2/metadefs/namespaces", space, &[]) },
        Act {
            token: "admin",
            ..act(
                "object",
                Method::POST,
                "/v2/metadefs/namespaces/NS/objects",
                json!({"name": "o", "properties": {}}),
                &["namespace"],
            )
        },
        Act {
            token: "admin",
            ..act(
                "no namespace",
                Method::DELETE,
                "/v2/metadefs/namespaces/NS",
                Value::Null,
                &["namespace", "object"],
            )
        },
    ]
}

impl Act {
    /// What it needs, for an image or namespace of that id.
    async fn prepare(&self, cloud: &Cloud, id: &str) {
        for what in self.before {
            let path = |rest: &str| format!("/v2/images/{id}{rest}");
            let put = |path: String| cloud.call("member", Method::PUT, &path);
            match *what {
                "image" => {
                    cloud.create(json!({"id": id})).await;
                }
                "tag" => assert_eq!(put(path("/tags/t")).send().await.unwrap().status(), 204),
                "member" => {
                    let member = json!({"member": PROJECT_B});
                    assert_eq!(cloud.post("member", &path("/members"), member).await.0, 200);
                }
                "staged" => stage(cloud, id, &pattern(70_000)).await,
                "data" => assert_eq!(cloud.upload("member", id, pattern(70_000)).await.0, 204),
                "namespace" => {
                    let space = json!({"namespace": id, "visibility": "private"});
                    assert_eq!(cloud.post("admin", "/v2/metadefs/namespaces", space).await.0, 201);
                }
                "object" => {
                    let object = json!({"name": "o", "properties": {}});
                    let path = format!("/v2/metadefs/namespaces/{id}/objects");
                    assert_eq!(cloud.post("admin", &path, object).await.0, 201);
                }
                other => panic!("{other}"),
            }
        }
    }

    /// Does it; the status and text of the answer.
    async fn run(&self, cloud: &Cloud, id: &str) -> (u16, String) {
        let path = self.path.replace("{id}", id).replace("NS", id);
        let mut body = self.body.clone();
        if self.media != "application/octet-stream" {
            body = String::from_utf8(body).unwrap().replace("ID", id).replace("NS", id).into_bytes();
        }
        let request = cloud.call(self.token, self.method.clone(), &path).header("Content-Type", self.media);
        let answer = request.header("Accept", "application/json").body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        if self.name == "import" && status == 202 {
            // Not by the API: its statements would be counted.
            let db = cloud.db().await;
            eventually("the import ends", async || {
                let tasks = store::task::of_image(&db, id).await.unwrap();
                tasks.iter().all(|task| task.status == task::SUCCESS || task.status == task::FAILURE)
            })
            .await;
            db.close().await;
        }
        (status, text)
    }

    /// All there is of `id`, without times and the id itself.
    async fn state(&self, cloud: &Cloud, id: &str) -> String {
        let mut all = String::new();
        let (noun, parts) = match self.path.contains("metadefs") {
            true => (format!("/v2/metadefs/namespaces/{id}"), "objects"),
            false => (format!("/v2/images/{id}"), "members"),
        };
        for path in [format!("{noun}/{parts}"), noun] {
            let (status, mut body) = cloud.get("admin", &path).await;
            forget_times(&mut body);
            // The text of a 404 names the id in several ways.
            all += &if status == 200 { body.to_string() } else { status.as_str().to_owned() };
        }
        all += &format!(" {} objects", cloud.stored().iter().filter(|name| name.starts_with(id)).count());
        all.replace(id, "ID")
    }
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, _| !matches!(name.as_str(), "created_at" | "updated_at"));
            map.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// No reconciler comes between; what a deletion leaves to it is removed when it is woken.
fn quiet(settings: &mut Settings) {
    settings.image.reconcile_ms = 3_600_000;
}

/// Each statement of each way to write fails once with `code`: all or nothing, 503 at worst, and asked again the same
/// end. What the database gave up for another's sake is done again unseen, if `again`.
async fn every_statement_fails_once(cloud: &Cloud, proxy: &Proxy, code: &'static str, again: bool) {
    let app = cloud.app().await;
    // The state that lasts: what a deletion could not remove at once is removed by the next round.
    let lasting = async |act: &Act, id: &str| {
        reconcile::objects::reconcile(&app, false).await.unwrap();
        act.state(cloud, id).await
    };
    for act in acts() {
        let first = id::uuid();
        act.prepare(cloud, &first).await;
        let before = act.state(cloud, &first).await;
        let (status, text) = act.run(cloud, &first).await;
        assert!(status < 300, "{}: {status} {text}", act.name);
        let after = lasting(&act, &first).await;
        assert_ne!(before, after, "{}", act.name);
        let (mut statements, mut unseen) = (0, 0);
        loop {
            let id = id::uuid();
            act.prepare(cloud, &id).await;
            proxy.fail(statements, code);
            let (status, text) = act.run(cloud, &id).await;
            let Some(fired) = proxy.heal() else { break };
            let at = format!("{}, {code} at {statements} ({}): {status} {text}", act.name, fired.statement);
            statements += 1;
            if status < 300 {
                unseen += 1;
                eventually(&at, async || lasting(&act, &id).await == after).await;
                continue;
            }
            assert_eq!(status, 503, "{at}");
            assert!(
                !text.contains("SELECT") && !text.contains("injected") && !text.contains("portal"),
                "{at}"
            );
            assert!(!(again && fired.in_transaction), "not done again: {at}");
            // What was begun is given back; a read that failed after the change hides a change that is whole.
            let whole = std::cell::Cell::new(false);
            eventually(&at, async || {
                let now = lasting(&act, &id).await;
                whole.set(now == after);
                whole.get() || now == before
            })
            .await;
            if !whole.get() {
                let (status, text) = act.run(cloud, &id).await;
                assert!(status < 300, "asked again after {at}: {status} {text}");
                eventually(&at, async || lasting(&act, &id).await == after).await;
            }
        }
        assert!(statements >= 2, "{}: {statements} statements", act.name);
        assert!(unseen > 0 || !again, "{}: {unseen} of {statements}", act.name);
    }
}

/// One of two that go the same way, or both.
fn codes(all: [&'static str; 2]) -> impl Iterator<Item = &'static str> {
    all.into_iter().take(times(1, 2))
}

/// R52: serialization failures and deadlocks.
#[tokio::test(flavor = "multi_thread")]
async fn r52_every_statement_is_given_up_once() {
    behind(quiet, async |cloud, proxy| {
        for code in codes(["40P01", "40001"]) {
            every_statement_fails_once(cloud, proxy, code, true).await;
        }
    })
    .await;
}

/// R54: the disk is full, or nothing may be written, at each statement.
#[tokio::test(flavor = "multi_thread")]
async fn r54_full_or_read_only_at_every_statement() {
    behind(quiet, async |cloud, proxy| {
        for code in codes(["53100", "25006"]) {
            every_statement_fails_once(cloud, proxy, code, false).await;
        }
    })
    .await;
}

/// What holds while nothing can be written: reads go on, every write is 503 at once, and nothing of it stays.
async fn nothing_is_written(cloud: &Cloud, kept: &str) {
    let before = acts()[1].state(cloud, kept).await;
    for act in acts().iter().filter(|act| act.before == ["image"] || act.before.is_empty()) {
        let id = if act.before.is_empty() { id::uuid() } else { kept.to_owned() };
        let begun = Instant::now();
        let (status, text) = act.run(cloud, &id).await;
        assert_eq!(status, 503, "{}: {text}", act.name);
        assert!(begun.elapsed() < Duration::from_secs(10), "{}: {:?}", act.name, begun.elapsed());
    }
    assert_eq!(acts()[1].state(cloud, kept).await, before);
    assert_eq!(cloud.get("member", "/v2/images").await.0, 200);
}

async fn all_is_written(cloud: &Cloud, kept: &str) {
    for act in acts().iter().filter(|act| act.before == ["image"] && act.name != "stage") {
        let (status, text) = act.run(cloud, kept).await;
        assert!(status < 300, "{}: {status} {text}", act.name);
    }
    assert_eq!(cloud.delete("member", &format!("/v2/images/{kept}")).await, 204);
    eventually("removed", async || cloud.stored().is_empty()).await;
}

/// R54: a real PostgreSQL that takes no writes, and one that has no connections left.
#[tokio::test(flavor = "multi_thread")]
async fn r54_read_only_or_without_connections() {
    behind(
        |_| {},
        async |cloud, proxy| {
            let kept = cloud.create(json!({})).await;
            // A connection reads the setting when it begins.
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'";
            let set = async |value: &str| {
                let alter = "ALTER DATABASE {} SET default_transaction_read_only = ";
                cloud.database.as_admin(&format!("{alter}{value}")).await;
                cloud.database.as_admin(end).await;
            };
            set("on").await;
            // The pool finds its connections ended.
            eventually("back", async || cloud.get("member", "/v2/images").await.0 == 200).await;
            let statements = proxy.statements();
            nothing_is_written(cloud, &kept).await;
            assert!(proxy.statements() - statements < 1000, "nobody asks without end");
            set("off").await;
            eventually("back", async || cloud.get("member", "/v2/images").await.0 == 200).await;
            // Whatever was open has gone with its right to write.
            eventually("writes", async || cloud.patch("member", &kept, json!([])).await.0 == 200).await;
            all_is_written(cloud, &kept).await;

            proxy.allow(0);
            cloud.database.as_admin(end).await;
            let asked: Vec<_> = (0..20).map(|_| cloud.get("member", "/v2/images")).collect();
            for (status, text) in futures_util::future::join_all(asked).await {
                assert_eq!(status, 503, "{text}");
            }
            proxy.allow(usize::MAX);
            eventually("back", async || cloud.get("member", "/v2/images").await.0 == 200).await;
            let kept = cloud.create(json!({})).await;
            all_is_written(cloud, &kept).await;
        },
    )
    .await;
}

fn run(arguments: &[&str], directory: &Path) -> bool {
    let done = std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(directory).output();
    done.is_ok_and(|d| d.status.success())
}

/// R54: SQLite ends a transaction itself when its disk is full; the one that writes goes on after that.
#[tokio::test(flavor = "multi_thread")]
async fn r54_a_transaction_that_the_database_ended_is_over() {
    each(async |cloud| {
        let app = cloud.app().await;
        for _ in 0..3 {
            let mut tx = app.db.begin_write().await.unwrap();
            sqlx::query("ROLLBACK").execute(&mut *tx).await.unwrap();
            drop(tx);
        }
        let id = queued(cloud).await;
        let mut tx = app.db.begin_write().await.unwrap();
        sqlx::query("UPDATE image SET name = 'new' WHERE id = $1").bind(&id).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(cloud.show(&id).await["name"], "new");
    })
    .await;
}

/// A small file system of its own; gone with this.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where nothing may be mounted.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        run(&["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs"], directory.path()).then(|| Self(directory))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(&["umount", "--lazy"], self.0.path());
    }
}

/// R54: SQLite on a real file system that is full.
#[tokio::test(flavor = "multi_thread")]
async fn r54_the_database_file_cannot_grow() {
    let Some(disk) = Disk::mount() else {
        eprintln!("may not mount: skipped");
        return;
    };
    let at = disk.0.path().display().to_string();
    let change = |settings: &mut Settings| {
        if settings.database.url.starts_with("sqlite:") {
            settings.database.url = format!("sqlite:{at}");
        }
    };
    each_with(change, async |cloud| {
        if !cloud.settings.database.url.starts_with("sqlite:") {
            return;
        }
        let kept = cloud.create(json!({})).await;
        let ballast = disk.0.path().join("ballast");
        // Until not a page is free.
        let mut file = std::fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        // What there is of the log may still take some.
        let rename = json!([{"op": "replace", "path": "/name", "value": "x"}]);
        let mut written = 0;
        while cloud.patch("member", &kept, rename.clone()).await.0 == 200 {
            written += 1;
            assert!(written < 10_000);
        }
        nothing_is_written(cloud, &kept).await;
        drop(file);
        std::fs::remove_file(&ballast).unwrap();
        all_is_written(cloud, &kept).await;
    })
    .await;
}

/// R55: half a second for each round trip, and ten times more requests than that lets through: some are answered late,
/// the others are refused soon, and when it is over nothing has piled up.
#[tokio::test(flavor = "multi_thread")]
async fn r55_a_slow_database_sheds_load() {
    let few = |settings: &mut Settings| {
        quiet(settings);
        settings.database.max_connections = 4;
    };
    behind(few, async |cloud, proxy| {
        let id = cloud.create(json!({})).await;
        let path = format!("/v2/images/{id}");
        proxy.delay(Duration::from_millis(500));
        let asked = (0..200).map(|_| async {
            let begun = Instant::now();
            let (status, text) = cloud.get("member", &path).await;
            (status.as_u16(), begun.elapsed(), text)
        });
        let begun = Instant::now();
        let answers = futures_util::future::join_all(asked).await;
        let (mut shed, mut done) = (Vec::new(), 0);
        for (status, took, text) in &answers {
            match status {
                200 => done += 1,
                503 => shed.push(*took),
                _ => panic!("{status}: {text}"),
            }
        }
        shed.sort_unstable();
        assert!(done >= 4, "{done} were answered");
        assert!(shed.len() >= 100, "{} were refused", shed.len());
        assert!(shed[shed.len() * 99 / 100] <= Duration::from_secs(1), "{:?}", shed.last());
        eprintln!(
            "{done} answered within {:?}, {} refused, the last after {:?}",
            begun.elapsed(),
            shed.len(),
            shed.last()
        );
        proxy.delay(Duration::ZERO);
        // The connections that were on their way come back.
        eventually("fast again", async || {
            let begun = Instant::now();
            cloud.get("member", &path).await.0 == 200 && begun.elapsed() < Duration::from_millis(400)
        })
        .await;
        let asked: Vec<_> = (0..15).map(|_| cloud.get("member", &path)).collect();
        for (status, text) in futures_util::future::join_all(asked).await {
            assert_eq!(status, 200, "{text}");
        }
    })
    .await;
}
