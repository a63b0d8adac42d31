//! Trusts: made, used, handed on, used up and lost.

use super::support::*;
use ferrostack_model::{Timestamp, id};
use futures_util::future::join_all;
use serde_json::{Value, json};

const TRUSTS: &str = "/v3/OS-TRUST/trusts";
const FORBIDDEN: &str = "You are not authorized to perform the requested action.";

pub fn on_trust(id: &str) -> Value {
    json!({"OS-TRUST:trust": {"id": id}})
}

/// Ann with roles member and reader on ann-project, whom Tom (of tom-project) may act for.
#[derive(Clone)]
pub struct Cast {
    pub admin: String,
    pub project: String,
    pub ann: String,
    pub tom: String,
    pub ann_token: String,
}

impl Cast {
    pub async fn of(c: &Cloud) -> Self {
        let admin = c.admin().await;
        let (project, ann) = c.person(&admin, "ann", "manager").await;
        let (_, tom) = c.person(&admin, "tom", "reader").await;
        let ann_token = c.token("ann", "pw", "ann-project").await;
        Self { admin, project, ann, tom, ann_token }
    }

    /// A trust from Ann to Tom for the role member, changed by `more`; as it was answered.
    pub async fn trust(&self, c: &Cloud, more: Value) -> Value {
        let mut body = json!({"trustor_user_id": self.ann, "trustee_user_id": self.tom, "impersonation": true,
            "project_id": self.project, "roles": [{"name": "member"}]});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        c.post(&self.ann_token, TRUSTS, json!({"trust": body})).await.is(201).json()["trust"].clone()
    }

    pub async fn use_it(&self, c: &Cloud, trust: &Value) -> Answer {
        c.login("tom", "pw", on_trust(trust["id"].as_str().unwrap())).await
    }

    /// A token of Tom's for the trust.
    pub async fn token(&self, c: &Cloud, trust: &Value) -> String {
        self.use_it(c, trust).await.is(201).token.unwrap()
    }
}

fn path_of(trust: &Value) -> String {
    format!("{TRUSTS}/{}", trust["id"].as_str().unwrap())
}

fn names(body: &Value) -> Vec<String> {
    let mut names: Vec<String> =
        body.as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn made_shown_used_and_deleted() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let tom = c.token("tom", "pw", "tom-project").await;
        for impersonation in [true, false] {
            let trust = cast.trust(c, json!({"impersonation": impersonation, "note": "kept"})).await;
            assert_eq!(trust["note"], "kept");
            for (name, value) in [
                ("expires_at", Value::Null),
                ("remaining_uses", Value::Null),
                ("deleted_at", Value::Null),
                ("redelegated_trust_id", Value::Null),
                ("redelegation_count", json!(0)),
                ("impersonation", json!(impersonation)),
                ("project_id", json!(cast.project)),
            ] {
                assert_eq!(trust[name], value, "{name}");
            }
            assert_eq!(names(&trust["roles"]), ["member"]);
            let path = path_of(&trust);
            assert!(trust["links"]["self"].as_str().unwrap().ends_with(&path));
            for token in [&cast.ann_token, &tom, &cast.admin] {
                assert_eq!(c.get(token, &path).await.is(200).json()["trust"], trust);
                assert_eq!(
                    names(&c.get(token, &format!("{path}/roles")).await.is(200).json()["roles"]),
                    ["member"]
                );
                let role = trust["roles"][0]["id"].as_str().unwrap();
                let shown = c.get(token, &format!("{path}/roles/{role}")).await.is(200).json();
                assert_eq!(shown["role"], trust["roles"][0]);
                c.call(token, "HEAD", &format!("{path}/roles/{role}"), None).await.is(200);
                let manager = c.role(&cast.admin, "manager").await;
                c.get(token, &format!("{path}/roles/{manager}")).await.is(404);
            }
            let login = cast.use_it(c, &trust).await.is(201);
            let body = login.json()["token"].clone();
            let user = if impersonation { &cast.ann } else { &cast.tom };
            assert_eq!(body["user"]["id"], json!(user));
            assert_eq!(body["project"]["id"], json!(cast.project));
            assert_eq!(names(&body["roles"]), ["member", "reader"]);
            assert_eq!(
                body["OS-TRUST:trust"],
                json!({"id": trust["id"], "impersonation": impersonation,
                    "trustor_user": {"id": cast.ann}, "trustee_user": {"id": cast.tom}})
            );
            let token = login.token.unwrap();
            let seen = c.validate(&cast.admin, &token).await.is(200).json();
            assert_eq!(seen["token"]["OS-TRUST:trust"], body["OS-TRUST:trust"]);
            c.get(&token, &format!("/v3/projects/{}", cast.project)).await.is(200);
            // By a token of the trustee as well.
            let scope = on_trust(trust["id"].as_str().unwrap());
            c.authenticate(by_token(&tom), scope).await.is(201);
            c.delete(&tom, &path).await.is(403);
            c.delete(&cast.ann_token, &path).await.is(204);
            c.delete(&cast.ann_token, &path).await.is(404);
            c.get(&cast.ann_token, &path).await.is(404);
            c.get(&token, &format!("/v3/projects/{}", cast.project)).await.says(401, UNAUTHORIZED);
            c.validate(&cast.admin, &token).await.is(404);
            cast.use_it(c, &trust).await.says(401, UNAUTHORIZED);
        }
    })
    .await;
}

