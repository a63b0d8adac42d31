//! JSON schema validation with the messages of the Python services.

use ferrostack_model::{Error, Result};
use jsonschema::paths::Location;
use jsonschema::{Keyword, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

/// A compiled JSON schema.
pub struct Schema(Validator, Value);

impl Schema {
    /// Compiles `text`; an error names what is wrong with it.
    pub fn compile(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|e| Error::internal(format!("schema: {e}")))?;
        Self::of(&value)
    }

    /// Compiles a schema value.
    pub fn of(value: &Value) -> Result<Self> {
        jsonschema::options()
            .should_validate_formats(true)
            .build(value)
            .map(|validator| Self(validator, value.clone()))
            .map_err(|e| Error::internal(format!("schema: {e}")))
    }

    /// The schema that it was compiled from.
    pub fn document(&self) -> &Value {
        &self.1
    }

    /// Compiles a schema of Nova: its string formats, and limits that count for digit strings as well.
    pub fn nova(value: &Value) -> Result<Self> {
        jsonschema::options()
            .should_validate_formats(true)
            .with_format("name", |s: &str| printable(s) && s.trim() == s && !s.is_empty())
            .with_format("name_with_leading_trailing_spaces", |s: &str| printable(s) && !s.trim().is_empty())
            .with_format("az_name", |s: &str| {
                printable(s) && s.trim() == s && !s.is_empty() && !s.contains(':')
            })
            .with_format("az_name_with_leading_trailing_spaces", |s: &str| {
                printable(s) && !s.trim().is_empty() && !s.contains(':')
            })
            .with_format("uuid", ferrostack_model::id::is_uuid_like)
            .with_format("base64", is_base64)
            // As oslo's timeutils: a zone may be missing.
            .with_format("date-time", |s: &str| ferrostack_model::Timestamp::parse(s).is_some())
            .with_keyword("minimum", limit(|v, l| v >= l, "is less than the minimum of"))
            .with_keyword("maximum", limit(|v, l| v <= l, "is greater than the maximum of"))
            .with_keyword("exclusiveMinimum", limit(|v, l| v > l, "is less than or equal to the minimum of"))
            .build(value)
            .map(|validator| Self(validator, value.clone()))
            .map_err(|e| Error::internal(format!("schema: {e}")))
    }

    /// 400 naming the field that does not fit, in the words of Nova and Keystone.
    pub fn check(&self, value: &Value) -> Result<()> {
        let Some(error) = self.0.iter_errors(value).next() else { return Ok(()) };
        let path = error.instance_path().to_string();
        let field = unescape(path.rsplit('/').next().unwrap_or(""));
        let detail = message(&error, &self.1);
        Err(Error::bad_request(if path.is_empty() {
            detail
        } else {
            format!("Invalid input for field/attribute {field}. Value: {}. {detail}", shown(error.instance()))
        }))
    }

    /// 400 in the words of Glance: the schema's name, what is wrong, which rule says so and where in the body.
    pub fn check_named(&self, schema: &str, value: &Value) -> Result<()> {
        let Some(error) = self.0.iter_errors(value).next() else { return Ok(()) };
        let schema_path = error.schema_path().as_str();
        let (parent, keyword) = schema_path.rsplit_once('/').unwrap_or(("", schema_path));
        Err(Error::bad_request(format!(
            "Provided object does not match schema '{schema}': {}\n\nFailed validating '{keyword}' in schema{}\n\nOn instance{}:\n    {}",
            message(&error, &self.1),
            python_path(parent),
            python_path(&error.instance_path().to_string()),
            python(error.instance()),
        )))
    }

    /// The same for a query: an object with a list of values for each name.
    pub fn check_query(&self, value: &Value) -> Result<()> {
        let Some(error) = self.0.iter_errors(value).next() else { return Ok(()) };
        let path = error.instance_path().to_string();
        let name = unescape(path.split('/').nth(1).unwrap_or(""));
        let detail = message(&error, &self.1);
        Err(Error::bad_request(if path.is_empty() {
            detail
        } else {
            format!("Invalid input for query parameters {name}. Value: {}. {detail}", shown(error.instance()))
        }))
    }

    /// The first complaint as Python's `jsonschema` prints it whole: the message, the part of the schema and the value.
    pub fn explain(&self, value: &Value) -> Option<String> {
        let error = self.0.iter_errors(value).next()?;
        let path = error.schema_path().to_string();
        let (parent, keyword) = path.rsplit_once('/').unwrap_or(("", &path));
        let part = self.1.pointer(parent).unwrap_or(&self.1);
        let index = |path: &str| -> String {
            let parts = path.split('/').skip(1).map(unescape);
            parts
                .map(|p| {
                    if p.bytes().all(|b| b.is_ascii_digit()) { format!("[{p}]") } else { format!("['{p}']") }
                })
                .collect()
        };
        let block = |value: &Value| crate::pprint::pformat(value).replace('\n', "\n    ");
        Some(format!(
            "{}\n\nFailed validating '{keyword}' in schema{}:\n    {}\n\nOn instance{}:\n    {}",
            message(&error, &self.1),
            index(parent),
            block(part),
            index(&error.instance_path().to_string()),
            block(error.instance())
        ))
    }

    /// Every complaint, for tests of our own answers.
    pub fn complaints(&self, value: &Value) -> Vec<String> {
        self.0
            .iter_errors(value)
            .map(|e| format!("{}: {}", e.instance_path(), message(&e, &self.1)))
            .collect()
    }
}

