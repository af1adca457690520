//! `gantry admin`: topics, groups and messages of a running server, over its HTTP port; and clusters, over Remoting.

mod client;
mod cluster;
mod group;
mod message;
mod topic;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use remoting::Trust;

use crate::cli::Misuse;
use crate::output::Output;
use client::Client;
use cluster::{NameServers, Verb};

/// The arguments of `gantry admin`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server's HTTP address
    #[arg(long, global = true, value_name = "URL", env = "GANTRY_SERVER", default_value = "http://127.0.0.1:8082")]
    server: String,
    /// The cluster's name servers, HOST:PORT with semicolons between; the first that answers is asked
    #[arg(short, long, global = true, value_name = "ADDRS", env = "GANTRY_NAMESERVER", default_value = "127.0.0.1:9876", value_parser = NameServers::parse)]
    nameserver: NameServers,
    /// Ask the cluster over TLS, not for topic, group and message; without --ca whatever certificate is shown is taken, as Apache's tools do
    #[arg(long, global = true)]
    tls: bool,
    /// Believe only who shows one of these certificates, or one that an authority among them signed, in PEM
    #[arg(long, global = true, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// Topics of one server, over HTTP: where messages are sent to
    #[command(subcommand)]
    Topic(topic::Command),
    /// Consumer groups of one server, over HTTP: who receives them, and how often a failed message comes again
    #[command(subcommand)]
    Group(group::Command),
    /// Stored messages of one server, over HTTP: find and look at them; consumers do not notice
    #[command(subcommand)]
    Message(message::Command),
    #[command(flatten)]
    Cluster(Verb),
}

/// Carries out one command and prints its result.
///
/// # Errors
/// What the server answered, or why it could not be asked; one line each. [`Misuse`] of `--tls`.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.check()?;
    let client = || Client::new(&arguments.server);
    let output = Output { is_json: arguments.json };
    match &arguments.subject {
        Subject::Topic(command) => topic::run(command, &client()?, output).await,
        Subject::Group(command) => group::run(command, &client()?, output).await,
        Subject::Message(command) => message::run(command, &client()?, output).await,
        Subject::Cluster(verb) => {
            let trust = arguments.tls.then(|| trust(arguments.ca.as_deref())).transpose()?;
            cluster::run(verb, &arguments.nameserver, trust, output).await
        }
    }
}

impl Arguments {
    /// What goes over HTTP would go out in the clear.
    fn check(&self) -> Result<(), Misuse> {
        if self.tls && !matches!(self.subject, Subject::Cluster(_)) {
            return Err(Misuse("topic, group and message ask over HTTP: --tls and --ca are not for them".to_owned()));
        }
        Ok(())
    }
}

/// Whom to believe.
fn trust(ca: Option<&Path>) -> anyhow::Result<Trust> {
    let Some(file) = ca else { return Ok(Trust::everybody()?) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Trust::only(&text).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn tls_is_only_for_what_goes_over_remoting() {
        let check = |line: &str| Line::try_parse_from(line.split(' ')).expect("a command line").arguments.check();
        for subject in ["topic list", "group list", "message list orders"] {
            let refused = check(&format!("admin --tls --ca x {subject}")).expect_err("misused");
            assert!(refused.to_string().contains("--tls"), "{refused}");
            check(&format!("admin {subject}")).expect("plain");
        }
        check("admin --tls clusterList").expect("over Remoting");
    }
}
