//! `[identity.security]`: Keystone's `[security_compliance]`, and how logins are limited.

use serde::{Deserialize, Serialize};

/// `[identity.security]`. Names and defaults of the first nine are Keystone's; what is not set does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// Wrong passwords in a row that lock a user out. Not set: never.
    pub lockout_failure_attempts: Option<u32>,
    /// How long a user stays locked out, seconds. 0: until an administrator updates the user.
    pub lockout_duration: i64,
    /// Days after which a password expires. Not set: never.
    pub password_expires_days: Option<u32>,
    /// Passwords, the one in use included, that a user's own new one must differ from. 0: none. At most 50.
    pub unique_last_password_count: u32,
    /// Days that a password set by its user must be kept before the user may change it again.
    pub minimum_password_age: u32,
    /// What a new password must match from its first character on. Python's syntax without backreferences;
    /// look-aheads only at the beginning, as in `^(?=.*\d)(?=.*[a-zA-Z]).{7,}$`.
    pub password_regex: Option<String>,
    /// Told to who breaks `password_regex`.
    pub password_regex_description: String,
    /// A password that an administrator set only serves to set another one.
    pub change_password_upon_first_use: bool,
    /// Days without a login by password after which a user is disabled. Not set: never.
    pub disable_user_account_days_inactive: Option<u32>,
    /// Failed logins a minute from one address (IPv6: one /64) before it is answered 429. 0: no limit.
    pub failed_logins_per_source_per_minute: u32,
    /// Failed logins a minute of one user before more are answered 429: counted apart for each address that the
    /// user has lately logged in from, and together for all others. 0: no limit.
    pub failed_logins_per_user_per_minute: u32,
    /// Reverse proxies (`10.0.0.0/8`) whose `X-Forwarded-For` is believed. Anybody else's is not looked at: all clients
    /// of a proxy that is not named here count as one address, and share its limits and locks.
    pub trusted_proxies: Vec<ipnet::IpNet>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            lockout_failure_attempts: None,
            lockout_duration: 1800,
            password_expires_days: None,
            unique_last_password_count: 0,
            minimum_password_age: 0,
            password_regex: None,
            password_regex_description: String::new(),
            change_password_upon_first_use: false,
            disable_user_account_days_inactive: None,
            failed_logins_per_source_per_minute: 120,
            failed_logins_per_user_per_minute: 60,
            trusted_proxies: Vec::new(),
        }
    }
}
