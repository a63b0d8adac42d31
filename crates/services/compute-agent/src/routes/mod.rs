//! The agent's own HTTP endpoint.

pub mod console;

use crate::policy;
use ferrostack_http::{Route, actix_web::web};

/// Every route.
pub fn table() -> Vec<Route> {
    vec![
        Route::get("/hosts/{host}/servers/{server_id}/console", || web::get().to(console::show))
            .policy(&[policy::CONSOLE])
            .summary("The last bytes of a guest's serial console as they are"),
    ]
}
