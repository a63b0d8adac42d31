//! Every route with no, a bad, a reader's, a member's and an admin's token.

use super::support::*;
use ferrostack_http::{Access, Method};
use serde_json::{Value, json};

/// Routes that every token may use, whatever its roles.
const FOR_ALL: &[&str] = &[
    "GET /v3/auth/catalog",
    "GET /v3/auth/projects",
    "GET /v3/auth/domains",
    "GET /v3/auth/system",
    "GET /v3/regions",
    "GET /v3/regions/{region_id}",
    "GET /v3/credentials",
    "GET /v3/registered_limits",
    "GET /v3/limits",
    "GET /v3/limits/model",
    "GET /v3/OS-FEDERATION/projects",
    "GET /v3/OS-FEDERATION/domains",
    "GET /v3/domains/{domain_id}/config/security_compliance",
    "GET /v3/domains/{domain_id}/config/security_compliance/{option}",
    // One's own project, user and domain, which the paths below name.
    "GET /v3/projects/{project_id}",
    "GET /v3/users/{user_id}",
    "GET /v3/domains/{domain_id}",
];
const FOR_OWNERS: &[&str] = &[
    "GET /v3/registered_limits/{registered_limit_id}",
    "GET /v3/users/{user_id}/projects",
    "GET /v3/users/{user_id}/groups",
    "GET /v3/users/{user_id}/credentials/OS-EC2",
    "GET /v3/users/{user_id}/credentials/OS-EC2/{credential_id}",
    "GET /v3/users/{user_id}/application_credentials",
    "GET /v3/users/{user_id}/application_credentials/{application_credential_id}",
    "DELETE /v3/users/{user_id}/application_credentials/{application_credential_id}",
    "GET /v3/projects/{project_id}/tags",
    "GET /v3/projects/{project_id}/tags/{value}",
];

/// Routes for one's own things that want the role member; the input is bad or names nothing.
const FOR_MEMBERS: &[&str] = &[
    "POST /v3/users/{user_id}/credentials/OS-EC2",
    "DELETE /v3/users/{user_id}/credentials/OS-EC2/{credential_id}",
];

/// Routes for the user in the path alone: no admin of a project.
const FOR_ONESELF: &[&str] = &[
    "POST /v3/users/{user_id}/application_credentials",
    "GET /v3/users/{user_id}/access_rules",
    "GET /v3/users/{user_id}/access_rules/{access_rule_id}",
    "DELETE /v3/users/{user_id}/access_rules/{access_rule_id}",
];

/// Routes whose rule is about what the path or body names, which is nothing here: that is said first.
const BEFORE_THE_POLICY: &[&str] = &[
    "POST /v3/OS-TRUST/trusts",
    "GET /v3/OS-TRUST/trusts/{trust_id}",
    "DELETE /v3/OS-TRUST/trusts/{trust_id}",
    "GET /v3/OS-TRUST/trusts/{trust_id}/roles",
    "GET /v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}",
];

