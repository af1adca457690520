//! The name server's own settings, as properties text.

use bytes::Bytes;
use remoting_proto::{Command, ResponseCode};

use super::{Answer, Refusal, done};
use crate::server::Core;

/// What may not be changed from afar. Source: Apache 5.5 `DefaultRequestProcessor`.
const FIXED: [&str; 4] = ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"];

/// All or nothing; on the disk before the answer.
pub(super) async fn update(core: &Core, request: &Command) -> Answer {
    let told = java_properties::read(&request.body[..])
        .map_err(|error| Refusal::new(ResponseCode::SystemError, format!("string2Properties error: {error}")))?;
    if FIXED.iter().any(|key| told.contains_key(*key)) {
        return Err(Refusal::new(ResponseCode::NoPermission, "Can not update config in black list."));
    }
    core.change_settings(&told.into_iter().collect())?;
    core.save_settings().await?;
    Ok(done(request))
}

pub(super) fn get(core: &Core, request: &Command) -> Command {
    let mut pairs = core.settings.read().pairs();
    pairs.extend(core.shown.iter().map(|(key, text)| (*key, text.clone())));
    pairs.sort();
    let text: String = pairs.into_iter().map(|(key, text)| format!("{key}={text}\n")).collect();
    Command { body: Bytes::from(text), ..done(request) }
}
