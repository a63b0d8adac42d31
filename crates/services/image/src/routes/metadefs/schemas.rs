//! The JSON schemas of the definitions.

use crate::metadefs::check;
use ferrostack_http::{
    ApiResult, Route,
    actix_web::{HttpResponse, web},
};

/// The rows.
pub fn routes() -> Vec<Route> {
    macro_rules! schema {
        ($name:literal, $text:expr, $summary:literal) => {
            Route::get(concat!("/v2/schemas/metadefs/", $name), || web::get().to(|| document($text)))
                .summary($summary)
        };
        ($name:literal, $summary:literal) => {
            schema!($name, include_str!(concat!("../../../schemas/metadefs/", $name, ".json")), $summary)
        };
    }
    vec![
        schema!("namespace", check::NAMESPACE, "The schema of a namespace."),
        schema!("namespaces", "The schema of a list of namespaces."),
        schema!("resource_type", check::ASSOCIATION, "The schema of a resource type's association."),
        schema!("resource_types", "The schema of a list of associations."),
        schema!("property", check::PROPERTY, "The schema of a property."),
        schema!("properties", "The schema of the properties of a namespace."),
        schema!("object", check::OBJECT, "The schema of an object."),
        schema!("objects", "The schema of a list of objects."),
        schema!("tag", check::TAG, "The schema of a tag."),
        schema!("tags", "The schema of a list of tags."),
    ]
}

async fn document(text: &'static str) -> ApiResult {
    Ok(HttpResponse::Ok().content_type("application/json").body(text))
}
