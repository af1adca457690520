//! The command line: what may be typed, and nothing of what it does.
//!
//! The settings of `gantry local` are made from [`Key`]'s table, so that help, flags and documentation agree. Their
//! values stay text here: all layers are checked together in [`crate::config`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use crate::admin;
use crate::config::Sources;
use crate::config::setting::{Form, Key, Keys};
use crate::config::{broker, controller, nameserver, proxy};
use crate::{demo_cluster, store};

/// A messaging system that speaks RocketMQ 5 to every language.
#[derive(Debug, Parser)]
#[command(name = "gantry", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Task,
}

/// What the program shall do.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Run a complete server in this process: clients connect, messages are kept on this disk
    #[command(after_help = LOCAL_AFTER_HELP)]
    Local(LocalArgs),
    /// Run a name server: brokers of ours and of Apache's register, clients find their topics
    #[command(after_help = NAMESERVER_AFTER_HELP)]
    Nameserver(SettingArgs<nameserver::Key>),
    /// Run a controller: Apache's brokers in controller mode get their ids and their master from it
    #[command(after_help = CONTROLLER_AFTER_HELP)]
    Controller(SettingArgs<controller::Key>),
    /// Run a broker: it registers with name servers, clients of RocketMQ 4.x send and consume
    #[command(after_help = BROKER_AFTER_HELP)]
    Broker(SettingArgs<broker::Key>),
    /// Run a proxy: clients of RocketMQ 5 and 4.x connect, brokers of ours or Apache's (5.x) keep the messages
    #[command(after_help = PROXY_AFTER_HELP)]
    Proxy(SettingArgs<proxy::Key>),
    /// Run a cluster of processes on this machine to try it out: one name server, two brokers, two proxies
    #[command(after_help = DEMO_AFTER_HELP)]
    DemoCluster(demo_cluster::Arguments),
    /// Manage one server's topics, groups and messages; or a cluster, with mqadmin's verbs
    #[command(after_help = ADMIN_AFTER_HELP)]
    Admin(admin::Arguments),
    /// Check, show, back up and restore a data directory
    Store(store::Arguments),
    /// Print the completion script of a shell, e.g. gantry completions bash > /etc/bash_completion.d/gantry
    Completions {
        /// The shell
        shell: Shell,
    },
}

const LOCAL_AFTER_HELP: &str = "\
Each flag is also a key of the configuration file (--max-message-size: maxMessageSize) and an environment variable
(GANTRY_MAX_MESSAGE_SIZE). A flag wins over the variable, the variable over the file, the file over the default.

Examples:
  gantry local                                  data in ./gantry-data, clients on 127.0.0.1:8081
  gantry local --grpc 0.0.0.0:8081 --flush sync
  gantry local --config broker.json --print-config

Stop it with Ctrl-C or SIGTERM: it finishes what it serves, flushes and exits with 0. A second one stops it at once.";

const NAMESERVER_AFTER_HELP: &str = "\
Each flag is also a key of the configuration file (--order-message-enable: orderMessageEnable) and an environment
variable (GANTRY_ORDER_MESSAGE_ENABLE). A flag wins over the variable, the variable over the file, the file over the
default. Any number of name servers run side by side: give brokers and clients the addresses of all.

Examples:
  gantry nameserver                             brokers and clients on 127.0.0.1:9876
  gantry nameserver --listen 0.0.0.0:9876 --config namesrv.conf
  gantry nameserver --config namesrv.conf --print-config

Stop it with Ctrl-C or SIGTERM. What brokers told it they tell again after a start; the key-value configuration is kept.";

const CONTROLLER_AFTER_HELP: &str = "\
Each flag is also a key of the configuration file (--notify-broker-role-changed: notifyBrokerRoleChanged) and an
environment variable (GANTRY_NOTIFY_BROKER_ROLE_CHANGED). A flag wins over the variable, the variable over the file, the
file over the default. Three controllers go on when one is lost, five when two are; brokers get the addresses of all.

Examples:
  gantry controller                             a group of one, on 127.0.0.1:9878
  gantry controller --id n0 --peers 'n0-10.0.0.1:9878;n1-10.0.0.2:9878;n2-10.0.0.3:9878'
  gantry controller --config controller.conf --print-config

Stop it with Ctrl-C or SIGTERM. What it answered is on the disks of most controllers of the group.";

const BROKER_AFTER_HELP: &str = "\
Each flag is also a key of the configuration file (--default-topic-queue-nums: defaultTopicQueueNums) and an environment
variable (GANTRY_DEFAULT_TOPIC_QUEUE_NUMS). A flag wins over the variable, the variable over the file, the file over the
default. Apache's broker.conf is taken as it is; what it sets and has no meaning here is named at the start.

