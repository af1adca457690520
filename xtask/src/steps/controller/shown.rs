//! What `gantry admin` shows of controllers and brokers is what the controllers say.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::group::{BROKER, GROUP, Group};

/// Asked is a controller that does not lead.
pub(super) fn check(gantry: &Path, group: &Group) -> Result<()> {
    let leader = group.leader().context("no controller leads")?;
    let asked = group.controllers[(leader + 1) % group.controllers.len()].address.to_string();
    let (replicas, leader) = (group.replicas()?, &group.controllers[leader]);
    let name_server = group.name_server().to_string();
    let show = |line: &str| -> Result<Value> {
        let mut admin = Command::new(gantry);
        let output = admin.args(["admin", "--json", "--nameserver", &name_server]).args(line.split(' ')).output()?;
        ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let controllers = show(&format!("getControllerMetaData -a {asked}"))?;
    ensure!(
        controllers["group"] == GROUP
            && controllers["leader"] == leader.id.as_str()
            && controllers["leaderAddress"] == leader.address.to_string()
            && controllers["controllers"].as_array().is_some_and(|all| all.len() == group.controllers.len()),
        "{controllers}"
    );
    let sets = show(&format!("getSyncStateSet -a {asked} -b {BROKER}"))?;
    let set = &sets["brokers"][0];
    let all_in_sync = |members: &Vec<Value>| members.iter().all(|member| member["inSync"] == true);
    ensure!(
        set["masterId"] == json!(replicas.master_broker_id)
            && set["masterEpoch"] == replicas.master_epoch
            && set["replicas"]
                .as_array()
                .is_some_and(|members| { members.len() == replicas.in_sync_replicas.len() && all_in_sync(members) }),
        "{sets}, in sync are {replicas:?}"
    );
    let epochs = show(&format!("getBrokerEpoch -b {BROKER}"))?;
    let has_newest = |broker: &Value| broker["epochs"].get(replicas.master_epoch.to_string()).is_some();
    ensure!(epochs["brokers"].as_array().is_some_and(|brokers| brokers.iter().any(has_newest)), "{epochs}");
    Ok(())
}
