//! Which part of an image a request asks for, and on what condition: RFC 9110, in Glance's words.

use ferrostack_http::actix_web::http::header::{self, HeaderMap, HeaderName};
use ferrostack_model::{Error, ErrorKind, Result};
use std::ops::Range;

fn refused(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::RangeNotSatisfiable, text)
}

/// A number of a header. More digits than fit name a place beyond any file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// What comes after `bytes` in any letter case.
fn bytes_unit(text: &str) -> Option<&str> {
    let text = text.trim();
    let (unit, rest) = text.split_at_checked(5)?;
    unit.eq_ignore_ascii_case("bytes").then(|| rest.trim())
}

/// The bytes a `Range` header asks for of a file of `size` bytes; `None` without one. 400 for more than one range, 416
/// if it is malformed, of another unit, or holds no byte of the file.
pub fn range(header: Option<&str>, size: u64) -> Result<Option<Range<u64>>> {
    let Some(text) = header else { return Ok(None) };
    if text.contains(',') {
        return Err(Error::bad_request(
            "Requests with multiple ranges are not supported in Glance. You may make multiple single-range requests instead.",
        ));
    }
    let invalid = || refused("Invalid Range header.");
    let set = bytes_unit(text).and_then(|rest| rest.strip_prefix('=')).ok_or_else(invalid)?;
    let (first, last) = set.split_once('-').ok_or_else(invalid)?;
    let part = match (first.trim(), last.trim()) {
        ("", last) => {
            let length = number(last).filter(|length| *length > 0).ok_or_else(invalid)?;
            size.saturating_sub(length)..size
        }
        (first, "") => number(first).ok_or_else(invalid)?..size,
        (first, last) => {
            let (first, last) = (number(first).ok_or_else(invalid)?, number(last).ok_or_else(invalid)?);
            if last < first {
                return Err(invalid());
            }
            first..size.min(last.saturating_add(1))
        }
    };
    if part.start >= size { Err(outside("start", "Range", size)) } else { Ok(Some(part)) }
}

/// The same for a `Content-Range` header, which older clients send with a request: `bytes FIRST-LAST/SIZE` with `*`
/// for a size that the client does not know.
fn content_range(text: &str, size: u64) -> Result<Range<u64>> {
    let invalid = || refused("Invalid Content-Range header.");
    let rest = bytes_unit(text).ok_or_else(invalid)?;
    let (places, length) = rest.split_once('/').ok_or_else(invalid)?;
    let (first, last) = places.split_once('-').ok_or_else(invalid)?;
    let (first, last) = (number(first).ok_or_else(invalid)?, number(last).ok_or_else(invalid)?);
    let known = if length == "*" { None } else { Some(number(length).ok_or_else(invalid)?) };
    if last < first || known.is_some_and(|known| first >= known) {
        return Err(invalid());
    }
    if first >= size {
        return Err(outside("start", "Content-Range", size));
    }
    if last >= size {
        return Err(outside("stop", "Content-Range", size));
    }
    Ok(first..last + 1)
}

fn outside(which: &str, header: &str, size: u64) -> Error {
    let article = if which == "stop" { "The stop" } else { "Start" };
    // Glance's arithmetic for an empty image gives -1.
    let last = i128::from(size) - 1;
    refused(format!(
        "Invalid {which} position in {header} header. {article} position MUST be in the inclusive range [0, {last}]."
    ))
}

/// What a download answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// 200
    Whole,
    /// 206
    Part(Range<u64>),
    /// 304: the client has it.
    Unchanged,
    /// 412: the client wants something else.
    Failed,
}

