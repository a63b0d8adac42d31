//! `docs/security-identity.md`: a row for every published fault that is about identity, and every test it names exists.

use std::{collections::BTreeSet, path::Path};

/// Every row there must be: advisories, CVEs, notes, lessons, matrices, failures.
const ROWS: &str = "
S-2012-002 S-2012-010 S-2012-013 S-2012-014 S-2012-015 S-2012-016 S-2012-018 S-2012-019 S-2013-003 S-2013-004 S-2013-005
S-2013-009 S-2013-010 S-2013-011 S-2013-013 S-2013-014 S-2013-015 S-2013-017 S-2013-018 S-2013-023 S-2013-025 S-2013-028
S-2013-032 S-2014-004 S-2014-006 S-2014-007 S-2014-011 S-2014-013 S-2014-015 S-2014-018 S-2014-022 S-2014-024 S-2014-026
S-2014-029 S-2014-030 S-2014-036 S-2015-007 S-2015-008 S-2016-005 S-2016-008 S-2017-001 S-2017-002 S-2017-004 S-2018-002
S-2019-006 S-2020-003 S-2020-004 S-2020-005 S-2021-003 S-2025-002 S-2026-001 S-2026-005 S-2026-007 S-2026-015 S-2026-037
X02 X03 X04 X05 X07 X13 X14 X15 X16 X19 X20 X25 X26 X28 X29 X33 X35 X37 X38 X39
OSSN-0004 OSSN-0006 OSSN-0009 OSSN-0010 OSSN-0083 OSSN-0021 OSSN-0053 OSSN-0023 OSSN-0024 OSSN-0052 OSSN-0034 OSSN-0056
OSSN-0042 OSSN-0047 OSSN-0048 OSSN-0055 OSSN-0060 OSSN-0064 OSSN-0068 OSSN-0081
L01 L02 L03 L04 L05 L06 L07 L08 L09 L10 L11 L12 L15 L17 L18 L19
M01 M02 M03 M04 M05 M06 M07 M10 M11 M12 M13 M15 M16
R51 R70 R71 R72 R73 R74";

/// Names of functions that a test runner runs: those after `#[test]` or `#[tokio::test…]`.
fn tests_in(text: &str) -> BTreeSet<&str> {
    let (mut found, mut awaited) = (BTreeSet::new(), false);
    for line in text.lines().map(str::trim) {
        awaited |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        if awaited && let Some((_, rest)) = line.split_once("fn ") {
            found.extend(rest.split(['(', '<']).next());
            awaited = false;
        }
    }
    found
}

#[test]
fn every_row_has_its_answer() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let document = std::fs::read_to_string(top.join("docs/security-identity.md")).unwrap();
    let mut ids = BTreeSet::new();
    let mut wrong = Vec::new();
    for line in
        document.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| id ") && !l.starts_with("| --"))
    {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, reference, fault, answer] = cells[..] else {
            wrong.push(format!("not four cells: {line}"));
            continue;
        };
        for id in id.split(", ") {
            if !ids.insert(id) {
                wrong.push(format!("{id} stands there twice"));
            }
        }
        if fault.is_empty() || (id.starts_with("S-") && !reference.starts_with("CVE-")) {
            wrong.push(format!("{id} does not say what it is about"));
        }
        // `name` ([file](../path)), ...; then words.
        let mut named = 0;
        for part in answer.split("](../").skip(1) {
            let path = part.split(')').next().unwrap_or_default();
            let before = &answer[..answer.find(&format!("](../{path})")).unwrap()];
            let Ok(text) = std::fs::read_to_string(top.join(path)) else {
                wrong.push(format!("{id}: {path} is not there"));
                continue;
            };
            let tests = tests_in(&text);
            let names = before.rsplit(';').next().unwrap_or_default();
            for name in names.split('`').skip(1).step_by(2) {
                named += 1;
                if !tests.contains(name) {
                    wrong.push(format!("{id}: {path} has no test {name}"));
                }
            }
        }
        if named == 0 && !answer.starts_with("Cannot apply:") && !answer.starts_with("Open:") {
            wrong.push(format!("{id} has neither a test nor a reason"));
        }
    }
    for id in ROWS.split_whitespace() {
        if !ids.contains(id) {
            wrong.push(format!("{id} is missing"));
        }
    }
    assert!(wrong.is_empty(), "docs/security-identity.md:\n{}", wrong.join("\n"));
}
