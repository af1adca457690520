//! Sending: may the topic take it, which queue, and what the broker made of it.

use std::sync::Arc;

use types::broker::{LookupError, SendError, SendReceipt};
use types::properties::names;
use types::{Message, MessageType, QueueId, TopicConfig, TopicName, TopicType};

use super::{Messaging, queue_choice};

/// Why nothing of a send was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The topic cannot be looked up.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The topic may not be written.
    #[error("topic {topic} is not writable")]
    NotWritable {
        /// Its name.
        topic: TopicName,
    },
    /// The topic does not take messages of this type.
    #[error(
        "message type is {message_type}, topic {topic} takes {topic_type}; \
         change it: gantry admin topic update {topic} --type {message_type}"
    )]
    TypeMismatch {
        /// Its name.
        topic: TopicName,
        /// What it takes.
        topic_type: TopicType,
        /// What the message is.
        message_type: MessageType,
    },
}

impl Messaging {
    /// Stores messages of one topic, whose types are beside them, and returns one result each, in order.
    ///
    /// Messages with a message group go to the group's queue, whatever happens there: another queue would break their
    /// order. The others of one call go to one queue together.
    ///
    /// # Errors
    /// [`Error`], when nothing was sent to the broker.
    pub async fn send(
        &self,
        topic: &TopicName,
        messages: Vec<Message>,
        types: &[MessageType],
    ) -> Result<Vec<Result<SendReceipt, SendError>>, Error> {
        let config = self.shared.broker.topic(topic).await?;
        check(&config, types)?;
        let queues = self.queues(&config, &messages, types);
        match queues.as_slice() {
            [first, rest @ ..] if rest.iter().all(|queue| queue == first) => {
                Ok(self.shared.broker.send(*first, messages).await)
            }
            _ => Ok(self.send_apart(&queues, messages).await),
        }
    }

    fn queues(&self, config: &TopicConfig, messages: &[Message], types: &[MessageType]) -> Vec<QueueId> {
        let mut round = None;
        let is_ranked = config.topic_type == TopicType::Only(MessageType::Priority);
        let mut queue = |(message, message_type): (&Message, &MessageType)| {
            // A normal message has neither group nor priority.
            let properties = Some(&message.properties).filter(|_| *message_type != MessageType::Normal);
            if let Some(group) = properties.and_then(|properties| properties.get(names::MESSAGE_GROUP)) {
                return queue_choice::of_group(group, config.write_queues);
            }
            let priority = properties.filter(|_| is_ranked).and_then(|properties| properties.get_i64(names::PRIORITY));
            if let Some(priority) = priority {
                return queue_choice::of_priority(priority, config.write_queues);
            }
            let round = *round.get_or_insert_with(|| self.next_round(&config.name));
            queue_choice::of_round(round, config.write_queues)
        };
        messages.iter().zip(types).map(&mut queue).collect()
    }

    /// Sends to several queues, one after the other, keeping the order within each.
    async fn send_apart(&self, queues: &[QueueId], messages: Vec<Message>) -> Vec<Result<SendReceipt, SendError>> {
        let mut parts: Vec<(QueueId, Vec<usize>, Vec<Message>)> = Vec::new();
        for (index, (queue, message)) in queues.iter().zip(messages).enumerate() {
            match parts.iter_mut().find(|(of, _, _)| of == queue) {
                Some((_, indexes, part)) => {
                    indexes.push(index);
                    part.push(message);
                }
                None => parts.push((*queue, vec![index], vec![message])),
            }
        }
        let mut results = Vec::with_capacity(queues.len());
        for (queue, indexes, part) in parts {
            let sent = self.shared.broker.send(queue, part).await;
            results.extend(indexes.into_iter().zip(sent));
        }
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

fn check(config: &Arc<TopicConfig>, types: &[MessageType]) -> Result<(), Error> {
    let topic = || config.name.clone();
    if !config.is_writable || config.write_queues == 0 {
        return Err(Error::NotWritable { topic: topic() });
    }
    // What a retry or dead-letter topic takes is what its group consumed.
    if config.name.is_retry() || config.name.is_dead_letter() {
        return Ok(());
    }
    match types.iter().find(|message_type| !config.topic_type.accepts(**message_type)) {
        Some(message_type) => {
            Err(Error::TypeMismatch { topic: topic(), topic_type: config.topic_type, message_type: *message_type })
        }
        None => Ok(()),
    }
}
