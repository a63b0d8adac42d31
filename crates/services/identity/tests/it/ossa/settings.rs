//! Settings, sources and the start.

use super::*;
use std::net::TcpListener;

/// Reads settings with one line changed.
fn with(section: &str, key: &str, value: &str) -> Option<Settings> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    std::fs::write(&file, format!("[{section}]\n{key} = {value}\n")).unwrap();
    Settings::load(Some(&file)).ok()
}

/// Every setting, with every odd spelling: taken as what it says, or refused.
#[test]
fn ossa_2014_030_no_setting_is_misread() {
    let defaults: toml::Table = toml::from_str(&toml::to_string(&Settings::default()).unwrap()).unwrap();
    let mut tried = 0;
    for (section, table) in &defaults {
        for (key, default) in table.as_table().unwrap() {
            for (text, truth) in [
                ("\"False\"", Some(false)),
                ("\"false\"", Some(false)),
                ("\"no\"", Some(false)),
                ("\"off\"", Some(false)),
                ("\"0\"", Some(false)),
                ("0", Some(false)),
                ("\"True\"", Some(true)),
                ("\"yes\"", Some(true)),
                ("\"on\"", Some(true)),
                ("1", Some(true)),
                ("\"1\"", Some(true)),
                ("\"flase\"", None),
                ("\"\"", None),
                ("2", None),
                ("-1", None),
                ("\"None\"", None),
                ("\" true\"", None),
                ("[]", None),
                ("{}", None),
                ("1.5", None),
                ("\"0x10\"", None),
                ("\"1e3\"", None),
                ("99999999999999999999", None),
            ] {
                tried += 1;
                let Some(read) = with(section, key, text) else { continue };
                let read: toml::Table = toml::from_str(&toml::to_string(&read).unwrap()).unwrap();
                let Some(value) = read[section].get(key) else { continue };
                match default {
                    toml::Value::Boolean(_) => {
                        // A number that is not 0 counts as true.
                        let number = text.parse::<f64>().is_ok_and(|n| n != 0.0);
                        let wanted = if number { Some(true) } else { truth };
                        assert_eq!(value.as_bool(), wanted, "{section}.{key} = {text}");
                    }
                    toml::Value::Integer(_) => {
                        let number: f64 = text.trim_matches('"').parse().unwrap_or(match truth {
                            Some(truth) => f64::from(u8::from(truth)),
                            None => f64::NAN,
                        });
                        let read = value.as_integer().unwrap() as f64;
                        assert!((read - number).abs() <= 0.5, "{section}.{key} = {text} is read as {read}");
                    }
                    _ => {}
                }
            }
            // A key that nobody knows.
            assert!(with(section, &format!("{key}s_"), "1").is_none(), "{section}.{key}s_");
        }
    }
    assert!(tried > 1000);
    assert!(with("identitty", "workers", "1").is_none());
}

/// Nobody can turn the checking of certificates off: there is no setting for it, and clients are made in one way.
#[tokio::test]
async fn ossa_2015_007_certificates_are_always_checked() {
    // That one is about the hash of an image's data.
    let text = toml::to_string(&Settings::default()).unwrap().replace("verify_on_read", "");
    for word in ["insecure", "verify", "no_check", "cafile", "skip"] {
        assert!(!text.contains(word), "{word}");
    }
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["libs", "services"] {
        for (name, text) in files(&top.join(folder)) {
            let product = name.contains("/src/");
            for call in
                ["danger_accept", "NoServerVerification", "dangerous()", "tls_built_in_root_certs(false"]
            {
                assert!(!product || !text.contains(call), "{name}: {call}");
            }
        }
    }
}

fn files(directory: &std::path::Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// No cache outside the process can be set, so nobody can poison one.
#[test]
fn ossa_2013_017_there_is_no_shared_cache() {
    let text = toml::to_string(&Settings::default()).unwrap();
    let keys = text.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key);
    let caches: Vec<&str> = keys.filter(|key| key.contains("cache") && *key != "image_cache_bytes").collect();
    // Both are kept in the process.
    assert_eq!(caches, ["cache_entries", "limits_cache_ms"]);
    for setting in ["memcached_servers = \"127.0.0.1\"", "cache_url = \"redis://x\"", "backend = \"dogpile\""]
    {
        let (key, value) = setting.split_once(" = ").unwrap();
        assert!(with("tokens", key, value).is_none(), "{setting}");
    }
}

