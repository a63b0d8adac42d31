//! Every route times every caller times every visibility: the answer is what Glance's rules and its code make of it,
//! and what is refused changes nothing.
//!
//! `matrix/oracle.rs` evaluates a copy of Glance's policy; [`expected`] adds what its handlers do apart from that: who
//! sees an image at all (X08's model: visibility, members), and which refusal is a 404. A route without a case in
//! [`case`] fails the test: say there what the request is and what it needs, and in [`expected`] what Glance answers.

#[path = "matrix/oracle.rs"]
mod oracle;

use crate::support::{Cloud, PROJECT_A, PROJECT_B, PROJECT_C, PROJECT_D, PROJECT_E, each_with};
use ferrostack_db::sqlx::{self, Row};
use ferrostack_http::{Access, Route};
use oracle::{Oracle, Target};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A caller: its token's name in `support.rs`, and what it is.
pub struct Persona {
    token: &'static str,
    pub project: &'static str,
    pub roles: &'static [&'static str],
    pub scope: &'static str,
}

const ADMIN: &[&str] = &["admin", "manager", "member", "reader"];
const MEMBER: &[&str] = &["member", "reader"];

/// Project A owns everything; B was asked to share and has not answered, C accepted, D rejected, E is a stranger.
const PERSONAS: &[Persona] = &[
    Persona { token: "admin", project: PROJECT_A, roles: ADMIN, scope: "project" },
    Persona { token: "admin elsewhere", project: PROJECT_E, roles: ADMIN, scope: "project" },
    Persona { token: "system admin", project: "", roles: ADMIN, scope: "system" },
    Persona { token: "system reader", project: "", roles: &["reader"], scope: "system" },
    Persona { token: "domain admin", project: "", roles: ADMIN, scope: "domain" },
    Persona {
        token: "manager",
        project: PROJECT_A,
        roles: &["manager", "member", "reader"],
        scope: "project",
    },
    Persona { token: "member", project: PROJECT_A, roles: MEMBER, scope: "project" },
    Persona { token: "reader", project: PROJECT_A, roles: &["reader"], scope: "project" },
    Persona { token: "nobody", project: PROJECT_A, roles: &[], scope: "project" },
    Persona { token: "other", project: PROJECT_B, roles: MEMBER, scope: "project" },
    Persona { token: "reader of B", project: PROJECT_B, roles: &["reader"], scope: "project" },
    Persona { token: "member of C", project: PROJECT_C, roles: MEMBER, scope: "project" },
    Persona { token: "member of D", project: PROJECT_D, roles: MEMBER, scope: "project" },
    Persona { token: "stranger", project: PROJECT_E, roles: MEMBER, scope: "project" },
    Persona { token: "service", project: PROJECT_E, roles: &["service"], scope: "project" },
    Persona { token: "unscoped", project: "", roles: &[], scope: "project" },
];

/// No token, none of ours, expired, revoked: to the service these are one, see the identity service's matrix.
const REFUSED: &[&str] = &["", "garbage", "expired", "revoked"];

const VISIBILITIES: &[&str] = &["private", "shared", "community", "public"];

/// What a route needs before it can succeed.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Image,
    /// With data.
    Active,
    /// With staged data.
    Staged,
    /// A namespace with one of each kind.
    Namespace,
}

struct Case {
    needs: Needs,
    body: Value,
}

