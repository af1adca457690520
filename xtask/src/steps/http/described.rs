//! The OpenAPI document: a public validator takes it, what Schemathesis makes of it is answered as it says, and a client that
//! is generated from it runs the main scenario.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::python_environment;
use crate::plan::Context;
use crate::shell::{self, To};

/// Requests that are made for each call of the document.
const EXAMPLES: u32 = 8;
const EXAMPLES_FULL: u32 = 200;
/// What Schemathesis looks at in each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// Longest wait for an answer, in seconds.
const ANSWER_WITHIN: &str = "30";

/// Checks the document of the server that speaks HTTP at `http`.
pub(super) fn show(context: &Context, http: &str, log: &Path) -> Result<()> {
    let root = &context.workspace.root;
    let tools = context.workspace.own("http-tools")?;
    python_environment(&root.join("tests/http/requirements.txt"), &tools, log)
        .context("getting the tools for OpenAPI")?;
    let document = log.with_extension("openapi.json");
    let url = format!("http://{http}/openapi.json");
    shell::run(Command::new("curl").args(["-sSf", &url, "-o"]).arg(&document), To::File(log))?;
    let mut validate = Command::new(tools.join("bin/openapi-spec-validator"));
    shell::run(validate.arg(&document), To::File(log)).context("the OpenAPI document is not valid")?;

    let examples = if context.is_full { EXAMPLES_FULL } else { EXAMPLES };
    let mut probe = Command::new(tools.join("bin/schemathesis"));
    probe.args(["run", &url, "--no-color", "--phases", "fuzzing", "--checks", CHECKS, "--workers", "2"]);
    probe.args(["--max-examples", &examples.to_string(), "--request-timeout", ANSWER_WITHIN]);
    // Streams do not end.
    probe.args(["--exclude-path-regex", "/stream$", "--suppress-health-check", "all", "--seed", "1"]);
    probe.env("SCHEMATHESIS_HOOKS", "unhurried").env("PYTHONPATH", root.join("tests/http"));
    // It keeps what it found for the next time in the folder where it runs.
    probe.current_dir(&tools);
    shell::run(&mut probe, To::File(log)).context("an answer is not as the OpenAPI document says")?;
    generated_client(&root.join("tests/http/client"), &document, http, log)
}

fn generated_client(folder: &Path, document: &Path, http: &str, log: &Path) -> Result<()> {
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        shell::run(command.args(arguments).current_dir(folder), To::File(log))
    };
    let document = document.to_str().context("a path in UTF-8")?;
    run("npm", &["ci", "--silent", "--no-audit", "--no-fund"])?;
    // What has a default may be left out.
    let optional = "--default-non-nullable=false";
    run("node_modules/.bin/openapi-typescript", &[document, optional, "--output", "schema.d.ts"])?;
    run("node_modules/.bin/tsc", &[]).context("the client's scenario does not fit the OpenAPI document")?;
    run("node", &["build/main.js", http]).context("the generated client's scenario")
}
