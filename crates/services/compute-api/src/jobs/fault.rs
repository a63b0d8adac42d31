//! Faults: why a server or an operation failed, for its users and, with host names, for admins.

use crate::store::servers::Fault;
use ferrostack_jobs::Job;
use ferrostack_model::{Timestamp, placement::Rejection};
use std::fmt::Write;

/// Longest text stored.
const MAX: usize = 4000;

fn cut(text: &str) -> String {
    text.chars().take(MAX).collect()
}

/// A fault with code 500.
pub fn fault(message: &str, details: &str, private: &str) -> Fault {
    Fault {
        code: 500,
        message: message.chars().take(255).collect(),
        details: cut(details),
        private: cut(private),
        at: Timestamp::now(),
    }
}

/// No host can take the server: how many each filter refused, and for admins which.
pub fn no_valid_host(rejections: &[Rejection], considered: usize, failed: &[(String, String)]) -> Fault {
    let mut details = match considered {
        0 => "No host is known.".to_owned(),
        1 => "1 host was considered.".to_owned(),
        n => format!("{n} hosts were considered."),
    };
    let mut private = details.clone();
    for refusal in rejections {
        let n = refusal.hosts.len();
        let hosts = if n == 1 { "host" } else { "hosts" };
        let _ = write!(details, " {} refused {n} {hosts}: {}.", refusal.filter, refusal.reason);
        let shown: Vec<&str> = refusal.hosts.iter().take(50).map(String::as_str).collect();
        let more = if n > shown.len() { format!(" and {} more", n - shown.len()) } else { String::new() };
        let _ =
            write!(private, " {} refused {}{more}: {}.", refusal.filter, shown.join(", "), refusal.reason);
    }
    if !failed.is_empty() {
        let n = failed.len();
        let _ = write!(details, " The build failed on {n} {} before.", if n == 1 { "host" } else { "hosts" });
        for (host, why) in failed {
            let _ = write!(private, " The build failed on {host}: {why}.");
        }
    }
    fault("No valid host was found. There are not enough hosts available.", &details, &private)
}

/// The build was tried as often as allowed.
pub fn exhausted(server_id: &str, failed: &[(String, String)]) -> Fault {
    let message = format!(
        "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance {server_id}."
    );
    let details = match failed.last() {
        Some((_, why)) => format!("The build failed on {} hosts. Last error: {why}", failed.len()),
        None => "Every chosen host was taken by other servers first.".into(),
    };
    let private: Vec<String> = failed.iter().map(|(host, why)| format!("{host}: {why}")).collect();
    fault(&message, &details, &private.join(" "))
}

/// The error that failed a job.
pub fn of_job(job: &Job) -> Fault {
    let log = job.error.as_deref().unwrap_or("");
    match &job.failure {
        Some(error) => fault(&error.public, "", log),
        None => fault("The operation failed.", "", log),
    }
}
