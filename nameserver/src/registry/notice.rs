//! What brokers are told when another one of their name has the lowest id: it stands in for a missing master, or is the master
//! again. Source: Apache 5.5 `RouteInfoManager#notifyMinBrokerIdChanged`.

use remoting_proto::body::BrokerData;

use super::Registry;

/// One such message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Who is told, `HOST:PORT`.
    pub to: Vec<String>,
    /// The lowest id.
    pub id: i64,
    /// Who has it.
    pub address: String,
    /// Who had it and is gone.
    pub gone: Option<String>,
    /// Where who came with it has its log.
    pub ha_address: Option<String>,
}

impl Notice {
    /// All who are left are told.
    pub(super) fn of_departure(data: &BrokerData, gone: &str) -> Option<Self> {
        let (id, address) = data.broker_addrs.first_key_value()?;
        Some(Self {
            to: data.broker_addrs.values().cloned().collect(),
            id: *id,
            address: address.clone(),
            gone: Some(gone.to_owned()),
            ha_address: None,
        })
    }
}

impl Registry {
    /// All but who came are told; who came alone, as when a process changed its id, is told itself.
    pub(super) fn note_arrival(&mut self, broker: &str, ha_address: &str) {
        let Some(data) = self.brokers.get(broker) else { return };
        let Some((id, address)) = data.broker_addrs.first_key_value() else { return };
        let is_alone = data.broker_addrs.len() == 1;
        let to = data.broker_addrs.iter().filter(|(other, _)| is_alone || *other != id);
        self.notices.push(Notice {
            to: to.map(|(_, there)| there.clone()).collect(),
            id: *id,
            address: address.clone(),
            gone: None,
            ha_address: Some(ha_address.to_owned()),
        });
    }

    /// What is to be told since the last time it was asked; ask after every change.
    #[must_use]
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}
