//! Keystone's security compliance: what a password must be, how long it lasts, who is locked out for idleness.

use crate::store::{self, user::User};
use ferrostack_model::{Error, Result, Timestamp};
use ferrostack_settings::Security;
use regex::Regex;
use serde_json::Value;

const DAY_US: i64 = 86_400_000_000;
/// Most passwords of the past that a new one is compared with: each costs a slow hash.
const MAX_HISTORY: u32 = 50;

/// The rules, checked and compiled.
pub struct Compliance {
    rules: Security,
    form: Option<Vec<Requirement>>,
}

/// One part of `password_regex`.
struct Requirement {
    regex: Regex,
    /// False: it must not match.
    wanted: bool,
}

/// Who sets a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Its user.
    Oneself,
    /// An administrator.
    Admin,
}

/// Whether a user has an option that is true.
pub fn has_option(user: &User, name: &str) -> bool {
    store::members(&user.options).get(name) == Some(&Value::Bool(true))
}

impl Compliance {
    /// Refuses a regex that cannot be used, and values out of range.
    pub fn new(rules: Security) -> Result<Self> {
        let bad =
            |name: &str, why: &str| Error::internal(format!("settings: identity.security.{name}: {why}"));
        for (name, value) in [
            ("lockout_failure_attempts", rules.lockout_failure_attempts),
            ("password_expires_days", rules.password_expires_days),
            ("disable_user_account_days_inactive", rules.disable_user_account_days_inactive),
        ] {
            if value == Some(0) {
                return Err(bad(name, "0 is not allowed; leave it out"));
            }
        }
        if rules.lockout_duration < 0 {
            return Err(bad("lockout_duration", "is negative"));
        }
        if rules.unique_last_password_count > MAX_HISTORY {
            return Err(bad("unique_last_password_count", "is above 50"));
        }
        if rules.password_expires_days.is_some_and(|days| days <= rules.minimum_password_age) {
            return Err(bad("minimum_password_age", "a password would expire before it may be changed"));
        }
        let form = match &rules.password_regex {
            Some(text) => Some(requirements(text).map_err(|why| bad("password_regex", &why))?),
            None => None,
        };
        Ok(Self { rules, form })
    }

    /// The settings.
    pub fn rules(&self) -> &Security {
        &self.rules
    }

    /// 400 for a new password that is empty or breaks the regex.
    pub fn check_form(&self, password: &str) -> Result<()> {
        if password.is_empty() {
            return Err(Error::bad_request("Password validation error: The password is empty."));
        }
        let fits =
            self.form.as_ref().is_none_or(|all| all.iter().all(|r| r.regex.is_match(password) == r.wanted));
        if fits {
            return Ok(());
        }
        let what = &self.rules.password_regex_description;
        Err(Error::bad_request(format!("The password does not match the requirements: {what}.")))
    }

    /// 400 while the user must keep the password it has set itself.
    pub fn check_age(&self, user: &User, now: Timestamp) -> Result<()> {
        let days = i64::from(self.rules.minimum_password_age);
        let until = user.password_created_at.saturating_add(days * DAY_US);
        if user.password_own == 0 || now.0 >= until {
            return Ok(());
        }
        let left = (until - now.0) / DAY_US;
        Err(Error::bad_request(format!(
            "You cannot change your password at this time due to the minimum password age. Once you change your password, it must be used for {days} day(s) before it can be changed. Please try again in {left} day(s) or contact your administrator to reset your password."
        )))
    }

    /// 400 for the user whose password only administrators change.
    pub fn check_unlocked(&self, user: &User) -> Result<()> {
        if !has_option(user, "lock_password") {
            return Ok(());
        }
        Err(Error::bad_request(
            "You cannot change your password at this time due to password policy disallowing password changes. Please contact your administrator to reset your password.",
        ))
    }

    /// How many passwords before the one in use a new one is compared with; `None`: not even with that.
    pub fn earlier(&self) -> Option<i64> {
        match i64::from(self.rules.unique_last_password_count) {
            0 => None,
            count => Some(count - 1),
        }
    }

    /// 400 for a password that was used before.
    pub fn reused(&self) -> Error {
        Error::bad_request(format!(
            "The new password cannot be identical to a previous password. The total number which includes the new password must be unique is {}.",
            self.rules.unique_last_password_count
        ))
    }

    /// Gives the user a password (empty hash: none) that is made now.
    pub fn set(&self, user: &mut User, hash: String, by: By, now: Timestamp) {
        user.password_created_at = if hash.is_empty() { 0 } else { now.0 };
        user.password_own = (by == By::Oneself).into();
        user.password_expires_at = self.expires_at(user, by, now).filter(|_| !hash.is_empty()).unwrap_or(0);
        user.password_hash = hash;
    }

