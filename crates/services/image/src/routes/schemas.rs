//! The JSON schemas clients build their models from.

use ferrostack_http::{
    ApiResult, Route,
    actix_web::{HttpResponse, web},
};

/// The schema of an image; also what create and update validate with.
pub const IMAGE: &str = include_str!("../../schemas/image.json");

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/schemas/image", || web::get().to(|| document(IMAGE)))
            .summary("The schema of an image."),
        Route::get("/v2/schemas/images", || {
            web::get().to(|| document(include_str!("../../schemas/images.json")))
        })
        .summary("The schema of an image list."),
        Route::get("/v2/schemas/member", || {
            web::get().to(|| document(include_str!("../../schemas/member.json")))
        })
        .summary("The schema of an image member."),
        Route::get("/v2/schemas/members", || {
            web::get().to(|| document(include_str!("../../schemas/members.json")))
        })
        .summary("The schema of a member list."),
        Route::get("/v2/schemas/task", || {
            web::get().to(|| document(include_str!("../../schemas/task.json")))
        })
        .summary("The schema of a task."),
        Route::get("/v2/schemas/tasks", || {
            web::get().to(|| document(include_str!("../../schemas/tasks.json")))
        })
        .summary("The schema of a task list."),
    ]
}

async fn document(text: &'static str) -> ApiResult {
    Ok(HttpResponse::Ok().content_type("application/json").body(text))
}
