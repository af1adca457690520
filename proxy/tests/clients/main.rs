//! The server as clients meet it: the generated client over real loopback sockets, against a real broker on a
//! directory of its own. Tests named `pitfall_NN_…` are cited by `docs/clients-pitfalls.md`.

mod acknowledge;
mod addresses;
mod bad_input;
mod offsets;
mod receive;
mod reserved;
mod send;
mod start_up;
mod streams;
mod support;
mod telemetry;
mod tls;
mod transactions;
mod web;
mod web_limits;