    fn expires_at(&self, user: &User, by: By, now: Timestamp) -> Option<i64> {
        let first_use = self.rules.change_password_upon_first_use
            && by == By::Admin
            && !has_option(user, "ignore_change_password_upon_first_use");
        if first_use {
            return Some(now.0);
        }
        let days =
            self.rules.password_expires_days.filter(|_| !has_option(user, "ignore_password_expiry"))?;
        // Whole seconds, as Keystone.
        Some((now.0 + i64::from(days) * DAY_US) / 1_000_000 * 1_000_000)
    }

    /// Whether the password only serves to set another.
    pub fn is_expired(&self, user: &User, now: Timestamp) -> bool {
        user.password_expires_at != 0
            && user.password_expires_at <= now.0
            && !has_option(user, "ignore_password_expiry")
    }

    /// Users without a login since then are disabled. Whole days, as Keystone counts.
    pub fn idle_before(&self, now: Timestamp) -> Option<i64> {
        let days = i64::from(self.rules.disable_user_account_days_inactive?);
        Some((now.0.div_euclid(DAY_US) - days + 1) * DAY_US)
    }

    /// Whether the user was away for too long.
    pub fn is_idle(&self, user: &User, now: Timestamp) -> bool {
        let last = if user.last_active_at > 0 { user.last_active_at } else { user.created_at };
        self.idle_before(now).is_some_and(|before| last < before)
            && !has_option(user, "ignore_user_inactivity")
    }
}

/// Python's `re.match(text, …)` as patterns that all must hold, each found in linear time: look-aheads at the
/// beginning become patterns of their own; no others, nor backreferences, can be.
fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let anchored = |inner: &str, wanted| {
        Regex::new(&format!(r"\A(?:{inner})"))
            .map(|regex| Requirement { regex, wanted })
            .map_err(|e| e.to_string())
    };
    let mut all = Vec::new();
    let mut rest = text.strip_prefix('^').or_else(|| text.strip_prefix(r"\A")).unwrap_or(text);
    while let Some((wanted, inner)) = rest
        .strip_prefix("(?=")
        .map(|inner| (true, inner))
        .or_else(|| rest.strip_prefix("(?!").map(|inner| (false, inner)))
    {
        let end = scan(inner, |depth, c| depth == 0 && c == ')').ok_or("a look-ahead is not closed")?;
        all.push(anchored(&inner[..end], wanted)?);
        rest = &inner[end + 1..];
    }
    if !all.is_empty() && scan(rest, |depth, c| depth == 0 && c == '|').is_some() {
        return Err("an alternative beside look-aheads: put it into parentheses".into());
    }
    all.push(anchored(rest, true)?);
    Ok(all)
}

