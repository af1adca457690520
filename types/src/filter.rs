//! What part of a topic a consumer wants: everything, some tags, or a SQL92 expression over properties.
//!
//! Source of the semantics: Apache `FilterAPI` (tags) and its `filter` module (SQL92).

mod evaluate;
mod sql;
mod tokens;

use std::fmt;
use std::str::FromStr;

use smallvec::SmallVec;

use crate::Properties;
use crate::message::java_hash;
use crate::properties::names;

/// Longest expression of either kind, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of a SQL92 expression.
pub const DEPTH_MAX: usize = 64;

/// A parsed subscription expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every message (`*`).
    All,
    /// Messages with one of these tags (`a || b`).
    Tags(Tags),
    /// Messages whose properties this SQL92 expression is true of.
    Sql(Sql),
}

/// The languages of subscription expressions. Source: Apache `ExpressionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressionType {
    /// Tags, separated by `||`.
    Tag,
    /// A condition over properties.
    Sql92,
}

/// A set of tags, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Tags {
    names: Vec<String>,
    /// Java hashes of the names, as queues are indexed by them.
    hashes: SmallVec<[i64; 4]>,
}

/// A SQL92 condition, valid by construction.
#[derive(Clone, Debug, PartialEq)]
pub struct Sql {
    /// As it was given: brokers behind Remoting read it for themselves.
    text: Box<str>,
    condition: sql::Expression,
}

/// Why a text is not a subscription expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A language that is not known.
    #[error("expression type {name:?} is unknown, expected TAG or SQL92")]
    Type {
        /// Its name.
        name: String,
    },
    /// Longer than allowed.
    #[error("filter expression is {bytes} bytes, limit is {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// Separators with nothing between them.
    #[error("tag expression {text:?} names no tag")]
    NoTag {
        /// The expression.
        text: String,
    },
    /// Something else where a part of an expression had to be.
    #[error("SQL92 expression, character {position}: expected {expected}, found {found}")]
    Syntax {
        /// Its place, in characters from 1.
        position: usize,
        /// What had to be there.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// Nested too deeply.
    #[error("SQL92 expression, character {position}: nested deeper than {depth_max}")]
    TooDeep {
        /// Where, in characters from 1.
        position: usize,
        /// The deepest allowed.
        depth_max: usize,
    },
    /// An operand of a type that the operator before or behind it does not take.
    #[error("SQL92 expression, character {position}: {problem}")]
    Operand {
        /// Where the operand begins, in characters from 1.
        position: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Filter {
    /// Reads an expression. An empty tag expression and `*` want everything.
    ///
    /// # Errors
    /// [`Error`], which names the place and what was expected there.
    pub fn parse(language: ExpressionType, text: &str) -> Result<Self, Error> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(Error::TooLong { bytes: text.len(), bytes_max: EXPRESSION_BYTES_MAX });
        }
        match language {
            ExpressionType::Sql92 => Ok(Self::Sql(Sql { text: text.into(), condition: sql::parse(text)? })),
            ExpressionType::Tag => {
                let text = trim(text);
                if text.is_empty() || text == "*" {
                    return Ok(Self::All);
                }
                let tags = text.split("||").map(trim).filter(|tag| !tag.is_empty());
                Self::tags(tags).ok_or_else(|| Error::NoTag { text: text.to_owned() })
            }
        }
    }

    /// Messages with one of these tags; `None` when there are none.
    #[must_use]
    pub fn tags<'a>(tags: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<String> = tags.into_iter().map(str::to_owned).collect();
        let hashes = names.iter().map(|name| i64::from(java_hash(name))).collect();
        if names.is_empty() { None } else { Some(Self::Tags(Tags { names, hashes })) }
    }

    /// The expression, as [`Filter::parse`] reads it.
    #[must_use]
    pub fn expression(&self) -> (ExpressionType, String) {
        match self {
            Self::All => (ExpressionType::Tag, "*".to_owned()),
            Self::Tags(tags) => (ExpressionType::Tag, tags.names.join("||")),
            Self::Sql(sql) => (ExpressionType::Sql92, sql.text.to_string()),
        }
    }

    /// Whether a message with these properties is wanted.
    #[must_use]
    pub fn matches(&self, properties: &Properties) -> bool {
        match self {
            Self::All => true,
            Self::Tags(tags) => {
                properties.get(names::TAGS).is_some_and(|tag| tags.names.iter().any(|name| name == tag))
            }
            Self::Sql(sql) => evaluate::is_true(&sql.condition, properties),
        }
    }

    /// Whether a message whose tag has this Java hash (0 without a tag) may be wanted: when not, it need not be read.
    #[must_use]
    pub fn wants_tag_hash(&self, hash: i64) -> bool {
        match self {
            Self::All | Self::Sql(_) => true,
            Self::Tags(tags) => tags.hashes.contains(&hash),
        }
    }
}