fn case(route: &str) -> Option<Case> {
    use Needs::{Active, Image, Namespace, Nothing, Staged};
    let (needs, body) = match route {
        // Without a URL.
        "POST /v2/images/{image_id}/locations" => (Image, json!({})),
        "POST /v2/tasks" => (Nothing, json!({"type": "import"})),
        "POST /v2/images" => (Nothing, json!({"name": "made"})),
        "PATCH /v2/images/{image_id}" => (Image, json!([{"op": "replace", "path": "/name", "value": "x"}])),
        "PUT /v2/images/{image_id}/file" | "PUT /v2/images/{image_id}/stage" => (Image, json!("DATA")),
        "GET /v2/images/{image_id}/file" | "GET /v1/images/{image_id}" => (Active, Value::Null),
        "POST /v2/images/{image_id}/import" => (Staged, json!({"method": {"name": "glance-direct"}})),
        "POST /v2/images/{image_id}/actions/deactivate" | "POST /v2/images/{image_id}/actions/reactivate" => {
            (Active, Value::Null)
        }
        "POST /v2/images/{image_id}/members" => (Image, json!({"member": PROJECT_E})),
        "PUT /v2/images/{image_id}/members/{member_id}" => (Image, json!({"status": "rejected"})),
        "POST /v2/metadefs/namespaces" => (Nothing, json!({"namespace": "Made"})),
        "PUT /v2/metadefs/namespaces/{namespace}" => {
            (Namespace, json!({"namespace": "N", "visibility": "public"}))
        }
        "POST /v2/metadefs/namespaces/{namespace}/resource_types" => (Namespace, json!({"name": "New"})),
        "POST /v2/metadefs/namespaces/{namespace}/properties" => {
            (Namespace, json!({"name": "new", "title": "t", "type": "string"}))
        }
        "PUT /v2/metadefs/namespaces/{namespace}/properties/{property_name}" => {
            (Namespace, json!({"name": "p", "title": "t", "type": "string"}))
        }
        "POST /v2/metadefs/namespaces/{namespace}/objects" => (Namespace, json!({"name": "new"})),
        "PUT /v2/metadefs/namespaces/{namespace}/objects/{object_name}" => (Namespace, json!({"name": "o"})),
        "POST /v2/metadefs/namespaces/{namespace}/tags" => (Namespace, json!({"tags": [{"name": "new"}]})),
        "PUT /v2/metadefs/namespaces/{namespace}/tags/{tag_name}" => (Namespace, json!({"name": "t"})),
        _ => {
            let path = route.split_once(' ')?.1;
            let known = [
                "/",
                "/versions",
                "/v2",
                "/v2/",
                "/v2/images",
                "/v2/images/{image_id}",
                "/v2/images/{image_id}/tasks",
                "/v2/images/{image_id}/tags/{tag}",
                "/v2/images/{image_id}/members",
                "/v2/images/{image_id}/members/{member_id}",
                "/v2/tasks",
                "/v2/tasks/{task_id}",
                "/v2/info/import",
                "/v2/info/stores",
                "/v2/info/stores/detail",
                "/v2/info/usage",
                "/v2/cache",
                "/v2/cache/{image_id}",
                "/v2/cache/nodes/{image_id}",
                "/v2/cache/clean",
                "/v2/cache/prune",
                "/v2/stores/{store_id}/{image_id}",
                "/v1/images",
                "/v1/images/detail",
                "/v1/images/{image_id}",
                "/v2/images/{image_id}/locations",
            ];
            let is_known = known.contains(&path)
                || path.starts_with("/v2/schemas/")
                || (path.starts_with("/v2/metadefs/") && !path.ends_with("{unknown}"));
            let needs = match path {
                _ if path.contains("{namespace}") => Namespace,
                _ if path.contains("{image_id}") => Image,
                _ => Nothing,
            };
            return is_known.then_some(Case { needs, body: Value::Null });
        }
    };
    Some(Case { needs, body })
}

/// Which projects a shared image is shared with.
fn is_member(who: &Persona, visibility: &str) -> bool {
    visibility == "shared" && [PROJECT_B, PROJECT_C, PROJECT_D].contains(&who.project)
}

