//! What goes over a WebSocket, as JSON: a text frame each.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::messaging::{LeaseResult, ReceivedMessage};
use crate::problem::{Document, Problem};

/// What a client says. Every frame is answered once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClientFrame {
    /// What the answer is told by; any text, and what is missing is missing there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it wants.
    #[serde(flatten)]
    pub command: Command,
}

/// What a client wants. Handles are those of the socket's group and topic, whichever way they were received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Command {
    /// So many more messages may come.
    Credit {
        /// Those that are open, together with these, are at most 4,096.
        #[schema(minimum = 1, maximum = 4096)]
        credits: u32,
    },
    /// Messages are done with.
    Ack {
        /// 1 to 1,024 of them.
        #[schema(min_items = 1, max_items = 1024)]
        handles: Vec<String>,
    },
    /// Messages shall come again.
    Nack {
        /// 1 to 1,024 of them.
        #[schema(min_items = 1, max_items = 1024)]
        handles: Vec<String>,
        /// After how long, such as `30s`; at once when missing.
        delay: Option<String>,
        /// Whether the delivery counts as an attempt; `true` when missing.
        counts_as_attempt: Option<bool>,
    },
    /// Messages take longer.
    Extend {
        /// 1 to 1,024 of them.
        #[schema(min_items = 1, max_items = 1024)]
        handles: Vec<String>,
        /// How long they stay invisible from now, such as `5m`.
        invisible: String,
    },
    /// Messages are given up.
    DeadLetter {
        /// 1 to 1,024 of them.
        #[schema(min_items = 1, max_items = 1024)]
        handles: Vec<String>,
    },
}

impl ClientFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// What is wrong with it, and its id if that can be read.
    pub(crate) fn parse(text: &str) -> Result<Self, (Option<String>, Problem)> {
        let refused = |error: serde_json::Error| Problem::invalid_body(&error, error.to_string());
        let mut members: Map<String, Value> = serde_json::from_str(text).map_err(|error| (None, refused(error)))?;
        let id = match members.remove("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id),
            Some(other) => return Err((None, Problem::invalid(format!("id is {other}, expected a text")))),
        };
        match serde_json::from_value(Value::Object(members)) {
            Ok(command) => Ok(Self { id, command }),
            Err(error) => Err((id, refused(error))),
        }
    }
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerFrame {
    /// A message is leased to the client, for a credit.
    Message {
        /// Credits that are left.
        credits: u32,
        /// The message, as every receive shows it.
        message: Box<ReceivedMessage>,
    },
    /// What became of a frame of the client's. Answers come as they are ready, in any order.
    Answer(Answer),
    /// Nothing more can be received: the socket is closed next.
    Problem {
        /// Why.
        problem: Document,
    },
}

/// What became of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Answer {
    /// The frame's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// That of the results if they agree, else 207; or that of the problem.
    pub status: u16,
    /// To `credit`: all that are open now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits: Option<u32>,
    /// One result a handle, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<LeaseResult>,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Document>,
}

impl Answer {
    /// The answer to a frame of which nothing was done.
    pub(crate) fn refused(id: Option<String>, problem: Problem) -> Self {
        Self { id, status: problem.status.as_u16(), problem: Some(problem.document()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_command_with_an_id() {
        let frame = ClientFrame::parse(r#"{"type": "ack", "id": "7", "handles": ["h"]}"#).expect("valid");
        let handles = vec!["h".to_owned()];
        assert_eq!(frame, ClientFrame { id: Some("7".to_owned()), command: Command::Ack { handles } });
        let frame = ClientFrame::parse(r#"{"type": "credit", "credits": 3}"#).expect("valid");
        assert_eq!(frame, ClientFrame { id: None, command: Command::Credit { credits: 3 } });
    }

    #[test]
    fn a_bad_frame_is_named_with_its_id() {
        for (text, id, detail) in [
            ("", None, "EOF"),
            ("[]", None, "expected a map"),
            (r#"{"type": "credit", "credits": 1, "id": 7}"#, None, "id is 7"),
            (r#"{"id": "a"}"#, Some("a"), "missing field `type`"),
            (r#"{"id": "a", "type": "send"}"#, Some("a"), "unknown variant `send`"),
            (r#"{"id": "a", "type": "ack", "handles": [], "topic": "t"}"#, Some("a"), "unknown field `topic`"),
            (r#"{"id": "a", "type": "ack", "handles": "h"}"#, Some("a"), "expected a sequence"),
            (r#"{"id": "a", "type": "credit", "credits": -1}"#, Some("a"), "expected u32"),
        ] {
            let (named, problem) = ClientFrame::parse(text).expect_err(text);
            assert_eq!(named.as_deref(), id, "{text}");
            assert!(problem.detail.contains(detail), "{text}: {}", problem.detail);
        }
    }
}