#[tokio::test]
async fn lists_are_for_those_concerned() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let tom = c.token("tom", "pw", "tom-project").await;
        c.person(&cast.admin, "eve", "member").await;
        let eve = c.token("eve", "pw", "eve-project").await;
        let (one, _) = (cast.trust(c, json!({})).await, cast.trust(c, json!({})).await);
        let by = |trustor: bool| {
            let (name, id) = if trustor { ("trustor", &cast.ann) } else { ("trustee", &cast.tom) };
            format!("{TRUSTS}?{name}_user_id={id}")
        };
        for (token, path, status) in [
            (&cast.ann_token, by(true), 200),
            (&cast.ann_token, by(false), 403),
            (&tom, by(true), 403),
            (&tom, by(false), 200),
            (&eve, by(true), 403),
            (&eve, by(false), 403),
            (&eve, TRUSTS.to_owned(), 403),
            (&cast.ann_token, TRUSTS.to_owned(), 403),
            (&cast.admin, TRUSTS.to_owned(), 200),
            (&cast.admin, by(true), 200),
            (&eve, path_of(&one), 403),
            (&eve, format!("{}/roles", path_of(&one)), 403),
            (&eve, format!("{TRUSTS}/{}", id::hex()), 404),
        ] {
            let answer = c.get(token, &path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            if let Some(list) = answer.json()["trusts"].as_array() {
                assert_eq!(list.len(), 2, "{path}");
                assert!(list[0]["roles"].is_null() && list[0]["links"]["self"].is_string());
            }
        }
        c.delete(&eve, &path_of(&one)).await.is(403);
        c.delete(&cast.admin, &path_of(&one)).await.is(204);
        let left = c.get(&cast.ann_token, &by(true)).await.json();
        assert_eq!(left["trusts"].as_array().unwrap().len(), 1);
        let both = c.get(&cast.ann_token, &format!("{}&trustee_user_id={}", by(true), cast.ann)).await.json();
        assert_eq!(both["trusts"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn bad_input_changes_nothing() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let good = json!({"trustor_user_id": cast.ann, "trustee_user_id": cast.tom, "impersonation": true,
            "project_id": cast.project, "roles": [{"name": "member"}]});
        let with = |name: &str, value: Value| {
            let mut body = good.clone();
            body[name] = value;
            (body, name.to_owned())
        };
        let mut cases = vec![];
        for (name, value, status) in [
            ("impersonation", json!("yes"), 400),
            ("impersonation", Value::Null, 400),
            ("trustor_user_id", json!(5), 400),
            ("trustor_user_id", json!(cast.tom), 403),
            ("trustee_user_id", json!("nobody"), 404),
            ("trustee_user_id", json!("x".repeat(100)), 400),
            ("project_id", json!("nowhere"), 404),
            ("project_id", json!(5), 400),
            ("project_id", Value::Null, 404),
            ("roles", json!([]), 403),
            ("roles", json!([{}]), 400),
            ("roles", json!("member"), 400),
            ("roles", json!([{"name": "nosuch"}]), 404),
            ("roles", json!([{"name": "admin"}]), 404),
            ("roles", json!([{"name": "member"}, {"name": "admin"}]), 404),
            ("expires_at", json!("bad.123Z"), 400),
            ("expires_at", json!("2020-01-01T00:00:00Z"), 400),
            ("remaining_uses", json!(0), 400),
            ("remaining_uses", json!(-1), 400),
            ("remaining_uses", json!("2"), 400),
            ("remaining_uses", json!(i64::MAX), 400),
            ("redelegation_count", json!(-1), 400),
            ("allow_redelegation", json!("yes"), 400),
            ("note", json!("a\u{0}b"), 400),
        ] {
            cases.push((with(name, value), status));
        }
        for ((body, name), status) in cases {
            let answer = c.post(&cast.ann_token, TRUSTS, json!({"trust": body})).await;
            assert_eq!(answer.status, status, "{name} {body} {}", answer.text);
        }
        for body in [json!({}), json!({"trust": {}}), json!({"trust": 5}), json!([])] {
            c.post(&cast.ann_token, TRUSTS, body).await.is(400);
        }
        let list = c.get(&cast.admin, TRUSTS).await.is(200).json();
        assert_eq!(list["trusts"], json!([]));
        // Nor by an admin for somebody else.
        c.post(&cast.admin, TRUSTS, json!({"trust": good})).await.is(403);
        for scope in [
            json!({"OS-TRUST:trust": {}}),
            json!({"OS-TRUST:trust": {"id": 5}}),
            json!({"OS-TRUST:trust": 5}),
        ] {
            c.login("tom", "pw", scope).await.is(400);
        }
        for id in ["nosuch", "", &"x".repeat(3000)] {
            c.login("tom", "pw", on_trust(id)).await.says(401, UNAUTHORIZED);
        }
    })
    .await;
}

