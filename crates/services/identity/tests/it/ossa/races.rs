//! Two changes at once (M10): the end is one that they could have had one after the other.

use super::*;

/// A request, with `{}` of the round in its path and body.
#[derive(Clone)]
struct Op {
    method: &'static str,
    path: String,
    body: Option<Value>,
}

fn op(method: &'static str, path: &str, body: Value) -> Op {
    Op { method, path: path.into(), body: (!body.is_null()).then_some(body) }
}

/// The things that every round has anew.
struct Stage {
    user: String,
    group: String,
    project: String,
    role: String,
    domain: String,
    region: String,
}

impl Stage {
    async fn set(c: &Cloud, admin: &str, round: &str) -> Self {
        let domain = c.make(admin, "domains", json!({"name": format!("d{round}"), "enabled": false})).await;
        let project = c.make(admin, "projects", json!({"name": format!("p{round}")})).await;
        let user = c.make(admin, "users", json!({"name": format!("u{round}"), "password": "pw"})).await;
        let group = c.make(admin, "groups", json!({"name": format!("g{round}")})).await;
        let role = c.make(admin, "roles", json!({"name": format!("r{round}")})).await;
        let region = format!("region{round}");
        c.post(admin, "/v3/regions", json!({"region": {"id": region}})).await.is(201);
        Self { user, group, project, role, domain, region }
    }
    fn fill(&self, text: &str, round: &str) -> String {
        text.replace("{user}", &self.user)
            .replace("{group}", &self.group)
            .replace("{project}", &self.project)
            .replace("{role}", &self.role)
            .replace("{domain}", &self.domain)
            .replace("{region}", &self.region)
            .replace("{round}", round)
    }
    /// Ids and times, which differ from round to round, by what they are.
    fn plain(&self, text: &str, round: &str) -> String {
        let mut text = text
            .replace(&self.user, "{user}")
            .replace(&self.group, "{group}")
            .replace(&self.project, "{project}")
            .replace(&self.role, "{role}")
            .replace(&self.domain, "{domain}")
            .replace(&self.region, "{region}");
        for letter in ["d", "p", "u", "g", "r", "n"] {
            text = text.replace(&format!("\"{letter}{round}\""), &format!("\"{letter}\""));
        }
        text
    }
    /// What there is at the end: each thing, what it is in, and how many have the disputed name.
    async fn end(&self, c: &Cloud, admin: &str, round: &str) -> String {
        let mut seen = String::new();
        for path in [
            "/v3/users/{user}",
            "/v3/groups/{group}",
            "/v3/projects/{project}",
            "/v3/roles/{role}",
            "/v3/domains/{domain}",
            "/v3/regions/{region}",
            "/v3/groups/{group}/users",
            "/v3/projects/{project}/users/{user}/roles",
            "/v3/projects/{project}/groups/{group}/roles",
            "/v3/projects/{project}/tags",
            "/v3/role_assignments?user.id={user}",
            "/v3/role_assignments?group.id={group}",
        ] {
            let answer = c.get(admin, &self.fill(path, round)).await;
            let mut body = if answer.status == 200 { answer.json() } else { json!(null) };
            // What it is, without the addresses.
            fn strip(value: &mut Value) {
                if let Some(object) = value.as_object_mut() {
                    object.retain(|name, _| {
                        !matches!(
                            name.as_str(),
                            "links" | "password_expires_at" | "created_at" | "assignment"
                        )
                    });
                    object.values_mut().for_each(strip);
                }
                if let Some(items) = value.as_array_mut() {
                    items.iter_mut().for_each(strip);
                    items.sort_by_key(ToString::to_string);
                }
            }
            strip(&mut body);
            seen += &format!("{path} {} {body}\n", answer.status);
        }
        for noun in ["users", "groups", "projects", "roles", "domains"] {
            let body = c.get(admin, &format!("/v3/{noun}?name=n{round}")).await.json();
            seen += &format!("{noun} named n: {}\n", body[noun].as_array().unwrap().len());
        }
        // Who can log in with which password, and whether it was told the truth.
        for password in ["pw", "one", "two"] {
            let status = c.login(&format!("u{round}"), password, json!("unscoped")).await.status;
            seen += &format!("{password} {status}\n");
        }
        self.plain(&seen, round)
    }
}

