//! Property protections: who may create, read, update and delete which custom properties (Glance's
//! `property_protection_file`).
//!
//! The file has a section for each rule, whose name is a regular expression that is searched for in the property's
//! name; the first that is found decides. Its options `create`, `read`, `update` and `delete` name roles, or one rule
//! of the policy; `@` is everybody and `!` nobody. A property that no section is for is nobody's.

use crate::image::Image;
use ferrostack_http::Ctx;
use ferrostack_model::{Error, Result};
use ferrostack_settings::PropertyProtectionFormat as Format;
use regex::Regex;
use std::{collections::BTreeMap, path::Path};

/// What is done to a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the file's own names
pub enum Operation {
    Create,
    Read,
    Update,
    Delete,
}

const OPERATIONS: [(&str, Operation); 4] = [
    ("create", Operation::Create),
    ("read", Operation::Read),
    ("update", Operation::Update),
    ("delete", Operation::Delete),
];

/// Who may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Everybody,
    Nobody,
    Roles(Vec<String>),
    Rule(String),
}

struct Section {
    name: Regex,
    /// In the order of [`OPERATIONS`].
    allowed: [Allowed; 4],
}

/// The rules of a file; without any everybody may do everything.
#[derive(Default)]
pub struct Protections(Option<Vec<Section>>);

impl Protections {
    /// Reads the file, if there is one; an error names it and what is wrong in it.
    pub fn open(file: Option<&Path>, format: Format) -> Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let wrong = |why: String| {
            Error::internal(format!("image.property_protection_file {}: {why}", file.display()))
        };
        let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
        Self::parse(&text, format).map_err(wrong)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str, format: Format) -> Result<Self, String> {
        let mut sections = Vec::new();
        for (name, options) in ini(text)? {
            let regex =
                Regex::new(&name).map_err(|e| format!("malformed property protection rule {name}: {e}"))?;
            let read = |operation: &str| match options.get(operation) {
                Some(value) => allowed(value, format).map_err(|why| format!("[{name}] {operation}: {why}")),
                None => Err(format!("[{name}]: there is no option '{operation}'")),
            };
            let allowed = [read("create")?, read("read")?, read("update")?, read("delete")?];
            sections.push(Section { name: regex, allowed });
        }
        Ok(Self(Some(sections)))
    }

    /// The policy rules that are named, which an operator may then define.
    pub fn rules(&self) -> Vec<String> {
        let sections = self.0.iter().flatten().flat_map(|section| &section.allowed);
        let mut rules: Vec<String> = sections
            .filter_map(|allowed| match allowed {
                Allowed::Rule(rule) => Some(rule.clone()),
                _ => None,
            })
            .collect();
        rules.sort();
        rules.dedup();
        rules
    }

    /// Whether the caller may do `operation` to the property `name`.
    pub fn allow(&self, ctx: &Ctx, name: &str, operation: Operation) -> bool {
        let Some(sections) = &self.0 else { return true };
        let Some(section) = sections.iter().find(|section| section.name.is_match(name)) else { return false };
        let at = OPERATIONS.iter().position(|(_, o)| *o == operation).unwrap_or_default();
        match &section.allowed[at] {
            Allowed::Everybody => true,
            Allowed::Nobody => false,
            Allowed::Roles(roles) => {
                ctx.caller().is_ok_and(|caller| roles.iter().any(|role| caller.has_role(role)))
            }
            Allowed::Rule(rule) => ctx.may(rule, &[]),
        }
    }

    /// The image without the properties that the caller may not read.
    pub fn readable(&self, ctx: &Ctx, mut image: Image) -> Image {
        if self.0.is_some() {
            image.properties.retain(|name, _| self.allow(ctx, name, Operation::Read));
        }
        image
    }

    /// 403 unless the caller may make a new image with these properties.
    pub fn check_new(&self, ctx: &Ctx, image: &Image) -> Result<()> {
        image.properties.keys().try_for_each(|name| self.check(ctx, name, Operation::Create))
    }

    /// What `before` becomes when the caller has made `changed` of what it may read of it; 403 for what it may not
    /// change. What it cannot read stays.
    pub fn merge(&self, ctx: &Ctx, before: &Image, mut changed: Image) -> Result<Image> {
        if self.0.is_none() {
            return Ok(changed);
        }
        for (name, old) in &before.properties {
            match (changed.properties.get(name), self.allow(ctx, name, Operation::Read)) {
                (Some(_), false) => self.check(ctx, name, Operation::Create)?,
                (Some(new), true) if new != old => self.check(ctx, name, Operation::Update)?,
                (None, true) => self.check(ctx, name, Operation::Delete)?,
                (None, false) => {
                    changed.properties.insert(name.clone(), old.clone());
                }
                _ => {}
            }
        }
        for name in changed.properties.keys().filter(|name| !before.properties.contains_key(*name)) {
            self.check(ctx, name, Operation::Create)?;
        }
        Ok(changed)
    }

    fn check(&self, ctx: &Ctx, name: &str, operation: Operation) -> Result<()> {
        if self.allow(ctx, name, operation) {
            return Ok(());
        }
        Err(Error::forbidden(format!("Attribute '{name}' is reserved.")))
    }
}

