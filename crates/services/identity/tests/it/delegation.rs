//! What a login by each method may be exchanged for and do: the delegation matrix.
//!
//! Rows come from the enums below, whose matches name every variant. The product's own enums are tied to them by a
//! test beside `Delegation`: a new method, scope or kind of delegation does not compile before it has a row here.

use super::{application_credentials::*, ec2, support::*, totp, trusts::on_trust};
use ferrostack_model::{Timestamp, id};
use reqwest::Method;
use serde_json::{Value, json};

/// How a token was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Password,
    Totp,
    Rescoped,
    AppCred,
    AppCredRestricted,
    Trust,
    TrustImpersonating,
    Ec2,
}

/// What a token is exchanged for.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Default,
    Unscoped,
    OwnProject,
    Project,
    Domain,
    System,
    Trust,
}

/// What is done with a token.
#[derive(Clone, Copy, Debug)]
enum Op {
    CreateAppCred,
    DeleteAppCred,
    CreateTrust,
    DeleteTrust,
    ListTrusts,
    ShowTrust,
    CreateEc2,
    CreateCredential,
    DeleteAccessRule,
}

const HOWS: [How; 8] = [
    How::Password,
    How::Totp,
    How::Rescoped,
    How::AppCred,
    How::AppCredRestricted,
    How::Trust,
    How::TrustImpersonating,
    How::Ec2,
];
const WISHES: [Wish; 7] =
    [Wish::Default, Wish::Unscoped, Wish::OwnProject, Wish::Project, Wish::Domain, Wish::System, Wish::Trust];
const OPS: [Op; 9] = [
    Op::CreateAppCred,
    Op::DeleteAppCred,
    Op::CreateTrust,
    Op::DeleteTrust,
    Op::ListTrusts,
    Op::ShowTrust,
    Op::CreateEc2,
    Op::CreateCredential,
    Op::DeleteAccessRule,
];

impl How {
    /// The most a token got in this way can give.
    fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Password | Self::Totp | Self::Rescoped | Self::Ec2 => &["manager", "member", "reader"],
            Self::AppCred | Self::AppCredRestricted | Self::Trust | Self::TrustImpersonating => {
                &["member", "reader"]
            }
        }
    }

    /// The member of a token's body that says so.
    fn mark(self) -> Option<&'static str> {
        match self {
            Self::AppCred | Self::AppCredRestricted => Some("application_credential"),
            Self::Trust | Self::TrustImpersonating => Some("OS-TRUST:trust"),
            Self::Password | Self::Totp | Self::Rescoped | Self::Ec2 => None,
        }
    }

    fn in_person(self) -> bool {
        match self {
            Self::Password | Self::Totp | Self::Rescoped => true,
            Self::AppCred | Self::AppCredRestricted | Self::Trust | Self::TrustImpersonating | Self::Ec2 => {
                false
            }
        }
    }
}

/// The status of exchanging a token for another.
fn exchanged(how: How, wish: Wish) -> u16 {
    match (how, wish) {
        (How::Password | How::Totp | How::Rescoped, _) => 201,
        (How::Trust | How::TrustImpersonating, _) => 403,
        (How::AppCred | How::AppCredRestricted | How::Ec2, Wish::Default | Wish::OwnProject) => 201,
        (How::AppCred | How::AppCredRestricted | How::Ec2, Wish::Trust) => 403,
        (
            How::AppCred | How::AppCredRestricted | How::Ec2,
            Wish::Unscoped | Wish::Project | Wish::Domain | Wish::System,
        ) => 401,
    }
}

/// The status of doing it.
fn done(how: How, op: Op) -> u16 {
    match (how, op) {
        (How::Password | How::Totp | How::Rescoped, op) => match op {
            Op::CreateAppCred | Op::CreateTrust | Op::CreateEc2 | Op::CreateCredential => 201,
            Op::DeleteAppCred | Op::DeleteTrust | Op::DeleteAccessRule => 204,
            Op::ListTrusts | Op::ShowTrust => 200,
        },
        (How::AppCred, Op::CreateAppCred) => 201,
        (How::AppCred, Op::DeleteAppCred | Op::DeleteAccessRule) => 204,
        (How::AppCred, _) => 403,
        (How::AppCredRestricted | How::Ec2, _) => 403,
        // Only to look at.
        (How::Trust | How::TrustImpersonating, Op::ListTrusts | Op::ShowTrust) => 200,
        (How::Trust | How::TrustImpersonating, _) => 403,
    }
}

