//! What a SQL92 condition is of a message's properties: true, false or unknown.
//!
//! Three-valued as in Apache: a missing property is unknown, AND and OR know what they know from one side, NOT of
//! unknown is unknown, and only a condition that is true selects the message. Three points that surprise:
//! - `a = b` is unknown when `a` is missing but false when only `b` is (so `a <> b` is then true);
//! - CONTAINS, STARTSWITH, ENDSWITH and their NOT forms are false of a missing property;
//! - a property that has to be a number and is not ends the whole evaluation: the message is not selected, whatever
//!   else is true of it.
//!
//! Properties are texts; one that is compared with a number, or ordered, is read as a number. Apache reads it
//! as the literal's type, so there `a > 1` fails on `1.5`; here numbers are numbers.
//!
//! Source: `evaluate` of Apache's `ComparisonExpression`, `LogicExpression`, `UnaryExpression`.

use std::cmp::Ordering;

use super::sql::{Expression, Order, Part};
use crate::Properties;

/// A value while it is evaluated; texts are borrowed from the message or the expression.
#[derive(Clone, Copy)]
enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

/// Something is not a number that has to be one.
struct NotANumber;

/// Whether the condition is true of a message.
pub(super) fn is_true(condition: &Expression, properties: &Properties) -> bool {
    matches!(truth(condition, properties), Ok(Some(true)))
}

/// `None` is unknown.
fn truth(condition: &Expression, properties: &Properties) -> Result<Option<bool>, NotANumber> {
    Ok(match condition {
        Expression::And(parts) => all_are(parts, true, properties)?,
        Expression::Or(parts) => all_are(parts, false, properties)?,
        Expression::Not(inner) => truth(inner, properties)?.map(|is_true| !is_true),
        Expression::IsNull(inner) => Some(matches!(value(inner, properties)?, Value::Null)),
        Expression::Equal(left, right) => equal(value(left, properties)?, value(right, properties)?)?,
        Expression::Order(left, order, right) => {
            compare(value(left, properties)?, value(right, properties)?)?.map(|found| order.holds(found))
        }
        Expression::Match { value: inner, part, search, is_not } => {
            let Value::Text(text) = value(inner, properties)? else { return Ok(Some(false)) };
            Some(!search.is_empty() && part.is_in(text, search) != *is_not)
        }
        Expression::In { property, texts, is_not } => {
            properties.get(property).map(|text| texts.iter().any(|one| one == text) != *is_not)
        }
        Expression::Truth(inner) => match value(inner, properties)? {
            Value::Null => None,
            Value::Bool(is_true) => Some(is_true),
            Value::Int(_) | Value::Float(_) | Value::Text(_) => Some(false),
        },
        Expression::Bool(is_true) => Some(*is_true),
        Expression::Null
        | Expression::Int(_)
        | Expression::Float(_)
        | Expression::Text(_)
        | Expression::Property(_)
        | Expression::Negate(_) => None,
    })
}

/// AND (`wanted` is true) and OR (false): the first part that is otherwise decides, else unknown ones do.
fn all_are(parts: &[Expression], wanted: bool, properties: &Properties) -> Result<Option<bool>, NotANumber> {
    let mut result = Some(wanted);
    for part in parts {
        match truth(part, properties)? {
            Some(found) if found != wanted => return Ok(Some(found)),
            Some(_) => {}
            None => result = None,
        }
    }
    Ok(result)
}

fn value<'a>(expression: &'a Expression, properties: &'a Properties) -> Result<Value<'a>, NotANumber> {
    Ok(match expression {
        Expression::Null => Value::Null,
        Expression::Int(value) => Value::Int(*value),
        Expression::Float(value) => Value::Float(*value),
        Expression::Text(text) => Value::Text(text),
        Expression::Property(name) => properties.get(name).map_or(Value::Null, Value::Text),
        Expression::Negate(inner) => match value(inner, properties)? {
            Value::Int(value) => Value::Int(value.saturating_neg()),
            Value::Float(value) => Value::Float(-value),
            Value::Null | Value::Bool(_) | Value::Text(_) => Value::Null,
        },
        Expression::Bool(_)
        | Expression::Truth(_)
        | Expression::Not(_)
        | Expression::And(_)
        | Expression::Or(_)
        | Expression::IsNull(_)
        | Expression::Equal(..)
        | Expression::Order(..)
        | Expression::Match { .. }
        | Expression::In { .. } => truth(expression, properties)?.map_or(Value::Null, Value::Bool),
    })
}

fn equal(left: Value<'_>, right: Value<'_>) -> Result<Option<bool>, NotANumber> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => Some(true),
        (Value::Null, _) => None,
        (_, Value::Null) => Some(false),
        (Value::Text(left), Value::Text(right)) => Some(left == right),
        (Value::Bool(left), Value::Bool(right)) => Some(left == right),
        (Value::Text(text), Value::Bool(is_true)) | (Value::Bool(is_true), Value::Text(text)) => {
            Some(text.eq_ignore_ascii_case("true") == is_true)
        }
        (Value::Bool(_), _) | (_, Value::Bool(_)) => Some(false),
        _ => compare(left, right)?.map(Ordering::is_eq),
    })
}