/// A JSON pointer as Python indexes: `['a'][0]`.
fn python_path(pointer: &str) -> String {
    pointer
        .split('/')
        .skip(1)
        .map(|segment| match segment.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) => {
                let mut key = String::new();
                quote(&unescape(segment), &mut key);
                format!("[{key}]")
            }
        })
        .collect()
}

type Built<'a> = Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>>;

fn limit(
    fits: fn(f64, f64) -> bool,
    text: &'static str,
) -> impl for<'a> Fn(&'a Map<String, Value>, &'a Value, Location) -> Built<'a> {
    move |_, value, _| {
        Ok(Box::new(Limit { limit: value.as_f64().unwrap_or(0.0), shown: python(value), fits, text }))
    }
}

/// A numeric limit that reads digit strings too, as Nova's validator does.
struct Limit {
    limit: f64,
    shown: String,
    fits: fn(f64, f64) -> bool,
    text: &'static str,
}

impl<'i> Keyword<'i> for Limit {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            return Ok(());
        }
        Err(ValidationError::custom(format!("{} {} {}", python(instance), self.text, self.shown)))
    }
    fn is_valid(&self, instance: &'i Value) -> bool {
        let number = match instance {
            Value::Number(n) => n.as_f64(),
            // What is no number is the pattern's to refuse.
            Value::String(s) => s.parse().ok(),
            _ => None,
        };
        number.is_none_or(|n| (self.fits)(n, self.limit))
    }
}

fn is_base64(text: &str) -> bool {
    let bytes: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let data = bytes.iter().rposition(|b| *b != b'=').map_or(0, |i| i + 1);
    bytes.len().is_multiple_of(4)
        && bytes.len() - data <= 2
        && bytes[..data].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

/// No control characters, separators other than the blank kinds, or unassigned private use.
fn printable(text: &str) -> bool {
    !text.chars().any(|c| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{f0000}'..='\u{10ffff}')
    })
}

/// A segment of a JSON pointer in clear.
fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

fn message(error: &ValidationError<'_>, schema: &Value) -> String {
    let value = python(error.instance());
    match error.kind() {
        ValidationErrorKind::Required { property } => format!("{} is a required property", python(property)),
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let names: Vec<_> = unexpected.iter().map(|n| format!("'{n}'")).collect();
            let path = error.schema_path().as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
            let patterns = schema.pointer(path).and_then(|s| s.get("patternProperties"));
            if let Some(patterns) = patterns.and_then(Value::as_object) {
                let regexes: Vec<_> = patterns.keys().map(|p| format!("'{p}'")).collect();
                let does = if names.len() == 1 { "does" } else { "do" };
                return format!(
                    "{} {does} not match any of the regexes: {}",
                    names.join(", "),
                    regexes.join(", ")
                );
            }
            let was = if names.len() == 1 { "was" } else { "were" };
            format!("Additional properties are not allowed ({} {was} unexpected)", names.join(", "))
        }
        ValidationErrorKind::Pattern { pattern } => format!("{value} does not match '{pattern}'"),
        ValidationErrorKind::MinLength { .. } => format!("{value} is too short"),
        ValidationErrorKind::MaxLength { .. } => format!("{value} is too long"),
        ValidationErrorKind::MinItems { .. } => format!("{value} is too short"),
        ValidationErrorKind::MaxItems { .. } => format!("{value} is too long"),
        ValidationErrorKind::MinProperties { .. } => format!("{value} does not have enough properties"),
        ValidationErrorKind::MaxProperties { .. } => format!("{value} has too many properties"),
        ValidationErrorKind::Minimum { limit } => format!("{value} is less than the minimum of {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("{value} is greater than the maximum of {limit}"),
        ValidationErrorKind::Enum { options } => {
            let mut all = String::new();
            write(options, &mut all);
            format!("{value} is not one of {all}")
        }
        ValidationErrorKind::Format { format } => match name_rule(format) {
            Some(rule) => format!("An invalid 'name' value was provided. The name must be: {rule}."),
            None => format!("{value} is not a '{format}'"),
        },
        ValidationErrorKind::UniqueItems => format!("{value} has non-unique elements"),
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            format!("{value} is not valid under any of the given schemas")
        }
        ValidationErrorKind::Type { kind } => {
            use jsonschema::error::TypeKind;
            let quoted =
                |names: Vec<String>| names.iter().map(|t| format!("'{t}'")).collect::<Vec<_>>().join(", ");
            // In the schema's order, which the set does not keep.
            let listed = schema.pointer(error.schema_path().as_str()).and_then(Value::as_array);
            let names = match (kind, listed) {
                (TypeKind::Single(one), _) => format!("'{one}'"),
                (_, Some(list)) => quoted(list.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
                (TypeKind::Multiple(many), None) => quoted(many.iter().map(|t| t.to_string()).collect()),
            };
            format!("{value} is not of type {names}")
        }
        _ => error.to_string(),
    }
}

