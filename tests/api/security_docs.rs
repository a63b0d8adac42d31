//! `docs/security-*.md`: a row for every published fault that is about the service, and every test it names exists.

use std::{collections::BTreeSet, path::Path};

/// Advisories, CVEs, notes, lessons, matrices, failures.
const IDENTITY: &str = "
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

/// The same, and the corpus, invariants and goals.
const IMAGE: &str = "
S-2011-001 S-2012-008 S-2012-011 S-2012-017 S-2013-002 S-2013-004 S-2013-007 S-2013-010 S-2013-012 S-2013-013 S-2013-018
S-2013-023 S-2013-027 S-2013-029 S-2013-037 S-2014-001 S-2014-004 S-2014-009 S-2014-011 S-2014-012 S-2014-028 S-2014-036
S-2014-041 S-2015-002 S-2015-003 S-2015-004 S-2015-007 S-2015-008 S-2015-013 S-2015-014 S-2015-019 S-2015-020 S-2016-001
S-2016-006 S-2016-007 S-2016-012 S-2017-001 S-2017-002 S-2017-005 S-2017-006 S-2023-002 S-2024-001 S-2024-002 S-2026-001
S-2026-002 S-2026-004 S-2026-015 S-2026-038
X02 X05 X06 X08 X10 X11 X12 X18 X30 X34 X35 X36 X38 X39 X40
OSSN-0005 OSSN-0013 OSSN-0015 OSSN-0023 OSSN-0026 OSSN-0028 OSSN-0057 OSSN-0061 OSSN-0065 OSSN-0075 OSSN-0076 OSSN-0078
OSSN-0090 OSSN-0105
L01 L02 L03 L04 L05 L06 L07 L09 L10 L11 L12 L13 L14 L15 L16 L17 L18 L19
M01 M02 M03 M04 M05 M07 M08 M10 M11 M12 M14 M15 M16
IMG-01 IMG-02 IMG-03 IMG-04 IMG-05 IMG-06 IMG-07 IMG-08 IMG-09 IMG-10 IMG-11 IMG-12 IMG-13 IMG-14 IMG-15 IMG-16 IMG-17
IMG-18 IMG-19 IMG-20 IMG-21 IMG-22 IMG-23 IMG-24 IMG-25
I01 I07 I08 I09
R35 R36 R37 R38 R52 R53 R54 R55 R57 R58 R59 R60 R61 R62 R63 R64 R65 R66 R67 R68 R69
U7
G14 G15";

/// Names of functions that a test runner runs: those after `#[test]` or `#[tokio::test…]`.
fn tests_in(text: &str) -> BTreeSet<&str> {
    let (mut found, mut awaited) = (BTreeSet::new(), false);
    for line in text.lines().map(str::trim) {
        awaited |=
            ["#[test]", "#[tokio::test", "#[actix_web::test"].iter().any(|mark| line.starts_with(mark));
        // Tests of a `proptest!` have their mark too.
        if awaited && let Some((_, rest)) = line.split_once("fn ") {
            found.extend(rest.split(['(', '<']).next());
            awaited = false;
        }
    }
    found
}

/// Every one of `rows` stands in `name` once, with tests that are there or a reason.
fn check(name: &str, rows: &str) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = std::fs::read_to_string(top.join(name)).unwrap();
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
    for id in rows.split_whitespace() {
        if !ids.contains(id) {
            wrong.push(format!("{id} is missing"));
        }
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

#[test]
fn every_row_about_identity_has_its_answer() {
    check("docs/security-identity.md", IDENTITY);
}

#[test]
fn every_row_about_images_has_its_answer() {
    check("docs/security-image.md", IMAGE);
}
