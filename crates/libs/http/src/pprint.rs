//! JSON as Python's `pprint` lays it out, for the messages of its schema validator.

use crate::schema::repr;
use serde_json::Value;

/// `value` on lines of 72 characters where it can be broken, as `pprint.pformat(value, width=72, sort_dicts=False)`.
pub(crate) fn pformat(value: &Value) -> String {
    let mut out = String::new();
    format(value, &mut out, 0, 0, 1);
    out
}

const WIDTH: usize = 72;

fn length(text: &str) -> usize {
    text.chars().count()
}

fn format(value: &Value, out: &mut String, indent: usize, allowance: usize, level: usize) {
    let whole = repr(value);
    if length(&whole) + indent + allowance <= WIDTH {
        out.push_str(&whole);
        return;
    }
    let gap = format!(",\n{}", " ".repeat(indent + 1));
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push_str(&gap);
                }
                let key = repr(&Value::String(key.clone()));
                out.push_str(&key);
                out.push_str(": ");
                let after = if i + 1 == map.len() { allowance + 1 } else { 1 };
                format(item, out, indent + 1 + length(&key) + 2, after, level + 1);
            }
            out.push('}');
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(&gap);
                }
                let after = if i + 1 == items.len() { allowance + 1 } else { 1 };
                format(item, out, indent + 1, after, level + 1);
            }
            out.push(']');
        }
        Value::String(text) => string(text, out, indent, allowance, level),
        _ => out.push_str(&whole),
    }
}

/// A long text as several literals, broken after blanks and at line ends.
fn string(text: &str, out: &mut String, indent: usize, allowance: usize, level: usize) {
    let quoted = |text: &str| repr(&Value::String(text.to_owned()));
    let (indent, allowance) = if level == 1 { (indent + 1, allowance + 1) } else { (indent, allowance) };
    let most = WIDTH.saturating_sub(indent);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut chunks = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let last_line = i + 1 == lines.len();
        let room = if last_line { most.saturating_sub(allowance) } else { most };
        if length(&quoted(line)) <= room {
            chunks.push(quoted(line));
            continue;
        }
        let parts = words(line);
        let mut current = String::new();
        for (j, part) in parts.iter().enumerate() {
            let room = if last_line && j + 1 == parts.len() { most.saturating_sub(allowance) } else { most };
            let candidate = format!("{current}{part}");
            if length(&quoted(&candidate)) > room {
                if !current.is_empty() {
                    chunks.push(quoted(&current));
                }
                current = (*part).to_owned();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(quoted(&current));
        }
    }
    let several = chunks.len() > 1;
    if several && level == 1 {
        out.push('(');
    }
    out.push_str(&chunks.join(&format!("\n{}", " ".repeat(indent))));
    if several && level == 1 {
        out.push(')');
    }
}

/// A line cut after each run of blanks.
fn words(line: &str) -> Vec<&str> {
    let (mut parts, mut from, mut blank) = (Vec::new(), 0, false);
    for (at, c) in line.char_indices() {
        if blank && !c.is_whitespace() {
            parts.push(&line[from..at]);
            from = at;
        }
        blank = c.is_whitespace();
    }
    parts.push(&line[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn as_python_does() {
        assert_eq!(pformat(&json!({"a": 1})), "{'a': 1}");
        let long = json!({"type": ["null", "string"], "description": "Descriptive name for the image", "maxLength": 255});
        let expected = "{'type': ['null', 'string'],\n 'description': 'Descriptive name for the image',\n 'maxLength': 255}";
        assert_eq!(pformat(&long), expected);
        let text = json!("word ".repeat(20).trim_end());
        let expected = "('word word word word word word word word word word word word word '\n 'word word word word word word word')";
        assert_eq!(pformat(&text), expected);
        assert_eq!(pformat(&json!(["x".repeat(80)])), format!("['{}']", "x".repeat(80)));
    }
}
