//! What happens in a run, in the words of those who see it: clients and the one who kills. A trace is a file of these,
//! one JSON object a line, in the order in which they were written down.
//!
//! What a client wants is written before the request leaves, what it learnt after the reply came: so when an event stands before another
//! in the trace, its cause did too.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A line of the trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Wall clock, milliseconds since 1970, when it was seen.
    pub(crate) at_ms: i64,
    /// What was seen.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What was seen. A message is named by its key, which is also the first line of its body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum What {
    /// The run begins; these groups exist before the first send, so each has to get every message.
    Began {
        /// Fixes workload and kill plan.
        seed: u64,
        /// The consumer groups.
        groups: Vec<String>,
    },
    /// The server answers.
    Started {
        /// Kills before.
        kills: u32,
        /// Milliseconds since the process was started.
        after_ms: u64,
    },
    /// SIGKILL was sent and the process is gone.
    Killed {
        /// Kills before.
        kills: u32,
    },
    /// A send leaves.
    Sending {
        /// Message.
        key: String,
        /// What it is.
        kind: Kind,
    },
    /// The send was acknowledged.
    Sent {
        /// Message.
        key: String,
    },
    /// The send was not acknowledged; the message may be stored all the same.
    NotSent {
        /// Message.
        key: String,
        /// What came instead.
        error: String,
    },
    /// The server asks for the outcome of a transaction.
    Asked {
        /// Message.
        key: String,
        /// The body is what was sent.
        is_intact: bool,
    },
    /// An outcome leaves.
    Ending {
        /// Message.
        key: String,
        /// To commit, else to roll back.
        is_commit: bool,
        /// It answers a question.
        is_answer: bool,
    },
    /// The outcome was acknowledged.
    Ended {
        /// Message.
        key: String,
        /// It was a commit.
        is_commit: bool,
    },
    /// The outcome was refused, or got no reply and may count or not.
    NotEnded {
        /// Message.
        key: String,
        /// The server answered, and not with OK.
        is_refused: bool,
        /// What came instead.
        error: String,
    },
    /// A message came.
    Delivered {
        /// To this group.
        group: String,
        /// Message.
        key: String,
        /// Which delivery of it the server says this is.
        attempt: i32,
        /// The body is what was sent.
        is_intact: bool,
        /// How long it is this consumer's; `None` for as long as the consumer lives.
        lease_ms: Option<i64>,
        /// Kills before the receive left: with more by now, it is what a process that is gone had written.
        kills: u32,
    },
    /// An ack leaves.
    Acking {
        /// Of this group.
        group: String,
        /// Message.
        key: String,
    },
    /// The ack was acknowledged.
    Acked {
        /// Of this group.
        group: String,
        /// Message.
        key: String,
    },
    /// The ack was refused, or got no reply and may count or not.
    NotAcked {
        /// Of this group.
        group: String,
        /// Message.
        key: String,
        /// The server answered, and not with OK.
        is_refused: bool,
        /// What came instead.
        error: String,
    },
    /// A wish to have a message again leaves.
    Changing {
        /// Of this group.
        group: String,
        /// Message.
        key: String,
        /// After this time.
        invisible_ms: u64,
    },
    /// The wish was acknowledged.
    Changed {
        /// Of this group.
        group: String,
        /// Message.
        key: String,
    },
    /// The wish was refused or got no reply.
    NotChanged {
        /// Of this group.
        group: String,
        /// Message.
        key: String,
        /// What came instead.
        error: String,
    },
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Nothing special.
    Normal,
    /// In order with the others of its message group, which has one sender that sends one after the other.
    Fifo {
        /// The message group.
        message_group: String,
    },
    /// Not before its time.
    Delay {
        /// Milliseconds since 1970.
        deliver_at_ms: i64,
    },
    /// As its sender decides.
    Transaction {
        /// How it decides.
        decision: Decision,
    },
}

/// What the sender of a transaction does with it. It never changes its mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    /// Commits at once, and when asked.
    Commit,
    /// Rolls back at once, and when asked.
    Rollback,
    /// Commits only when asked.
    CommitWhenAsked,
    /// Rolls back only when asked.
    RollbackWhenAsked,
    /// Never says anything.
    Silence,
}

impl Decision {
    /// What it says when asked; `None` for nothing.
    pub(crate) fn is_commit(self) -> Option<bool> {
        match self {
            Self::Commit | Self::CommitWhenAsked => Some(true),
            Self::Rollback | Self::RollbackWhenAsked => Some(false),
            Self::Silence => None,
        }
    }

    /// Whether it waits to be asked.
    pub(crate) fn waits(self) -> bool {
        !matches!(self, Self::Commit | Self::Rollback)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal message"),
            Self::Fifo { message_group } => write!(f, "message of group {message_group}"),
            Self::Delay { deliver_at_ms } => write!(f, "message due at {deliver_at_ms}"),
            Self::Transaction { decision } => write!(f, "transaction ({decision:?})"),
        }
    }
}
