//! Access rules of application credentials: the only requests that their tokens may make.
//!
//! Path patterns as keystonemiddleware reads them: `{name}` and `*` stand for one or more characters without `/`,
//! `**` for any, everything else for itself.

use ferrostack_model::AccessRule;

/// Whether one of `rules` is about this request to a service of type `service`. `path` is as the client sent it.
pub fn allow(rules: &[AccessRule], service: &str, method: &str, path: &str) -> bool {
    // Whoever holds a token may find out what it is.
    if service == "identity" && method == "GET" && path == "/v3/auth/tokens" {
        return true;
    }
    rules.iter().any(|r| r.service == service && r.method == method && path_matches(&r.path, path))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// This byte.
    Byte(u8),
    /// One or more bytes but `/`.
    Segment,
    /// Any bytes.
    Rest,
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut rest = pattern.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'*' if after.first() == Some(&b'*') => {
                found.push(Piece::Rest);
                rest = &after[1..];
            }
            b'*' => found.push(Piece::Segment),
            b'{' => match after.iter().position(|b| *b == b'}') {
                Some(end) => {
                    found.push(Piece::Segment);
                    rest = &after[end + 1..];
                }
                None => found.push(Piece::Byte(b'{')),
            },
            byte => found.push(Piece::Byte(*byte)),
        }
    }
    found
}

/// Takes time in proportion to both lengths, whatever the pattern.
fn path_matches(pattern: &str, path: &str) -> bool {
    let pieces = pieces(pattern);
    // at[n]: the bytes so far can be what the first n pieces stand for.
    let mut at = vec![false; pieces.len() + 1];
    at[0] = true;
    skip_rests(&pieces, &mut at);
    for byte in path.bytes() {
        let mut next = vec![false; pieces.len() + 1];
        for (n, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Byte(wanted) => next[n + 1] |= at[n] && byte == *wanted,
                // Begins here, or goes on.
                Piece::Segment => next[n + 1] |= (at[n] || at[n + 1]) && byte != b'/',
                Piece::Rest => next[n + 1] |= at[n] || at[n + 1],
            }
        }
        at = next;
        skip_rests(&pieces, &mut at);
    }
    at[pieces.len()]
}

/// `**` may stand for nothing.
fn skip_rests(pieces: &[Piece], at: &mut [bool]) {
    for (n, piece) in pieces.iter().enumerate() {
        if *piece == Piece::Rest && at[n] {
            at[n + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, path, fits) in [
            ("/v2.1/servers", "/v2.1/servers", true),
            ("/v2.1/servers", "/v2.1/servers/", false),
            ("/v2.1/servers", "/v2x1/servers", false),
            ("/v2.1/servers/*/ips", "/v2.1/servers/abc/ips", true),
            ("/v2.1/servers/*/ips", "/v2.1/servers//ips", false),
            ("/v2.1/servers/*/ips", "/v2.1/servers/a/b/ips", false),
            ("/v2.1/servers/{server_id}", "/v2.1/servers/abc", true),
            ("/v2.1/servers/{server_id}", "/v2.1/servers/abc/ips", false),
            ("/v2.1/servers/{server_id}", "/v2.1/servers/", false),
            ("/v2.1/**", "/v2.1/", true),
            ("/v2.1/**", "/v2.1/servers/a/b", true),
            ("/v2.1/**", "/v2.1", false),
            ("/**/ips", "/v2.1/servers/a/ips", true),
            ("/v2.1/**/ips", "/v2.1/servers/ips2", false),
            ("/v2/a*", "/v2/abc", true),
            ("/v2/a*", "/v2/a", false),
            ("/v2/{open", "/v2/{open", true),
            ("/v2/***", "/v2/x", true),
        ] {
            assert_eq!(path_matches(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn service_and_method_must_fit_too() {
        let rule = |service: &str, method: &str, path: &str| AccessRule {
            service: service.into(),
            method: method.into(),
            path: path.into(),
        };
        let rules = [rule("compute", "GET", "/v2.1/**")];
        assert!(allow(&rules, "compute", "GET", "/v2.1/servers"));
        assert!(!allow(&rules, "compute", "POST", "/v2.1/servers"));
        assert!(!allow(&rules, "compute", "HEAD", "/v2.1/servers"));
        assert!(!allow(&rules, "image", "GET", "/v2.1/servers"));
        assert!(allow(&rules, "identity", "GET", "/v3/auth/tokens"));
        assert!(!allow(&rules, "identity", "DELETE", "/v3/auth/tokens"));
        assert!(!allow(&[], "compute", "GET", "/"));
    }

    #[test]
    fn long_patterns_cost_little() {
        let pattern = "/**".repeat(42);
        let path = "/a".repeat(4000);
        let start = std::time::Instant::now();
        assert!(path_matches(&pattern, &path));
        assert!(!path_matches(&format!("{pattern}/no"), &path));
        assert!(start.elapsed().as_secs_f64() < 2.0);
    }

    proptest! {
        /// A pattern made of a path by putting wildcards for parts of it fits that path.
        #[test]
        fn a_pattern_of_a_path_fits_it(parts in prop::collection::vec(("[a-z]{1,4}", 0..3u8), 1..6)) {
            let path: String = parts.iter().map(|(text, _)| format!("/{text}")).collect();
            let pattern: String = parts.iter().map(|(text, kind)| match kind {
                0 => format!("/{text}"),
                1 => "/*".to_owned(),
                _ => "/{x}".to_owned(),
            }).collect();
            prop_assert!(path_matches(&pattern, &path));
            let longer = format!("{path}/more");
            prop_assert!(!path_matches(&pattern, &longer));
            let open = format!("{pattern}**");
            prop_assert!(path_matches(&open, &longer));
        }
    }
}
