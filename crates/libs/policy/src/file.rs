//! A file of overrides: `policy.yaml`, or the same as JSON.

use crate::Check;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{collections::HashMap, fmt};

/// Largest file, bytes.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// What is wrong with a file: the line (from 1; `None` where it is about no line) and a text that names the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Counted from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Reads the overrides in `text` for the rules named in `defaults`, which come back with the overrides on top.
///
/// Refused are: what is no map of texts, a rule given twice or without a value, a check string that cannot be
/// read, `rule:` naming a rule that is nowhere or in a circle, an attribute that no token has, and a name that
/// neither a default rule nor another override uses: it would be a typo without effect.
pub(crate) fn read(
    text: &str,
    defaults: &HashMap<String, Check>,
) -> Result<HashMap<String, Check>, FileError> {
    let given = parse(text, None)?;
    let mut overrides = HashMap::with_capacity(given.len());
    let complain = |rule: &str, what: String| FileError {
        line: line_of(text, rule),
        text: format!("rule '{}': {what}", short(rule)),
    };
    for (rule, value) in &given {
        let check = value.check().map_err(|what| complain(rule, what))?;
        overrides.insert(rule.clone(), check);
    }
    let mut rules = defaults.clone();
    rules.extend(overrides.iter().map(|(name, check)| (name.clone(), check.clone())));
    // In the file's order, so that the first mistake is the one that is told.
    for (rule, _) in &given {
        let mut wrong = None;
        overrides[rule].walk(&mut |part| match part {
            Check::Rule(name) if !rules.contains_key(name) => {
                wrong.get_or_insert(format!("there is no rule '{}'", short(name)));
            }
            Check::Match { left, .. } if !crate::check::is_known(left) => {
                wrong.get_or_insert(format!("no token has an attribute '{}'", short(left)));
            }
            _ => {}
        });
        if let Some(what) = wrong {
            return Err(complain(rule, what));
        }
        if circular(rule, &rules) {
            return Err(complain(rule, "it refers to itself".into()));
        }
        let used = || {
            given.iter().any(|(other, _)| {
                let mut found = false;
                overrides[other].walk(&mut |p| found |= matches!(p, Check::Rule(name) if name == rule));
                found && other != rule
            })
        };
        if !defaults.contains_key(rule) && !used() {
            return Err(complain(rule, "nothing asks for a rule of this name".into()));
        }
    }
    Ok(rules)
}

/// Whether following `rule:` from `start` comes back to it.
fn circular(start: &str, rules: &HashMap<String, Check>) -> bool {
    let mut open = vec![start.to_owned()];
    let mut seen: Vec<String> = Vec::new();
    while let Some(name) = open.pop() {
        let mut next = Vec::new();
        if let Some(check) = rules.get(&name) {
            check.walk(&mut |part| {
                if let Check::Rule(name) = part {
                    next.push(name.clone());
                }
            });
        }
        for name in next {
            if name == start {
                return true;
            }
            if !seen.contains(&name) {
                seen.push(name.clone());
                open.push(name);
            }
        }
    }
    false
}

/// A rule's value.
#[derive(Debug)]
enum Value {
    Text(String),
    /// oslo.policy's older form: any of the inner lists, of which all.
    Lists(Vec<Vec<String>>),
    Wrong(&'static str),
}

impl Value {
    fn check(&self) -> Result<Check, String> {
        match self {
            Self::Text(text) => Check::parse(text).map_err(|e| e.0),
            Self::Wrong(what) => Err((*what).to_owned()),
            Self::Lists(lists) => {
                let parse = |text: &String| match Check::parse(text).map_err(|e| e.0)? {
                    single
                    @ (Check::Role(_) | Check::Rule(_) | Check::Match { .. } | Check::Field { .. }) => {
                        Ok(single)
                    }
                    always_or_never @ (Check::Always | Check::Never) => Ok(always_or_never),
                    _ => Err(format!("'{}' in a list is more than one check", short(text))),
                };
                let mut any = Vec::with_capacity(lists.len());
                for list in lists.iter().filter(|list| !list.is_empty()) {
                    any.push(Check::All(list.iter().map(parse).collect::<Result<_, String>>()?));
                }
                Ok(if lists.is_empty() { Check::Always } else { Check::Any(any) })
            }
        }
    }
}

/// The rules in the file's order. `stop_at` fails at that rule's name: so its line is found.
fn parse(text: &str, stop_at: Option<&str>) -> Result<Vec<(String, Value)>, FileError> {
    // JSON may be indented with tabs, YAML may not.
    if text.trim_start().starts_with('{') {
        let mut json = serde_json::Deserializer::from_str(text);
        let read = Document { stop_at }.deserialize(&mut json).and_then(|rules| json.end().map(|()| rules));
        return read.map_err(|e| {
            let said = e.to_string();
            let text = said.split(" at line ").next().unwrap_or(&said).to_owned();
            FileError { line: Some(e.line()).filter(|l| *l > 0), text }
        });
    }
    Document { stop_at }.deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|e| {
        let said = e.to_string();
        let text = said.split(" at line ").next().unwrap_or(&said).to_owned();
        FileError { line: e.location().map(|l| l.line()), text }
    })
}

