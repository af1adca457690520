//! Routes: what the name servers say, but that each broker is here. Queues and names stay, so that what a client knows of them (offsets,
//! transactions, handles) is the same whether it comes through this proxy, through another one or to the broker itself.

use std::collections::BTreeMap;

use ::remoting::Connection;
use remoting_proto::body::TopicRouteData;
use remoting_proto::requests::GetRouteInfo;
use remoting_proto::{Command, Dialect, RequestCode, ResponseCode};

use super::{Door, Refusal};

/// Number of a broker's master.
const MASTER: i64 = 0;

impl Door {
    /// Where a topic's queues are.
    pub(super) async fn route(&self, connection: &Connection, request: Command) -> Result<Command, Refusal> {
        let header = GetRouteInfo::of(&request.fields)?;
        let answer = request.answer(ResponseCode::Success);
        let told = self.cluster.ask_name_servers(RequestCode::GetRouteInfoByTopic, request.fields).await?;
        if told.response_code() != ResponseCode::Success {
            return Ok(Command { serialize_type: answer.serialize_type, ..told });
        }
        let mut route: TopicRouteData = remoting_proto::from_slice(&told.body)?;
        if route.topic_queue_mapping_by_broker.as_ref().is_some_and(|mapping| !mapping.is_empty()) {
            let remark = format!("topic {} is a static topic, which is not supported", header.topic);
            return Err(Refusal::new(ResponseCode::SystemError, remark));
        }
        bring_here(&mut route, |broker| self.address_of(connection, broker));
        let is_standard = header.accept_standard_json_only == Some(true);
        let dialect = if is_standard { Dialect::Standard } else { Dialect::of(request.version) };
        Ok(Command { body: remoting_proto::to_vec(&route, dialect).into(), ..answer })
    }

    /// The brokers that have queues of a topic; none if there is no such topic.
    pub(super) async fn brokers_with(&self, topic: &str) -> Result<Vec<String>, Refusal> {
        let header = GetRouteInfo {
            topic: topic.to_owned(),
            accept_standard_json_only: Some(true),
            zone_mode: None,
            zone_name: None,
        };
        let told = self.cluster.ask_name_servers(RequestCode::GetRouteInfoByTopic, header.to_fields()).await?;
        if told.response_code() != ResponseCode::Success {
            return Ok(Vec::new());
        }
        let route: TopicRouteData = remoting_proto::from_slice(&told.body)?;
        Ok(route.queue_datas.into_iter().map(|queues| queues.broker_name).collect())
    }

    /// Where a client that came on this connection reaches a broker: here, as it has come.
    fn address_of(&self, connection: &Connection, broker: &str) -> String {
        let own = self.brokers.iter().find(|(name, _)| **name == *broker);
        let port = own.map_or(self.port, |(_, port)| *port);
        match &self.host {
            Some(host) if host.contains(':') => format!("[{host}]:{port}"),
            Some(host) => format!("{host}:{port}"),
            None => std::net::SocketAddr::new(connection.local().ip(), port).to_string(),
        }
    }
}

/// Gives each broker one address. One without a master is left out, as nothing is passed to slaves; its queues stay, so that those who share
/// them do not share them out anew for a while.
fn bring_here(route: &mut TopicRouteData, address: impl Fn(&str) -> String) {
    route.broker_datas.retain(|broker| broker.broker_addrs.contains_key(&MASTER));
    for broker in &mut route.broker_datas {
        broker.broker_addrs = BTreeMap::from([(MASTER, address(&broker.broker_name))]);
    }
}

#[cfg(test)]
mod tests {
    use remoting_proto::body::{BrokerData, QueueData};

    use super::*;

    #[test]
    fn brokers_with_a_master_are_here_and_their_queues_where_they_were() {
        let broker = |name: &str, ids: &[i64]| BrokerData {
            broker_addrs: ids.iter().map(|id| (*id, format!("10.0.0.{id}:10911"))).collect(),
            broker_name: name.to_owned(),
            ..BrokerData::default()
        };
        let queues =
            |name: &str| QueueData { broker_name: name.to_owned(), read_queue_nums: 4, ..QueueData::default() };
        let mut route = TopicRouteData {
            broker_datas: vec![broker("a", &[0, 1]), broker("b", &[1])],
            queue_datas: vec![queues("a"), queues("b")],
            ..TopicRouteData::default()
        };
        bring_here(&mut route, |name| format!("proxy-for-{name}:8080"));
        let [here] = &route.broker_datas[..] else { panic!("{:?}", route.broker_datas) };
        assert_eq!(here.broker_name, "a");
        assert_eq!(here.broker_addrs, BTreeMap::from([(0, "proxy-for-a:8080".to_owned())]));
        assert_eq!(route.queue_datas, [queues("a"), queues("b")]);
    }
}