Examples:
  gantry broker --nameserver 127.0.0.1:9876     clients on 127.0.0.1:10911, data in ./gantry-broker-data
  gantry broker -c broker.conf --listen 0.0.0.0:10911
  gantry broker -c broker.conf --print-config

Stop it with Ctrl-C or SIGTERM: it leaves the name servers, finishes what it serves, flushes and exits with 0.";
const PROXY_AFTER_HELP: &str = "\
Each flag is also a key of the configuration file (--cluster-name: clusterName) and an environment variable
(GANTRY_CLUSTER_NAME). A flag wins over the variable, the variable over the file, the file over the default.
Any number of proxies run side by side: what a client got from one it may give to another.

Examples:
  gantry proxy                                  clients on 127.0.0.1:8081 (gRPC), 8082 (HTTP) and 8080 (Remoting)
  gantry proxy --nameserver 10.0.0.1:9876;10.0.0.2:9876 --grpc 0.0.0.0:8081
  gantry proxy --config rmq-proxy.json --print-config

Stop it with Ctrl-C or SIGTERM: it finishes what it serves. A second one stops it at once.";

const DEMO_AFTER_HELP: &str = "\
All of it listens on loopback and is for looking at: one disk keeps all brokers' messages.

Examples:
  gantry demo-cluster                           data in ./gantry-demo-cluster, clients on 127.0.0.1:8081 and 8091
  gantry demo-cluster --data /tmp/demo --free-ports
  gantry demo-cluster --replicas 2              each broker with a slave that has its messages too

Stop all processes with Ctrl-C or SIGTERM. Their messages are there again at the next start with the same directory.";

const ADMIN_AFTER_HELP: &str = "\
topic, group and message ask one server over its HTTP port (--server). The others have mqadmin's names and ask name
servers (--nameserver) and brokers over Remoting, ours or Apache's; -b is a broker's name or HOST:PORT, -c a cluster.

Examples:
  gantry admin topic create orders --type FIFO
  gantry admin clusterList -n 10.0.0.1:9876;10.0.0.2:9876
  gantry admin updateTopic -c DefaultCluster -t orders -r 8 -w 8
  gantry admin consumerProgress -g orders-group --json

Exit code 1 also means that the answer of a broker is missing; the others are shown, and who is missing with why.";

/// The arguments of `gantry local`.
#[derive(Debug, Args)]
pub(crate) struct LocalArgs {
    #[command(flatten)]
    pub(crate) settings: SettingArgs<Key>,
    // For one start, so neither a variable nor a key sets it; see `docs/operations.md`.
    /// Start on a damaged log: cut it off at the position that a start named when it refused, with all behind
    #[arg(long = "accept-loss", value_name = "POSITION")]
    pub(crate) accept_loss_at: Option<u64>,
}

/// A role's settings as flags, and where the others are.
#[derive(Debug)]
pub(crate) struct SettingArgs<K> {
    /// Where its configuration comes from.
    pub(crate) sources: Sources<K>,
    /// Whether to print the configuration and stop.
    pub(crate) is_print: bool,
}