fn line_of(text: &str, rule: &str) -> Option<usize> {
    parse(text, Some(rule)).err().and_then(|e| e.line)
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

struct Document<'a> {
    stop_at: Option<&'a str>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Vec<(String, Value)>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Vec<(String, Value)>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of rule names and check strings")
    }
    /// Nothing but comments.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut rules: Vec<(String, Value)> = Vec::new();
        loop {
            let key = Name { stop_at: self.stop_at, seen: &rules };
            let Some(name) = map.next_key_seed(key)? else { return Ok(rules) };
            let value = map.next_value_seed(Rule(&name))?;
            rules.push((name, value));
        }
    }
}

struct Name<'a> {
    stop_at: Option<&'a str>,
    seen: &'a [(String, Value)],
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a rule")
    }
    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<String, E> {
        if self.stop_at == Some(name) {
            return Err(E::custom("here"));
        }
        if self.seen.iter().any(|(seen, _)| seen == name) {
            return Err(E::custom(format!("rule '{}': it is there twice", short(name))));
        }
        Ok(name.to_owned())
    }
}

struct Rule<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Rule<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rule<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a check string for rule '{}'", short(self.0))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }
    /// A forgotten value must not let everybody in.
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Wrong("it has no value: write \"\" for everybody or \"!\" for nobody"))
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut lists = Some(Vec::new());
        while let Some(item) = items.next_element::<serde_json::Value>()? {
            let texts = match item {
                serde_json::Value::String(text) => Some(vec![text]),
                serde_json::Value::Array(inner) => {
                    inner.into_iter().map(|i| i.as_str().map(str::to_owned)).collect()
                }
                _ => None,
            };
            lists = lists.zip(texts).map(|(mut lists, texts)| {
                lists.push(texts);
                lists
            });
        }
        Ok(lists.map_or(Value::Wrong("a list holds check strings or lists of them"), Value::Lists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn defaults() -> HashMap<String, Check> {
        ["identity:list_users", "identity:get_user", "admin_required"]
            .into_iter()
            .map(|name| (name.to_owned(), Check::parse("role:admin").unwrap()))
            .collect()
    }

    fn refused(text: &str) -> String {
        read(text, &defaults()).unwrap_err().to_string()
    }

    #[test]
    fn reads_yaml_and_json() {
        let yaml = "# operators\n\"identity:list_users\": \"role:auditor or rule:ours\"\nours: role:boss\n";
        let rules = read(yaml, &defaults()).unwrap();
        assert_eq!(rules.len(), 4);
        assert_eq!(rules["identity:list_users"], Check::parse("role:auditor or rule:ours").unwrap());
        assert_eq!(rules["admin_required"], Check::parse("role:admin").unwrap());
        let json = "{\n\t\"identity:list_users\": [[\"role:a\", \"role:b\"], \"role:c\"]\n}\n";
        let rules = read(json, &defaults()).unwrap();
        assert_eq!(
            rules["identity:list_users"],
            Check::Any(vec![
                Check::All(vec![Check::Role("a".into()), Check::Role("b".into())]),
                Check::All(vec![Check::Role("c".into())])
            ])
        );
        for empty in ["", "# nothing\n", "{}", "---\n"] {
            assert_eq!(read(empty, &defaults()).unwrap(), defaults(), "{empty}");
        }
    }

    #[test]
    fn says_which_line_and_which_rule() {
        let yaml = |second: &str| format!("# first\n\"identity:get_user\": \"\"\n{second}\n");
        for (line, said) in [
            ("\"identity:list_user\": \"role:x\"", "line 3: rule 'identity:list_user': nothing asks for"),
            ("\"identity:list_users\": \"role:a or\"", "line 3: rule 'identity:list_users': ends too early"),
            (
                "\"identity:list_users\": \"rule:nosuch\"",
                "line 3: rule 'identity:list_users': there is no rule 'nosuch'",
            ),
            (
                "\"identity:list_users\": \"usr_id:%(user_id)s\"",
                "line 3: rule 'identity:list_users': no token has an attribute 'usr_id'",
            ),
            ("\"identity:list_users\": \"not usr_id:x\"", "line 3: rule 'identity:list_users': no token has"),
            ("\"identity:list_users\":", "line 3: rule 'identity:list_users': it has no value"),
            ("\"identity:list_users\": 5", "line 3: "),
            ("\"identity:list_users\": [5]", "line 3: rule 'identity:list_users': a list holds"),
            ("\"identity:get_user\": \"role:x\"", "line 3: rule 'identity:get_user': it is there twice"),
            ("a: rule:b\nb: rule:a", "line 3: rule 'a': it refers to itself"),
            (
                "\"identity:list_users\": \"rule:identity:list_users\"",
                "line 3: rule 'identity:list_users': it refers",
            ),
            ("\"identity:list_users\": \"http://x/y\"", "line 3: rule 'identity:list_users': "),
            ("\"identity:list_users\": \"project_id:x%(y)s\"", "line 3: rule 'identity:list_users': "),
            ("\"identity:list_users\": @", "line 3: "),
            ("- a", "line 3: "),
        ] {
            let text = refused(&yaml(line));
            assert!(text.starts_with(said), "{line}: {text}");
        }
        assert!(refused("{\n\"identity:get_user\": \"\",\n\"x\": \"\"\n}").starts_with("line 3: rule 'x'"));
        assert!(
            refused("{\n\"identity:get_user\": \"\",\n\"identity:get_user\": \"\"\n}").starts_with("line 3:")
        );
        assert!(refused("{\"a\"").starts_with("line 1: "));
        for wrong in ["x", "[]", "5", "[a, b]"] {
            assert!(read(wrong, &defaults()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z:\"'{}\\[\\], %()!@#\n-]{0,80}") {
            let _ = read(&text, &defaults());
        }
    }
}
