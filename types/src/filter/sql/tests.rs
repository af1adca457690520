//! Which texts are SQL92 expressions, and what is said of those that are not.

use proptest::prelude::*;

use super::*;

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn places_and_expectations_are_named() {
    let cases = [
        ("", "character 1: expected a property, literal or (, found the end"),
        ("a = ", "character 5: expected a property, literal or (, found the end"),
        ("a = 1 b", "character 7: expected an operator or the end, found b"),
        ("(a = 1", "character 7: expected an operator or ), found the end"),
        ("a IN ('x', 3)", "character 12: expected a 'text', found 3"),
        ("a IN 'x'", "character 6: expected (, found 'x'"),
        ("a IN ('x'", "character 10: expected , or ), found the end"),
        ("a IS 3", "character 6: expected NULL, found 3"),
        ("a BETWEEN 1 OR 2", "character 13: expected AND, found OR"),
        ("a CONTAINS b", "character 12: expected a 'text', found b"),
        ("AND = 1", "character 1: expected a property, literal or (, found AND"),
        ("a NOT = 1", "character 3: expected an operator or the end, found NOT"),
    ];
    for (text, expected) in cases {
        assert!(refused(text).ends_with(expected), "{text}: {}", refused(text));
    }
}

#[test]
fn operands_of_the_wrong_type_are_refused() {
    let cases = [
        ("3", "character 1: this is a value, expected a condition"),
        ("a = 1 AND 'x'", "character 11: this is a value, expected a condition"),
        ("NOT 'x'", "character 5: this is a value, expected a condition"),
        ("-a", "character 1: this is a value, expected a condition"),
        ("a > 'x'", "character 5: texts have no order, only numbers have"),
        ("a > 1 > 2", "character 1: conditions have no order, only numbers have"),
        ("a > TRUE", "character 5: conditions have no order, only numbers have"),
        ("a < NULL", "character 5: conditions have no order, only numbers have"),
        ("a = NULL", "character 5: NULL equals nothing, use IS NULL"),
        ("NULL <> a", "character 1: NULL equals nothing, use IS NULL"),
        ("a BETWEEN 3 AND 2.5", "character 17: the upper bound is below the lower one"),
        ("3 IN ('x')", "character 1: IN takes a property"),
    ];
    for (text, expected) in cases {
        assert!(refused(text).ends_with(expected), "{text}: {}", refused(text));
    }
}

#[test]
fn nesting_is_bounded_but_lists_of_conditions_are_not() {
    let nested = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX - 1)).is_ok());
    assert_eq!(parse(&nested(DEPTH_MAX)), Err(Error::TooDeep { position: DEPTH_MAX + 1, depth_max: DEPTH_MAX }));
    assert!(matches!(parse(&format!("{}a", "NOT ".repeat(100))), Err(Error::TooDeep { .. })));
    assert!(matches!(parse(&format!("a{}", " IS NULL".repeat(100))), Err(Error::TooDeep { .. })));
    assert!(matches!(parse(&format!("a{}", " CONTAINS 'x'".repeat(100))), Err(Error::TooDeep { .. })));
    assert!(parse(&vec!["a = 1"; 1000].join(" OR ")).is_ok());
    assert!(parse(&vec!["(a IS NULL)"; 1000].join(" AND ")).is_ok());
}

#[test]
fn not_binds_tighter_than_comparisons_and_and_than_or() {
    assert_eq!(parse("NOT a = 1"), parse("(NOT a) = 1"));
    assert_eq!(parse("a OR b AND c"), parse("a OR (b AND c)"));
    assert_eq!(parse("a = 1 AND NOT (b = 2)"), parse("a = 1 and not(b = 2)"));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text: String) {
        let _ = parse(&text);
    }

    #[test]
    fn no_sequence_of_words_makes_the_parser_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "b", "1", "2.5", "'x'", "=", "<>", "<", ">=", "(", ")", ",", "+", "-", "NOT", "AND", "OR", "BETWEEN",
            "IN", "TRUE", "NULL", "IS", "CONTAINS", "ENDSWITH", "--", "/*", "*/", "é",
        ]), 0..40),
    ) {
        if let Ok(condition) = parse(&words.join(" ")) {
            crate::filter::evaluate::is_true(&condition, &crate::Properties::parse("a\u{1}1\u{2}b\u{1}x\u{2}"));
        }
    }
}
