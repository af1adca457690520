//! Brokers that come, live and go.

use remoting::Connection;
use remoting_proto::body::{DataVersion, MemberGroup, RegisterBroker as Topics};
use remoting_proto::requests::{
    BrokerAddress, BrokerMember, QueryDataVersionAnswer, RegisterBroker, RegisterBrokerAnswer, UnregisterBroker,
    body_crc32,
};
use remoting_proto::{Command, ResponseCode};

use super::{Answer, Refusal, done, json};
use crate::kv::ORDER_TOPICS;
use crate::registry::{Address, Registration};
use crate::server::Core;

pub(super) fn register(core: &Core, connection: &Connection, request: &Command) -> Answer {
    let header = RegisterBroker::of(&request.fields)?;
    if header.body_crc32.is_some_and(|crc32| crc32 != 0 && crc32 != body_crc32(&request.body)) {
        return Err(Refusal::new(ResponseCode::SystemError, "crc32 not match"));
    }
    let topics = Topics::decode(&request.body, request.version)?;
    let settings = core.settings.read().clone();
    let registration = Registration {
        address: Address { cluster: header.cluster_name, broker: header.broker_addr },
        broker: header.broker_name,
        id: header.broker_id,
        ha_address: header.ha_server_addr,
        zone: header.zone_name,
        timeout_ms: header.heartbeat_timeout_ms,
        enable_acting_master: header.enable_acting_master,
        topics,
        connection: connection.id(),
    };
    let registered = core.change(|registry| {
        // What ends while it is being served has told so already, and nobody would unregister it.
        if !core.is_connected(connection.id()) {
            return Err(Refusal::new(ResponseCode::SystemError, "the connection has ended"));
        }
        Ok(registry.register(registration, settings.delete_topic_with_broker_registration, core.moment())?)
    })?;
    let fields =
        RegisterBrokerAnswer { ha_server_addr: registered.ha_address, master_addr: registered.master }.to_fields();
    let order = settings.return_order_topic_config_to_broker.then(|| core.kv.read().list(ORDER_TOPICS)).flatten();
    let answer = order.map_or_else(|| done(request), |table| json(request, &table));
    Ok(Command { fields, ..answer })
}

pub(super) fn unregister(core: &Core, request: &Command) -> Answer {
    let header = UnregisterBroker::of(&request.fields)?;
    let address = Address { cluster: header.cluster_name, broker: header.broker_addr };
    core.change(|registry| registry.unregister(&address, &header.broker_name));
    Ok(done(request))
}

pub(super) fn heartbeat(core: &Core, request: &Command) -> Answer {
    core.registry.write().heartbeat(&address(request)?, core.moment());
    Ok(done(request))
}

/// A sign of life too.
pub(super) fn query_data_version(core: &Core, request: &Command) -> Answer {
    let address = address(request)?;
    let version: DataVersion = remoting_proto::from_slice(&request.body)?;
    let mut registry = core.registry.write();
    let changed = registry.is_changed(&address, &version);
    registry.heartbeat(&address, core.moment());
    let answer = registry.version(&address).map_or_else(|| done(request), |version| json(request, &version));
    Ok(Command { fields: QueryDataVersionAnswer { changed: Some(changed) }.to_fields(), ..answer })
}

pub(super) fn member_group(core: &Core, request: &Command) -> Answer {
    let BrokerMember { cluster_name, broker_name } = BrokerMember::of(&request.fields)?;
    let broker_member_group = core.registry.read().member_group(&cluster_name, &broker_name);
    Ok(json(request, &MemberGroup { broker_member_group }))
}

fn address(request: &Command) -> Result<Address, Refusal> {
    let BrokerAddress { cluster_name, broker_addr } = BrokerAddress::of(&request.fields)?;
    Ok(Address { cluster: cluster_name, broker: broker_addr })
}