/// What Glance answers; `ok` is the route's own success.
fn expected(oracle: &Oracle, route: &Route, name: &str, who: &Persona, visibility: &str) -> u16 {
    let ok = route.success;
    let or = |allowed: bool, refused: u16| if allowed { ok } else { refused };
    let mut target: Target<'_> =
        vec![("project_id", PROJECT_A), ("owner", PROJECT_A), ("visibility", visibility)];
    if is_member(who, visibility) {
        target.push(("member_id", who.project));
    }
    let may = |rule: &str| oracle.allows(rule, who, &target);
    let own: Target<'_> = vec![("project_id", who.project), ("owner", who.project)];
    let admin = who.roles.contains(&"admin");
    let owner = who.project == PROJECT_A;
    // X08's model of who knows of an image.
    let found = admin || owner || ["public", "community"].contains(&visibility) || is_member(who, visibility);
    let sees = found && may("get_image");
    let path = name.split_once(' ').unwrap().1;
    match name {
        "GET /v2/images" | "GET /v1/images" | "GET /v1/images/detail" => {
            or(oracle.allows("get_images", who, &own), 403)
        }
        "POST /v2/images" | "POST /v1/images" => or(oracle.allows("add_image", who, &own), 403),
        // One store that has no name.
        "GET /v2/info/stores" | "GET /v2/info/stores/detail" | "DELETE /v2/stores/{store_id}/{image_id}" => {
            404
        }
        "GET /v2/tasks" => or(may("tasks_api_access") && may("get_tasks"), 403),
        // Its body says too little.
        "POST /v2/tasks" => {
            if may("tasks_api_access") && may("add_task") {
                400
            } else {
                403
            }
        }
        // There is none of the name.
        "GET /v2/tasks/{task_id}" => {
            if may("tasks_api_access") && may("get_task") {
                404
            } else {
                403
            }
        }
        // Nobody deletes tasks.
        "DELETE /v2/tasks/{task_id}" => {
            if may("tasks_api_access") && may("modify_task") {
                405
            } else {
                403
            }
        }
        _ if path.starts_with("/v2/cache") => {
            let rule = match name {
                "GET /v2/cache" => "cache_list",
                "PUT /v2/cache/{image_id}" => "cache_image",
                "GET /v2/cache/nodes/{image_id}" => "list_cached_nodes",
                "POST /v2/cache/clean" => "cache_clean",
                "POST /v2/cache/prune" => "cache_prune",
                _ => "cache_delete",
            };
            let hidden = path.contains("{image_id}") && !sees;
            if hidden || oracle.allows(rule, who, &Vec::new()) { 404 } else { 403 }
        }
        _ if path.starts_with("/v2/metadefs") => {
            let rules = reference(name);
            let rule = rules.first().copied().unwrap_or("delete_metadef_namespace");
            let of_namespace = path.contains("{namespace}");
            if of_namespace && !(admin || owner || visibility == "public") {
                return 404;
            }
            let target = if of_namespace { target.clone() } else { own.clone() };
            if oracle.allows(rule, who, &target) {
                return ok;
            }
            let hidden =
                rule == "get_metadef_namespace" || !oracle.allows("get_metadef_namespace", who, &target);
            if hidden { 404 } else { 403 }
        }
        _ if path.contains("{image_id}") => {
            if !sees {
                return 404;
            }
            let shared = visibility == "shared";
            // The owner and admins see all members, a member itself: the one in the path is C.
            let knows = admin || owner || who.project == PROJECT_C;
            match name {
                "GET /v2/images/{image_id}/members" => or(shared && may("get_members"), 403),
                "POST /v2/images/{image_id}/members" => or(shared && may("add_member"), 403),
                "GET /v2/images/{image_id}/members/{member_id}" => {
                    or(shared && may("get_member") && knows, 404)
                }
                _ if path.ends_with("/members/{member_id}") => {
                    let update: Target<'_> = vec![("project_id", PROJECT_A), ("member_id", PROJECT_C)];
                    match name.starts_with("PUT") {
                        _ if !shared || !may("get_member") => 403,
                        _ if !knows => 404,
                        true => or(oracle.allows("modify_member", who, &update), 403),
                        false => or(may("delete_member"), 403),
                    }
                }
                "POST /v2/images/{image_id}/locations" if may("add_image_location") => 400,
                _ => or(may(image_rule(name)), 403),
            }
        }
        _ => ok,
    }
}

/// The rule that decides of an image that the caller sees.
fn image_rule(name: &str) -> &'static str {
    match name {
        "GET /v2/images/{image_id}" | "GET /v2/images/{image_id}/tasks" | "HEAD /v1/images/{image_id}" => {
            "get_image"
        }
        "DELETE /v2/images/{image_id}" | "DELETE /v1/images/{image_id}" => "delete_image",
        "PUT /v2/images/{image_id}/file" => "upload_image",
        "GET /v2/images/{image_id}/file" | "GET /v1/images/{image_id}" => "download_image",
        "POST /v2/images/{image_id}/actions/deactivate" => "deactivate",
        "POST /v2/images/{image_id}/actions/reactivate" => "reactivate",
        "POST /v2/images/{image_id}/locations" => "add_image_location",
        "GET /v2/images/{image_id}/locations" => "fetch_image_location",
        _ => "modify_image",
    }
}

const ROUTES: &str = include_str!("matrix/glance-routes.tsv");