/// Only the trustee uses it, and for nothing but what it says.
#[tokio::test]
async fn ossa_2014_022_a_trust_is_for_its_project() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let trust = cast.trust(c, json!({})).await;
        let id = trust["id"].as_str().unwrap();
        c.person(&cast.admin, "eve", "member").await;
        c.login("eve", "pw", on_trust(id)).await.says(403, FORBIDDEN);
        c.login("ann", "pw", on_trust(id)).await.says(403, FORBIDDEN);
        let second = c.make(&cast.admin, "projects", json!({"name": "second"})).await;
        let member = c.role(&cast.admin, "member").await;
        for user in [&cast.ann, &cast.tom] {
            let grant = format!("/v3/projects/{second}/users/{user}/roles/{member}");
            c.put(&cast.admin, &grant).await.is(204);
        }
        for other in [
            json!({"project": {"id": second}}),
            json!({"system": {"all": true}}),
            json!({"domain": {"id": "default"}}),
        ] {
            let mut both = on_trust(id);
            for (name, value) in other.as_object().unwrap() {
                both[name] = value.clone();
            }
            c.login("tom", "pw", both).await.is(400);
        }
        let token = cast.token(c, &trust).await;
        let scopes = [
            Value::Null,
            json!("unscoped"),
            json!({"project": {"id": second}}),
            json!({"project": {"id": cast.project}}),
            json!({"system": {"all": true}}),
            on_trust(id),
        ];
        for scope in scopes {
            let again = c.authenticate(by_token(&token), scope.clone()).await;
            assert_eq!(again.status, 403, "{scope} {}", again.text);
        }
        // What removed the v2.0 API's way round this.
        let body = json!({"auth": {"token": {"id": token}, "trust_id": id, "tenantId": second}});
        let old = c.send(reqwest::Method::POST, "/v2.0/tokens", &[], Some(&body)).await;
        assert!(old.status >= 400, "{}", old.text);
    })
    .await;
}