/// Secrets and MACs are compared by functions that take the same time for every difference.
#[test]
fn ossa_2014_024_no_secret_is_compared_byte_by_byte() {
    let secret = ["secret", "signature", "password_hash", "digest", "mac", "passcode"];
    for (name, text) in scopes::sources() {
        let product = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in product.lines().enumerate() {
            for (at, _) in line.match_indices(" == ").chain(line.match_indices(" != ")) {
                let left = line[..at]
                    .rsplit(|c: char| !(c.is_alphanumeric() || "_.()&*".contains(c)))
                    .next()
                    .unwrap();
                let right = line[at + 4..]
                    .split(|c: char| !(c.is_alphanumeric() || "_.()&*".contains(c)))
                    .next()
                    .unwrap();
                let last = |s: &str| {
                    s.trim_end_matches("()")
                        .rsplit('.')
                        .next()
                        .unwrap()
                        .trim_matches(|c: char| "()&*".contains(c))
                        .to_owned()
                };
                let compared = [last(left), last(right)];
                // A stored value against itself as read before is no comparison with what somebody sent.
                let stored = compared[0] == compared[1] || line.contains(".len() ");
                if !stored && compared.iter().any(|c| secret.contains(&c.as_str())) {
                    panic!("{name}:{}: {}", number + 1, line.trim());
                }
            }
        }
    }
}

/// Requests from the first moment on: no connection, or an answer as later; never more rights, never a fault.
#[tokio::test]
async fn lp_2161699_the_first_requests_meet_every_rule() {
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = process::settings_in(directory.path(), "secret");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        settings.identity.listen = port;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let stop = CancellationToken::new();
        let asked = async {
            let mut answers = 0;
            while answers < 100 {
                for (path, token) in [("/v3/users", ""), ("/v3/users", "garbage"), ("/v3/projects", "a.b.c")]
                {
                    let request = http.get(format!("http://{port}{path}")).header("x-auth-token", token);
                    if let Ok(answer) = request.send().await {
                        assert_eq!(answer.status(), 401, "{path}");
                        answers += 1;
                    }
                }
            }
        };
        let start =
            ferrostack_identity::start(&settings, Arc::new(ferrostack_bus::LocalBus::new()), stop.clone());
        let (running, ()) = tokio::join!(start, asked);
        stop.cancel();
        running.unwrap_or_else(|e| panic!("{}", e.for_log())).stop().await;
    }
}

/// Rules that everybody with a token passes are these: what a token can do, and lists that hold no more than one's own
/// or what all may know.
#[test]
fn l19_no_rule_is_open_but_the_listed_ones() {
    const OPEN: [&str; 13] = [
        "identity:get_auth_catalog",
        "identity:get_auth_domains",
        "identity:get_auth_projects",
        "identity:get_auth_system",
        "identity:get_limit_model",
        "identity:get_region",
        "identity:get_registered_limit",
        "identity:get_security_compliance_domain_config",
        "identity:list_domains_for_user",
        "identity:list_limits",
        "identity:list_projects_for_user",
        "identity:list_regions",
        "identity:list_registered_limits",
    ];
    let mut open: Vec<&str> = ferrostack_identity::RULES
        .iter()
        .filter(|r| matches!(r.check.trim(), "" | "@") && r.name.contains(':'))
        .map(|r| r.name)
        .collect();
    open.sort_unstable();
    assert_eq!(open, OPEN);
    // No route without a token but the listed ones, and none without a rule.
    for route in ferrostack_identity::routes::table() {
        if route.access == ferrostack_http::Access::Token {
            assert!(!route.policy.is_empty(), "{} {}", route.method, route.path);
        }
    }
}
