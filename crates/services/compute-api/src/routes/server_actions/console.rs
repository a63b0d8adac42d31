//! `os-getConsoleOutput`.

use super::{Asked, ServerAction};
use crate::{console, input};
use actix_web::HttpResponse;
use ferrostack_model::Result;
use serde_json::{Value, json};

pub(super) const ACTIONS: &[ServerAction] =
    &[ServerAction::new("os-getConsoleOutput", "os_compute_api:os-console-output", |asked| {
        Box::pin(output(asked))
    })];

async fn output(asked: Asked<'_>) -> Result<HttpResponse> {
    let length = match &asked.wish["length"] {
        Value::Null => None,
        value => Some(input::integer(value)?),
    };
    let output = console::output(asked.app, asked.ctx, &asked.server, length).await?;
    Ok(HttpResponse::Ok().json(json!({"output": output})))
}