/// Each way of losing what a trust stands on takes its tokens and the trust's use with it, at once.
#[tokio::test]
async fn ossa_2014_006_trust_tokens_die_with_their_people() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let probe = format!("/v3/projects/{}", cast.project);
        let roles = format!("/v3/projects/{}/users/{}/roles", cast.project, cast.ann);
        let manager = c.role(&cast.admin, "manager").await;
        let (mut tom_password, mut ann_password) = ("pw".to_owned(), "pw".to_owned());
        for impersonation in [true, false] {
            for step in ["tom's password", "ann's password", "tom off", "ann off", "role", "project off"] {
                let ann_token = c.token("ann", &ann_password, "ann-project").await;
                let cast = Cast { ann_token, ..cast.clone() };
                let trust = cast.trust(c, json!({"impersonation": impersonation})).await;
                let scope = on_trust(trust["id"].as_str().unwrap());
                let token = c.login("tom", &tom_password, scope.clone()).await.is(201).token.unwrap();
                c.get(&token, &probe).await.is(200);
                let (ann, tom) = (format!("/v3/users/{}", cast.ann), format!("/v3/users/{}", cast.tom));
                let user = |member: Value| json!({"user": member});
                // What undoes it, and whether the trust can be used again then.
                let mut back: Option<(String, Value)> = None;
                match step {
                    "tom's password" => {
                        tom_password.push('x');
                        c.patch(&cast.admin, &tom, user(json!({"password": tom_password}))).await.is(200);
                    }
                    "ann's password" => {
                        ann_password.push('x');
                        c.patch(&cast.admin, &ann, user(json!({"password": ann_password}))).await.is(200);
                    }
                    "tom off" => {
                        c.patch(&cast.admin, &tom, user(json!({"enabled": false}))).await.is(200);
                        back = Some((tom, user(json!({"enabled": true}))));
                    }
                    "ann off" => {
                        c.patch(&cast.admin, &ann, user(json!({"enabled": false}))).await.is(200);
                        back = Some((ann, user(json!({"enabled": true}))));
                    }
                    "role" => {
                        c.delete(&cast.admin, &format!("{roles}/{manager}")).await.is(204);
                    }
                    _ => {
                        c.patch(&cast.admin, &probe, json!({"project": {"enabled": false}})).await.is(200);
                        back = Some((probe.clone(), json!({"project": {"enabled": true}})));
                    }
                }
                assert_eq!(c.get(&token, &probe).await.status, 401, "{step} {impersonation}");
                c.validate(&cast.admin, &token).await.is(404);
                let again = c.login("tom", &tom_password, scope.clone()).await;
                match step {
                    "tom's password" | "ann's password" => again.is(201),
                    "tom off" | "project off" => again.is(401),
                    _ => again.is(403),
                };
                if let Some((path, body)) = back {
                    c.patch(&cast.admin, &path, body).await.is(200);
                }
                if step == "role" {
                    c.put(&cast.admin, &format!("{roles}/{manager}")).await.is(204);
                }
                // The old token stays dead.
                assert_eq!(c.get(&token, &probe).await.status, 401, "{step} {impersonation}");
                c.delete(&cast.admin, &path_of(&trust)).await.is(204);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn deleted_users_projects_and_roles_end_it() {
    each(async |c| {
        let admin = c.admin().await;
        for step in ["ann", "tom", "project", "role"] {
            for name in ["ann", "tom"] {
                let found = c.get(&admin, &format!("/v3/users?name={name}")).await.json();
                if let Some(id) = found["users"][0]["id"].as_str() {
                    c.delete(&admin, &format!("/v3/users/{id}")).await.is(204);
                }
                let found = c.get(&admin, &format!("/v3/projects?name={name}-project")).await.json();
                if let Some(id) = found["projects"][0]["id"].as_str() {
                    c.delete(&admin, &format!("/v3/projects/{id}")).await.is(204);
                }
            }
            let cast = Cast::of(c).await;
            let role = c.make(&admin, "roles", json!({"name": format!("lent-{step}")})).await;
            let grant = format!("/v3/projects/{}/users/{}/roles/{role}", cast.project, cast.ann);
            c.put(&admin, &grant).await.is(204);
            let trust = cast.trust(c, json!({"roles": [{"id": role}, {"name": "reader"}]})).await;
            let token = cast.token(c, &trust).await;
            c.get(&token, "/v3/auth/projects").await.is(200);
            match step {
                "ann" => c.delete(&admin, &format!("/v3/users/{}", cast.ann)).await,
                "tom" => c.delete(&admin, &format!("/v3/users/{}", cast.tom)).await,
                "project" => c.delete(&admin, &format!("/v3/projects/{}", cast.project)).await,
                _ => c.delete(&admin, &format!("/v3/roles/{role}")).await,
            }
            .is(204);
            c.get(&token, "/v3/auth/projects").await.is(401);
            c.validate(&admin, &token).await.is(404);
            let again = cast.use_it(c, &trust).await;
            assert!(matches!(again.status, 401 | 403), "{step}: {} {}", again.status, again.text);
            let shown = c.get(&admin, &path_of(&trust)).await.status;
            assert_eq!(shown, if step == "role" { 200 } else { 404 }, "{step}");
        }
    })
    .await;
}

/// A trust from one domain to another dies with either of them.
#[tokio::test]
async fn disabled_and_deleted_domains() {
    each(async |c| {
        let admin = c.admin().await;
        for (n, (whose, impersonation)) in
            [("trustor", true), ("trustor", false), ("trustee", true), ("trustee", false)].into_iter().enumerate()
        {
            let mut people = Vec::new();
            for name in ["trustor", "trustee"] {
                let domain = c.make(&admin, "domains", json!({"name": format!("{name}{n}")})).await;
                let user =
                    c.make(&admin, "users", json!({"name": name, "password": "pw", "domain_id": domain})).await;
                people.push((domain, user));
            }
            let project = c.make(&admin, "projects", json!({"name": format!("p{n}")})).await;
            let (member, (_, trustor), (_, trustee)) =
                (c.role(&admin, "member").await, people[0].clone(), people[1].clone());
            c.put(&admin, &format!("/v3/projects/{project}/users/{trustor}/roles/{member}")).await.is(204);
            let by_id = |id: &str| {
                json!({"methods": ["password"], "password": {"user": {"id": id, "password": "pw"}}})
            };
            let own = c.authenticate(by_id(&trustor), json!({"project": {"id": project}})).await.is(201);
            let body = json!({"trustor_user_id": trustor, "trustee_user_id": trustee, "project_id": project,
                "impersonation": impersonation, "roles": [{"name": "member"}]});
            let trust = c.post(&own.token.unwrap(), TRUSTS, json!({"trust": body})).await.is(201).json();
            let scope = on_trust(trust["trust"]["id"].as_str().unwrap());
            let token = c.authenticate(by_id(&trustee), scope.clone()).await.is(201).token.unwrap();
            let probe = format!("/v3/projects/{project}");
            c.get(&token, &probe).await.is(200);
            let domain = format!("/v3/domains/{}", people[usize::from(whose == "trustee")].0);
            c.patch(&admin, &domain, json!({"domain": {"enabled": false}})).await.is(200);
            assert_eq!(c.get(&token, &probe).await.status, 401, "{whose} {impersonation}");
            assert!(c.authenticate(by_id(&trustee), scope.clone()).await.status >= 401);
            c.patch(&admin, &domain, json!({"domain": {"enabled": true}})).await.is(200);
            let token = c.authenticate(by_id(&trustee), scope.clone()).await.is(201).token.unwrap();
            c.patch(&admin, &domain, json!({"domain": {"enabled": false}})).await.is(200);
            c.delete(&admin, &domain).await.is(204);
            c.get(&token, &probe).await.is(401);
            c.validate(&admin, &token).await.is(404);
            c.get(&admin, &path_of(&trust["trust"])).await.is(404);
        }
    })
    .await;
}

#[tokio::test]
async fn tokens_end_with_the_trust() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let soon = Timestamp::now().plus_millis(2500);
        let trust = cast.trust(c, json!({"expires_at": soon.iso_micros()})).await;
        assert_eq!(trust["expires_at"], soon.iso_micros());
        let login = cast.use_it(c, &trust).await.is(201);
        assert_eq!(login.json()["token"]["expires_at"], soon.iso_micros());
        let token = login.token.unwrap();
        let probe = format!("/v3/projects/{}", cast.project);
        c.get(&token, &probe).await.is(200);
        eventually("the token expires", async || c.get(&token, &probe).await.status == 401).await;
        cast.use_it(c, &trust).await.says(401, UNAUTHORIZED);
        c.get(&cast.ann_token, &path_of(&trust)).await.is(404);
        // By a token of the trustee: no longer than that.
        let trust = cast.trust(c, json!({"expires_at": "2100-01-01T00:00:00Z"})).await;
        assert_eq!(trust["expires_at"], "2100-01-01T00:00:00.000000Z");
        let own = c.login("tom", "pw", json!("unscoped")).await.is(201);
        let end = own.json()["token"]["expires_at"].clone();
        let scope = on_trust(trust["id"].as_str().unwrap());
        let next = c.authenticate(by_token(&own.token.unwrap()), scope).await.is(201).json();
        assert_eq!(next["token"]["expires_at"], end);
    })
    .await;
}

