//! What only Nova's front door does: answers of its router, outside of the API proper.

use crate::style;
use actix_web::{HttpResponse, http::StatusCode};
use serde::Serialize;
use serde_json::{Value, json, ser::Formatter};
use std::io;

/// 300: the versions under which a path without one might be found.
pub fn choices(base: &str, path: &str) -> HttpResponse {
    let choice = |id: &str, prefix: &str, status: &str| {
        json!({"id": id, "status": status, "links": [{"rel": "self", "href": format!("{base}/{prefix}{path}")}],
            "media-types": [{"base": "application/json",
                "type": format!("application/vnd.openstack.compute+json;version={}", &prefix[1..])}]})
    };
    let body = json!({"choices": [choice("v2.0", "v2", "DEPRECATED"), choice("v2.1", "v2.1", "CURRENT")]});
    HttpResponse::build(StatusCode::MULTIPLE_CHOICES)
        .content_type("application/json")
        .body(python_json(&body))
}

/// 404 of the router for a path or method that it does not know: not in the form of the API's faults.
pub fn no_route(accept: Option<&str>) -> HttpResponse {
    let (content_type, body) = style::webob(404, "Not Found", "The resource could not be found.", accept);
    HttpResponse::NotFound().content_type(content_type).body(body)
}

/// JSON as Python's `json.dumps` writes it: blanks after separators, ASCII only.
pub fn python_json(value: &Value) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Python);
    // Writing a `Value` into memory cannot fail.
    if value.serialize(&mut serializer).is_err() {
        return String::from("{}");
    }
    String::from_utf8(out).unwrap_or_default()
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        for c in text.chars() {
            if c.is_ascii() {
                out.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_json_as_python_does() {
        let value = json!({"a": [1, "ü\n"], "b": {"c": null, "d": true}});
        assert_eq!(python_json(&value), r#"{"a": [1, "\u00fc\n"], "b": {"c": null, "d": true}}"#);
        assert_eq!(
            python_json(&json!({"m": "😀", "e": {}, "l": []})),
            r#"{"m": "\ud83d\ude00", "e": {}, "l": []}"#
        );
    }
}
