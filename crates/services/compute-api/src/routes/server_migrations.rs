//! `/servers/{id}/migrations`: the live migrations of a server that go on.

use super::servers::visible;
use crate::{
    app::App,
    input,
    store::{
        migrations::{self as store, Migration},
        servers::{self, Server},
    },
    view::migrations as view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::{Error, Result, microversion::feature, migration::Kind};
use serde_json::{Value, json};

const INDEX: &str = "os_compute_api:servers:migrations:index";
const INDEX_HOST: &str = "os_compute_api:servers:migrations:index:host";
const SHOW: &str = "os_compute_api:servers:migrations:show";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/servers/{id}/migrations", || web::route().to(index))
            .window(feature::SERVER_MIGRATIONS)
            .policy(&[INDEX, INDEX_HOST])
            .summary("Lists a server's live migrations that go on"),
        Route::get("/v2.1/servers/{id}/migrations/{migration_id}", || web::route().to(show))
            .window(feature::SERVER_MIGRATIONS)
            .policy(&[SHOW])
            .summary("Shows a live migration that goes on"),
    ]
}

/// The server if the caller sees it.
async fn server(app: &App, ctx: &Ctx, id: &str) -> Result<Server> {
    let server = servers::get(&app.db, id).await?;
    visible(ctx, &server)?;
    Ok(server)
}

/// A migration of a server by the text of its id; none for what is no number.
pub(super) async fn find(app: &App, server_id: &str, id: &str) -> Result<Option<Migration>> {
    let Ok(number) = id.parse::<i64>() else { return Ok(None) };
    Ok(store::get(&app.db, number).await?.filter(|m| m.server_id == server_id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "server_migrations.index?", req.query_string())?;
    let server = server(&app, &ctx, &id).await?;
    let target = [("project_id", server.project_id.as_str()), ("user_id", server.user_id.as_str())];
    ctx.enforce(INDEX, &target)?;
    let hosts = ctx.may(INDEX_HOST, &target);
    let found = store::live_of_server(&app.db, &server.id).await?;
    let items: Vec<Value> = found.iter().map(|m| view::of_server(m, ctx.version, hosts)).collect();
    json(&json!({"migrations": items}))
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "server_migrations.show?", req.query_string())?;
    let (id, migration_id) = path.into_inner();
    let server = server(&app, &ctx, &id).await?;
    ctx.enforce(SHOW, &[("project_id", &server.project_id), ("user_id", &server.user_id)])?;
    let short: String = migration_id.chars().take(255).collect();
    let Some(migration) = find(&app, &server.id, &migration_id).await? else {
        return Err(Error::not_found(format!(
            "In-progress live migration {short} is not found for server {}.",
            server.id
        ))
        .into());
    };
    if migration.kind != Kind::Live {
        let text = format!("Migration {short} for server {} is not live-migration.", server.id);
        return Err(Error::not_found(text).into());
    }
    if !migration.status.is_live() {
        let text = format!("Live migration {short} for server {} is not in progress.", server.id);
        return Err(Error::not_found(text).into());
    }
    json(&json!({"migration": view::of_server(&migration, ctx.version, true)}))
}