/// Nova's words for its name formats.
fn name_rule(format: &str) -> Option<&'static str> {
    match format {
        "name" => Some("printable characters. Can not start or end with whitespace"),
        "name_with_leading_trailing_spaces" => {
            Some("printable characters with at least one non space character")
        }
        "az_name" => Some("printable characters except :. Can not start or end with whitespace"),
        "az_name_with_leading_trailing_spaces" => {
            Some("printable characters except :, with at least one non space character")
        }
        _ => None,
    }
}

/// Longest value that is repeated in a message, characters.
const SHOWN: usize = 1024;

fn cut(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// The value as Python's `str` prints it, cut to a sane length.
fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => cut(s.clone()),
        other => python(other),
    }
}

/// The value as Python's `repr` prints it.
pub(crate) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// The value as Python's `repr` prints it, cut to a sane length.
fn python(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    cut(out)
}

fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == mark => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(mark);
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(s) => quote(s, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (i, (k, v)) in map.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                quote(k, out);
                out.push_str(": ");
                write(v, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn speaks_like_the_python_validator() {
        let schema = Schema::of(&json!({"type": "object", "properties": {"server": {"type": "object",
            "properties": {"name": {"type": "string", "maxLength": 3}}, "required": ["name"],
            "additionalProperties": false}}}))
        .unwrap();
        let says = |v| schema.check(&v).unwrap_err().public;
        assert_eq!(
            says(json!({"server": {"name": 5}})),
            "Invalid input for field/attribute name. Value: 5. 5 is not of type 'string'"
        );
        assert_eq!(
            says(json!({"server": {}})),
            "Invalid input for field/attribute server. Value: {}. 'name' is a required property"
        );
        assert!(says(json!({"server": {"name": "a", "x": 1}})).ends_with("('x' was unexpected)"));
        assert!(schema.check(&json!({"server": {"name": "abc"}})).is_ok());
        let schema =
            Schema::of(&json!({"patternProperties": {"^_": {}}, "additionalProperties": false})).unwrap();
        let said = schema.check(&json!({"foo": 1})).unwrap_err().public;
        assert_eq!(said, "'foo' does not match any of the regexes: '^_'");
        assert_eq!(
            says(json!({"server": {"name": "it's"}})),
            "Invalid input for field/attribute name. Value: it's. \"it's\" is too long"
        );
    }

    #[test]
    fn novas_limits_count_for_digit_strings() {
        let schema = Schema::nova(&json!({"type": "object", "properties": {"ram": {
            "type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": 2147483647},
            "name": {"type": "string", "format": "name"}}}))
        .unwrap();
        let says = |v| schema.check(&v).unwrap_err().public;
        assert_eq!(
            says(json!({"ram": "0"})),
            "Invalid input for field/attribute ram. Value: 0. '0' is less than the minimum of 1"
        );
        assert!(says(json!({"ram": 0})).ends_with("Value: 0. 0 is less than the minimum of 1"));
        assert!(says(json!({"ram": "2147483648"})).contains("greater than the maximum"));
        assert!(schema.check(&json!({"ram": "1"})).is_ok());
        assert_eq!(
            says(json!({"name": " a"})),
            "Invalid input for field/attribute name. Value:  a. An invalid 'name' value was provided. \
             The name must be: printable characters. Can not start or end with whitespace."
        );
        let query = Schema::nova(&json!({"type": "object", "properties": {"limit": {"type": "array",
            "items": {"type": ["integer", "string"], "pattern": "^[0-9]*$"}}}}))
        .unwrap();
        assert_eq!(
            query.check_query(&json!({"limit": ["1", "abc"]})).unwrap_err().public,
            "Invalid input for query parameters limit. Value: abc. 'abc' does not match '^[0-9]*$'"
        );
    }
}