/// Reads the headers of a download of `size` bytes with the entity tag `etag` (quoted; `None` if there is none).
///
/// Conditions come before ranges; a range whose `If-Range` names something else is not applied.
pub fn asked(headers: &HeaderMap, size: u64, etag: Option<&str>) -> Result<Asked> {
    if has(headers, header::IF_MATCH) && !matches(headers, header::IF_MATCH, etag, false) {
        return Ok(Asked::Failed);
    }
    if has(headers, header::IF_NONE_MATCH) && matches(headers, header::IF_NONE_MATCH, etag, true) {
        return Ok(Asked::Unchanged);
    }
    // A date is no condition of ours: there is no Last-Modified.
    if let Some(condition) = headers.get(header::IF_RANGE)
        && (etag.is_none() || condition.to_str().ok().map(str::trim) != etag)
    {
        return Ok(Asked::Whole);
    }
    // Text that is no ASCII is malformed.
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let part = match (range(text(header::RANGE), size)?, text(header::CONTENT_RANGE)) {
        (None, Some(old)) => Some(content_range(old, size)?),
        (part, _) => part,
    };
    Ok(part.map_or(Asked::Whole, Asked::Part))
}

fn has(headers: &HeaderMap, name: HeaderName) -> bool {
    headers.contains_key(name)
}

