//! Messages over HTTP: the OpenAPI document is true, what `docs/http.md` shows is run as it stands there, `sdk-examples/curl` tells its story, and the official Python
//! client and HTTP see the same in all four pairings, and the pages do what they say in Chromium. Then HTTP before a cluster of ours, and with `--full` before
//! Apache's broker.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::plan::{Context, Done};
use crate::server::{self, Server};
use crate::shell::{self, To};

mod apache;
mod browser;
mod described;
mod gateways;

/// Lines of a failed program's output that are shown.
const LINES_SHOWN: usize = 40;
/// The addresses that pages and the examples name.
pub(super) const ADDRESS: &str = "127.0.0.1:8082";
const GRPC_ADDRESS: &str = "127.0.0.1:8081";
/// The certificate that the page names.
const CERTIFICATE: &str = "gantry-data/tls/cert.pem";
/// The site that the page names.
const ORIGIN: &str = "https://app.example.org";
/// Commands in a block of this kind must succeed.
const SHOWN: &str = "```sh";
/// Those in one of this kind must be refused.
const REFUSED: &str = "```sh refused";
/// What the commands run in: the first that fails ends it, and a refusal is a failure.
const STRICT: &str = "set -euo pipefail\ncurl() { command curl --no-progress-meter --fail-with-body \"$@\"; }\n";

/// About two minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    for tool in ["curl", "jq", "bash", "npm", "node"] {
        if !shell::succeeds(Command::new(tool).arg("--version")) {
            return Ok(Done::Skipped { reason: format!("{tool} is missing") });
        }
    }
    let log = context.workspace.own("logs/http.log")?;
    // A log tells of one run.
    std::fs::write(&log, "")?;
    let examples = context.workspace.root.join("sdk-examples");
    if shell::run(Command::new("./setup").current_dir(examples.join("python")), To::File(&log)).is_err() {
        let reason = shell::tail(&log, 1).pop().unwrap_or_default();
        return Ok(Done::Skipped { reason: format!("{reason} (all of it: {})", log.display()) });
    }
    let site = server::free_address()?;
    let origins = format!("{ORIGIN},http://localhost:{}", site.port());
    let server = Server::start_with(
        context,
        "http",
        &["--http-cors", &origins, "--grpc-web", &origins, "--webhook-allow", "127.0.0.0/8"],
    )?;
    let done = match show(context, &server, site, &log) {
        Ok(done) => {
            server.stop()?;
            done
        }
        Err(error) => {
            println!("--- end of {}\n{}\n---", log.display(), shell::tail(&log, LINES_SHOWN).join("\n"));
            return Err(error.context(format!("data kept: {}", server.keep().display())));
        }
    };
    gateways::show(context, &log)?;
    if context.is_full {
        apache::show(context, &log)?;
    }
    Ok(done)
}

fn show(context: &Context, server: &Server, site: SocketAddr, log: &Path) -> Result<Done> {
    let root = &context.workspace.root;
    let (grpc, http) = (server.grpc().to_string(), server.http().to_string());
    described::show(context, &http, log)?;

    let certificate = server.data().join("tls/cert.pem");
    let certificate = certificate.to_str().context("a path in UTF-8")?;
    let named = [(ADDRESS, &*http), (GRPC_ADDRESS, &*grpc), (CERTIFICATE, certificate)];
    run_page(root, "docs/http.md", &named, log.parent().context("a folder")?, log)?;

    let mut story = Command::new(root.join("sdk-examples/curl/run"));
    shell::run(story.args(["--endpoint", &http]), To::File(log)).ok().context("sdk-examples/curl/run")?;

    let mut events = Command::new("python3");
    events.arg(root.join("tests/http/events.py")).arg(&http);
    shell::run(&mut events, To::File(log)).context("CloudEvents do not come out as they went in")?;

    admin(root, &http, &[], log)?;

    let mut pairings = Command::new(root.join("sdk-examples/python/.venv/bin/python"));
    pairings.arg(root.join("tests/http/pairings.py")).args([&grpc, &http]);
    let (printed, has_succeeded) = shell::output(&mut pairings, log)?;
    ensure!(has_succeeded, "gRPC and HTTP differ:\n{printed}");
    browser::show(root, [&http, &grpc], site, log)
}

/// `/v1/admin` of the server that speaks HTTP there.
fn admin(root: &Path, http: &str, what: &[&str], log: &Path) -> Result<()> {
    let mut admin = Command::new("python3");
    admin.arg(root.join("tests/http/admin.py")).arg(http).args(what);
    shell::run(&mut admin, To::File(log)).with_context(|| format!("/v1/admin, see {}", log.display()))
}

/// Installs a package of Debian's; only root may, without being asked for a password.
fn install(package: &str, log: &Path) -> bool {
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        shell::run(apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"), To::File(log)).is_ok()
    };
    apt(&["update", "--quiet"]) && apt(&["install", "--quiet", "--yes", "--no-install-recommends", package])
}

/// A Python environment with what a file requires; nothing to do if it is there already.
pub(super) fn python_environment(requirements: &Path, folder: &Path, log: &Path) -> Result<()> {
    let installed = folder.join("installed");
    if std::fs::read(&installed).ok() == Some(std::fs::read(requirements)?) {
        return Ok(());
    }
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder), To::File(log))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    shell::run(&mut pip, To::File(log))?;
    std::fs::copy(requirements, &installed).map(drop).context("noting what is installed")
}

/// Runs a page's commands in a folder, with the addresses and files that it names replaced by those of now.
pub(super) fn run_page(root: &Path, page: &str, named: &[(&str, &str)], folder: &Path, log: &Path) -> Result<()> {
    let commands = script(&std::fs::read_to_string(root.join(page))?)?;
    let replaced = |commands: String, (named, now): &(&str, &str)| commands.replace(named, now);
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(named.iter().fold(commands, replaced)).current_dir(folder);
    shell::run(&mut bash, To::File(log)).ok().with_context(|| format!("a command of {page} does not do what it says"))
}

/// The page's commands as one script, in their order.
fn script(page: &str) -> Result<String> {
    let mut script = STRICT.to_owned();
    let mut lines = page.lines();
    let mut blocks = 0;
    while let Some(line) = lines.next() {
        let is_refused = match line {
            SHOWN => false,
            REFUSED => true,
            _ => continue,
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks += 1;
        for command in block {
            if is_refused {
                script.push_str(&format!("if {command}; then echo \"not refused\" >&2; exit 1; fi\n"));
            } else {
                script.push_str(command);
                script.push('\n');
            }
        }
    }
    if blocks == 0 {
        bail!("the page shows no commands");
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_are_taken_from_the_page() {
        let page = "# T\n```sh\na\nb\n```\ntext\n```json\n{}\n```\n```sh refused\nc\n```\n";
        let script = script(page).expect("two blocks");
        assert_eq!(script, format!("{STRICT}a\nb\nif c; then echo \"not refused\" >&2; exit 1; fi\n"));
        assert!(super::script("# nothing").is_err());
    }
}
