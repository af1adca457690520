//! The controller's own settings, as properties text.

use bytes::Bytes;
use remoting_proto::{Command, ResponseCode};

use super::{Answered, Refused};
use crate::server::Core;

/// All or nothing, until the process ends.
pub(super) fn update(core: &Core, request: &Command) -> Answered {
    let told = java_properties::read(&request.body[..])
        .map_err(|error| Refused::new(ResponseCode::SystemError, format!("string2Properties error: {error}")))?;
    let told = told.into_iter().collect();
    core.settings.write().change(&told).map_err(|unfit| Refused::new(ResponseCode::NoPermission, unfit.to_string()))?;
    tracing::info!(?told, "settings changed");
    Ok(request.answer(ResponseCode::Success))
}

pub(super) fn get(core: &Core, request: &Command) -> Command {
    let mut pairs = core.settings.read().pairs();
    pairs.extend(core.shown.iter().map(|(key, text)| (*key, text.clone())));
    pairs.sort();
    let text: String = pairs.into_iter().map(|(key, text)| format!("{key}={text}\n")).collect();
    Command { body: Bytes::from(text), ..request.answer(ResponseCode::Success) }
}