impl<K: Keys> Args for SettingArgs<K> {
    fn augment_args(command: Command) -> Command {
        let settings = K::ALL.iter().copied().map(setting_arg);
        let file = match K::FORM {
            Form::Json => "JSON file of settings; keys of Apache's broker and proxy are understood",
            Form::Properties => {
                "Properties file of settings; Apache's namesrv.conf, controller.conf or broker.conf is understood"
            }
        };
        command
            .args(settings)
            .arg(
                Arg::new("config")
                    .long("config")
                    .short('c')
                    .value_name("FILE")
                    .env("GANTRY_CONFIG")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help(file),
            )
            .arg(
                Arg::new("strict-config")
                    .long("strict-config")
                    .env("GANTRY_STRICT_CONFIG")
                    .action(ArgAction::SetTrue)
                    .help("Refuse to start when the file has an unknown key, instead of warning"),
            )
            .arg(
                Arg::new("print-config")
                    .long("print-config")
                    .action(ArgAction::SetTrue)
                    .help("Print each setting with its value and where that came from, then stop"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<K: Keys> FromArgMatches for SettingArgs<K> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |key: K| Some((key, matches.get_one::<String>(key.setting().flag)?.clone()));
        let flags: BTreeMap<K, String> = K::ALL.iter().copied().filter_map(given).collect();
        let file = matches.get_one::<PathBuf>("config").cloned();
        let is_strict = matches.get_flag("strict-config");
        Ok(Self { sources: Sources { file, is_strict, flags }, is_print: matches.get_flag("print-config") })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn setting_arg(key: impl Keys) -> Arg {
    let setting = key.setting();
    let default = setting.default.map_or_else(String::new, |text| format!(" [default: {text}]"));
    let arg = Arg::new(setting.flag)
        .long(setting.flag)
        .value_name(setting.value)
        .help(format!("{} ({}){default}", setting.effect, setting.bound));
    if key.is_switch() { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg }
}

/// Parses the process's arguments; answers a refusal as one line that says what to do.
///
/// # Errors
/// [`Refusal`]; asking for help or the version is one too, with exit code 0.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, Refusal> {
    Cli::try_parse_from(arguments).map_err(|error| {
        if error.use_stderr() && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            Refusal::Usage { line: one_line(&error.render().to_string()) }
        } else {
            Refusal::Shown { text: error.render().to_string(), is_asked: !error.use_stderr() }
        }
    })
}

/// Why there is nothing to do.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The arguments make no sense.
    Usage {
        /// What is wrong and where to look.
        line: String,
    },
    /// Help or the version is printed instead.
    Shown {
        /// The text.
        text: String,
        /// Whether it was asked for.
        is_asked: bool,
    },
}

/// An argument that only the command itself can tell to be wrong, in one line that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

/// The completion script of `shell`.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gantry", &mut script);
    String::from_utf8_lossy(script.trim_ascii_end()).into_owned()
}

/// clap's error and its tips without the usage text, in one line.
fn one_line(rendered: &str) -> String {
    let usage = rendered.find("\nUsage:").unwrap_or(rendered.len());
    let hint = rendered.find("\nFor more information").unwrap_or(rendered.len());
    let words: Vec<&str> = rendered[..usage.min(hint)].split_whitespace().collect();
    let text = words.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    format!("{text}; all options: gantry help, gantry help COMMAND")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Cli, Refusal> {
        parse(std::iter::once(&"gantry").chain(words).map(Into::into))
    }

    #[test]
    fn command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stay_text_until_all_layers_are_known() {
        let Ok(Cli { command: Task::Local(local) }) =
            parse_words(&["local", "--grpc", "nonsense", "--auto-create-topics", "--auto-create-groups=false"])
        else {
            panic!("not parsed");
        };
        assert_eq!(local.settings.sources.flags[&Key::Grpc], "nonsense");
        assert_eq!(local.settings.sources.flags[&Key::AutoCreateTopics], "true");
        assert_eq!(local.settings.sources.flags[&Key::AutoCreateGroups], "false");
        assert!(!local.settings.is_print);
    }

    #[test]
    fn a_bad_flag_is_one_line_with_a_tip() {
        let Err(Refusal::Usage { line }) = parse_words(&["local", "--flsh", "sync"]) else { panic!("accepted") };
        assert!(!line.contains('\n'));
        assert!(line.contains("--flsh") && line.contains("--flush") && line.contains("gantry help"), "{line}");
    }

    #[test]
    fn a_cluster_is_asked_with_mqadmins_words() {
        let is_read = |line: &str| parse_words(&line.split(' ').collect::<Vec<_>>()).is_ok();
        for line in [
            "admin topicStatus -n a:1;b:2 -t orders",
            "admin --nameserver a:1 --json clusterList",
            "admin updateTopic -b broker-a -t orders -p 4 -a -cleanup.policy",
            "admin resetOffsetByTime -g g -t orders -s now",
            "admin deleteSubGroup -c C -g g -r true",
            "admin queryMsgByOffset -t orders -b a -i 0 -o 7",
        ] {
            assert!(is_read(line), "{line}");
        }
        for line in [
            "admin topicStatus",
            "admin topicStatus -n a -t orders",
            "admin updateTopic -t orders",
            "admin updateTopic -c C -b a -t orders",
            "admin updateTopic -c C -t orders -p 8",
            "admin consumerProgress -t orders",
            "admin resetOffsetByTime -g g -t orders -s -1",
            "admin updateBrokerConfig -b a -k a=b -v c",
        ] {
            assert!(!is_read(line), "{line}");
        }
    }

    #[test]
    fn help_shows_every_setting() {
        let Err(Refusal::Shown { text, is_asked: true }) = parse_words(&["local", "--help"]) else {
            panic!("no help");
        };
        for key in Key::ALL {
            assert!(text.contains(&format!("--{}", key.setting().flag)));
        }
    }
}
