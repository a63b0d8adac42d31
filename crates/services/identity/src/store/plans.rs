//! Every statement of a list goes by an index, on SQLite and (where `FERROSTACK_TEST_POSTGRES` names one) PostgreSQL.

use super::{assignment, group, project, role, user};
use ferrostack_db::{
    Db, Dialect,
    sqlx::{self, Row},
};

const USERS: i64 = 20_000;

/// A listing's statement, the parameters after the shared eight, and what the plan must not scan.
struct Case {
    name: &'static str,
    statement: &'static str,
    domain: &'static str,
    exact: &'static str,
    after: i64,
    more: Vec<Value>,
}

#[derive(Clone)]
enum Value {
    Text(&'static str),
    Number(i64),
}

fn cases() -> Vec<Case> {
    use Value::{Number, Text};
    let case =
        |name, statement, domain, exact, more| Case { name, statement, domain, exact, after: 15_000, more };
    let [all, in_domain, named] = user::LISTS;
    let [groups, groups_in_domain, groups_named] = group::LISTS;
    let [projects, projects_in_domain, projects_named, children, tagged] = project::LISTS;
    let place = || vec![Number(0), Text("")];
    vec![
        case("users", all, "", "", vec![]),
        case("users of a domain", in_domain, "d1", "", vec![]),
        case("users by name", named, "", "n15500", vec![]),
        case("groups", groups, "", "", vec![]),
        case("groups of a domain", groups_in_domain, "d1", "", vec![]),
        case("groups by name", groups_named, "", "n15500", vec![]),
        case("projects", projects, "", "", place()),
        case("projects of a domain", projects_in_domain, "d1", "", place()),
        case("projects by name", projects_named, "", "n15500", place()),
        case("children", children, "", "", vec![Number(0), Text("d1")]),
        case("projects with a tag", tagged, "", "", vec![Number(0), Text(""), Text("tag15500")]),
        case("roles", role::LIST, "", "", vec![]),
        case("members of a group", user::MEMBERS, "", "", vec![Text("i1")]),
        case("groups of a user", group::OF_USER, "", "", vec![Text("i1")]),
        case("projects of a user", project::OF_USER, "", "", vec![Text("i15500"), Number(1)]),
    ]
}

/// Domains `d1`…`d9` and, in `d1`, users, projects and groups `i1`… with names `n1`….
async fn fill(db: &Db) {
    let numbers =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {USERS})");
    for statement in [
        "INSERT INTO project (id, name, domain_id, parent_id, is_domain, description, enabled, options, extra, created_at, generation) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT 'd' || CAST(i AS TEXT), 'd' || CAST(i AS TEXT), '', '', 1, '', 1, '{}', '{}', i, 1 FROM n".to_owned(),
        format!("INSERT INTO project (id, name, domain_id, parent_id, is_domain, description, enabled, options, extra, created_at, generation) {numbers} SELECT 'i' || CAST(i AS TEXT), 'n' || CAST(i AS TEXT), 'd1', 'd1', 0, '', 1, '{{}}', '{{}}', i, 1 FROM n"),
        format!("INSERT INTO project_tag (project_id, tag) {numbers} SELECT 'i' || CAST(i AS TEXT), 'tag' || CAST(i AS TEXT) FROM n"),
        format!("INSERT INTO account (id, name, domain_id, default_project_id, enabled, password_hash, options, extra, created_at, generation) {numbers} SELECT 'i' || CAST(i AS TEXT), 'n' || CAST(i AS TEXT), 'd1', '', 1, '', '{{}}', '{{}}', i, 1 FROM n"),
        format!("INSERT INTO user_group (id, name, domain_id, description, extra, created_at, generation) {numbers} SELECT 'i' || CAST(i AS TEXT), 'n' || CAST(i AS TEXT), 'd1', '', '{{}}', i, 1 FROM n"),
        format!("INSERT INTO group_member (group_id, user_id) {numbers} SELECT 'i1', 'i' || CAST(i AS TEXT) FROM n"),
        "INSERT INTO role (id, name, domain_id, description, options, extra, created_at, generation) VALUES ('r1', 'r1', '', '', '{}', '{}', 1, 1)".to_owned(),
        format!("INSERT INTO assignment (actor_kind, actor_id, target_kind, target_id, role_id, inherited) {numbers} SELECT 'user', 'i' || CAST(i AS TEXT), 'project', 'i' || CAST(i AS TEXT), 'r1', 0 FROM n"),
        "ANALYZE".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
            .execute(db.writer())
            .await
            .unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

async fn plan(db: &Db, statement: &str, bind: &[Value]) -> Vec<String> {
    let sqlite = db.dialect() == Dialect::Sqlite;
    let text = format!("EXPLAIN {}{statement}", if sqlite { "QUERY PLAN " } else { "" });
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
    for value in bind {
        query = match value {
            Value::Text(text) => query.bind(*text),
            Value::Number(number) => query.bind(*number),
        };
    }
    let rows = query.fetch_all(db.reader()).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    rows.iter().map(|row| row.get::<String, _>(if sqlite { 3 } else { 0 })).collect()
}

/// Lines of a plan that read a whole table of many rows.
fn scans(lines: &[String]) -> Vec<&String> {
    let big = ["account", "user_group", "group_member", "project_tag", "assignment"];
    let sqlite = |line: &str| {
        let table = line.trim().strip_prefix("SCAN ").map(|rest| rest.split(' ').next().unwrap_or_default());
        table.is_some_and(|t| {
            ["t", "m", "a", "p", "w", "o", "g"].contains(&t) || big.contains(&t) || t == "project"
        })
    };
    let postgres = |line: &str| {
        line.split("Seq Scan on ").nth(1).is_some_and(|rest| {
            let table = rest.split(' ').next().unwrap_or_default();
            big.contains(&table) || table == "project"
        })
    };
    lines.iter().filter(|line| sqlite(line) || postgres(line)).collect()
}

async fn check(db: &Db) {
    fill(db).await;
    for case in cases() {
        let mut bind = vec![
            Value::Text(case.domain),
            Value::Text(case.exact),
            Value::Number(-1),
            Value::Text(""),
            Value::Text(""),
            Value::Number(case.after),
            Value::Text(""),
            Value::Number(101),
        ];
        bind.extend(case.more);
        let lines = plan(db, case.statement, &bind).await;
        assert!(scans(&lines).is_empty(), "{}: {:#?}", case.name, lines);
    }
    let text = Value::Text;
    // How far these reach below or above is unknown to a planner, and PostgreSQL's prefers to read the table.
    let recursive = [
        (
            "projects of a user who inherits",
            project::OF_USER_INHERITED,
            vec![
                text(""),
                text(""),
                Value::Number(-1),
                text(""),
                text(""),
                Value::Number(-1),
                text(""),
                Value::Number(101),
                text("i15500"),
                Value::Number(1),
            ],
        ),
        ("projects below", project::BELOW, vec![text("i15500")]),
        ("a project of a user", project::IS_OF_USER, vec![text("i15500"), text("i15500")]),
    ];
    for (name, statement, bind) in recursive {
        let lines = plan(db, statement, &bind).await;
        assert!(db.dialect() == Dialect::Postgres || scans(&lines).is_empty(), "{name}: {lines:#?}");
    }
    for (name, statement, bind) in [("assignments of a user", assignment::OF_USER, vec![text("i15500")])] {
        let lines = plan(db, statement, &bind).await;
        assert!(scans(&lines).is_empty(), "{name}: {lines:#?}");
    }
    let filters = [
        ["", "", "", "", ""],
        ["user", "i15500", "", "", ""],
        ["", "", "project", "i15500", ""],
        ["", "", "", "", "r1"],
    ];
    for (statement, filter) in assignment::LISTS.into_iter().zip(filters) {
        let mut bind: Vec<Value> = filter.into_iter().map(Value::Text).collect();
        bind.extend([Value::Number(0), text("")]);
        bind.extend(["user", "i15000", "project", "i15000", "r1"].map(Value::Text));
        bind.extend([Value::Number(0), Value::Number(100)]);
        let lines = plan(db, statement, &bind).await;
        assert!(scans(&lines).is_empty(), "{statement}: {lines:#?}");
    }
}

#[tokio::test]
async fn lists_go_by_an_index_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().display());
    check(&Db::open(&url, "identity", 2, &crate::MIGRATIONS).await.unwrap()).await;
}

#[tokio::test]
async fn lists_go_by_an_index_on_postgresql() {
    let Ok(admin) = std::env::var("FERROSTACK_TEST_POSTGRES") else { return };
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&admin).await.unwrap();
    let name = format!("plans_{}", ferrostack_model::id::hex());
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
    let mut url = url::Url::parse(&admin).unwrap();
    url.set_path(&name);
    let db = Db::open(url.as_str(), "identity", 2, &crate::MIGRATIONS).await.unwrap();
    check(&db).await;
    db.close().await;
    sqlx::query(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .execute(&pool)
        .await
        .unwrap();
}