/// The first place outside of classes and escapes where `stop` holds for the depth of parentheses and the character.
fn scan(text: &str, stop: impl Fn(usize, char) -> bool) -> Option<usize> {
    let (mut depth, mut class) = (0usize, None);
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match (class, c) {
            (_, '\\') => {
                characters.next();
            }
            // `]` right after `[` or `[^` is a member.
            (Some(begin), ']') if at > begin + 1 && &text[begin + 1..at] != "^" => class = None,
            (Some(_), _) => {}
            (None, '[') => class = Some(at),
            (None, c) if stop(depth, c) => return Some(at),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(change: impl Fn(&mut Security)) -> Compliance {
        let mut security = Security::default();
        change(&mut security);
        Compliance::new(security).unwrap_or_else(|e| panic!("{}", e.for_log()))
    }
    fn regex(text: &str) -> Compliance {
        rules(|s| {
            s.password_regex = Some(text.into());
            s.password_regex_description = "be good".into();
        })
    }
    fn refusal(change: impl Fn(&mut Security)) -> String {
        let mut security = Security::default();
        change(&mut security);
        Compliance::new(security).err().unwrap().for_log()
    }

    #[test]
    fn regexes_of_keystones_documentation() {
        let documented = regex(r"^(?=.*\d)(?=.*[a-zA-Z]).{7,}$");
        for (password, fits) in [
            ("abcdef1", true),
            ("abcdefg", false),
            ("1234567", false),
            ("abc1", false),
            ("1abcdefghij", true),
        ] {
            assert_eq!(documented.check_form(password).is_ok(), fits, "{password}");
        }
        let error = documented.check_form("x").unwrap_err();
        assert_eq!(
            (error.kind.http(), error.public.as_str()),
            (400, "The password does not match the requirements: be good.")
        );
        // As re.match: from the first character on, not necessarily to the last.
        let plain = regex("[a-z]{3}|X");
        assert!(
            plain.check_form("abc1").is_ok()
                && plain.check_form("1abc").is_err()
                && plain.check_form("X").is_ok()
        );
        let negative = regex(r"(?!.*[)(])(?=[^]]*])(?:a|b).+");
        assert!(negative.check_form("ax]").is_ok() && negative.check_form("ax](").is_err());
        assert!(negative.check_form("ax").is_err() && negative.check_form("cx]").is_err());
        assert!(regex(r"^(?=(a|\)))a").check_form("a").is_ok());
    }

    #[test]
    fn what_cannot_be_linear_refuses_to_start() {
        for text in [r"(a)\1", "(?<=a)b", "a(?=b)", "(?=a", "[", "(?=a)b|c", "^(?P<n>"] {
            let why = refusal(|s| s.password_regex = Some(text.into()));
            assert!(why.contains("identity.security.password_regex"), "{text}: {why}");
        }
        assert!(refusal(|s| s.lockout_failure_attempts = Some(0)).contains("lockout_failure_attempts"));
        assert!(refusal(|s| s.lockout_duration = -1).contains("lockout_duration"));
        assert!(refusal(|s| s.unique_last_password_count = 51).contains("unique_last_password_count"));
        let both = |s: &mut Security| (s.password_expires_days, s.minimum_password_age) = (Some(3), 3);
        assert!(refusal(both).contains("minimum_password_age"));
    }

    const NOW: Timestamp = Timestamp(1_700_000_000_123_456);

    fn user(options: &str) -> User {
        User { options: options.into(), enabled: 1, created_at: NOW.0 - 5 * DAY_US, ..User::default() }
    }

    #[test]
    fn passwords_expire() {
        let expiring = rules(|s| s.password_expires_days = Some(2));
        let mut one = user("{}");
        expiring.set(&mut one, "h".into(), By::Admin, NOW);
        assert_eq!(one.password_expires_at, (NOW.0 + 2 * DAY_US) / 1_000_000 * 1_000_000);
        let at = |days: i64| Timestamp(NOW.0 + days * DAY_US);
        assert!(!expiring.is_expired(&one, at(1)) && expiring.is_expired(&one, at(2)));
        let exempt = r#"{"ignore_password_expiry":true}"#;
        assert!(!expiring.is_expired(&User { options: exempt.into(), ..one.clone() }, at(3)));
        let mut exempted = user(exempt);
        expiring.set(&mut exempted, "h".into(), By::Admin, NOW);
        assert_eq!(exempted.password_expires_at, 0);
        expiring.set(&mut one, String::new(), By::Admin, NOW);
        assert_eq!((one.password_expires_at, one.password_created_at), (0, 0));
        // A rule that is taken away later does not revive what has expired, nor does a new one kill what is there.
        assert!(!rules(|_| {}).is_expired(&user("{}"), at(1000)));
    }

    #[test]
    fn an_administrators_password_is_for_once() {
        let strict = rules(|s| s.change_password_upon_first_use = true);
        let mut one = user("{}");
        strict.set(&mut one, "h".into(), By::Admin, NOW);
        assert!(strict.is_expired(&one, NOW));
        strict.set(&mut one, "h".into(), By::Oneself, NOW);
        assert!(!strict.is_expired(&one, NOW));
        let mut exempt = user(r#"{"ignore_change_password_upon_first_use":true}"#);
        strict.set(&mut exempt, "h".into(), By::Admin, NOW);
        assert!(!strict.is_expired(&exempt, NOW));
    }

    #[test]
    fn ones_own_password_is_kept_for_a_while() {
        let aged = rules(|s| s.minimum_password_age = 2);
        let mut one = user("{}");
        aged.set(&mut one, "h".into(), By::Admin, NOW);
        assert!(aged.check_age(&one, NOW).is_ok());
        aged.set(&mut one, "h".into(), By::Oneself, NOW);
        let error = aged.check_age(&one, Timestamp(NOW.0 + 1)).unwrap_err();
        assert!(
            error.public.contains("for 2 day(s)") && error.public.contains("again in 1 day(s)"),
            "{}",
            error.public
        );
        assert!(aged.check_age(&one, Timestamp(NOW.0 + 2 * DAY_US)).is_ok());
        assert!(rules(|_| {}).check_age(&one, NOW).is_ok());
    }

    #[test]
    fn the_idle_are_those_away_for_whole_days() {
        let strict = rules(|s| s.disable_user_account_days_inactive = Some(5));
        assert!(strict.is_idle(&user("{}"), NOW));
        assert!(!strict.is_idle(&user(r#"{"ignore_user_inactivity":true}"#), NOW));
        let active = |days: i64| User { last_active_at: NOW.0 - days * DAY_US, ..user("{}") };
        assert!(!strict.is_idle(&active(4), NOW) && strict.is_idle(&active(5), NOW));
        assert!(!rules(|_| {}).is_idle(&active(5000), NOW));
    }

    proptest! {
        #[test]
        fn no_regex_is_a_fault_of_ours(text in r"[\^]?(\(\?[=!])?[a-c()\[\]|\\.*+?^$]{0,12}", password in ".{0,20}") {
            if let Ok(parts) = requirements(&text) {
                let _ = parts.iter().all(|r| r.regex.is_match(&password) == r.wanted);
            }
        }
    }
}