impl FromStr for ExpressionType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "TAG" => Ok(Self::Tag),
            "SQL92" => Ok(Self::Sql92),
            _ => Err(Error::Type { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for ExpressionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tag => "TAG",
            Self::Sql92 => "SQL92",
        })
    }
}

/// As Java's `String.trim`.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_read_as_the_filter_it_is_of() {
        for (language, text) in
            [(ExpressionType::Tag, "*"), (ExpressionType::Tag, " a || b "), (ExpressionType::Sql92, "a > 1")]
        {
            let filter = Filter::parse(language, text).expect("valid");
            let (language, text) = filter.expression();
            assert_eq!(Filter::parse(language, &text), Ok(filter));
        }
    }

    fn tagged(tag: &str) -> Properties {
        let mut properties = Properties::new();
        properties.set_own(names::TAGS, tag);
        properties
    }

    #[test]
    fn nothing_and_a_star_want_everything() {
        for text in ["", "  ", "*", " * "] {
            assert_eq!(Filter::parse(ExpressionType::Tag, text), Ok(Filter::All));
        }
        assert!(Filter::All.matches(&Properties::new()) && Filter::All.wants_tag_hash(0));
    }

    #[test]
    fn tags_are_alternatives_and_compared_whole() {
        let filter = Filter::parse(ExpressionType::Tag, " TagA||TagB || ").expect("valid");
        assert!(filter.matches(&tagged("TagA")) && filter.matches(&tagged("TagB")));
        assert!(!filter.matches(&tagged("Tag")) && !filter.matches(&Properties::new()));
        assert!(filter.wants_tag_hash(2_598_919));
        assert!(!filter.wants_tag_hash(0));
    }

    #[test]
    fn a_colliding_hash_is_only_a_maybe() {
        let filter = Filter::tags(["Aa"]).expect("not empty");
        assert!(filter.wants_tag_hash(i64::from(java_hash("BB"))));
        assert!(!filter.matches(&tagged("BB")));
    }

    #[test]
    fn bad_tag_expressions_are_named() {
        assert_eq!(Filter::parse(ExpressionType::Tag, "||"), Err(Error::NoTag { text: "||".to_owned() }));
        let long = "a".repeat(EXPRESSION_BYTES_MAX + 1);
        let too_long = Error::TooLong { bytes: long.len(), bytes_max: EXPRESSION_BYTES_MAX };
        assert_eq!(Filter::parse(ExpressionType::Tag, &long), Err(too_long));
        assert_eq!("SQL".parse::<ExpressionType>(), Err(Error::Type { name: "SQL".to_owned() }));
    }

    #[test]
    fn sql_wants_every_hash_and_decides_by_properties() {
        let filter = Filter::parse(ExpressionType::Sql92, "TAGS = 'TagA' OR a > 1").expect("valid");
        assert!(filter.wants_tag_hash(7));
        assert!(filter.matches(&tagged("TagA")) && !filter.matches(&tagged("TagB")));
    }
}
