//! A command: what one frame says, request or response.

use bytes::Bytes;

use crate::code::{RequestCode, ResponseCode};
use crate::fields::Fields;

/// What we say of our version: clients ask more of a peer that is new enough. Source: Apache 5.5 `MQVersion` (V5_5_0).
pub const VERSION: i32 = 513;

/// Tells a request's answer from others on the same connection; each direction has numbers of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Opaque(pub i32);

/// How a header is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SerializeType {
    /// A JSON object.
    #[default]
    Json,
    /// RocketMQ's own, binary; codes above 32,767 have no room in it.
    RocketMq,
}

impl SerializeType {
    /// The frame's byte.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Json => 0,
            Self::RocketMq => 1,
        }
    }
}

/// What kind of command it is; bits that nobody knows are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flag(pub i32);

impl Flag {
    const RESPONSE: i32 = 1;
    const ONEWAY: i32 = 2;

    /// Whether it answers a request.
    #[must_use]
    pub const fn is_response(self) -> bool {
        self.0 & Self::RESPONSE != 0
    }

    /// Whether nobody waits for an answer; none may be given then, not even of an error.
    #[must_use]
    pub const fn is_oneway(self) -> bool {
        self.0 & Self::ONEWAY != 0
    }
}

/// What a peer is written in, by Apache's number. Source: `LanguageCode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(u8);

impl Language {
    const NAMES: [&str; 14] = [
        "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST",
        "NODE_JS",
    ];
    /// What a header without a language means.
    pub const JAVA: Self = Self(0);
    /// One that has no number.
    pub const OTHER: Self = Self(7);
    /// Ours.
    pub const RUST: Self = Self(12);

    /// By its number; [`Language::OTHER`] if there is none.
    #[must_use]
    pub fn of_number(number: u8) -> Self {
        if usize::from(number) < Self::NAMES.len() { Self(number) } else { Self::OTHER }
    }

    /// By its name; [`Language::OTHER`] if there is none.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        // There are 14.
        Self::NAMES.iter().position(|known| *known == name).map_or(Self::OTHER, |number| Self(number as u8))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }
}

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// A request's code, or a response's: [`Command::request_code`], [`Command::response_code`].
    pub code: i32,
    /// What the peer is written in.
    pub language: Language,
    /// The peer's version, an ordinal of `MQVersion`.
    pub version: i32,
    /// Chosen by who asks, repeated by who answers.
    pub opaque: Opaque,
    /// What kind it is.
    pub flag: Flag,
    /// What a response says to people.
    pub remark: Option<String>,
    /// The code's own fields, and those that hooks add to any request.
    pub fields: Fields,
    /// The rest.
    pub body: Bytes,
    /// How the header is written.
    pub serialize_type: SerializeType,
}

impl Command {
    /// A request of ours; the connection that sends it sets `opaque`.
    #[must_use]
    pub fn request(code: RequestCode, fields: Fields, body: Bytes) -> Self {
        Self {
            code: code.number(),
            language: Language::RUST,
            version: VERSION,
            opaque: Opaque::default(),
            flag: Flag::default(),
            remark: None,
            fields,
            body,
            serialize_type: SerializeType::Json,
        }
    }

    /// The same, as one that gets no answer.
    #[must_use]
    pub fn oneway(self) -> Self {
        Self { flag: Flag(self.flag.0 | Flag::ONEWAY), ..self }
    }

    /// An answer to this request, in the same serialisation: who writes it can read it.
    #[must_use]
    pub fn answer(&self, code: ResponseCode) -> Self {
        Self {
            code: code.number(),
            language: Language::RUST,
            version: VERSION,
            opaque: self.opaque,
            flag: Flag(Flag::RESPONSE),
            remark: None,
            fields: Fields::default(),
            body: Bytes::new(),
            serialize_type: self.serialize_type,
        }
    }

    /// What is said to a request of a code that is not served. Source of the words: Apache 5.5 `NettyRemotingAbstract`.
    #[must_use]
    pub fn not_supported(&self) -> String {
        format!(" request type {} not supported", self.code)
    }

    /// What a request asks for.
    #[must_use]
    pub fn request_code(&self) -> RequestCode {
        RequestCode::of(self.code)
    }

    /// How a response says it went.
    #[must_use]
    pub fn response_code(&self) -> ResponseCode {
        ResponseCode::of(self.code)
    }
}