/// A use is a token: of twenty logins at once as many get in as there were uses, on two processes too.
#[tokio::test]
async fn uses_are_counted_exactly() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let trust = cast.trust(c, json!({"remaining_uses": 5})).await;
        let (base, other) = c.replica().await;
        let scope = on_trust(trust["id"].as_str().unwrap());
        let body = json!({"auth": {"identity": by_name("tom", "pw"), "scope": scope}});
        let (c, cast, trust, base, body) = (&*c, &cast, &trust, &base, &body);
        let logins = join_all((0..20).map(|n| async move {
            let url =
                if n % 2 == 0 { "/v3/auth/tokens".to_owned() } else { format!("{base}/v3/auth/tokens") };
            c.send(reqwest::Method::POST, &url, &[], Some(body)).await
        }))
        .await;
        assert_eq!(logins.iter().filter(|a| a.status == 201).count(), 5);
        assert!(logins.iter().all(|a| matches!(a.status, 201 | 401)));
        cast.use_it(c, trust).await.says(401, UNAUTHORIZED);
        // Those who got in stay in.
        let token = logins.iter().find_map(|a| a.token.clone()).unwrap();
        c.get(&token, &format!("/v3/projects/{}", cast.project)).await.is(200);
        c.get(&cast.ann_token, &path_of(trust)).await.is(404);
        let list = c.get(&cast.admin, TRUSTS).await.is(200).json();
        assert_eq!(list["trusts"][0]["remaining_uses"], 0);
        c.delete(&cast.ann_token, &path_of(trust)).await.is(204);
        c.get(&token, &format!("/v3/projects/{}", cast.project)).await.is(401);
        // A login that fails uses nothing up.
        let trust = cast.trust(c, json!({"remaining_uses": 1})).await;
        let scope = on_trust(trust["id"].as_str().unwrap());
        c.login("tom", "wrong", scope.clone()).await.is(401);
        c.login("ann", "pw", scope.clone()).await.is(403);
        c.login("tom", "pw", scope).await.is(201);
        other.stop().await;
    })
    .await;
}

