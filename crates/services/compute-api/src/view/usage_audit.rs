//! Usage audits as JSON.

use crate::store::hosts::Host;
use chrono::{Datelike, Months, NaiveDate, NaiveDateTime};
use serde_json::{Value, json};

/// The audits of the last whole month before `before`: nobody ran one.
pub fn log(hosts: &[Host], before: NaiveDateTime) -> Value {
    let end = first_of(before.date());
    let begin = end.checked_sub_months(Months::new(1)).unwrap_or(end);
    let shown = |date: NaiveDate| format!("{date} 00:00:00");
    let names: Vec<&str> = hosts.iter().map(|h| h.host.as_str()).collect();
    let done = if names.is_empty() { "ALL".to_owned() } else { format!("0 of {}", names.len()) };
    json!({
        "period_beginning": shown(begin),
        "period_ending": shown(end),
        "num_hosts": names.len(),
        "num_hosts_done": 0,
        "num_hosts_running": 0,
        "num_hosts_not_run": names.len(),
        "hosts_not_run": names,
        "total_instances": 0,
        "total_errors": 0,
        "overall_status": format!("{done} hosts done. 0 errors."),
        "log": {},
    })
}

fn first_of(date: NaiveDate) -> NaiveDate {
    date.with_day(1).unwrap_or(date)
}
