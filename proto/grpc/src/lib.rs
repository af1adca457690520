//! The public gRPC API (`apache.rocketmq.v2`): messages, client and server, generated at build from our own
//! `.proto` files in `proto/`. Nothing is added to it here.

/// Everything of the package `apache.rocketmq.v2`.
pub mod v2 {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
    tonic::include_proto!("apache.rocketmq.v2");
}

/// The three files' descriptors with those they import, as an encoded `FileDescriptorSet`: what server reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
