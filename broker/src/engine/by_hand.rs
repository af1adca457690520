//! An engine without its threads, on what a broker has left: tests call its rounds, and read for it what it asks for.

use std::sync::Arc;

use env::sim::World;
use store::Store;
use tokio::sync::mpsc;

use super::spilled::Reads;
use super::{Engine, Fetches, fetch_loop};
use crate::Options;
use crate::command::Command;
use crate::directory::Directory;
use crate::machines::Machines;
use crate::prepare::Limits;
use crate::shared::Shared;
use crate::timer::spill::Loader;

/// As `LocalBroker::start` makes it. Records come from the disk by themselves, spilled timers do not.
pub(super) struct ByHand {
    pub(super) engine: Engine,
    pub(super) reads: Reads,
    pub(super) loader: Loader,
    /// Nobody sends commands, but an engine without anybody who could is one that was killed.
    _commands: mpsc::Sender<Command>,
}

impl ByHand {
    pub(super) fn new(world: &World, options: Options) -> Self {
        let env = world.env();
        let mut machines = Machines::bounded(options.transaction, options.timers);
        let store = Store::open(&env, &options.store(), &mut machines).expect("opened");
        let limits = Limits::of(&options);
        let directory = Directory::new(&machines.catalog);
        let (reader, marks) = (store.reader(), store.marks().clone());
        let shared =
            Shared::new(options.name.as_str().into(), limits, options.copies, &env, directory, reader.clone(), marks);
        let (commands, received) = mpsc::channel(1);
        let (fetches, jobs, report) = Fetches::new();
        drop(env.tasks.spawn_thread("fetch", Box::pin(fetch_loop(reader, jobs, report))));
        let loader = Loader::new(Arc::clone(&env.disk), &options.dir, store.scanner());
        let (engine, reads) = Engine::new(env, options, Arc::new(shared), store, machines, received, fetches);
        Self { engine, reads, loader, _commands: commands }
    }

    /// A round with what has come back until now.
    pub(super) async fn round(&mut self) {
        self.engine.fetches.take_done();
        self.engine.spilled.take_done();
        self.engine.round().await;
    }

    /// Ends it in an orderly way.
    pub(super) async fn stop(mut self) {
        self.engine.is_stopping = true;
        self.engine.run().await;
    }
}