/// Zed, whom a trust is handed on to.
async fn third(c: &Cloud, admin: &str, name: &str) -> String {
    c.make(admin, "users", json!({"name": name, "password": "pw"})).await
}

#[tokio::test]
async fn handed_on_within_what_was_lent() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let zed = third(c, &cast.admin, "zed").await;
        let trust = cast
            .trust(
                c,
                json!({"allow_redelegation": true, "roles": [{"name": "manager"}, {"name": "member"}],
                "expires_at": "2099-01-01T00:00:00Z"}),
            )
            .await;
        assert_eq!(trust["redelegation_count"], 3);
        let token = cast.token(c, &trust).await;
        let good = json!({"trustor_user_id": cast.ann, "trustee_user_id": zed, "impersonation": true,
            "project_id": cast.project, "roles": [{"name": "member"}]});
        let second = c.make(&cast.admin, "projects", json!({"name": "second"})).await;
        let manager = c.role(&cast.admin, "manager").await;
        c.put(&cast.admin, &format!("/v3/projects/{second}/users/{}/roles/{manager}", cast.ann))
            .await
            .is(204);
        for (name, value) in [
            ("remaining_uses", json!(2)),
            ("expires_at", json!("2100-01-01T00:00:00Z")),
            ("roles", json!([{"name": "member"}, {"name": "reader"}])),
            ("trustor_user_id", json!(cast.tom)),
            ("project_id", json!(second)),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            let answer = c.post(&token, TRUSTS, json!({"trust": bad})).await;
            assert_eq!(answer.status, 403, "{name} {}", answer.text);
        }
        let mut bad = good.clone();
        bad["allow_redelegation"] = json!(true);
        for count in [1, 3, 9] {
            bad["redelegation_count"] = json!(count);
            c.post(&token, TRUSTS, json!({"trust": bad})).await.is(403);
        }
        // Down to nothing, by way of the same two.
        let mut chain = vec![trust.clone()];
        let mut tokens = vec![token];
        for (depth, name) in [(2, "zed"), (1, "tom"), (0, "zed")] {
            let mut body = good.clone();
            body["allow_redelegation"] = json!(true);
            body["trustee_user_id"] = json!(if name == "zed" { &zed } else { &cast.tom });
            let next = c.post(tokens.last().unwrap(), TRUSTS, json!({"trust": body})).await.is(201);
            let next = next.json()["trust"].clone();
            assert_eq!(next["redelegation_count"], depth);
            assert_eq!(next["redelegated_trust_id"], chain.last().unwrap()["id"]);
            assert_eq!(next["expires_at"], "2099-01-01T00:00:00.000000Z");
            let login = c.login(name, "pw", on_trust(next["id"].as_str().unwrap())).await.is(201);
            assert_eq!(login.json()["token"]["user"]["id"], json!(cast.ann));
            tokens.push(login.token.unwrap());
            chain.push(next);
        }
        c.post(tokens.last().unwrap(), TRUSTS, json!({"trust": good}))
            .await
            .says(403, "Remaining redelegation depth of 0 out of allowed range of [0..3]");
        // With a trust's token nothing above or beside it can be deleted; what was handed on from it can.
        c.delete(&tokens[1], &path_of(&chain[0])).await.is(403);
        c.delete(&tokens[1], &path_of(&chain[1])).await.is(403);
        c.delete(&tokens[2], &path_of(&chain[3])).await.is(204);
        let probe = format!("/v3/projects/{}", cast.project);
        c.get(&tokens[3], &probe).await.is(401);
        c.get(&tokens[2], &probe).await.is(200);
        // The first takes all with it.
        c.delete(&cast.ann_token, &path_of(&chain[0])).await.is(204);
        for (token, trust) in tokens.iter().zip(&chain) {
            c.get(token, &probe).await.is(401);
            c.get(&cast.admin, &path_of(trust)).await.is(404);
        }
    })
    .await;
}

