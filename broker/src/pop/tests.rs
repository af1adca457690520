//! The pop machine as a whole: a model with random requests, scripts, and the bounds.

mod bounds;
mod model;
mod script;
mod world;