/// Bob is manager of his project, member of another (his default), manager of the domain and reader of the system.
struct Scene {
    admin: String,
    own: String,
    other: String,
    bob: String,
    tom: String,
    /// When the delegations end.
    end: Timestamp,
}

impl Scene {
    async fn of(c: &Cloud) -> Self {
        let admin = c.admin().await;
        let (own, bob) = c.person(&admin, "bob", "manager").await;
        let (_, tom) = c.person(&admin, "tom", "member").await;
        let other = c.make(&admin, "projects", json!({"name": "other"})).await;
        let (manager, reader) = (c.role(&admin, "manager").await, c.role(&admin, "reader").await);
        for grant in [
            format!("/v3/projects/{other}/users/{bob}/roles/{manager}"),
            format!("/v3/projects/{other}/users/{tom}/roles/{manager}"),
            format!("/v3/domains/default/users/{bob}/roles/{manager}"),
            format!("/v3/domains/default/users/{tom}/roles/{manager}"),
            format!("/v3/system/users/{bob}/roles/{reader}"),
            format!("/v3/system/users/{tom}/roles/{reader}"),
        ] {
            c.put(&admin, &grant).await.is(204);
        }
        for user in [&bob, &tom] {
            let body = json!({"user": {"default_project_id": other}});
            c.patch(&admin, &format!("/v3/users/{user}"), body).await.is(200);
        }
        let end = Timestamp::now().plus_seconds(1800);
        Self { admin, own, other, bob, tom, end }
    }

    fn lend(&self, trustor: &str, trustee: &str, impersonation: bool, project: &str) -> Value {
        json!({"trust": {"trustor_user_id": trustor, "trustee_user_id": trustee, "impersonation": impersonation,
            "project_id": project, "roles": [{"name": "member"}], "expires_at": self.end.iso_micros()}})
    }

    async fn trust(&self, c: &Cloud, token: &str, body: Value) -> String {
        let made = c.post(token, "/v3/OS-TRUST/trusts", body).await.is(201).json();
        made["trust"]["id"].as_str().unwrap().to_owned()
    }

    async fn bob_token(&self, c: &Cloud) -> String {
        c.token("bob", "pw", "bob-project").await
    }

    /// A token for Bob's project.
    async fn login(&self, c: &Cloud, how: How) -> Answer {
        let bob = self.bob_token(c).await;
        match how {
            How::Password => c.login("bob", "pw", json!({"project": {"id": self.own}})).await,
            How::Totp => {
                // A passcode counts once: a secret of its own for each login.
                let secret: String = id::hex()
                    .chars()
                    .map(|c| {
                        if c == '0' {
                            'Q'
                        } else if c < '2' {
                            'Z'
                        } else if c > '7' && c < 'a' {
                            'K'
                        } else {
                            c.to_ascii_uppercase()
                        }
                    })
                    .collect();
                totp::enroll(c, &self.admin, &self.bob, &secret).await;
                let identity = totp::by_totp(&self.bob, &totp::passcode(&secret, 0));
                c.authenticate(identity, json!({"project": {"id": self.own}})).await
            }
            How::Rescoped => {
                let first = c.login("bob", "pw", json!("unscoped")).await.token.unwrap();
                c.authenticate(by_token(&first), json!({"project": {"id": self.own}})).await
            }
            How::AppCred | How::AppCredRestricted => {
                let body = json!({"name": id::hex(), "roles": [{"name": "member"}],
                    "unrestricted": how == How::AppCred, "expires_at": self.end.iso_micros_naive()});
                let (id, secret) = make_cred(c, &bob, &self.bob, body).await;
                with_cred(c, &id, &secret).await
            }
            How::Trust | How::TrustImpersonating => {
                let body = self.lend(&self.bob, &self.tom, how == How::TrustImpersonating, &self.own);
                let trust = self.trust(c, &bob, body).await;
                c.login("tom", "pw", on_trust(&trust)).await
            }
            How::Ec2 => {
                let mut answer = ec2::login(c, &self.admin, &bob, &self.bob, &self.own).await;
                answer.status = 201;
                answer
            }
        }
        .is(201)
    }