#[tokio::test]
async fn not_handed_on_unless_allowed() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let zed = third(c, &cast.admin, "zed").await;
        let hand_on = |impersonation: bool, trustor: &str| {
            json!({"trust": {"trustor_user_id": trustor, "trustee_user_id": zed, "impersonation": impersonation,
                "project_id": cast.project, "roles": [{"name": "member"}]}})
        };
        let plain = cast.trust(c, json!({})).await;
        let token = cast.token(c, &plain).await;
        c.post(&token, TRUSTS, hand_on(true, &cast.ann)).await.is(403);
        // A trust without impersonation is handed on by the trustee, and without impersonation.
        let trust =
            cast.trust(c, json!({"allow_redelegation": true, "impersonation": false, "redelegation_count": 1})).await;
        assert_eq!(trust["redelegation_count"], 1);
        let token = cast.token(c, &trust).await;
        c.post(&token, TRUSTS, hand_on(true, &cast.tom)).await.is(403);
        c.post(&token, TRUSTS, hand_on(false, &cast.ann)).await.is(403);
        let next = c.post(&token, TRUSTS, hand_on(false, &cast.tom)).await.is(201).json()["trust"].clone();
        let login = c.login("zed", "pw", on_trust(next["id"].as_str().unwrap())).await.is(201);
        assert_eq!(login.json()["token"]["user"]["id"], json!(zed));
        assert_eq!(names(&login.json()["token"]["roles"]), ["member", "reader"]);
        let last = login.token.unwrap();
        c.get(&last, "/v3/auth/projects").await.is(200);
        // Ann, whom the last token does not name, is behind it all the same.
        let ann = format!("/v3/users/{}", cast.ann);
        c.patch(&cast.admin, &ann, json!({"user": {"enabled": false}})).await.is(200);
        c.get(&last, "/v3/auth/projects").await.is(401);
        c.login("zed", "pw", on_trust(next["id"].as_str().unwrap())).await.is(403);
        c.patch(&cast.admin, &ann, json!({"user": {"enabled": true}})).await.is(200);
        let last = c.login("zed", "pw", on_trust(next["id"].as_str().unwrap())).await.is(201).token.unwrap();
        let manager = c.role(&cast.admin, "manager").await;
        let grant = format!("/v3/projects/{}/users/{}/roles/{manager}", cast.project, cast.ann);
        c.delete(&cast.admin, &grant).await.is(204);
        c.get(&last, "/v3/auth/projects").await.is(401);
        c.put(&cast.admin, &grant).await.is(204);
        c.get(&last, "/v3/auth/projects").await.is(401);
        let last = c.login("zed", "pw", on_trust(next["id"].as_str().unwrap())).await.is(201).token.unwrap();
        c.delete(&cast.admin, &ann).await.is(204);
        c.get(&last, "/v3/auth/projects").await.is(401);
        c.get(&cast.admin, &path_of(&next)).await.is(404);
    })
    .await;
}