#[tokio::test]
async fn every_route_and_every_caller() {
    each(async |c| {
        let admin = c.admin().await;
        let (mut callers, mut ids) = (Vec::new(), Vec::new());
        for role in ["reader", "member"] {
            let (project, user) = c.person(&admin, role, role).await;
            callers.push(c.token(role, "pw", &format!("{role}-project")).await);
            ids.push((project, user));
        }
        for route in ferrostack_identity::routes::table() {
            let name = format!("{} {}", route.method, route.path);
            // Ends the caller's own token: has its own test.
            if name == "DELETE /v3/users/{user_id}/tokens" {
                continue;
            }
            let path = |(project, user): &(String, String)| {
                route
                    .path
                    .replace("{project_id}", project)
                    .replace("{user_id}", user)
                    .replace("{domain_id}", "default")
                    .replace("{region_id}", "RegionOne")
                    .replace("{group_id}", "nosuch")
                    .replace("{role_id}", "nosuch")
                    .replace("{prior_role_id}", "nosuch")
                    .replace("{implied_role_id}", "nosuch")
                    .replace("{service_id}", "nosuch")
                    .replace("{endpoint_id}", "nosuch")
                    .replace("{value}", "nosuch")
                    .replace("security_compliance/{option}", "security_compliance/password_regex")
                    .replace("{group}", "ldap")
                    .replace("{option}", "url")
                    .replace("{application_credential_id}", "nosuch")
                    .replace("{access_rule_id}", "nosuch")
                    .replace("{trust_id}", "nosuch")
            };
            let body = || match route.method {
                Method::POST | Method::PATCH => Some(json!({})),
                Method::PUT if route.body_schema().is_some() => Some(json!({})),
                _ => None::<Value>,
            };
            let call = async |token: &str, at: usize| {
                c.call(token, route.method.as_str(), &path(&ids[at]), body()).await
            };
            if route.access == Access::Public {
                for token in ["", "garbage", &callers[0]] {
                    let status = call(token, 0).await.status;
                    assert!(status < 500 && (status != 403), "{name}: {status}");
                }
                continue;
            }
            // No and a bad token: 401 with the challenge, whatever the route.
            let method = reqwest::Method::from_bytes(route.method.as_str().as_bytes()).unwrap();
            let no_token = c.send(method, &path(&ids[0]), &[], body().as_ref()).await;
            for answer in [no_token, call("garbage", 0).await, call("", 0).await] {
                assert_eq!(answer.status, 401, "{name}");
                assert!(answer.headers.contains_key("www-authenticate"), "{name}");
            }
            for (at, token) in callers.iter().enumerate() {
                let status = call(token, at).await.status;
                if FOR_ALL.contains(&name.as_str()) {
                    assert_eq!(status, 200, "{name} for {at}");
                } else if FOR_OWNERS.contains(&name.as_str()) {
                    assert!(matches!(status, 200 | 404), "{name} for {at}: {status}");
                } else if at == 1 && FOR_MEMBERS.contains(&name.as_str()) {
                    assert!(matches!(status, 400 | 404), "{name} for {at}: {status}");
                } else if BEFORE_THE_POLICY.contains(&name.as_str()) {
                    assert!(matches!(status, 400 | 404), "{name} for {at}: {status}");
                } else if FOR_ONESELF.contains(&name.as_str()) {
                    assert!(matches!(status, 200 | 400 | 404), "{name} for {at}: {status}");
                } else {
                    assert_eq!(status, 403, "{name} for {at}");
                }
            }
            if FOR_ONESELF.contains(&name.as_str()) {
                assert_eq!(call(&admin, 0).await.status, 403, "{name} for admin");
                continue;
            }
            // The admin comes as far as the input, which is bad or names nothing.
            if route.method != Method::DELETE || path(&ids[0]).contains("nosuch") {
                let status = call(&admin, 0).await.status;
                assert!(matches!(status, 200 | 201 | 204 | 400 | 404), "{name} for admin: {status}");
            }
            assert!(!route.summary.is_empty(), "{name}");
        }
    })
    .await;
}

/// GET and HEAD agree on the status and the length.
#[tokio::test]
async fn head_is_get_without_body() {
    each(async |c| {
        let admin = c.admin().await;
        for route in ferrostack_identity::routes::table() {
            if route.method != Method::GET || route.path.contains('{') {
                continue;
            }
            let get = c.get(&admin, route.path).await;
            let head = c.call(&admin, "HEAD", route.path, None).await;
            assert_eq!(head.status, get.status, "{}", route.path);
            assert!(head.text.is_empty(), "{}", route.path);
            if get.status == 200 {
                let length = head.headers["content-length"].to_str().unwrap();
                assert_eq!(length, get.text.len().to_string(), "{}", route.path);
            }
        }
    })
    .await;
}

/// Every policy named in the table exists.
#[test]
fn policies_exist() {
    for route in ferrostack_identity::routes::table() {
        for rule in route.policy {
            assert!(ferrostack_identity::RULES.iter().any(|r| r.name == *rule), "{rule}");
        }
        if route.access == Access::Token {
            assert!(!route.policy.is_empty(), "{}", route.path);
        }
    }
}