    /// The user of its tokens.
    fn user(&self, how: How) -> &str {
        match how {
            How::Trust => &self.tom,
            How::Password
            | How::Totp
            | How::Rescoped
            | How::AppCred
            | How::AppCredRestricted
            | How::TrustImpersonating
            | How::Ec2 => &self.bob,
        }
    }

    async fn scope(&self, c: &Cloud, how: How, wish: Wish) -> Value {
        match wish {
            Wish::Default => Value::Null,
            Wish::Unscoped => json!("unscoped"),
            Wish::OwnProject => json!({"project": {"id": self.own}}),
            Wish::Project => json!({"project": {"name": "other", "domain": {"id": "default"}}}),
            Wish::Domain => json!({"domain": {"id": "default"}}),
            Wish::System => json!({"system": {"all": true}}),
            Wish::Trust => {
                // One that the token's user may use in person.
                let name = if self.user(how) == self.bob { "tom" } else { "bob" };
                let trustor = if name == "tom" { &self.tom } else { &self.bob };
                let token = c.token(name, "pw", "other").await;
                let body = self.lend(trustor, self.user(how), false, &self.other);
                on_trust(&self.trust(c, &token, body).await)
            }
        }
    }

    /// What a refused operation must leave as it was.
    async fn state(&self, c: &Cloud) -> Vec<String> {
        let mut all = vec![c.get(&self.admin, "/v3/OS-TRUST/trusts").await.is(200).text];
        let bob = self.bob_token(c).await;
        let tom = c.token("tom", "pw", "tom-project").await;
        for (user, token) in [(&self.bob, &bob), (&self.tom, &tom)] {
            for noun in ["application_credentials", "credentials/OS-EC2", "access_rules"] {
                all.push(c.get(token, &format!("/v3/users/{user}/{noun}")).await.is(200).text);
            }
        }
        all.push(c.get(&self.admin, "/v3/credentials").await.is(200).text);
        all
    }

    /// Does `op` with a token; what it is done to was made in person before. Status and text.
    async fn operate(&self, c: &Cloud, how: How, token: &str, op: Op) -> (Vec<String>, Answer) {
        let user = self.user(how);
        let own = match user == self.bob {
            true => self.bob_token(c).await,
            false => c.token("tom", "pw", "other").await,
        };
        let project = if user == self.bob { &self.own } else { &self.other };
        let path = |noun: &str| format!("/v3/users/{user}/{noun}");
        let rules = json!([{"service": "compute", "method": "GET", "path": format!("/{}", id::hex())}]);
        let cred = json!({"name": id::hex(), "access_rules": rules});
        let (method, path, body) = match op {
            Op::CreateAppCred => (
                "POST",
                path("application_credentials"),
                Some(json!({"application_credential": {"name": id::hex()}})),
            ),
            Op::DeleteAppCred => {
                let (cred, _) = make_cred(c, &own, user, cred).await;
                ("DELETE", path(&format!("application_credentials/{cred}")), None)
            }
            Op::DeleteAccessRule => {
                let (cred, _) = make_cred(c, &own, user, cred).await;
                let shown = c.get(&own, &path(&format!("application_credentials/{cred}"))).await.json();
                let rule =
                    shown["application_credential"]["access_rules"][0]["id"].as_str().unwrap().to_owned();
                c.delete(&own, &path(&format!("application_credentials/{cred}"))).await.is(204);
                ("DELETE", path(&format!("access_rules/{rule}")), None)
            }
            Op::CreateTrust => {
                let body = self.lend(user, &self.tom, false, project);
                ("POST", "/v3/OS-TRUST/trusts".to_owned(), Some(body))
            }
            Op::DeleteTrust | Op::ShowTrust => {
                let trust = self.trust(c, &own, self.lend(user, &self.tom, false, project)).await;
                let method = if matches!(op, Op::DeleteTrust) { "DELETE" } else { "GET" };
                (method, format!("/v3/OS-TRUST/trusts/{trust}"), None)
            }
            Op::ListTrusts => ("GET", format!("/v3/OS-TRUST/trusts?trustor_user_id={user}"), None),
            Op::CreateEc2 => ("POST", path("credentials/OS-EC2"), Some(json!({"tenant_id": project}))),
            Op::CreateCredential => {
                let body = json!({"credential": {"type": "cert", "blob": "x", "user_id": user, "project_id": project}});
                ("POST", "/v3/credentials".to_owned(), Some(body))
            }
        };
        let before = self.state(c).await;
        (before, c.call(token, method, &path, body).await)
    }
}