async fn run(c: &Cloud, admin: &str, stage: &Stage, round: &str, op: &Op) -> u16 {
    let body = op.body.as_ref().map(|b| serde_json::from_str(&stage.fill(&b.to_string(), round)).unwrap());
    c.call(admin, op.method, &stage.fill(&op.path, round), body).await.status
}

fn pairs() -> Vec<(Op, Op)> {
    let new = |noun: &str| op("POST", &format!("/v3/{noun}s"), json!({noun: {"name": "n{round}"}}));
    let grant = |method| op(method, "/v3/projects/{project}/users/{user}/roles/{role}", Value::Null);
    let group_grant = |method| op(method, "/v3/projects/{project}/groups/{group}/roles/{role}", Value::Null);
    let member = |method| op(method, "/v3/groups/{group}/users/{user}", Value::Null);
    let gone = |path: &str| op("DELETE", path, Value::Null);
    let rename =
        |noun: &str, to: &str| op("PATCH", &format!("/v3/{noun}s/{{{noun}}}"), json!({noun: {"name": to}}));
    let enable = |noun: &str, on: bool| {
        op("PATCH", &format!("/v3/{noun}s/{{{noun}}}"), json!({noun: {"enabled": on}}))
    };
    let password = |to: &str| op("PATCH", "/v3/users/{user}", json!({"user": {"password": to}}));
    let own = |to: &str| {
        op("POST", "/v3/users/{user}/password", json!({"user": {"original_password": "pw", "password": to}}))
    };
    let tag = |method, name: &str| op(method, &format!("/v3/projects/{{project}}/tags/{name}"), Value::Null);
    vec![
        (new("user"), new("user")),
        (new("group"), new("group")),
        (new("project"), new("project")),
        (new("role"), new("role")),
        (new("domain"), new("domain")),
        (
            op("POST", "/v3/regions", json!({"region": {"id": "n{round}"}})),
            op("POST", "/v3/regions", json!({"region": {"id": "n{round}"}})),
        ),
        (new("user"), rename("user", "n{round}")),
        (new("project"), rename("project", "n{round}")),
        (rename("user", "n{round}"), rename("user", "n{round}")),
        (gone("/v3/users/{user}"), gone("/v3/users/{user}")),
        (gone("/v3/projects/{project}"), gone("/v3/projects/{project}")),
        (gone("/v3/groups/{group}"), gone("/v3/groups/{group}")),
        (gone("/v3/roles/{role}"), gone("/v3/roles/{role}")),
        (gone("/v3/domains/{domain}"), gone("/v3/domains/{domain}")),
        (gone("/v3/regions/{region}"), gone("/v3/regions/{region}")),
        (gone("/v3/users/{user}"), rename("user", "n{round}")),
        (gone("/v3/users/{user}"), password("one")),
        (gone("/v3/users/{user}"), grant("PUT")),
        (gone("/v3/users/{user}"), member("PUT")),
        (gone("/v3/projects/{project}"), grant("PUT")),
        (gone("/v3/projects/{project}"), tag("PUT", "t")),
        (
            gone("/v3/projects/{project}"),
            op("POST", "/v3/projects", json!({"project": {"name": "n{round}", "parent_id": "{project}"}})),
        ),
        (gone("/v3/groups/{group}"), member("PUT")),
        (gone("/v3/groups/{group}"), group_grant("PUT")),
        (gone("/v3/roles/{role}"), grant("PUT")),
        (gone("/v3/domains/{domain}"), enable("domain", true)),
        (
            gone("/v3/domains/{domain}"),
            op("POST", "/v3/users", json!({"user": {"name": "n{round}", "domain_id": "{domain}"}})),
        ),
        (
            gone("/v3/domains/{domain}"),
            op("POST", "/v3/projects", json!({"project": {"name": "n{round}", "domain_id": "{domain}"}})),
        ),
        (grant("PUT"), grant("PUT")),
        (grant("PUT"), grant("DELETE")),
        (member("PUT"), member("PUT")),
        (member("PUT"), member("DELETE")),
        (group_grant("PUT"), group_grant("DELETE")),
        (tag("PUT", "t"), tag("DELETE", "t")),
        (tag("PUT", "t"), op("PUT", "/v3/projects/{project}/tags", json!({"tags": ["x", "y"]}))),
        (password("one"), password("two")),
        (own("one"), own("two")),
        (own("one"), password("two")),
        (enable("user", false), password("one")),
        (enable("user", false), enable("user", true)),
        (enable("project", false), enable("project", true)),
        (
            op("PATCH", "/v3/users/{user}", json!({"user": {"description": "a"}})),
            op("PATCH", "/v3/users/{user}", json!({"user": {"email": "b"}})),
        ),
        (
            op("PATCH", "/v3/projects/{project}", json!({"project": {"description": "a"}})),
            op("PATCH", "/v3/projects/{project}", json!({"project": {"extra": "b"}})),
        ),
        (op("PUT", "/v3/roles/{role}/implies/{role}", Value::Null), gone("/v3/roles/{role}")),
    ]
}