/// Whether one of the tags of the header (maybe several lines) is `etag`. `*` is any; a weak tag (`W/`) counts only
/// where `weak` says so.
fn matches(headers: &HeaderMap, name: HeaderName, etag: Option<&str>, weak: bool) -> bool {
    let lines = headers.get_all(name).filter_map(|v| v.to_str().ok());
    // Our tags have no comma inside.
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|tag| {
        let tag = match tag.strip_prefix("W/") {
            Some(_) if !weak => return false,
            Some(bare) => bare,
            None => tag,
        };
        tag == "*" || Some(tag) == etag
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ferrostack_http::actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        let of = |text: &str| range(Some(text), 10).unwrap();
        assert_eq!(of("bytes=0-0"), Some(0..1));
        assert_eq!(of("bytes=2-"), Some(2..10));
        assert_eq!(of("bytes=-3"), Some(7..10));
        assert_eq!(of("bytes=-99"), Some(0..10));
        assert_eq!(of(" BYTES = 5 - 7 "), Some(5..8));
        assert_eq!(of("bytes=5-99999999999999999999999"), Some(5..10));
        assert_eq!(of("bytes=-99999999999999999999999"), Some(0..10));
        assert_eq!(range(None, 10).unwrap(), None);
        let text = |text: &str, size| {
            let error = range(Some(text), size).unwrap_err();
            (error.kind, error.public)
        };
        for malformed in [
            "bytes=",
            "bytes=-",
            "bytes",
            "bytes=5",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=1-2x",
            "bytes=--2",
            "items=0-1",
            "",
            "byte",
            "bytes=-0",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytés=0-1",
            "?",
        ] {
            let expected = (ErrorKind::RangeNotSatisfiable, "Invalid Range header.".to_owned());
            assert_eq!(text(malformed, 10), expected, "{malformed}");
        }
        for beyond in ["bytes=10-", "bytes=10-11", "bytes=99999999999999999999999-"] {
            assert_eq!(
                text(beyond, 10).1,
                "Invalid start position in Range header. Start position MUST be in the inclusive range [0, 9]."
            );
        }
        assert_eq!(text("bytes=0-1,3-4", 10).0, ErrorKind::BadRequest);
        assert!(text("bytes=0-", 0).1.ends_with("[0, -1]."));
        assert!(text("bytes=-1", 0).1.ends_with("[0, -1]."));
    }

    #[test]
    fn the_old_content_range_of_requests() {
        assert_eq!(content_range("bytes 0-3/10", 10).unwrap(), 0..4);
        assert_eq!(content_range("bytes 9-9/*", 10).unwrap(), 9..10);
        for (text, expected) in [
            (
                "bytes 3-10/*",
                "Invalid stop position in Content-Range header. The stop position MUST be in the inclusive range [0, 9].",
            ),
            (
                "bytes 10-11/*",
                "Invalid start position in Content-Range header. Start position MUST be in the inclusive range [0, 9].",
            ),
            (
                "bytes 5-14/20",
                "Invalid stop position in Content-Range header. The stop position MUST be in the inclusive range [0, 9].",
            ),
        ] {
            assert_eq!(content_range(text, 10).unwrap_err().public, expected, "{text}");
        }
        for text in
            ["", "bytes", "bytes 1-2", "bytes */10", "bytes 3-2/10", "bytes 7-8/7", "bytes a-b/*", "x 1-2/3"]
        {
            assert_eq!(
                content_range(text, 10).unwrap_err().public,
                "Invalid Content-Range header.",
                "{text}"
            );
        }
    }

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn conditions_come_before_ranges() {
        let tag = Some("\"abc\"");
        let of = |all: &[(HeaderName, &str)]| asked(&headers(all), 10, tag).unwrap();
        use header::{CONTENT_RANGE, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
        assert_eq!(of(&[]), Asked::Whole);
        assert_eq!(of(&[(IF_NONE_MATCH, "\"abc\"")]), Asked::Unchanged);
        assert_eq!(of(&[(IF_NONE_MATCH, "\"x\", W/\"abc\"")]), Asked::Unchanged);
        assert_eq!(of(&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "*")]), Asked::Unchanged);
        assert_eq!(of(&[(IF_NONE_MATCH, "abc"), (RANGE, "bytes=1-2")]), Asked::Part(1..3));
        assert_eq!(of(&[(IF_NONE_MATCH, "\"abc\""), (RANGE, "nonsense")]), Asked::Unchanged);
        assert_eq!(of(&[(IF_MATCH, "\"abc\""), (RANGE, "bytes=1-2")]), Asked::Part(1..3));
        assert_eq!(of(&[(IF_MATCH, "W/\"abc\"")]), Asked::Failed);
        assert_eq!(of(&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"abc\"")]), Asked::Failed);
        assert_eq!(of(&[(IF_MATCH, "\u{e9}")]), Asked::Failed);
        assert_eq!(of(&[(IF_RANGE, "\"abc\""), (RANGE, "bytes=-2")]), Asked::Part(8..10));
        assert_eq!(of(&[(IF_RANGE, "\"x\""), (RANGE, "bytes=50-")]), Asked::Whole);
        assert_eq!(of(&[(IF_RANGE, "Fri, 20 Nov 2026 12:00:00 GMT"), (RANGE, "bytes=1-2")]), Asked::Whole);
        assert_eq!(of(&[(CONTENT_RANGE, "bytes 1-2/*")]), Asked::Part(1..3));
        assert_eq!(of(&[(CONTENT_RANGE, "nonsense"), (RANGE, "bytes=1-2")]), Asked::Part(1..3));
        assert!(asked(&headers(&[(RANGE, "\u{e9}")]), 10, tag).is_err());
        assert_eq!(asked(&headers(&[(IF_MATCH, "*")]), 10, None).unwrap(), Asked::Whole);
        assert_eq!(asked(&headers(&[(IF_MATCH, "\"\"")]), 10, None).unwrap(), Asked::Failed);
    }

    proptest! {
        /// Whatever comes, an answer is a part of the file.
        #[test]
        fn l_any_header_gives_a_part_of_the_file(text in ".{0,40}", size in 0_u64..50) {
            for part in [range(Some(&text), size), content_range(&text, size).map(Some)].into_iter().flatten().flatten() {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn what_is_well_formed_is_what_was_meant(first in 0_u64..60, more in 0_u64..60, size in 0_u64..50) {
            let last = first + more;
            let part = range(Some(&format!("bytes={first}-{last}")), size).ok().flatten();
            let model: Vec<u64> = (0..size).filter(|at| (first..=last).contains(at)).collect();
            prop_assert_eq!(part.map(|p| p.collect::<Vec<_>>()).unwrap_or_default(), model);
            let tail = range(Some(&format!("bytes=-{more}")), size).ok().flatten();
            let model: Vec<u64> = (size - more.min(size)..size).collect();
            prop_assert_eq!(tail.map(|p| p.collect::<Vec<_>>()).unwrap_or_default(), model);
        }
    }
}
