//! The id of a broker among those of its name, in a file of its own: it is taken from the controllers once.
//!
//! What it is about to ask for is in the file first, with a code that no other broker has: asked again after a death the controllers see
//! that it is the same. Source: Apache 5.5 `ReplicasManager#register`, `TempBrokerMetadata`.

use std::path::Path;
use std::time::Duration;

use env::{Env, Kept, kept};
use remoting_proto::ResponseCode;
use serde::{Deserialize, Serialize};

use super::controllers::{self, Controllers};
use super::{MemberId, Options};

/// The file, in the broker's data directory.
const FILE: &str = "membership.json";
const FILE_BYTES_MAX: u64 = 4096;
const VERSION: u32 = 1;
/// How often the controllers are asked that do not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a broker has no id.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] kept::Error),
    /// It is another broker's.
    #[error(
        "the directory is of broker {name} of cluster {cluster}: set brokerName and brokerClusterName so, or begin with an empty directory"
    )]
    Other {
        /// Its name.
        name: String,
        /// Its cluster.
        cluster: String,
    },
}

/// The file: JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Identity {
    version: u32,
    cluster_name: String,
    broker_name: String,
    broker_id: i64,
    /// `HOST:PORT;MS`.
    check_code: String,
}

impl Identity {
    /// That of the broker with this data directory.
    pub(super) fn file(env: &Env, data: &Path) -> Kept {
        Kept::new(env.clone(), "file of a broker's id", data.join(FILE))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let identity: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match identity.version {
            VERSION => Ok(identity),
            version => Err(format!("it has version {version}, this program knows {VERSION}")),
        }
    }
}

/// Asks until the controllers know the broker by its id, the one it has or a new one.
pub(super) async fn take(
    env: &Env,
    options: &Options,
    file: &Kept,
    controllers: &Controllers,
) -> Result<MemberId, Error> {
    let mut known = file.read(FILE_BYTES_MAX, Identity::parse)?;
    if let Some(Identity { cluster_name: cluster, broker_name: name, .. }) = known.clone()
        && (&cluster, &name) != (&options.cluster, &options.name)
    {
        return Err(Error::Other { name, cluster });
    }
    loop {
        let asked = ask(env, options, file, controllers, &mut known).await;
        match asked {
            Ok(id) => return Ok(id),
            Err(Unknown::File(error)) => return Err(error.into()),
            Err(Unknown::Asked(error)) => {
                // Another broker has it, or was quicker.
                if error.decided() == Some(ResponseCode::ControllerBrokerIdInvalid) {
                    known = None;
                }
                tracing::warn!(%error, "the controllers do not know this broker yet");
                env.clock.sleep(RETRY_AFTER).await;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error(transparent)]
    File(#[from] kept::Error),
    #[error(transparent)]
    Asked(#[from] controllers::Error),
}

async fn ask(
    env: &Env,
    options: &Options,
    file: &Kept,
    controllers: &Controllers,
    known: &mut Option<Identity>,
) -> Result<MemberId, Unknown> {
    let identity = match known {
        Some(identity) => identity.clone(),
        None => {
            let identity = Identity {
                version: VERSION,
                cluster_name: options.cluster.clone(),
                broker_name: options.name.clone(),
                broker_id: controllers.next_id(options).await?.0,
                check_code: format!("{};{}", options.advertised, env.clock.now().0),
            };
            let text = serde_json::to_vec_pretty(&identity).expect("texts and numbers are JSON");
            file.write(move || text).await?;
            known.insert(identity).clone()
        }
    };
    let id = MemberId(identity.broker_id);
    controllers.apply_id(options, id, &identity.check_code).await?;
    controllers.register(options, id).await?;
    Ok(id)
}

/// Asks for the id again that the broker has, once the controllers were made to forget it.
pub(super) async fn take_again(
    env: &Env,
    options: &Options,
    controllers: &Controllers,
) -> Result<(), controllers::Error> {
    let known = Identity::file(env, &options.data).read(FILE_BYTES_MAX, Identity::parse);
    let Ok(Some(Identity { broker_id, check_code, .. })) = known else { return Err(controllers::Error::Nobody) };
    controllers.apply_id(options, MemberId(broker_id), &check_code).await?;
    controllers.register(options, MemberId(broker_id)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_version_is_refused() {
        let of = |version| Identity {
            version,
            cluster_name: "cluster".to_owned(),
            broker_name: "broker-a".to_owned(),
            broker_id: 2,
            check_code: "127.0.0.1:1;2".to_owned(),
        };
        let parse = |identity| Identity::parse(&serde_json::to_vec(&identity).expect("JSON"));
        assert_eq!(parse(of(1)), Ok(of(1)));
        assert!(parse(of(2)).is_err());
    }
}