/// The rules that Glance's handler asks.
fn reference(name: &str) -> Vec<&'static str> {
    let rows = ROUTES.lines().filter(|l| !l.starts_with('#')).map(|l| l.split('\t').collect::<Vec<_>>());
    let mut rows = rows.filter(|row| name == format!("{} {}", row[0], row[1]));
    rows.next().map_or(Vec::new(), |row| row[2].split(',').filter(|rule| *rule != "-").collect())
}

/// What the requests are about, of one visibility.
struct World {
    image: String,
    namespace: String,
}

async fn made(cloud: &Cloud, needs: Needs, visibility: &str, n: usize) -> World {
    let mut world = World { image: String::new(), namespace: format!("N{n}") };
    let ok = |status: reqwest::StatusCode| assert!(status.is_success(), "{status}");
    if needs == Needs::Namespace {
        let open = if visibility == "public" { "public" } else { "private" };
        let body = json!({
            "namespace": world.namespace, "visibility": open, "owner": PROJECT_A,
            "resource_type_associations": [{"name": "R"}], "objects": [{"name": "o"}], "tags": [{"name": "t"}],
            "properties": {"p": {"title": "t", "type": "string"}},
        });
        ok(cloud.post("admin", "/v2/metadefs/namespaces", body).await.0);
        return world;
    }
    if needs == Needs::Nothing {
        return world;
    }
    world.image = cloud.create(json!({"visibility": visibility, "tags": ["t"]})).await;
    if visibility == "shared" {
        for (project, token, answer) in [
            (PROJECT_B, "", ""),
            (PROJECT_C, "member of C", "accepted"),
            (PROJECT_D, "member of D", "rejected"),
        ] {
            let members = format!("/v2/images/{}/members", world.image);
            ok(cloud.post("admin", &members, json!({"member": project})).await.0);
            if !token.is_empty() {
                let put = cloud
                    .call(token, Method::PUT, &format!("{members}/{project}"))
                    .json(&json!({"status": answer}));
                ok(put.send().await.unwrap().status());
            }
        }
    }
    match needs {
        Needs::Active => ok(cloud.upload("admin", &world.image, b"DATA".to_vec()).await.0),
        Needs::Staged => {
            let stage = cloud.call("admin", Method::PUT, &format!("/v2/images/{}/stage", world.image));
            ok(stage
                .header("Content-Type", "application/octet-stream")
                .body("x")
                .send()
                .await
                .unwrap()
                .status());
        }
        _ => {}
    }
    world
}

async fn send(cloud: &Cloud, route: &Route, case: &Case, token: &str, world: &World) -> u16 {
    let path = [
        ("{image_id}", world.image.as_str()),
        ("{namespace}", &world.namespace),
        ("{tag}", "t"),
        ("{tag_name}", "t"),
        ("{member_id}", PROJECT_C),
        ("{property_name}", "p"),
        ("{object_name}", "o"),
        ("{resource_type}", "R"),
        ("{store_id}", "file"),
        ("{task_id}", "00000000-0000-4000-8000-000000000000"),
    ]
    .into_iter()
    .fold(route.path.to_owned(), |path, (name, value)| path.replace(name, value));
    // A tag that is to be made.
    let path = match (route.method.as_str(), route.path) {
        ("POST", "/v2/metadefs/namespaces/{namespace}/tags/{tag_name}") => path + "2",
        _ => path,
    };
    let mut call = cloud.call(token, route.method.as_str().parse().unwrap(), &path);
    let body = match &case.body {
        Value::Object(map) if map.contains_key("namespace") && route.method == "PUT" => {
            let mut body = case.body.clone();
            body["namespace"] = json!(world.namespace);
            body
        }
        body => body.clone(),
    };
    call = match body {
        Value::Null => call,
        Value::String(data) => call.header("Content-Type", "application/octet-stream").body(data),
        Value::Array(_) => call
            .header("Content-Type", "application/openstack-images-v2.1-json-patch")
            .body(case.body.to_string()),
        body => call.json(&body),
    };
    call.send().await.unwrap().status().as_u16()
}

/// Reads all records.
struct Digester(sqlx::AnyPool, String);

