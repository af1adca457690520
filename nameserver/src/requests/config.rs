//! The name server's own settings, as properties text.

use bytes::Bytes;
use remoting_proto::{Command, ResponseCode};

use super::{Answer, Refusal, done};
use crate::server::Core;

/// What may not be changed from afar. Source: Apache 5.5 `DefaultRequestProcessor`.
const FIXED: [&str; 4] = ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"];

/// All or nothing, until the process ends.
pub(super) fn update(core: &Core, request: &Command) -> Answer {
    let changes = java_properties::read(&request.body[..])
        .map_err(|error| Refusal::new(ResponseCode::SystemError, format!("string2Properties error: {error}")))?;
    if FIXED.iter().any(|key| changes.contains_key(*key)) {
        return Err(Refusal::new(ResponseCode::NoPermission, "Can not update config in black list."));
    }
    let mut settings = core.settings.write();
    let mut changed = settings.clone();
    for (key, text) in &changes {
        changed.set(key, text)?;
    }
    tracing::info!(?changes, "settings changed");
    *settings = changed;
    Ok(done(request))
}

pub(super) fn get(core: &Core, request: &Command) -> Command {
    let mut pairs = core.settings.read().pairs();
    pairs.extend(core.shown.iter().map(|(key, text)| (*key, text.clone())));
    pairs.sort();
    let text: String = pairs.into_iter().map(|(key, text)| format!("{key}={text}\n")).collect();
    Command { body: Bytes::from(text), ..done(request) }
}
