//! The `gantry` program: reads the command line, does what it says, turns the outcome into an exit code.
//!
//! | code | meaning                                                             |
//! |------|---------------------------------------------------------------------|
//! | 0    | done; a server was stopped by a signal and lost nothing             |
//! | 1    | it could not be done: one line on standard error says why           |
//! | 2    | the command line or configuration is wrong: one line for each fault |

mod admin;
mod banner;
mod broker;
mod cli;
mod config;
mod controller;
mod data_directory;
mod demo_cluster;
mod doors;
mod identity;
mod local;
mod metrics;
mod nameserver;
mod open_files;
mod output;
mod port;
mod probe_port;
mod progress;
mod proxy;
mod signals;
mod store;
mod telemetry;
mod time;
mod webhooks;

use std::io::Write;
use std::process::ExitCode;

use cli::{Cli, LocalArgs, Misuse, Refusal, SettingArgs, Task};
use config::setting::Keys;
use config::{Loaded, Problem};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(Cli { command: Task::Local(arguments) }) => run_local(&arguments),
        Ok(Cli { command: Task::Nameserver(arguments) }) => run_nameserver(&arguments),
        Ok(Cli { command: Task::Controller(arguments) }) => run_controller(&arguments),
        Ok(Cli { command: Task::Broker(arguments) }) => run_broker(&arguments),
        Ok(Cli { command: Task::Proxy(arguments) }) => run_proxy(&arguments),
        Ok(Cli { command: Task::DemoCluster(arguments) }) => finish(block_on(demo_cluster::run(&arguments))),
        Ok(Cli { command: Task::Admin(arguments) }) => finish(block_on(admin::run(&arguments))),
        Ok(Cli { command: Task::Store(arguments) }) => finish(store::run(&arguments)),
        Ok(Cli { command: Task::Completions { shell } }) => finish(output::print(cli::completions(shell))),
        Err(Refusal::Usage { line }) => complain(&line, MISUSED),
        Err(Refusal::Shown { text, is_asked: true }) => finish(output::print(text.trim_end())),
        Err(Refusal::Shown { text, is_asked: false }) => {
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::from(MISUSED)
        }
    }
}

fn run_local(arguments: &LocalArgs) -> ExitCode {
    let loaded = config::load(&arguments.settings.sources, variable, |path| std::fs::read_to_string(path));
    run_role(loaded, &arguments.settings, |loaded| {
        block_on(local::run(loaded.config, &loaded.warnings, arguments.accept_loss_at))
    })
}

fn run_nameserver(arguments: &SettingArgs<config::nameserver::Key>) -> ExitCode {
    let loaded = config::nameserver::load(&arguments.sources, variable, |path| std::fs::read_to_string(path));
    run_role(loaded, arguments, |loaded| block_on(nameserver::run(loaded.config, &loaded.warnings)))
}

fn run_controller(arguments: &SettingArgs<config::controller::Key>) -> ExitCode {
    let loaded = config::controller::load(&arguments.sources, variable, |path| std::fs::read_to_string(path));
    run_role(loaded, arguments, |loaded| block_on(controller::run(loaded.config, &loaded.warnings)))
}

fn run_broker(arguments: &SettingArgs<config::broker::Key>) -> ExitCode {
    let loaded = config::broker::load(&arguments.sources, variable, |path| std::fs::read_to_string(path));
    run_role(loaded, arguments, |loaded| {
        let shown = loaded.to_pairs();
        block_on(broker::run(loaded.config, &loaded.warnings, shown))
    })
}

fn run_proxy(arguments: &SettingArgs<config::proxy::Key>) -> ExitCode {
    let loaded = config::proxy::load(&arguments.sources, variable, |path| std::fs::read_to_string(path));
    run_role(loaded, arguments, |loaded| block_on(proxy::run(loaded.config, &loaded.warnings)))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs a role, or says what is wrong with its configuration, or prints that.
fn run_role<C, K: Keys>(
    loaded: Result<Loaded<C, K>, Vec<Problem>>,
    arguments: &SettingArgs<K>,
    run: impl FnOnce(Loaded<C, K>) -> anyhow::Result<()>,
) -> ExitCode {
    match loaded {
        Err(problems) => {
            for problem in problems {
                complain(&problem.to_string(), MISUSED);
            }
            ExitCode::from(MISUSED)
        }
        Ok(loaded) if arguments.is_print => {
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"), 0);
            }
            finish(output::print(loaded.to_table()))
        }
        Ok(loaded) => finish(run(loaded)),
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Misuse>() => complain(&error.to_string(), MISUSED),
        // The whole chain in one line: what failed, and below it why.
        Err(error) => complain(&format!("{error:#}"), FAILED),
    }
}

fn complain(line: &str, code: u8) -> ExitCode {
    // Nobody may be listening; the exit code says it too.
    let _ = writeln!(std::io::stderr(), "gantry: {}", line.replace('\n', " "));
    ExitCode::from(code)
}