/// The order of two numbers; `None` when one is unknown.
fn compare(left: Value<'_>, right: Value<'_>) -> Result<Option<Ordering>, NotANumber> {
    if matches!(left, Value::Null) || matches!(right, Value::Null) {
        return Ok(None);
    }
    let (left, right) = (left.number()?, right.number()?);
    let ordering = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(&right)),
        _ => left.float().partial_cmp(&right.float()),
    };
    ordering.map(Some).ok_or(NotANumber)
}

impl Value<'_> {
    /// A number from a number or from a text that is one.
    fn number(self) -> Result<Self, NotANumber> {
        match self {
            Self::Int(_) | Self::Float(_) => Ok(self),
            Self::Text(text) => match text.parse() {
                Ok(value) => Ok(Self::Int(value)),
                Err(_) => text.parse().ok().filter(|value: &f64| value.is_finite()).map(Self::Float).ok_or(NotANumber),
            },
            Self::Null | Self::Bool(_) => Err(NotANumber),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as Java converts a long that meets a double")]
    fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
            Self::Null | Self::Bool(_) | Self::Text(_) => f64::NAN,
        }
    }
}

impl Order {
    fn holds(self, found: Ordering) -> bool {
        match self {
            Self::Less => found.is_lt(),
            Self::LessOrEqual => found.is_le(),
            Self::Greater => found.is_gt(),
            Self::GreaterOrEqual => found.is_ge(),
        }
    }
}

impl Part {
    fn is_in(self, text: &str, search: &str) -> bool {
        match self {
            Self::Anywhere => text.contains(search),
            Self::Start => text.starts_with(search),
            Self::End => text.ends_with(search),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sql::parse;
    use super::*;

    /// A message with `i` = 5, `f` = 2.5, `s` = abc, `t` = true, `TAGS` = TagA; `n` is missing.
    fn message() -> Properties {
        Properties::parse("i\u{1}5\u{2}f\u{1}2.5\u{2}s\u{1}abc\u{2}t\u{1}true\u{2}TAGS\u{1}TagA\u{2}")
    }

    fn check(expected: Option<bool>, conditions: &[&str]) {
        for condition in conditions {
            let parsed = parse(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
            let found = truth(&parsed, &message()).ok();
            assert_eq!(found, Some(expected), "{condition}");
        }
    }

    #[test]
    fn comparisons_of_numbers_and_texts() {
        let yes = ["i = 5", "i = 5.0", "i > 4", "i >= 5", "f < i", "f = 2.5", "i <> 6", "s = 'abc'", "5 = i", "-1 < i"];
        check(Some(true), &yes);
        check(Some(true), &["i BETWEEN 5 AND 6", "i NOT BETWEEN 6 AND 7", "f BETWEEN -1 AND +2.5", "i > f"]);
        check(Some(false), &["i = 6", "i < 5", "s = 'ABC'", "i BETWEEN 6 AND 7", "s <> 'abc'", "f >= 2.6"]);
        check(Some(true), &["TAGS = 'TagA'", "s IN ('x', 'abc')", "s NOT IN ('x')", "(i = 5) = TRUE", "1 = 1"]);
    }

    #[test]
    fn parts_of_texts() {
        check(Some(true), &["s CONTAINS 'b'", "s STARTSWITH 'ab'", "s ENDSWITH 'bc'", "s NOT CONTAINS 'x'"]);
        check(Some(false), &["s CONTAINS 'x'", "s NOT STARTSWITH 'a'", "s NOT ENDSWITH 'c'", "s CONTAINS ''"]);
        check(Some(false), &["n CONTAINS 'x'", "n NOT CONTAINS 'x'", "s NOT CONTAINS ''", "5 CONTAINS '5'"]);
    }

    #[test]
    fn missing_properties_are_unknown() {
        check(None, &["n = 1", "n <> 1", "n > 1", "1 < n", "n IN ('x')", "n NOT IN ('x')", "NOT n", "n", "NULL"]);
        check(None, &["n = 1 AND i = 5", "n = 1 OR i = 6", "n BETWEEN 1 AND 2", "NOT (n = 1)", "n > 1 AND n < 3"]);
        check(Some(false), &["n = 1 AND i = 6", "i = 6 AND n = 1", "s = n", "n IS NOT NULL", "s IS NULL"]);
        check(Some(true), &["n = 1 OR i = 5", "i = 5 OR n = 1", "s <> n", "n IS NULL", "s IS NOT NULL", "n = m"]);
    }

    #[test]
    fn booleans_are_words_of_their_own() {
        check(Some(true), &["TRUE", "t = TRUE", "s = FALSE", "TRUE = t", "NOT FALSE", "NOT t"]);
        check(Some(false), &["t", "FALSE", "t = FALSE", "TRUE = 1", "i = TRUE AND TRUE"]);
    }

    #[test]
    fn what_has_to_be_a_number_and_is_not_selects_nothing() {
        for condition in ["s > 1", "s = 1", "NOT (s > 1)", "s > 1 OR i = 5", "s < s", "s BETWEEN 1 AND 2"] {
            assert!(truth(&parse(condition).expect("valid"), &message()).is_err(), "{condition}");
        }
        check(Some(true), &["i = 5 OR s > 1"]);
    }

    #[test]
    fn only_finite_numbers_are_numbers() {
        let infinite = Properties::parse("i\u{1}inf\u{2}");
        assert!(!is_true(&parse("i > 1").expect("valid"), &infinite));
        check(Some(true), &["9223372036854775807 > 9223372036854775806"]);
    }
}
