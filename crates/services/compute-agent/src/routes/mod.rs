//! The agent's own HTTP endpoint.

pub mod console;
pub mod disks;
pub mod guest;

use crate::policy;
use ferrostack_http::{Route, actix_web::web};

/// Every route.
pub fn table() -> Vec<Route> {
    vec![
        Route::get("/hosts/{host}/servers/{server_id}/console", || web::get().to(console::show))
            .policy(&[policy::CONSOLE])
            .summary("The last bytes of a guest's serial console as they are"),
        Route::get("/hosts/{host}/servers/{server_id}/diagnostics", || web::get().to(guest::diagnostics))
            .policy(&[policy::GUEST])
            .summary("What a guest uses of its host"),
        Route::post("/hosts/{host}/servers/{server_id}/crash-dump", || web::post().to(guest::crash_dump))
            .policy(&[policy::GUEST])
            .success(202)
            .summary("Interrupts a guest so that it writes a crash dump"),
        Route::delete("/hosts/{host}/servers/{server_id}/password", || {
            web::delete().to(guest::forget_password)
        })
        .policy(&[policy::GUEST])
        .success(204)
        .summary("Forgets the password that a guest posted"),
        Route::get("/hosts/{host}/servers/{server_id}/disks", || web::get().to(disks::index))
            .policy(&[policy::DISKS])
            .summary("The disk files of a guest that is off"),
        Route::get("/hosts/{host}/servers/{server_id}/disks/{name}", || web::get().to(disks::show))
            .policy(&[policy::DISKS])
            .summary("A disk file from an offset on, in frames with checksums"),
    ]
}
