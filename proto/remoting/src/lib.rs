//! The Remoting protocol without its sockets: frames, headers in both serialisations, request and response codes with their
//! typed fields, and the JSON bodies.
//!
//! No I/O. Source of the format: Apache 5.x `RemotingCommand`, `RocketMQSerializable`, `RequestCode`, and the bodies that
//! fastjson 1 and 2 write, measured with 5.3.3 and 5.5.0. Every length that a peer announces has a named limit.
//!
//! A new request code is a variant of [`RequestCode`] and a header in [`requests`].

pub mod body;
mod code;
mod command;
pub mod extra_info;
mod fields;
mod frame;
mod header_binary;
mod header_json;
mod json;
pub mod requests;

pub use code::{RequestCode, ResponseCode};
pub use command::{Command, Flag, Language, Opaque, SerializeType, VERSION};
pub use fields::{FIELDS_MAX, FieldError, Fields};
pub use frame::{Error, FRAME_BYTES_MAX, FRAME_BYTES_MIN, announced, decode, encode};
pub use json::{DEPTH_MAX, Dialect, Error as JsonError, from_slice, to_vec};
