//! What must not happen.

/// A broken promise, with the messages to look for in the trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// An acknowledged message never came.
    #[error("{group} never got {key}, an acknowledged {kind}")]
    Lost {
        /// Consumer group.
        group: String,
        /// Message.
        key: String,
        /// What it is.
        kind: String,
    },
    /// A message came that nobody sent.
    #[error("{group} got {key:?}, which nobody sent")]
    Unknown {
        /// Consumer group.
        group: String,
        /// The first line of its body.
        key: String,
    },
    /// A message came with another body.
    #[error("{group} got {key} with a body that is not the one sent")]
    Corrupt {
        /// Consumer group.
        group: String,
        /// Message.
        key: String,
    },
    /// A message of a message group came although an earlier one was not acked.
    #[error("{group} got {key} before the earlier {earlier} was acked")]
    Overtaken {
        /// Consumer group.
        group: String,
        /// Message.
        key: String,
        /// The earlier one.
        earlier: String,
    },
    /// A message of a message group came although a later one had come.
    #[error("{group} got {key} after the later {later}")]
    WentBack {
        /// Consumer group.
        group: String,
        /// Message.
        key: String,
        /// The later one.
        later: String,
    },
    /// A delayed message came too soon.
    #[error("{group} got {key} {early_ms} ms before its time")]
    Early {
        /// Consumer group.
        group: String,
        /// Message.
        key: String,
        /// By how much.
        early_ms: i64,
    },
    /// A transaction came that its sender did not commit.
    #[error("{group} got {key}, which was never committed")]
    NotCommitted {
        /// Consumer group.
        group: String,
        /// Message.
        key: String,
    },
    /// A stored transaction without outcome, whose sender would have answered.
    #[error("the sender of transaction {key} was not asked for its outcome, or its answers were not taken")]
    NeverAsked {
        /// Message.
        key: String,
    },
    /// A message came although its ack had been acknowledged.
    #[error("{group} got {key} again after its ack was acknowledged")]
    AckForgotten {
        /// Consumer group.
        group: String,
        /// Message.
        key: String,
    },
    /// A message came again for no reason.
    #[error("{group} got {key} again although it was leased, and nothing had happened to the server")]
    Unexplained {
        /// Consumer group.
        group: String,
        /// Message.
        key: String,
    },
}