/// The pairs of one share: first in both orders, one after the other, then together many times.
async fn race(share: usize, of: usize) {
    each_with(process::quiet, async |c| {
        let admin = c.admin().await;
        let c = &*c;
        for (n, (a, b)) in pairs().into_iter().enumerate().filter(|(n, _)| n % of == share) {
            let what = format!("{} {} | {} {}", a.method, a.path, b.method, b.path);
            let mut serial = Vec::new();
            for (order, first, second) in [("ab", &a, &b), ("ba", &b, &a)] {
                let round = format!("x{n}{order}");
                let stage = Stage::set(c, &admin, &round).await;
                let (one, two) = (
                    run(c, &admin, &stage, &round, first).await,
                    run(c, &admin, &stage, &round, second).await,
                );
                let answers = if order == "ab" { (one, two) } else { (two, one) };
                serial.push((answers, stage.end(c, &admin, &round).await));
            }
            for k in 0..5 {
                let round = format!("x{n}r{k}");
                let stage = Stage::set(c, &admin, &round).await;
                let (one, two) =
                    tokio::join!(run(c, &admin, &stage, &round, &a), run(c, &admin, &stage, &round, &b));
                assert!(one < 500 && two < 500, "{what}: {one} {two}");
                let end = stage.end(c, &admin, &round).await;
                // One that lost the race may say so (409) where it would have succeeded alone; then the end is the
                // other's alone, which is what an order with a refusal in it ends in.
                let as_if = serial.iter().any(|(answers, state)| {
                    *state == end && (*answers == (one, two) || one == 409 || two == 409)
                });
                let alone = one == 409 || two == 409;
                if !as_if && !alone {
                    panic!(
                        "{what}: {one} {two}\n{end}\n--- one after the other:\n{:?}\n{}\n{:?}\n{}",
                        serial[0].0, serial[0].1, serial[1].0, serial[1].1
                    );
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn m10_two_changes_at_once_first_share() {
    race(0, 4).await;
}
#[tokio::test]
async fn m10_two_changes_at_once_second_share() {
    race(1, 4).await;
}
#[tokio::test]
async fn m10_two_changes_at_once_third_share() {
    race(2, 4).await;
}
#[tokio::test]
async fn m10_two_changes_at_once_fourth_share() {
    race(3, 4).await;
}

/// Twenty who make the same: one succeeds, the others are told.
#[tokio::test]
async fn m10_one_of_twenty_makes_it() {
    each(async |c| {
        let (c, admin) = (&*c, &c.admin().await);
        for (noun, body) in [
            ("users", json!({"user": {"name": "n"}})),
            ("projects", json!({"project": {"name": "n"}})),
            ("groups", json!({"group": {"name": "n"}})),
            ("roles", json!({"role": {"name": "n"}})),
            ("domains", json!({"domain": {"name": "n"}})),
        ] {
            let path = format!("/v3/{noun}");
            let all = (0..20).map(|_| c.post(admin, &path, body.clone()));
            let mut done: Vec<u16> =
                futures_util::future::join_all(all).await.iter().map(|a| a.status).collect();
            done.sort_unstable();
            assert_eq!(done[0], 201, "{noun}: {done:?}");
            assert!(done[1..].iter().all(|s| *s == 409), "{noun}: {done:?}");
            let found = c.get(admin, &format!("{path}?name=n")).await.json();
            assert_eq!(found[noun].as_array().unwrap().len(), 1, "{noun}");
        }
    })
    .await;
}