impl Digester {
    async fn new(cloud: &Cloud) -> Self {
        sqlx::any::install_default_drivers();
        let lite =
            cloud.settings.database.url.strip_prefix("sqlite:").map(|d| format!("sqlite://{d}/image.sqlite"));
        let pool =
            sqlx::AnyPool::connect(lite.as_ref().unwrap_or(&cloud.settings.database.url)).await.unwrap();
        let names = match lite {
            Some(_) => {
                "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
            }
            None => "SELECT table_name::text, '' FROM information_schema.tables WHERE table_schema = 'image'",
        };
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in sqlx::query(names).fetch_all(&pool).await.unwrap() {
            let (table, column): (String, String) = (row.get(0), row.get(1));
            if table.starts_with("image") || table.starts_with("metadef") {
                tables.entry(table).or_default().push(format!("coalesce(quote(\"{column}\"), '')"));
            }
        }
        assert!(tables.len() > 8, "{tables:?}");
        let parts: Vec<_> = tables
            .iter()
            .map(|(name, columns)| match lite {
                Some(_) => {
                    let row = columns.join(" || ',' || ");
                    format!("SELECT '{name}', coalesce(group_concat({row}, char(10)), '') FROM \"{name}\"")
                }
                None => format!(
                    "SELECT '{name}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM image.\"{name}\" t"
                ),
            })
            .collect();
        Self(pool, parts.join(" UNION ALL "))
    }

    async fn read(&self) -> BTreeMap<String, String> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(self.1.clone())).fetch_all(&self.0).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

fn quiet(settings: &mut ferrostack_settings::Settings) {
    settings.image.v1_api = Some(true);
    settings.image.metadefs.load_standard = false;
}

