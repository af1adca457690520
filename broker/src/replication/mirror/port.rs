//! What a slave of an Apache master answers: what operators ask of it. Clients are served by the master.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use remoting::{Connection, Role};
use remoting_proto::body::{GANTRY_VERSION, HaClient, HaStatus, KvTable};
use remoting_proto::{Command, Dialect, RequestCode, ResponseCode, VERSION};
use serde::Serialize;

use super::Core;
use crate::requests::runtime;

pub(super) struct Port(pub(super) Arc<Core>);

impl Role for Port {
    fn connect(&self, _: &Arc<Connection>) {}

    async fn serve(&self, _: &Connection, request: Command) -> Command {
        let Self(core) = self;
        match request.request_code() {
            RequestCode::GetBrokerHaStatus => json(&request, &core.ha_status()),
            RequestCode::GetBrokerRuntimeInfo => json(&request, &core.info()),
            RequestCode::GetBrokerConfig => {
                let lines = core.options.shown.iter().map(|(key, value)| format!("{key}={value}\n"));
                Command { body: lines.collect::<String>().into(), ..request.answer(ResponseCode::Success) }
            }
            _ => {
                let remark = "this broker is a slave of an Apache master and serves no clients, ask its master";
                let answer = request.answer(ResponseCode::ServiceNotAvailable);
                Command { remark: Some(remark.to_owned()), ..answer }
            }
        }
    }

    fn disconnect(&self, _: &Connection) {}
}

impl Core {
    pub(super) fn ha_status(&self) -> HaStatus {
        let master_addr = self.connected_to.lock().clone().unwrap_or_default();
        let max_offset = self.end.load(Ordering::Acquire);
        HaStatus {
            ha_client_runtime_info: Some(HaClient { master_addr, max_offset, ..HaClient::default() }),
            ..HaStatus::default()
        }
    }

    fn info(&self) -> KvTable {
        let mut table: Vec<(&str, String)> = runtime::zeros().chain(runtime::no_traffic()).collect();
        table.extend([
            ("brokerActive", "true".to_owned()),
            ("brokerVersionDesc", "V5_5_0".to_owned()),
            ("brokerVersion", VERSION.to_string()),
            (GANTRY_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
            ("commitLogMaxOffset", self.end.load(Ordering::Acquire).to_string()),
        ]);
        KvTable { table: table.into_iter().map(|(key, text)| (key.to_owned(), text)).collect() }
    }
}

fn json(request: &Command, body: &impl Serialize) -> Command {
    let body = remoting_proto::to_vec(body, Dialect::of(request.version));
    Command { body: Bytes::from(body), ..request.answer(ResponseCode::Success) }
}
