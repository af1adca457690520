//! The topic in which gateways keep what they must agree on.

use std::sync::Arc;

use types::admin::AdminError;
use types::broker::LookupError;
use types::{Admin as _, GroupConfig, GroupName, MessageType, TopicConfig, TopicName, TopicType};

use super::LocalBroker;

impl LocalBroker {
    /// As [`types::Broker::shared_topic`].
    pub(super) async fn find_shared(&self, name: &TopicName, make: bool) -> Result<Arc<TopicConfig>, LookupError> {
        let not_found = || LookupError::TopicNotFound { topic: name.clone() };
        if let Some(known) = self.known_topic(name) {
            return Ok(known);
        }
        if !make {
            return Err(not_found());
        }
        let group = GroupName::new(name.as_str()).map_err(|_| not_found())?;
        done(self.put_group(GroupConfig::new(group), false).await)?;
        let config = TopicConfig::new(name.clone(), 1, TopicType::Only(MessageType::Normal));
        done(self.put_topic(config, false).await)?;
        self.known_topic(name).ok_or_else(not_found)
    }
}

/// That it is there already is as good; the name is never one that the catalog refuses.
fn done(made: Result<(), AdminError>) -> Result<(), LookupError> {
    match made {
        Ok(()) | Err(AdminError::Exists { .. }) => Ok(()),
        Err(AdminError::Lookup(error)) => Err(error),
        Err(AdminError::Unavailable(error)) => Err(error.into()),
        Err(
            error @ (AdminError::QueueCount { .. }
            | AdminError::QueuesShrink { .. }
            | AdminError::System { .. }
            | AdminError::Uneven { .. }
            | AdminError::Unsupported { .. }),
        ) => {
            unreachable!("one queue of an ordinary topic: {error}")
        }
    }
}
