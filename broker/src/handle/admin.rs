//! What operators ask of the catalog: every request goes to the engine, which owns it. Messages are found in `query`.

use async_trait::async_trait;
use bytes::Bytes;
use types::admin::{AdminError, FoundMessages, GroupDescription, MessageQuery, TopicDescription};
use types::broker::{LookupError, Unavailable};
use types::{Admin, GroupConfig, GroupName, PhysicalOffset, TopicConfig, TopicName};

use super::LocalBroker;
use crate::command::{AdminCommand, Command, Reply};

impl LocalBroker {
    async fn administer<T>(&self, command: impl FnOnce(Reply<T>) -> AdminCommand) -> Result<T, AdminError> {
        let answered = self.ask(|reply| Command::Admin(command(reply))).await;
        answered.map_err(|why: Unavailable| LookupError::Unavailable(why).into())
    }
}

#[async_trait]
impl Admin for LocalBroker {
    async fn put_topic(&self, config: TopicConfig, is_update: bool) -> Result<(), AdminError> {
        self.administer(|reply| AdminCommand::PutTopic { config, is_update, reply }).await?
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<(), AdminError> {
        let name = name.clone();
        self.administer(|reply| AdminCommand::DeleteTopic { name, reply }).await?
    }

    async fn topics(&self) -> Result<Vec<TopicConfig>, AdminError> {
        self.administer(|reply| AdminCommand::Topics { reply }).await
    }

    async fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription, AdminError> {
        let name = name.clone();
        self.administer(|reply| AdminCommand::DescribeTopic { name, reply }).await?
    }

    async fn put_group(&self, config: GroupConfig, is_update: bool) -> Result<(), AdminError> {
        self.administer(|reply| AdminCommand::PutGroup { config, is_update, reply }).await?
    }

    async fn delete_group(&self, name: &GroupName) -> Result<(), AdminError> {
        let name = name.clone();
        self.administer(|reply| AdminCommand::DeleteGroup { name, reply }).await?
    }

    async fn groups(&self) -> Result<Vec<GroupConfig>, AdminError> {
        self.administer(|reply| AdminCommand::Groups { reply }).await
    }

    async fn describe_group(&self, name: &GroupName) -> Result<GroupDescription, AdminError> {
        let name = name.clone();
        self.administer(|reply| AdminCommand::DescribeGroup { name, reply }).await?
    }

    async fn find_messages(&self, query: MessageQuery) -> Result<FoundMessages, AdminError> {
        self.query(&query).await
    }

    async fn message_at(&self, offset: PhysicalOffset) -> Result<Option<Bytes>, AdminError> {
        self.record_at(offset).await
    }
}
