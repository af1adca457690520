//! Which SDK a client is, as far as it matters here.

use tonic::metadata::MetadataMap;

use crate::messaging::backoff::Understands;

/// A client's SDK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Its language.
    pub language: Language,
    /// Its version, as it says.
    pub version: String,
}

/// The languages that SDKs exist for. Source of the names: the header `x-mq-language`, facts/grpc.md §3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// `JAVA`
    Java,
    /// `GO`
    Go,
    /// `PYTHON`
    Python,
    /// `HTTP`, oddly.
    Node,
    /// `RUST`
    Rust,
    /// `CPP`
    Cpp,
    /// `DOTNET`
    DotNet,
    /// Anything else, or nothing.
    #[default]
    Other,
}

impl Agent {
    /// What the headers of a call say.
    pub(crate) fn of(headers: &MetadataMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            language: Language::of(text("x-mq-language")),
            version: crate::validate::cut(text("x-mq-client-version")),
        }
    }

    /// Which back-off policies it understands.
    #[must_use]
    pub fn understands(&self) -> Understands {
        match self.language {
            Language::Python => Understands::Customized,
            Language::Node => Understands::Exponential,
            Language::Java | Language::Go | Language::Rust | Language::Cpp | Language::DotNet | Language::Other => {
                Understands::Both
            }
        }
    }

    /// Whether it can read a route that says `PRIORITY`: the versions in which the SDKs' histories have it first.
    #[must_use]
    pub fn knows_priority(&self) -> bool {
        let since = match self.language {
            Language::Java | Language::Python => [5, 1, 1],
            Language::Go => [5, 1, 4],
            Language::Node | Language::Rust | Language::Cpp | Language::DotNet | Language::Other => return false,
        };
        numbers(&self.version) >= since
    }
}

impl Language {
    fn of(name: &str) -> Self {
        match name {
            "JAVA" => Self::Java,
            "GO" => Self::Go,
            "PYTHON" => Self::Python,
            "HTTP" | "NODE_JS" => Self::Node,
            "RUST" => Self::Rust,
            "CPP" => Self::Cpp,
            "DOTNET" => Self::DotNet,
            _ => Self::Other,
        }
    }
}

/// The first three numbers of a version; what is not one is 0.
fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.trim_start_matches('v').split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_is_shown_to_versions_that_know_it() {
        let knows = |language, version: &str| Agent { language, version: version.to_owned() }.knows_priority();
        assert!(knows(Language::Java, "5.2.0"));
        assert!(knows(Language::Java, "5.1.1-SNAPSHOT"));
        assert!(!knows(Language::Java, "5.1.0"));
        assert!(!knows(Language::Java, ""));
        assert!(knows(Language::Go, "v5.1.10"));
        assert!(!knows(Language::Go, "5.0.1-rc1"));
        assert!(!knows(Language::Rust, "9.0.0"));
    }

    #[test]
    fn unknown_languages_are_served_as_others() {
        let mut headers = MetadataMap::new();
        assert_eq!(Agent::of(&headers), Agent::default());
        headers.insert("x-mq-language", "COBOL".parse().expect("valid"));
        assert_eq!(Agent::of(&headers).language, Language::Other);
        headers.insert("x-mq-language", "HTTP".parse().expect("valid"));
        assert_eq!(Agent::of(&headers).understands(), Understands::Exponential);
    }
}
