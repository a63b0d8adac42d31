//! The operators of extra specs: `>= 4`, `s== x`, `<in> y`, `<or> a <or> b`.

/// Whether `value` satisfies the requirement `wanted`. Without an operator they must be equal.
pub fn matches(value: &str, wanted: &str) -> bool {
    let mut words = wanted.split_whitespace();
    let Some(operator) = words.next() else { return value == wanted };
    let words: Vec<&str> = words.collect();
    let first = words.first().copied();
    let number = |compare: fn(f64, f64) -> bool| match (value.trim().parse(), first.map(str::parse)) {
        (Ok(have), Some(Ok(want))) => compare(have, want),
        _ => false,
    };
    let text = |compare: fn(&str, &str) -> bool| first.is_some_and(|want| compare(value, want));
    match operator {
        // Nova's `=` is "at least".
        "=" | ">=" => number(|a, b| a >= b),
        "==" => number(|a, b| a == b),
        "!=" => number(|a, b| a != b),
        "<=" => number(|a, b| a <= b),
        ">" => number(|a, b| a > b),
        "<" => number(|a, b| a < b),
        "s==" => text(|a, b| a == b),
        "s!=" => text(|a, b| a != b),
        "s>=" => text(|a, b| a >= b),
        "s>" => text(|a, b| a > b),
        "s<=" => text(|a, b| a <= b),
        "s<" => text(|a, b| a < b),
        "<in>" => text(|a, b| a.contains(b)),
        "<all-in>" => !words.is_empty() && words.iter().all(|w| value.contains(w)),
        // Every second word is a repeated `<or>`.
        "<or>" => words.iter().step_by(2).any(|w| *w == value),
        _ => value == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn every_operator_as_in_nova() {
        let yes = [
            ("1", "1"),
            ("2", "= 1"),
            ("123", "= 123"),
            ("2", ">= 2"),
            ("2", "<= 2"),
            ("2", "== 2.0"),
            ("1", "!= 2"),
            ("2", "> 1"),
            ("1", "< 2"),
            ("x", "s== x"),
            ("x", "s!= y"),
            ("b", "s> a"),
            ("b", "s>= b"),
            ("a", "s< b"),
            ("a", "s<= a"),
            ("12311321", "<in> 11"),
            ("['aes', 'mmx', 'aux']", "<all-in> aes mmx"),
            ("12", "<or> 11 <or> 12"),
            ("12", "<or> 12 <or>"),
            ("", ""),
        ];
        for (value, wanted) in yes {
            assert!(matches(value, wanted), "{value:?} should satisfy {wanted:?}");
        }
        let no = [
            ("1", "2"),
            ("222", "2"),
            ("1", "= 2"),
            ("3", "<= 2"),
            ("1", ">= 2"),
            ("1", "== 2"),
            ("2", "!= 2"),
            ("x", "== 2"),
            ("2", "== x"),
            ("2", "> 2"),
            ("2", "< 2"),
            ("x", "s== y"),
            ("x", "s!= x"),
            ("a", "s> b"),
            ("12310321", "<in> 11"),
            ("aes", "<all-in> aes mmx"),
            ("aes", "<all-in>"),
            ("13", "<or> 11 <or> 12"),
            ("x", "<or>"),
            ("x", ">="),
        ];
        for (value, wanted) in no {
            assert!(!matches(value, wanted), "{value:?} should not satisfy {wanted:?}");
        }
    }
}
