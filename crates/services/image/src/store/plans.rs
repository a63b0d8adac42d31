//! The list of 100,000 images goes by an index, on SQLite and (where `FERROSTACK_TEST_POSTGRES` names
//! one) PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{Sql, image, list};
use crate::{query::ListQuery, store::list::Viewer};
use ferrostack_db::{
    Db, Dialect,
    sqlx::{self, Row},
};

const IMAGES: i64 = 100_000;

/// Image `i` belongs to project `i % 100`; one in 97 is public, one in 89 community, one in 3 private. Every
/// thousandth is shared with project 7, which accepted half of them.
async fn fill(db: &Db) {
    let numbers =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {IMAGES})");
    let id = "'00000000-0000-4000-8000-' || SUBSTR('000000000000' || CAST(i AS TEXT), LENGTH(CAST(i AS TEXT)) + 1)";
    for statement in [
        format!(
            "INSERT INTO image (id, name, status, visibility, owner, disk_format, container_format, size, min_disk, \
             min_ram, protected, os_hidden, created_at, updated_at, generation) {numbers} \
             SELECT {id}, CASE WHEN i % 11 = 0 THEN NULL ELSE 'n' || CAST(i % 5000 AS TEXT) END, \
             CASE WHEN i % 13 = 0 THEN 'deleted' ELSE 'active' END, \
             CASE WHEN i % 97 = 0 THEN 'public' WHEN i % 89 = 0 THEN 'community' WHEN i % 3 = 0 THEN 'private' ELSE 'shared' END, \
             'p' || CAST(i % 100 AS TEXT), 'qcow2', 'bare', i % 1000, 0, 0, 0, 0, i * 1000, i, 1 FROM n"
        ),
        format!(
            "INSERT INTO image_tag (image_id, tag) {numbers} SELECT {id}, 't' || CAST(i % 2000 AS TEXT) FROM n"
        ),
        format!(
            "INSERT INTO image_property (image_id, name, value) {numbers} SELECT {id}, 'os_distro', 'd' || CAST(i % 5 AS TEXT) FROM n"
        ),
        format!(
            "INSERT INTO image_member (image_id, member, status, created_at, updated_at) {numbers} \
             SELECT {id}, 'p7', CASE WHEN i % 2000 = 0 THEN 'accepted' ELSE 'pending' END, i, i FROM n WHERE i % 1000 = 0"
        ),
        "ANALYZE".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
            .execute(db.writer())
            .await
            .unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

async fn plan(db: &Db, sql: Sql) -> Vec<String> {
    let sqlite = db.dialect() == Dialect::Sqlite;
    let mut explained = Sql::new(if sqlite { "EXPLAIN QUERY PLAN " } else { "EXPLAIN " });
    explained.append(sql);
    let rows = explained.fetch_all(db.reader()).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(if sqlite { 3 } else { 0 })).collect()
}

/// Lines of a plan that read all images.
fn scans(lines: &[String]) -> Vec<&String> {
    let all = |line: &str| line.trim() == "SCAN image" || line.contains("Seq Scan on image ");
    lines.iter().filter(|line| all(line)).collect()
}

async fn check(db: &Db) {
    fill(db).await;
    let project = |name: &str| Viewer { project: name.into(), admin: false };
    let admin = Viewer { project: "p1".into(), admin: true };
    for (query, viewer, by_index) in [
        ("", project("p7"), true),
        ("", project("stranger"), true),
        ("", admin.clone(), true),
        ("limit=100", project("p7"), true),
        ("sort=created_at:asc", project("p7"), true),
        ("sort=name:asc", project("p7"), true),
        ("sort=size", project("p7"), true),
        ("name=n4242", project("p42"), true),
        ("name=n4242", admin.clone(), true),
        ("tag=t1107", project("p7"), true),
        ("tag=t1107", admin.clone(), true),
        ("id=00000000-0000-4000-8000-000000000107", project("p7"), true),
        ("visibility=public", project("p7"), true),
        ("visibility=all", project("p7"), true),
        ("visibility=shared&member_status=all", project("p7"), true),
        ("os_distro=d2&status=active", project("p7"), true),
        ("sort=name:asc,size:desc", admin.clone(), false),
    ] {
        // The first page and one in the middle.
        let parsed = ListQuery::parse(&ferrostack_http::query_pairs(query)).unwrap();
        let mut marker = None;
        for _deep in [false, true] {
            let lines = plan(db, list::statement(&parsed, &viewer, marker.as_ref())).await;
            assert!(!by_index || scans(&lines).is_empty(), "{query} of {viewer:?}: {lines:#?}");
            let mut found = list::list(db, &parsed, &viewer, marker.as_ref()).await.unwrap();
            marker = match query.contains("sort=") || found.is_empty() {
                true => found.pop(),
                false => image::get(db, "00000000-0000-4000-8000-000000050007").await.unwrap(),
            };
            if marker.is_none() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_list_of_100_000_images_goes_by_an_index_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/db", directory.path().display());
    check(&Db::open(&url, "image", 2, &crate::MIGRATIONS).await.unwrap()).await;
}

#[tokio::test]
async fn a_list_of_100_000_images_goes_by_an_index_on_postgresql() {
    let Ok(admin) = std::env::var("FERROSTACK_TEST_POSTGRES") else { return };
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&admin).await.unwrap();
    let name = format!("plans_{}", ferrostack_model::id::hex());
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
    let mut url = url::Url::parse(&admin).unwrap();
    url.set_path(&name);
    let db = Db::open(url.as_str(), "image", 2, &crate::MIGRATIONS).await.unwrap();
    check(&db).await;
    db.close().await;
    sqlx::query(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .execute(&pool)
        .await
        .unwrap();
}
