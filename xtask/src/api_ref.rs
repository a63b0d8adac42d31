//! `api-ref/*.json` (OpenAPI 3.1), `docs/api-status.md` and the example settings, all generated.

use anyhow::{Context, bail};
use ferrostack_http::{Access, Route};
use ferrostack_settings::Settings;
use serde_json::{Map, Value, json};
use std::{fmt::Write, fs, path::PathBuf};

struct Service {
    name: &'static str,
    title: &'static str,
    routes: Vec<Route>,
}

fn services() -> Vec<Service> {
    vec![
        Service {
            name: "identity",
            title: "Identity (Keystone v3; v2.0 with identity.v2_api)",
            routes: [ferrostack_identity::routes::table(), ferrostack_identity::routes::v2_table()].concat(),
        },
        Service { name: "image", title: "Image (Glance v2)", routes: ferrostack_image::routes::table() },
        Service {
            name: "compute",
            title: "Compute (Nova v2.1)",
            routes: ferrostack_compute_api::routes::table(),
        },
        Service {
            name: "network",
            title: "Network (part of Neutron v2.0)",
            routes: ferrostack_network_api::routes::table(),
        },
    ]
}

/// Write api-ref/*.json, docs/api-status.md and deploy/ferrostack.example.toml from the route tables and types
#[derive(Debug, clap::Args)]
pub struct ApiRef {
    /// Change nothing; fail if a file is not up to date
    #[arg(long)]
    pub check: bool,
}

/// Writes the files, or with `check` fails naming those that differ.
pub fn run(check: bool) -> anyhow::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let services = services();
    let mut files = vec![
        ("docs/api-status.md".to_owned(), status(&services)),
        ("deploy/ferrostack.example.toml".to_owned(), example()?),
    ];
    for service in &services {
        let text = serde_json::to_string_pretty(&openapi(service))? + "\n";
        files.push((format!("api-ref/{}.json", service.name), text));
    }
    let mut stale = Vec::new();
    for (name, text) in files {
        let path = root.join(&name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            stale.push(name);
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {name}"))?;
        println!("wrote {name}");
    }
    if !stale.is_empty() {
        bail!("not up to date (run `cargo xtask api-ref`): {}", stale.join(", "));
    }
    Ok(())
}

fn example() -> anyhow::Result<String> {
    Ok(format!(
        "# Every setting with its default. FERROSTACK__SECTION__KEY in the environment wins over the file.\n\n{}",
        Settings::default().to_toml()?
    ))
}

fn window(route: &Route) -> String {
    match route.window {
        None => String::new(),
        Some(f) => match f.1 {
            None => format!("2.{}+", f.0),
            Some(last) => format!("2.{}–2.{last}", f.0),
        },
    }
}

fn sorted(routes: &[Route]) -> Vec<&Route> {
    let mut rows: Vec<_> = routes.iter().collect();
    rows.sort_by(|a, b| (a.path, a.method.as_str()).cmp(&(b.path, b.method.as_str())));
    rows
}

fn status(services: &[Service]) -> String {
    let mut out = String::from(
        "# What is supported\n\nGenerated from the route tables by `cargo xtask api-ref`; do not edit. A route that is not here answers as OpenStack\nanswers for what is absent (404). Logins by federation, SAML, OAuth and LDAP (Keystone) are not offered; an image cache (Glance),\nvolumes, shares, consoles in a browser (Nova), routers, floating IPs and security groups (Neutron) are not built yet\nunless a row below says so.\n",
    );
    for service in services {
        let _ = write!(out, "\n## {}\n\n{} routes.\n\n", service.title, service.routes.len());
        out.push_str(
            "| method | path | microversions | success | policy | what |\n|---|---|---|---|---|---|\n",
        );
        for route in sorted(&service.routes) {
            let policy = match route.access {
                Access::Public => "public".to_owned(),
                Access::Token => route.policy.join(", "),
            };
            let _ = writeln!(
                out,
                "| {} | `{}` | {} | {} | {} | {} |",
                route.method,
                route.path,
                window(route),
                route.success,
                policy,
                route.summary
            );
        }
    }
    out
}

fn openapi(service: &Service) -> Value {
    let mut paths = Map::new();
    for route in sorted(&service.routes) {
        let parameters: Vec<Value> = route
            .path
            .split('/')
            .filter_map(|s| s.strip_prefix('{').and_then(|s| s.strip_suffix('}')))
            .map(|name| {
                let name = name.split(':').next().unwrap_or(name);
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
            })
            .collect();
        let mut operation = json!({
            "summary": route.summary,
            "parameters": parameters,
            "responses": {route.success.to_string(): {"description": "Success"}},
            "security": if route.access == Access::Public { json!([]) } else { json!([{"token": []}]) },
        });
        if !route.policy.is_empty() {
            operation["x-policy"] = json!(route.policy);
        }
        if route.window.is_some() {
            operation["x-microversions"] = json!(window(route));
        }
        if let Some(schema) = route.body_schema() {
            operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
        }
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": format!("Ferrostack {}", service.title), "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}},
    })
}
