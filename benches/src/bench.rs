//! What all runs of a bench share.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::recovery::KilledLog;
use crate::rivals::{Apache, Xtask};
use crate::server::{Gantry, Server};

/// The window of a quick run.
const QUICK_WINDOW: Duration = Duration::from_millis(100);

/// See the module's head.
pub(crate) struct Bench {
    /// Our release binary, which not every scenario needs.
    gantry: PathBuf,
    /// What gets and starts the servers of others.
    xtask: Xtask,
    window: Duration,
    /// Whether runs only show that they work, in a fraction of a second.
    is_quick: bool,
    /// Length of the log that recovery starts on, in bytes.
    log_bytes: u64,
    /// That log, once it is made: all runs start on the same one.
    pub(crate) killed_log: Option<KilledLog>,
    /// The program of NATS's server, once it is there.
    pub(crate) nats_server: Option<PathBuf>,
    /// Apache's server, once it runs and until its scenario has ended.
    pub(crate) apache: Option<Apache>,
    /// The master of the log that slaves catch up with, once it runs and until its scenario has ended.
    pub(crate) long_log: Option<Server>,
}

impl Bench {
    /// Runs of this length; quick ones ignore it.
    pub(crate) fn new(gantry: PathBuf, xtask: Xtask, window: Duration, is_quick: bool, log_bytes: u64) -> Self {
        let window = if is_quick { QUICK_WINDOW } else { window };
        Self {
            gantry,
            xtask,
            window,
            is_quick,
            log_bytes,
            killed_log: None,
            nats_server: None,
            apache: None,
            long_log: None,
        }
    }

    /// Our release binary, if it is there.
    pub(crate) fn gantry(&self) -> Result<Gantry> {
        Gantry::at(&self.gantry)
    }

    /// What gets and starts the servers of others.
    pub(crate) fn xtask(&self) -> &Xtask {
        &self.xtask
    }

    /// Length of the measured part of a run.
    pub(crate) fn window(&self) -> Duration {
        self.window
    }

    /// Whether runs only show that they work.
    pub(crate) fn is_quick(&self) -> bool {
        self.is_quick
    }

    /// Length of the log that recovery starts on, in bytes.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes
    }
}