fn role_names(body: &Value) -> Vec<String> {
    let roles = body["token"]["roles"].as_array().cloned().unwrap_or_default();
    roles.iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect()
}

/// Every token of a delegation is for its project, with no more than its roles, and ends no later than it.
fn within(scene: &Scene, how: How, body: &Value, what: &str) {
    assert_eq!(body["token"]["project"]["id"], json!(scene.own), "{what}");
    assert_eq!(body["token"]["user"]["id"], json!(scene.user(how)), "{what}");
    for role in role_names(body) {
        assert!(how.roles().contains(&role.as_str()), "{what}: {role}");
    }
    let ends = Timestamp::parse(body["token"]["expires_at"].as_str().unwrap()).unwrap();
    if let Some(mark) = how.mark() {
        assert!(body["token"][mark]["id"].is_string(), "{what}");
        assert!(ends <= scene.end, "{what}");
    }
    assert!(body["token"]["system"].is_null() && body["token"]["domain"].is_null(), "{what}");
}

#[tokio::test]
async fn m06_exchanges() {
    each(async |c| {
        let scene = Scene::of(c).await;
        for how in HOWS {
            let login = scene.login(c, how).await;
            let first = login.json();
            within(&scene, how, &first, &format!("{how:?}"));
            assert_eq!(role_names(&first).len(), how.roles().len(), "{how:?}");
            let token = login.token.unwrap();
            for wish in WISHES {
                let what = format!("{how:?} to {wish:?}");
                let scope = scene.scope(c, how, wish).await;
                let answer = c.authenticate(by_token(&token), scope.clone()).await;
                assert_eq!(answer.status, exchanged(how, wish), "{what}: {}", answer.text);
                let Some(next) = &answer.token else { continue };
                let body = answer.json();
                if !how.in_person() {
                    within(&scene, how, &body, &what);
                }
                // The chain: never longer than the first, by its id.
                assert!(
                    body["token"]["expires_at"].as_str() <= first["token"]["expires_at"].as_str(),
                    "{what}"
                );
                let chain = first["token"]["audit_ids"].as_array().unwrap().last().unwrap();
                assert_eq!(body["token"]["audit_ids"][1], *chain, "{what}");
                assert_ne!(body["token"]["audit_ids"][0], *chain, "{what}");
                if let Some(mark) = how.mark() {
                    assert_eq!(body["token"][mark], first["token"][mark], "{what}");
                }
                // Validation agrees, and once more exchanged it is no more.
                let seen = c.validate(&scene.admin, next).await.is(200).json();
                assert_eq!(seen["token"]["roles"], body["token"]["roles"], "{what}");
                if !how.in_person() {
                    let again = c.authenticate(by_token(next), scope).await;
                    assert_eq!(again.status, exchanged(how, wish), "{what}, twice: {}", again.text);
                    within(&scene, how, &again.json(), &what);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn ossa_2014_018_m06_operations() {
    each(async |c| {
        let scene = Scene::of(c).await;
        for how in HOWS {
            for op in OPS {
                // As it was got, and exchanged for the same.
                let token = scene.login(c, how).await.token.unwrap();
                let again = c.authenticate(by_token(&token), json!({"project": {"id": scene.own}})).await;
                for token in [Some(token), again.token].into_iter().flatten() {
                    let (before, answer) = scene.operate(c, how, &token, op).await;
                    assert_eq!(answer.status, done(how, op), "{how:?} {op:?}: {}", answer.text);
                    if answer.status == 403 {
                        assert_eq!(scene.state(c).await, before, "{how:?} {op:?}");
                    }
                }
            }
        }
    })
    .await;
}

/// What an unrestricted application credential makes is within it: project, roles, and end.
#[tokio::test]
async fn what_an_application_credential_makes() {
    each(async |c| {
        let scene = Scene::of(c).await;
        let token = scene.login(c, How::AppCred).await.token.unwrap();
        let path = format!("/v3/users/{}/application_credentials", scene.bob);
        let wide = json!({"application_credential": {"name": "wide", "roles": [{"name": "manager"}]}});
        c.post(&token, &path, wide).await.is(400);
        for more in [json!({}), json!({"expires_at": "2100-01-01T00:00:00", "unrestricted": true})] {
            let mut body = more;
            body["name"] = json!(id::hex());
            let (id, secret) = make_cred(c, &token, &scene.bob, body).await;
            let shown = c.get(&token, &format!("{path}/{id}")).await.is(200).json();
            let cred = &shown["application_credential"];
            assert_eq!(cred["project_id"], json!(scene.own));
            assert_eq!(cred["expires_at"], scene.end.iso_micros_naive());
            assert_eq!(cred["roles"].as_array().unwrap().len(), 1);
            within(&scene, How::AppCred, &with_cred(c, &id, &secret).await.is(201).json(), "child");
        }
    })
    .await;
}

/// What can be scoped to is listed, and nothing else.
#[tokio::test]
async fn lists_of_what_a_token_can_be_exchanged_for() {
    each(async |c| {
        let scene = Scene::of(c).await;
        for how in HOWS {
            let token = scene.login(c, how).await.token.unwrap();
            let list = async |noun: &str| {
                c.get(&token, &format!("/v3/auth/{noun}")).await.is(200).json()[noun].clone()
            };
            let (projects, domains, system) =
                (list("projects").await, list("domains").await, list("system").await);
            let count = |list: &Value| list.as_array().unwrap().len();
            let own = [count(&projects), count(&domains), count(&system)];
            assert_eq!(own, if how.in_person() { [2, 1, 1] } else { [1, 0, 0] }, "{how:?}");
            if !how.in_person() {
                assert_eq!(projects[0]["id"], json!(scene.own), "{how:?}");
            }
        }
    })
    .await;
}

/// X26: an application credential's token is for no system, however its owner stands there.
#[tokio::test]
async fn lp_2144966_no_way_to_the_system() {
    each(async |c| {
        let scene = Scene::of(c).await;
        for how in [How::AppCred, How::AppCredRestricted] {
            let token = scene.login(c, how).await.token.unwrap();
            let system = json!({"system": {"all": true}});
            c.authenticate(by_token(&token), system.clone()).await.says(401, UNAUTHORIZED);
            // Nor beside the owner's password in one request, which alone would do.
            c.login("bob", "pw", system.clone()).await.is(201);
            let both = json!({"methods": ["password", "token"], "token": {"id": token},
                "password": {"user": {"id": scene.bob, "password": "pw"}}});
            c.authenticate(both, system).await.says(401, UNAUTHORIZED);
        }
    })
    .await;
}

/// No scope said: the delegation's project or nothing, and never the owner's default project.
#[tokio::test]
async fn ossa_2026_037_without_scope_in_the_same_project() {
    each(async |c| {
        let scene = Scene::of(c).await;
        for how in HOWS {
            let token = scene.login(c, how).await.token.unwrap();
            let next = c.authenticate(by_token(&token), Value::Null).await;
            if how.in_person() {
                assert_eq!(next.is(201).json()["token"]["project"]["id"], json!(scene.other), "{how:?}");
            } else if next.status == 201 {
                assert_eq!(next.json()["token"]["project"]["id"], json!(scene.own), "{how:?}");
            } else {
                assert!(matches!(next.status, 401 | 403), "{how:?} {}", next.text);
            }
        }
    })
    .await;
}

/// No route of trusts knows an application credential, restricted or not.
#[tokio::test]
async fn ossa_2026_015_c_application_credentials_and_trusts() {
    each(async |c| {
        let scene = Scene::of(c).await;
        let bob = scene.bob_token(c).await;
        let trust = scene.trust(c, &bob, scene.lend(&scene.bob, &scene.tom, true, &scene.own)).await;
        let role = c.role(&scene.admin, "member").await;
        for how in [How::AppCred, How::AppCredRestricted, How::Ec2] {
            let token = scene.login(c, how).await.token.unwrap();
            for route in ferrostack_identity::routes::table() {
                if !route.path.contains("OS-TRUST") {
                    continue;
                }
                let path = route.path.replace("{trust_id}", &trust).replace("{role_id}", &role);
                let body = (route.method == ferrostack_http::Method::POST)
                    .then(|| scene.lend(&scene.bob, &scene.tom, true, &scene.own));
                let answer = c.call(&token, route.method.as_str(), &path, body).await;
                assert_eq!(answer.status, 403, "{how:?} {} {path}: {}", route.method, answer.text);
            }
            let used = c.authenticate(by_token(&token), on_trust(&trust)).await;
            assert_eq!(used.status, 403, "{how:?}");
        }
        c.get(&bob, &format!("/v3/OS-TRUST/trusts/{trust}")).await.is(200);
    })
    .await;
}

/// Fifty exchanges by each method and to each scope that it may be exchanged for: none lives longer than the first,
/// and all die with the user, whichever way the user goes.
#[tokio::test]
async fn ossa_2012_010_ossa_2012_019_chains() {
    each(async |c| {
        let scene = Scene::of(c).await;
        let user = format!("/v3/users/{}", scene.bob);
        let mut password = "pw".to_owned();
        for (n, end) in ["disabled", "password"].into_iter().enumerate() {
            let mut tokens = Vec::new();
            for how in [How::Password, How::AppCred, How::AppCredRestricted, How::Ec2] {
                if n > 0 && how != How::Password {
                    continue; // their credentials went with the user
                }
                let first = match how {
                    How::Password => c.login("bob", &password, json!({"project": {"id": scene.own}})).await,
                    other => scene.login(c, other).await,
                }
                .is(201);
                let body = first.json();
                let mut token = first.token.unwrap();
                tokens.push(token.clone());
                let wishes: Vec<Wish> =
                    [Wish::Default, Wish::OwnProject, Wish::Unscoped, Wish::Project, Wish::Domain]
                        .into_iter()
                        .filter(|w| exchanged(how, *w) == 201)
                        .collect();
                for step in 0..50 {
                    let scope = scene.scope(c, how, wishes[step % wishes.len()]).await;
                    let next = c.authenticate(by_token(&token), scope).await.is(201);
                    let now = next.json();
                    assert_eq!(now["token"]["expires_at"], body["token"]["expires_at"], "{how:?} {step}");
                    assert_eq!(now["token"]["audit_ids"][1], body["token"]["audit_ids"][0], "{how:?} {step}");
                    token = next.token.unwrap();
                    tokens.push(token.clone());
                }
            }
            if end == "disabled" {
                c.patch(&scene.admin, &user, json!({"user": {"enabled": false}})).await.is(200);
            } else {
                password.push('x');
                c.patch(&scene.admin, &user, json!({"user": {"password": password}})).await.is(200);
            }
            for token in &tokens {
                c.get(token, "/v3/auth/projects").await.is(401);
                c.validate(&scene.admin, token).await.is(404);
                c.authenticate(by_token(token), Value::Null).await.is(404);
            }
            c.patch(&scene.admin, &user, json!({"user": {"enabled": true}})).await.is(200);
        }
    })
    .await;
}

/// X37: every method of a request is for the same user.
#[tokio::test]
async fn lp_1656076_methods_of_two_users() {
    each(async |c| {
        let scene = Scene::of(c).await;
        let tom = c.token("tom", "pw", "tom-project").await;
        let both = |token: &str, user: &str| {
            json!({"methods": ["password", "token"], "token": {"id": token},
                "password": {"user": {"id": user, "password": "pw"}}})
        };
        c.authenticate(both(&tom, &scene.bob), Value::Null).await.says(401, UNAUTHORIZED);
        c.authenticate(both(&tom, &scene.tom), Value::Null).await.is(201);
        // A trust's token, even one that is Bob's.
        let lent = scene.login(c, How::TrustImpersonating).await.token.unwrap();
        c.authenticate(both(&lent, &scene.bob), Value::Null).await.is(403);
        // Two application credentials of the same user.
        let bob = scene.bob_token(c).await;
        let (id, secret) = make_cred(c, &bob, &scene.bob, json!({"name": "two"})).await;
        let first = scene.login(c, How::AppCred).await.token.unwrap();
        let two = json!({"methods": ["token", "application_credential"], "token": {"id": first},
            "application_credential": {"id": id, "secret": secret}});
        c.authenticate(two, Value::Null).await.says(401, UNAUTHORIZED);
    })
    .await;
}

/// With `allow_rescope_scoped_token` off only a token without scope can be exchanged; a system's never for a project.
#[tokio::test]
async fn ossn_0042_rescoping_can_be_forbidden() {
    for allowed in [true, false] {
        each_with(
            |s| s.identity.allow_rescope_scoped_token = allowed,
            async |c| {
                let scene = Scene::of(c).await;
                let login = async |scope: Value| c.login("bob", "pw", scope).await.is(201).token.unwrap();
                let bare = login(json!("unscoped")).await;
                let own = json!({"project": {"id": scene.own}});
                c.authenticate(by_token(&bare), own.clone()).await.is(201);
                for scope in [own.clone(), json!({"domain": {"id": "default"}})] {
                    let scoped = login(scope).await;
                    for wish in [json!({"project": {"id": scene.other}}), json!("unscoped"), own.clone()] {
                        let status = c.authenticate(by_token(&scoped), wish).await.status;
                        assert_eq!(status, if allowed { 201 } else { 403 });
                    }
                }
                let system = login(json!({"system": {"all": true}})).await;
                c.authenticate(by_token(&system), own.clone()).await.is(403);
                c.authenticate(by_token(&system), json!({"domain": {"id": "default"}})).await.is(403);
            },
        )
        .await;
    }
}

/// With `delegation_max_token_age_seconds` a stolen token makes nothing that outlives it, re-scoped or not.
#[tokio::test]
async fn ossn_0021_ossn_0053_old_tokens_make_no_delegation() {
    each_with(
        |s| s.identity.delegation_max_token_age_seconds = 2,
        async |c| {
            let scene = Scene::of(c).await;
            let token = scene.bob_token(c).await;
            let cred = json!({"application_credential": {"name": "fresh"}});
            let path = format!("/v3/users/{}/application_credentials", scene.bob);
            let lend = scene.lend(&scene.bob, &scene.tom, true, &scene.own);
            c.post(&token, &path, cred.clone()).await.is(201);
            c.post(&token, "/v3/OS-TRUST/trusts", lend.clone()).await.is(201);
            let scope = json!({"project": {"id": scene.own}});
            eventually("the token is old", async || {
                let body = json!({"application_credential": {"name": id::hex()}});
                c.post(&token, &path, body).await.status == 403
            })
            .await;
            let exchanged = c.authenticate(by_token(&token), scope).await.is(201).token.unwrap();
            for old in [&token, &exchanged] {
                let cred = json!({"application_credential": {"name": "old"}});
                c.post(old, &path, cred).await.is(403);
                c.post(old, "/v3/OS-TRUST/trusts", lend.clone()).await.is(403);
                // One's own can be looked through and taken away with any.
                let list = format!("/v3/OS-TRUST/trusts?trustor_user_id={}", scene.bob);
                let trusts = c.get(old, &list).await.is(200).json();
                assert_eq!(trusts["trusts"].as_array().unwrap().len(), 1);
            }
            let again = scene.bob_token(c).await;
            c.post(&again, "/v3/OS-TRUST/trusts", lend).await.is(201);
        },
    )
    .await;
}

/// A group that goes takes only tokens along that have roles from it.
#[tokio::test]
async fn ossn_0009_a_group_takes_only_its_own_tokens() {
    each(async |c| {
        let admin = c.admin().await;
        let (own, bob) = c.person(&admin, "bob", "member").await;
        let (_, eve) = c.person(&admin, "eve", "member").await;
        let shared = c.make(&admin, "projects", json!({"name": "shared"})).await;
        let reader = c.role(&admin, "reader").await;
        for step in ["member", "grant", "group"] {
            let group = c.make(&admin, "groups", json!({"name": format!("g-{step}")})).await;
            let grant = format!("/v3/projects/{shared}/groups/{group}/roles/{reader}");
            c.put(&admin, &grant).await.is(204);
            for user in [&bob, &eve] {
                c.put(&admin, &format!("/v3/groups/{group}/users/{user}")).await.is(204);
            }
            let (mine, other) =
                (c.token("bob", "pw", "bob-project").await, c.token("eve", "pw", "eve-project").await);
            let from_group = c.token("bob", "pw", "shared").await;
            let eves = c.token("eve", "pw", "shared").await;
            let stranger = c.admin().await;
            match step {
                "member" => c.delete(&admin, &format!("/v3/groups/{group}/users/{bob}")).await.is(204),
                "grant" => c.delete(&admin, &grant).await.is(204),
                _ => c.delete(&admin, &format!("/v3/groups/{group}")).await.is(204),
            };
            c.get(&from_group, "/v3/auth/projects").await.is(401);
            let gone_too = step != "member";
            assert_eq!(
                c.get(&eves, "/v3/auth/projects").await.status,
                if gone_too { 401 } else { 200 },
                "{step}"
            );
            for lives in [&mine, &other, &stranger] {
                assert_eq!(c.get(lives, "/v3/auth/projects").await.status, 200, "{step}");
            }
            c.delete(&admin, &format!("/v3/groups/{group}")).await;
        }
        c.get(&admin, &format!("/v3/projects/{own}")).await.is(200);
    })
    .await;
}

/// Rights that are lost elsewhere than on the project itself.
#[tokio::test]
async fn inherited_and_implied_rights_are_lost_at_once() {
    each(async |c| {
        let admin = c.admin().await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let parent = c.make(&admin, "projects", json!({"name": "parent", "domain_id": domain})).await;
        let child = c
            .make(&admin, "projects", json!({"name": "child", "domain_id": domain, "parent_id": parent}))
            .await;
        let user = c.make(&admin, "users", json!({"name": "u", "domain_id": domain, "password": "pw"})).await;
        let group = c.make(&admin, "groups", json!({"name": "g", "domain_id": domain})).await;
        c.put(&admin, &format!("/v3/groups/{group}/users/{user}")).await.is(204);
        let member = c.role(&admin, "member").await;
        let own = c.make(&admin, "roles", json!({"name": "of-domain", "domain_id": domain})).await;
        let custom = c.make(&admin, "roles", json!({"name": "custom"})).await;
        let identity = json!({"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}});
        let inherit = |place: &str, who: &str| {
            format!("/v3/OS-INHERIT/{place}/{who}/roles/{member}/inherited_to_projects")
        };
        let (users, groups) = (format!("users/{user}"), format!("groups/{group}"));
        let (on_domain, on_parent) = (format!("domains/{domain}"), format!("projects/{parent}"));
        for path in [
            inherit(&on_domain, &users),
            inherit(&on_domain, &groups),
            inherit(&on_parent, &users),
            inherit(&on_parent, &groups),
        ] {
            c.put(&admin, &path).await.is(204);
            let token = c
                .authenticate(identity.clone(), json!({"project": {"id": child}}))
                .await
                .is(201)
                .token
                .unwrap();
            c.get(&token, "/v3/auth/projects").await.is(200);
            c.delete(&admin, &path).await.is(204);
            assert_eq!(c.get(&token, "/v3/auth/projects").await.status, 401, "{path}");
        }
        // By a domain's role that implies another, which is in the token; and a role that gets another name.
        let grant = format!("/v3/projects/{child}/users/{user}/roles/{own}");
        let implication = format!("/v3/roles/{own}/implies/{custom}");
        let scope = json!({"project": {"id": child}});
        for step in ["grant", "implication", "renamed", "role of the domain", "role"] {
            if step != "role" {
                c.put(&admin, &grant).await.is(204);
                c.put(&admin, &implication).await.is(201);
            } else {
                c.put(&admin, &format!("/v3/projects/{child}/users/{user}/roles/{custom}")).await.is(204);
            }
            let issued = c.authenticate(identity.clone(), scope.clone()).await.is(201);
            let body = issued.json();
            assert_eq!(role_names(&body).len(), 1, "{step}");
            let token = issued.token.unwrap();
            c.get(&token, "/v3/auth/projects").await.is(200);
            match step {
                "grant" => c.delete(&admin, &grant).await.is(204),
                "implication" => c.delete(&admin, &implication).await.is(204),
                "renamed" => {
                    let name = json!({"role": {"name": "renamed"}});
                    c.patch(&admin, &format!("/v3/roles/{custom}"), name).await.is(200)
                }
                "role of the domain" => c.delete(&admin, &format!("/v3/roles/{own}")).await.is(204),
                _ => c.delete(&admin, &format!("/v3/roles/{custom}")).await.is(204),
            };
            assert_eq!(c.get(&token, "/v3/auth/projects").await.status, 401, "{step}");
            c.validate(&admin, &token).await.is(404);
        }
        // The last administrator's token is none of all this.
        c.send(Method::GET, "/v3/users", &[("x-auth-token", admin.as_str())], None).await.is(200);
    })
    .await;
}
