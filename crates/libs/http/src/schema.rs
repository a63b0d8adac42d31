//! JSON schema validation with the messages of the Python services.

use ferrostack_model::{Error, Result};
use jsonschema::{Validator, error::ValidationErrorKind};
use serde_json::Value;

/// A compiled JSON schema.
pub struct Schema(Validator);

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
            .map(Self)
            .map_err(|e| Error::internal(format!("schema: {e}")))
    }

    /// 400 naming the field that does not fit, in the words of Nova and Keystone.
    pub fn check(&self, value: &Value) -> Result<()> {
        let Some(error) = self.0.iter_errors(value).next() else { return Ok(()) };
        let path = error.instance_path().to_string();
        let field = path.rsplit('/').next().unwrap_or("").to_owned();
        let detail = message(&error);
        Err(Error::bad_request(if path.is_empty() {
            detail
        } else {
            format!(
                "Invalid input for field/attribute {field}. Value: {}. {detail}",
                python(error.instance())
            )
        }))
    }

    /// Every complaint, for tests of our own answers.
    pub fn complaints(&self, value: &Value) -> Vec<String> {
        self.0.iter_errors(value).map(|e| format!("{}: {}", e.instance_path(), message(&e))).collect()
    }
}

fn message(error: &jsonschema::ValidationError<'_>) -> String {
    let value = python(error.instance());
    match error.kind() {
        ValidationErrorKind::Required { property } => format!("{} is a required property", python(property)),
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let names: Vec<_> = unexpected.iter().map(|n| format!("'{n}'")).collect();
            let was = if names.len() == 1 { "was" } else { "were" };
            format!("Additional properties are not allowed ({} {was} unexpected)", names.join(", "))
        }
        ValidationErrorKind::Pattern { pattern } => format!("{value} does not match '{pattern}'"),
        ValidationErrorKind::MinLength { .. } => format!("{value} is too short"),
        ValidationErrorKind::MaxLength { .. } => format!("{value} is too long"),
        ValidationErrorKind::MinItems { .. } => format!("{value} is too short"),
        ValidationErrorKind::MaxItems { .. } => format!("{value} is too long"),
        ValidationErrorKind::Minimum { limit } => format!("{value} is less than the minimum of {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("{value} is greater than the maximum of {limit}"),
        ValidationErrorKind::Enum { options } => format!("{value} is not one of {}", python(options)),
        ValidationErrorKind::Format { format } => format!("{value} is not a '{format}'"),
        ValidationErrorKind::UniqueItems => format!("{value} has non-unique elements"),
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            format!("{value} is not valid under any of the given schemas")
        }
        ValidationErrorKind::Type { kind } => {
            use jsonschema::error::TypeKind;
            let names = match kind {
                TypeKind::Single(one) => format!("'{one}'"),
                TypeKind::Multiple(many) => {
                    many.iter().map(|t| format!("'{t}'")).collect::<Vec<_>>().join(", ")
                }
            };
            format!("{value} is not of type {names}")
        }
        _ => error.to_string(),
    }
}

/// The value as Python prints it, cut to a sane length.
fn python(value: &Value) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Null => out.push_str("None"),
            Value::Bool(true) => out.push_str("True"),
            Value::Bool(false) => out.push_str("False"),
            Value::Number(n) => out.push_str(&n.to_string()),
            Value::String(s) => {
                out.push('\'');
                out.push_str(s);
                out.push('\'');
            }
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
                    out.push('\'');
                    out.push_str(k);
                    out.push_str("': ");
                    write(v, out);
                }
                out.push('}');
            }
        }
    }
    let mut out = String::new();
    write(value, &mut out);
    if out.chars().count() > 256 { out.chars().take(256).collect::<String>() + "…" } else { out }
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
    }
}