#[tokio::test]
async fn limits_of_handing_on() {
    each_with(
        |s| s.identity.max_redelegation_count = 2,
        async |c| {
            let cast = Cast::of(c).await;
            let body = |more: Value| {
                let mut body = json!({"trustor_user_id": cast.ann, "trustee_user_id": cast.tom,
                    "impersonation": true, "project_id": cast.project, "roles": [{"name": "member"}],
                    "allow_redelegation": true});
                for (name, value) in more.as_object().unwrap() {
                    body[name] = value.clone();
                }
                json!({"trust": body})
            };
            c.post(&cast.ann_token, TRUSTS, body(json!({"redelegation_count": 3})))
                .await
                .says(403, "Requested redelegation depth of 3 is greater than allowed 2");
            c.post(&cast.ann_token, TRUSTS, body(json!({"remaining_uses": 3}))).await.is(400);
            let all = c.post(&cast.ann_token, TRUSTS, body(json!({}))).await.is(201).json();
            assert_eq!(all["trust"]["redelegation_count"], 2);
            let none =
                c.post(&cast.ann_token, TRUSTS, body(json!({"redelegation_count": 0, "remaining_uses": 3})));
            assert_eq!(none.await.is(201).json()["trust"]["redelegation_count"], 0);
            // Whose trust it is handed on from is not for the body to say.
            let mine =
                body(json!({"redelegated_trust_id": all["trust"]["id"], "id": "chosen", "deleted_at": "x"}));
            let made = c.post(&cast.ann_token, TRUSTS, mine).await.is(201).json();
            assert!(made["trust"]["redelegated_trust_id"].is_null() && made["trust"]["deleted_at"].is_null());
            assert_ne!(made["trust"]["id"], "chosen");
        },
    )
    .await;
}

/// Without a project a trust lends nothing but the name.
#[tokio::test]
async fn a_trust_without_a_project() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let trust = cast.trust(c, json!({"project_id": null, "roles": []})).await;
        assert!(trust["project_id"].is_null());
        let login = cast.use_it(c, &trust).await.is(201);
        let body = login.json()["token"].clone();
        assert_eq!(body["user"]["id"], json!(cast.ann));
        assert!(body["project"].is_null() && body["roles"].is_null() && body["catalog"].is_null());
        let token = login.token.unwrap();
        c.get(&token, &format!("/v3/users/{}", cast.ann)).await.is(200);
        for scope in [Value::Null, json!({"project": {"id": cast.project}})] {
            c.authenticate(by_token(&token), scope).await.is(403);
        }
    })
    .await;
}