fn allowed(value: &str, format: Format) -> Result<Allowed, String> {
    let names: Vec<&str> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.contains(&"@") && names.contains(&"!") {
        return Err("'@' and '!' are mutually exclusive".into());
    }
    if names.contains(&"@") {
        return Ok(Allowed::Everybody);
    }
    if names.is_empty() || names.contains(&"!") {
        return Ok(Allowed::Nobody);
    }
    match (format, &names[..]) {
        (Format::Policies, [rule]) => Ok(Allowed::Rule((*rule).to_owned())),
        (Format::Policies, _) => Err("multiple policies are not allowed for an operation".into()),
        (Format::Roles, _) => Ok(Allowed::Roles(names.into_iter().map(str::to_owned).collect())),
    }
}

/// A section's name and its options.
type Options = (String, BTreeMap<String, String>);

/// Sections in their order with their options, as Python's `ConfigParser` reads them.
fn ini(text: &str) -> Result<Vec<Options>, String> {
    let mut sections: Vec<Options> = Vec::new();
    let mut last: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let at = |why: &str| format!("line {}: {why}", number + 1);
        if line.starts_with([' ', '\t'])
            && let (Some(option), Some((_, options))) = (&last, sections.last_mut())
        {
            if let Some(value) = options.get_mut(option) {
                value.push(' ');
                value.push_str(trimmed);
            }
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| at("a section ends in ']'"))?;
            if sections.iter().any(|(have, _)| have == name) {
                return Err(at("the section is there already"));
            }
            sections.push((name.to_owned(), BTreeMap::new()));
            last = None;
            continue;
        }
        let (option, value) = trimmed.split_once(['=', ':']).ok_or_else(|| at("no section and no option"))?;
        let option = option.trim().to_ascii_lowercase();
        let (_, options) = sections.last_mut().ok_or_else(|| at("an option outside of a section"))?;
        if options.insert(option.clone(), value.trim().to_owned()).is_some() {
            return Err(at("the option is there already"));
        }
        last = Some(option);
    }
    Ok(sections)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_may_hold() {
        let text = "# who\n[^x_.*]\ncreate = admin, member\nread: @\nupdate = !\ndelete =\n  admin\n\n[.*]\ncreate=@\nread=@\nupdate=@\ndelete=@\n";
        let read = Protections::parse(text, Format::Roles).unwrap().0.unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].allowed[0], Allowed::Roles(vec!["admin".into(), "member".into()]));
        assert_eq!(read[0].allowed[1..3], [Allowed::Everybody, Allowed::Nobody]);
        assert_eq!(read[0].allowed[3], Allowed::Roles(vec!["admin".into()]));
        let whole = |create: &str| format!("[a]\ncreate={create}\nread=\nupdate=\ndelete=");
        assert!(Protections::parse(&whole("a,b"), Format::Policies).is_err());
        assert!(Protections::parse(&whole("@,!"), Format::Roles).is_err());
        assert_eq!(Protections::parse(&whole("a"), Format::Policies).unwrap().rules(), ["a"]);
        for bad in [
            "x",
            "a=b",
            "[(]\ncreate=\nread=\nupdate=\ndelete=",
            "[a]\ncreate=@",
            "[a",
            "[a]\n[a]",
            "[a]\nx=1\nx=2",
        ] {
            assert!(Protections::parse(bad, Format::Roles).is_err(), "{bad}");
        }
    }
}
