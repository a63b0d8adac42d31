//! Points in time as microseconds since the epoch, the form the databases hold.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wall clock now.
    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }
    /// `seconds` later (earlier if negative).
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
    /// `millis` later (earlier if negative).
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000)))
    }
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// Microseconds from `earlier` to `self`.
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }
    /// `2026-11-20T14:33:18Z`: Nova and Glance.
    pub fn iso(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Secs, true)
    }
    /// `2026-11-20T14:33:18.000000Z`: Keystone tokens.
    pub fn iso_micros(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Micros, true)
    }
    /// `2026-11-20T14:33:18.000000`: Nova's fields without a zone.
    pub fn iso_micros_naive(self) -> String {
        self.utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
    }
    /// Reads RFC 3339 and the forms OpenStack clients send (`2026-11-20T14:33:18`, blank instead of `T`,
    /// fraction, `Z`, offset, date alone). `None` if it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(t) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(t.timestamp_micros()));
        }
        let bare = text.strip_suffix('Z').unwrap_or(text);
        for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
            if let Ok(t) = chrono::NaiveDateTime::parse_from_str(bare, format) {
                return Some(Self(t.and_utc().timestamp_micros()));
            }
        }
        let day = chrono::NaiveDate::parse_from_str(bare, "%Y-%m-%d").ok()?;
        Some(Self(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_parses_what_clients_send() {
        let t = Timestamp::parse("2026-11-20T14:33:18Z").unwrap();
        assert_eq!(t.iso(), "2026-11-20T14:33:18Z");
        assert_eq!(t.iso_micros(), "2026-11-20T14:33:18.000000Z");
        assert_eq!(t.iso_micros_naive(), "2026-11-20T14:33:18.000000");
        for same in [
            "2026-11-20T14:33:18",
            "2026-11-20 14:33:18",
            "2026-11-20T15:33:18+01:00",
            "2026-11-20T14:33:18.000Z",
        ] {
            assert_eq!(Timestamp::parse(same), Some(t), "{same}");
        }
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}
