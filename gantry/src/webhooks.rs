//! Webhooks of a role: with the operator's key, or with one that is made on the first start and kept in the data directory.

use std::path::Path;

use anyhow::Context;
use env::Env;
use gateway_http::webhooks::{Authorities, Front, Keys, Options, Webhooks};

use crate::config::webhooks::Webhooks as Config;
use crate::identity::{self, KEY_MODE};

/// The file of a key of our own, below the data directory.
const OWN_KEY_FILE: &str = "webhooks.key";

/// Starts delivering; `None` without a key. `data` is where a key may be made.
///
/// # Errors
/// The key file cannot be read, written or used, or the file of authorities not be read or used.
pub(crate) fn start(
    config: &Config,
    data: Option<&Path>,
    front: Front,
    metrics: &prometheus::Registry,
) -> anyhow::Result<Option<Webhooks>> {
    let own = data.map(|data| data.join(OWN_KEY_FILE));
    let Some(file) = config.key_file.as_ref().or(own.as_ref()) else { return Ok(None) };
    if config.key_file.is_none() && !file.exists() {
        identity::write(file, &Keys::generate(), KEY_MODE)?;
        tracing::info!(file = %file.display(), "made a key for webhooks");
    }
    let keys = used(file, Keys::parse)?.into();
    let authorities = config.ca_file.as_ref().map(|file| used(file, Authorities::parse)).transpose()?;
    let authorities = authorities.unwrap_or_default();
    let Config { allowed, webhooks_max, rewrite_after, .. } = config.clone();
    let options = Options { keys, allowed, authorities, webhooks_max, rewrite_after };
    Ok(Some(Webhooks::start(Env::real(), front, metrics, options)?))
}

/// What a file says.
fn used<T>(file: &Path, parse: impl Fn(&str) -> Result<T, String>) -> anyhow::Result<T> {
    let parsed = parse(&identity::read(file)?).map_err(anyhow::Error::msg);
    parsed.with_context(|| format!("{} cannot be used", file.display()))
}
