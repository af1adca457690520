//! What part of a topic a consumer wants: everything, some tags, or a SQL92 expression over properties.

use crate::Properties;

/// A parsed subscription expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every message (`*`).
    All,
    /// Messages with one of these tags.
    Tags(Vec<String>),
}

impl Filter {
    /// Whether a message with these properties is wanted.
    #[must_use]
    pub fn matches(&self, properties: &Properties) -> bool {
        match self {
            Self::All => true,
            Self::Tags(tags) => properties.get(crate::properties::names::TAGS).is_some_and(|tag| tags.iter().any(|t| t == tag)),
        }
    }
}
