//! Who calls, and the objects that requests are about.

use super::super::support::*;
use serde_json::{Value, json};
use std::collections::HashMap;

/// A caller.
#[derive(Clone, Debug, Default)]
pub struct Persona {
    pub name: &'static str,
    pub token: String,
    pub user_id: String,
    pub project: Option<String>,
    pub project_domain: Option<String>,
    pub domain: Option<String>,
    pub system: bool,
    /// With those that the granted one implies.
    pub roles: Vec<&'static str>,
}

/// Path parameters (and where objects are to be made: `domain_id`, `project_id`) by name.
pub type Ids = HashMap<&'static str, String>;

/// Two domains with a project, a user and a group each, callers, and one of everything else.
pub struct World {
    pub admin: String,
    /// Tokens that are none: missing, garbage, expired, revoked.
    pub refused: Vec<(&'static str, String)>,
    pub personas: Vec<Persona>,
    /// Objects of the domain in which the callers are.
    pub own: Ids,
    /// The same in the other domain.
    pub other: Ids,
    /// The domain of each user, group and project.
    pub domain_of: HashMap<String, String>,
    /// Name and domain of each role.
    pub roles: HashMap<String, (String, Option<String>)>,
}

/// Id of nothing.
pub const NOTHING: &str = "00000000000000000000000000000000";

/// [`each`](super::super::support::each) without limits on failed logins, which these tests run into.
pub async fn each<F: AsyncFn(&mut Cloud)>(test: F) {
    let unlimited = |s: &mut ferrostack_settings::Settings| {
        s.identity.security.failed_logins_per_source_per_minute = 0;
        s.identity.security.failed_logins_per_user_per_minute = 0;
    };
    each_with(unlimited, test).await;
}

fn implied(role: &'static str) -> Vec<&'static str> {
    let chain = ["admin", "manager", "member", "reader"];
    match chain.iter().position(|r| *r == role) {
        Some(at) => chain[at..].to_vec(),
        None => vec![role],
    }
}

impl World {
    pub async fn new(c: &Cloud) -> Self {
        let admin = c.admin().await;
        let mut world = Self {
            admin: admin.clone(),
            refused: Vec::new(),
            personas: Vec::new(),
            own: Ids::new(),
            other: Ids::new(),
            domain_of: HashMap::new(),
            roles: HashMap::new(),
        };
        for name in ["admin", "manager", "member", "reader", "service"] {
            world.roles.insert(c.role(&admin, name).await, (name.into(), None));
        }
        let service = c.make(&admin, "services", json!({"type": "matrix"})).await;
        let region = "matrix".to_owned();
        c.call(&admin, "PUT", "/v3/regions/matrix", Some(json!({"region": {}}))).await.is(201);
        let endpoint = json!({"interface": "public", "url": "http://x", "service_id": service});
        let endpoint = c.make(&admin, "endpoints", endpoint).await;
        let (prior, implied) = (
            c.make(&admin, "roles", json!({"name": "prior"})).await,
            c.make(&admin, "roles", json!({"name": "implied"})).await,
        );
        c.put(&admin, &format!("/v3/roles/{prior}/implies/{implied}")).await.is(201);
        world.roles.insert(prior.clone(), ("prior".into(), None));
        world.roles.insert(implied.clone(), ("implied".into(), None));
        for which in ["own", "other"] {
            let mut ids = Ids::new();
            let domain = c.make(&admin, "domains", json!({"name": which})).await;
            let project = c.make(&admin, "projects", json!({"name": which, "domain_id": domain})).await;
            let user = json!({"name": which, "domain_id": domain, "password": "pw"});
            let user = c.make(&admin, "users", user).await;
            let group = c.make(&admin, "groups", json!({"name": which, "domain_id": domain})).await;
            let role = c.make(&admin, "roles", json!({"name": which, "domain_id": domain})).await;
            world.roles.insert(role.clone(), (which.into(), Some(domain.clone())));
            c.put(&admin, &format!("/v3/groups/{group}/users/{user}")).await.is(204);
            c.put(&admin, &format!("/v3/projects/{project}/tags/blue")).await.is(201);
            for id in [&project, &user, &group] {
                world.domain_of.insert(id.clone(), domain.clone());
            }
            ids.insert("domain_id", domain);
            ids.insert("project_id", project);
            ids.insert("user_id", user);
            ids.insert("group_id", group);
            ids.insert("domain_role", role);
            for (name, id) in [
                ("service_id", &service),
                ("region_id", &region),
                ("endpoint_id", &endpoint),
                ("prior_role_id", &prior),
                ("implied_role_id", &implied),
            ] {
                ids.insert(name, id.clone());
            }
            ids.insert("role_id", world.role("member"));
            ids.insert("value", "blue".into());
            world.grants(c, &ids).await;
            super::calls::objects(c, &admin, &mut ids).await;
            match which {
                "own" => world.own = ids,
                _ => world.other = ids,
            }
        }
        world.call_in(c).await;
        world
    }

    /// Gives the user and the group the role in every place, so that a grant can be checked.
    async fn grants(&self, c: &Cloud, ids: &Ids) {
        let [project, domain, user, group, role] =
            ["project_id", "domain_id", "user_id", "group_id", "role_id"].map(|n| &ids[n]);
        for place in [format!("projects/{project}"), format!("domains/{domain}"), "system".into()] {
            for actor in [format!("users/{user}"), format!("groups/{group}")] {
                c.put(&self.admin, &format!("/v3/{place}/{actor}/roles/{role}")).await.is(204);
                if place != "system" {
                    let path = format!("/v3/OS-INHERIT/{place}/{actor}/roles/{role}/inherited_to_projects");
                    c.put(&self.admin, &path).await.is(204);
                }
            }
        }
    }

    pub fn role(&self, name: &str) -> String {
        let found = self.roles.iter().find(|(_, (n, domain))| n == name && domain.is_none());
        found.unwrap().0.clone()
    }

    /// Makes the callers.
    async fn call_in(&mut self, c: &Cloud) {
        let (own, other) = (self.own.clone(), self.other.clone());
        let rows: [(&'static str, &'static str, &'static str, &Ids); 11] = [
            ("foreign", "member", "project", &other),
            ("reader", "reader", "project", &own),
            ("member", "member", "project", &own),
            ("manager", "manager", "project", &own),
            ("dom-reader", "reader", "domain", &own),
            ("dom-manager", "manager", "domain", &own),
            ("dom-admin", "admin", "domain", &own),
            ("sys-reader", "reader", "system", &own),
            ("sys-admin", "admin", "system", &own),
            ("service", "service", "project", &own),
            ("admin", "admin", "project", &own),
        ];
        for (name, role, kind, ids) in rows {
            let user = json!({"name": name, "domain_id": ids["domain_id"], "password": "pw"});
            let user = c.make(&self.admin, "users", user).await;
            self.domain_of.insert(user.clone(), ids["domain_id"].clone());
            let (place, scope) = match kind {
                "project" => {
                    // The admin's project is not the one that requests are about.
                    let id = match name {
                        "admin" => {
                            let project = json!({"name": "boss", "domain_id": ids["domain_id"]});
                            c.make(&self.admin, "projects", project).await
                        }
                        _ => ids["project_id"].clone(),
                    };
                    (format!("projects/{id}"), json!({"project": {"id": id}}))
                }
                "domain" => {
                    let id = &ids["domain_id"];
                    (format!("domains/{id}"), json!({"domain": {"id": id}}))
                }
                _ => ("system".into(), json!({"system": {"all": true}})),
            };
            let path = format!("/v3/{place}/users/{user}/roles/{}", self.role(role));
            c.put(&self.admin, &path).await.is(204);
            let login =
                json!({"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}});
            let answer = c.authenticate(login, scope.clone()).await.is(201);
            self.personas.push(Persona {
                name,
                token: answer.token.unwrap(),
                user_id: user,
                project: scope["project"]["id"].as_str().map(str::to_owned),
                project_domain: (kind == "project").then(|| ids["domain_id"].clone()),
                domain: (kind == "domain").then(|| ids["domain_id"].clone()),
                system: kind == "system",
                roles: implied(role),
            });
        }
        let owner = self.owner(c).await;
        self.personas.insert(3, owner);
        let member = self.persona("member").clone();
        let login = by_token(&member.token);
        let revoked = c.authenticate(login, Value::Null).await.is(201).token.unwrap();
        let headers = [("x-auth-token", revoked.as_str()), ("x-subject-token", revoked.as_str())];
        c.send(reqwest::Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        self.refused = vec![
            ("no token", String::new()),
            ("garbage", "garbage".into()),
            ("expired", Self::expired(c).await),
            ("revoked", revoked),
        ];
    }

    /// The user that requests are about, on its project, with a token of now: some rows take its rights away.
    pub async fn owner(&self, c: &Cloud) -> Persona {
        let (user, project) = (&self.own["user_id"], &self.own["project_id"]);
        let login = json!({"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}});
        let scope = json!({"project": {"id": project}});
        let mut answer = c.authenticate(login.clone(), scope.clone()).await;
        let names: Vec<&str> = vec!["member", "reader"];
        let has = |answer: &Answer| {
            answer.status == 201
                && answer.json()["token"]["roles"].as_array().is_some_and(|r| {
                    r.len() == names.len()
                        && r.iter().all(|r| names.contains(&r["name"].as_str().unwrap_or_default()))
                })
        };
        if !has(&answer) {
            for role in ["admin", "domain_role"] {
                let role = if role == "admin" { self.role(role) } else { self.own[role].clone() };
                for place in [
                    format!("projects/{project}"),
                    format!("domains/{}", self.own["domain_id"]),
                    "system".into(),
                ] {
                    for actor in [format!("users/{user}"), format!("groups/{}", self.own["group_id"])] {
                        c.delete(&self.admin, &format!("/v3/{place}/{actor}/roles/{role}")).await;
                        let path =
                            format!("/v3/OS-INHERIT/{place}/{actor}/roles/{role}/inherited_to_projects");
                        c.delete(&self.admin, &path).await;
                    }
                }
            }
            self.grants(c, &self.own).await;
            answer = c.authenticate(login, scope).await;
            assert!(has(&answer), "{}", answer.text);
        }
        Persona {
            name: "owner",
            token: answer.token.unwrap(),
            user_id: user.clone(),
            project: Some(project.clone()),
            project_domain: Some(self.own["domain_id"].clone()),
            roles: names,
            ..Default::default()
        }
    }

    pub fn persona(&self, name: &str) -> &Persona {
        self.personas.iter().find(|p| p.name == name).unwrap()
    }

    /// A token whose time is over, from a process that gives them a second.
    async fn expired(c: &Cloud) -> String {
        let mut settings = c.settings.clone();
        settings.identity.token_ttl_seconds = 1;
        let stop = tokio_util::sync::CancellationToken::new();
        let running = ferrostack_identity::start(&settings, c.bus.clone(), stop.clone())
            .await
            .unwrap_or_else(|e| panic!("{}", e.for_log()));
        let body = json!({"auth": {"identity": by_name("admin", "secret")}});
        let url = format!("http://{}/v3/auth/tokens", running.address);
        let answer = c.send(reqwest::Method::POST, &url, &[], Some(&body)).await.is(201);
        stop.cancel();
        running.stop().await;
        let token = answer.token.unwrap();
        eventually("the token expires", async || c.get(&token, "/v3/auth/projects").await.status == 401)
            .await;
        token
    }
}