/// X08 and S-2012-017 are in it: what of an image is shared, hidden, changed and deleted by whom.
#[tokio::test(flavor = "multi_thread")]
async fn x08_s_2012_017_every_route_and_every_caller() {
    each_with(quiet, async |cloud| {
        let oracle = Oracle::new();
        let digester = Digester::new(cloud).await;
        let (mut wrong, mut n, mut asked) = (Vec::new(), 0, 0);
        for route in ferrostack_image::routes::served(true) {
            let name = format!("{} {}", route.method, route.path);
            let Some(case) = case(&name) else {
                wrong.push(format!("{name}: no case in matrix.rs"));
                continue;
            };
            let visibilities = if case.needs == Needs::Nothing { &VISIBILITIES[..1] } else { VISIBILITIES };
            for visibility in visibilities {
                n += 1;
                let mut world = made(cloud, case.needs, visibility, n).await;
                let mut before = digester.read().await;
                for token in REFUSED {
                    let wanted = if route.access == Access::Public { route.success } else { 401 };
                    let got = send(cloud, &route, &case, token, &world).await;
                    if got != wanted {
                        wrong.push(format!("{name} ({visibility}) for '{token}': {got}, not {wanted}"));
                    }
                }
                for who in PERSONAS {
                    asked += 1;
                    let wanted = match route.access {
                        Access::Public => route.success,
                        Access::Token => expected(&oracle, &route, &name, who, visibility),
                    };
                    let got = send(cloud, &route, &case, who.token, &world).await;
                    if got != wanted {
                        wrong.push(format!("{name} ({visibility}) for {}: {got}, not {wanted}", who.token));
                    }
                    if got >= 400 {
                        let now = digester.read().await;
                        if now != before {
                            let changed: Vec<_> =
                                now.keys().filter(|t| now.get(*t) != before.get(*t)).collect();
                            wrong
                                .push(format!("{name} ({visibility}) for {} changed {changed:?}", who.token));
                            before = now;
                        }
                    } else if !["GET", "HEAD"].contains(&route.method.as_str()) {
                        if name == "POST /v2/metadefs/namespaces" && got == 201 {
                            cloud.delete("admin", "/v2/metadefs/namespaces/Made").await;
                        }
                        if case.needs == Needs::Staged {
                            let image = world.image.clone();
                            let done = async || cloud.show(&image).await["status"] != "importing";
                            crate::support::eventually("the import ends", done).await;
                        }
                        n += 1;
                        world = made(cloud, case.needs, visibility, n).await;
                        before = digester.read().await;
                    }
                }
            }
        }
        println!("{asked} requests");
        assert!(wrong.is_empty(), "{} wrong of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    })
    .await;
}

/// X08: what each caller's lists show is what the model says, for every visibility and every answer of a member.
#[tokio::test(flavor = "multi_thread")]
async fn x08_lists_show_what_the_model_says() {
    each_with(quiet, async |cloud| {
        let mut images = BTreeMap::new();
        for (n, visibility) in VISIBILITIES.iter().enumerate() {
            images.insert(*visibility, made(cloud, Needs::Image, visibility, n).await.image);
        }
        let answers = [(PROJECT_B, "pending"), (PROJECT_C, "accepted"), (PROJECT_D, "rejected")];
        for who in PERSONAS.iter().filter(|who| who.scope == "project" && who.roles.contains(&"reader")) {
            for asked in ["", "public", "private", "shared", "community", "all"] {
                for status in ["", "accepted", "pending", "rejected", "all"] {
                    let path = format!("/v2/images?limit=100&visibility={asked}&member_status={status}");
                    let path = path.replace("&visibility=&", "&").replace("&member_status=&", "&");
                    let path = path.trim_end_matches("&member_status=");
                    let (got, body) = cloud.get(who.token, path).await;
                    assert_eq!(got, 200, "{path}");
                    let ids: Vec<_> = body["images"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|i| i["id"].as_str().unwrap())
                        .collect();
                    for (visibility, id) in &images {
                        let wanted = if status.is_empty() { "accepted" } else { status };
                        let answered = answers.iter().any(|(project, answer)| {
                            *project == who.project && (wanted == "all" || wanted == *answer)
                        });
                        let owns = who.project == PROJECT_A;
                        let shown = match *visibility {
                            "public" => true,
                            "community" => owns || asked == "all" || asked == "community",
                            "shared" => owns || answered,
                            _ => owns,
                        };
                        let admin = who.roles.contains(&"admin")
                            && (*visibility != "community" || owns || !asked.is_empty());
                        let wanted =
                            (shown || admin) && (asked.is_empty() || asked == "all" || asked == *visibility);
                        assert_eq!(
                            ids.contains(&id.as_str()),
                            wanted,
                            "{visibility} in {path} of {}",
                            who.token
                        );
                    }
                }
            }
        }
    })
    .await;
}

/// Hidden images are in no list but those that ask for them, and are otherwise as any.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_images() {
    each_with(quiet, async |cloud| {
        let id = cloud.create(json!({"visibility": "public", "os_hidden": true})).await;
        for token in ["admin", "member", "stranger"] {
            assert_eq!(cloud.get(token, "/v2/images").await.1["images"], json!([]), "{token}");
            assert_eq!(
                cloud.get(token, "/v2/images?os_hidden=true").await.1["images"][0]["id"],
                json!(id),
                "{token}"
            );
            assert_eq!(cloud.get(token, &format!("/v2/images/{id}")).await.0, 200, "{token}");
        }
    })
    .await;
}

/// The rules in the route table are those that Glance asks, every rule we have is one of Glance's with its check
/// string, and 405 names the methods that Glance's router names.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_glances() {
    let oracle = Oracle::new();
    for rule in ferrostack_image::policy::RULES {
        assert!(oracle.names().any(|name| name == rule.name), "Glance has no rule {}", rule.name);
    }
    let rules = include_str!("matrix/glance-rules.tsv");
    for line in rules.lines().skip(1) {
        let row: Vec<_> = line.split('\t').collect();
        let ours = ferrostack_image::policy::RULES.iter().find(|rule| rule.name == row[0]);
        let ours = ours.unwrap_or_else(|| panic!("we have no rule {}", row[0]));
        assert_eq!((ours.check, ours.scope_types.is_empty()), (row[1], row[2].is_empty()), "{}", row[0]);
    }
    let table = ferrostack_image::routes::table();
    each_with(quiet, async |cloud| {
        for row in ROUTES.lines().filter(|l| !l.starts_with('#')).map(|l| l.split('\t').collect::<Vec<_>>()) {
            let (path, allow) = (row[1], row[3]);
            let whole = table.iter().any(|r| r.path == path)
                && allow.split(", ").all(|m| table.iter().any(|r| r.path == path && r.method == m));
            if allow == "-" || !whole {
                continue;
            }
            let path = path.replace(['{', '}'], "");
            let refused = cloud.call("admin", Method::TRACE, &path).send().await.unwrap();
            assert_eq!(refused.status(), 405, "{path}");
            assert_eq!(refused.headers()["allow"], allow, "{path}");
        }
    })
    .await;
}
