//! The key-value configuration.

use remoting_proto::requests::{GetKvConfig, GetKvConfigAnswer, GetKvListByNamespace, PutKvConfig};
use remoting_proto::{Command, ResponseCode};

use super::{Answer, Refusal, done, json};
use crate::server::Core;

/// On the disk before the answer.
pub(super) async fn put(core: &Core, request: &Command) -> Answer {
    let PutKvConfig { namespace, key, value } = PutKvConfig::of(&request.fields)?;
    tracing::info!(%namespace, %key, %value, "key-value configuration set");
    core.kv.write().put(&namespace, key, value)?;
    core.save_kv().await?;
    Ok(done(request))
}

pub(super) fn get(core: &Core, request: &Command) -> Answer {
    let GetKvConfig { namespace, key } = GetKvConfig::of(&request.fields)?;
    let Some(value) = core.kv.read().get(&namespace, &key).map(str::to_owned) else {
        return Err(Refusal::new(
            ResponseCode::QueryNotFound,
            format!("No config item, Namespace: {namespace} Key: {key}"),
        ));
    };
    Ok(Command { fields: GetKvConfigAnswer { value }.to_fields(), ..done(request) })
}

/// On the disk before the answer.
pub(super) async fn delete(core: &Core, request: &Command) -> Answer {
    let GetKvConfig { namespace, key } = GetKvConfig::of(&request.fields)?;
    tracing::info!(%namespace, %key, "key-value configuration removed");
    core.kv.write().delete(&namespace, &key);
    core.save_kv().await?;
    Ok(done(request))
}

pub(super) fn list(core: &Core, request: &Command) -> Answer {
    let GetKvListByNamespace { namespace } = GetKvListByNamespace::of(&request.fields)?;
    match core.kv.read().list(&namespace) {
        Some(table) => Ok(json(request, &table)),
        None => Err(Refusal::new(ResponseCode::QueryNotFound, format!("No config item, Namespace: {namespace}"))),
    }
}
